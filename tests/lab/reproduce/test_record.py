"""`targets.json`: written for each target, replaced, sorted, and refused when damaged."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from hypertail.errors import CheckpointError
from hypertail.lab.reports.papertable import Number, PaperTable
from hypertail.lab.reports.targets import FILE_NAME, read_targets
from hypertail.lab.reproduce.reproduce import record
from hypertail.lab.reproduce.target import Output, Target, no_runs

TABLE = PaperTable(
    "table2", "a title", ("strategy", "ACA %", "ACA % paper"), (("HN-3", Number(70.04, 0.5), None),), ("a note",)
)


def target(name: str, sentence: str = "Look at this.") -> Target:
    return Target(name, f"Title of {name}", sentence, no_runs, lambda setting, runs: Output())


def test_what_was_recorded_is_read_back(tmp_path: Path) -> None:
    files = [tmp_path / "table2.csv", tmp_path / "pictures" / "x.svg", tmp_path / "pictures" / "x.png"]
    path = record(tmp_path, target("table2"), files, Output(tables=(TABLE,), captions={"x": ("a caption",)}))
    assert path == tmp_path / FILE_NAME
    (found,) = read_targets(tmp_path)
    assert (found.name, found.title, found.sentence) == ("table2", "Title of table2", "Look at this.")
    assert found.files == ("table2.csv", "pictures/x.svg", "pictures/x.png")
    assert found.pictures == ("pictures/x.svg",)
    assert found.tables == (TABLE.shown,)
    assert found.notes == {"pictures/x.svg": ("a caption",)}
    assert [file.name for file in tmp_path.iterdir()] == [FILE_NAME]


def test_pictures_come_first_and_a_target_is_listed_once(tmp_path: Path) -> None:
    for name in ("table2", "figure12", "figure4", "table1", "samples", "figure4"):
        record(tmp_path, target(name, sentence="old"), [], Output())
    record(tmp_path, target("table1", sentence="new"), [], Output())
    found = read_targets(tmp_path)
    assert [item.name for item in found] == ["samples", "figure4", "figure12", "table1", "table2"]
    assert [item.sentence for item in found] == ["old", "old", "old", "new", "old"]


def test_folder_is_made_and_one_without_record_holds_nothing(tmp_path: Path) -> None:
    assert read_targets(tmp_path) == ()
    record(tmp_path / "new", target("table3"), [], Output())
    assert len(read_targets(tmp_path / "new")) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"format": "other", "format_version": 1}',
        '{"format": "hypertail-targets", "format_version": 2}',
        '{"format": "hypertail-targets", "format_version": 1, "targets": [{"name": "table1"}]}',
        '{"format": "hypertail-targets", "format_version": %s, "targets": []}' % ("9" * 400),
        '{"format": "hypertail-targets", "format_version": NaN, "targets": []}',
        '{"a":' * 500 + "1" + "}" * 500,
        "[" * 100_000,
    ],
)
def test_damaged_record_is_an_error(text: str, tmp_path: Path) -> None:
    """case 20: the last four."""
    (tmp_path / FILE_NAME).write_text(text)
    with pytest.raises(CheckpointError) as error:
        read_targets(tmp_path)
    message = str(error.value)
    assert message.startswith(
        f"record of reproduced targets '{tmp_path / FILE_NAME}': required JSON of format hypertail-targets, version 1; "
        "found something else ("
    )
    assert message.endswith("). Remove the file and run hypertail reproduce again; finished runs are reused.")


def test_a_full_disk_keeps_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18."""
    record(tmp_path, target("table1"), [], Output())

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        record(tmp_path, target("table2"), [], Output())
    monkeypatch.undo()
    assert [item.name for item in read_targets(tmp_path)] == ["table1"]
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
