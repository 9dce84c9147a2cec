"""The command line on data: how it is read, what is said of it, what is refused, and how many threads work on it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from hypertail.cli import COMMANDS, main, parse
from hypertail.lab.records.runfile import RunFile
from support.commands import told
from support.errors import Texts

# each command that learns a stream of the user's choice
EITHER = [f"{name} digits --strategy naive" for name in ("run", "tune") if name in COMMANDS]
SMALL = "--experiences 2 --image-size 8 --epochs 1 --trunk-epochs 1 --strategy naive"


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    # the tests run with one thread, and so they go on
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


def typed(line: str) -> None:
    main(shlex.split(line))


def photos(root: Path, classes: str, count: int = 6) -> None:
    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            Image.new("RGB", (16, 16), (50 * number, 9 * index, 90)).save(root / name / f"{index}.png")


def test_the_same_command_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """case 1: the same bits, with the defaults of precision and threads."""
    for out in ("one", "two"):
        typed(f"run digits {SMALL} --out {out}")
    one, two = (RunFile.read(next(Path(out).rglob("run.json"))) for out in ("one", "two"))
    assert one.accuracy == two.accuracy
    assert one.data == two.data
    assert one.data is not None
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 CPU thread (more: --threads N; results then differ in the last digits)"
    assert lines[1].startswith("digits: 1797 training images of 10 classes (0 ")


@pytest.mark.parametrize("finished", [True, False])
def test_a_class_folder_was_added(finished: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """cases 3 and 4: with --existing reuse, whether the run is finished or not."""
    photos(tmp_path / "photos", "abcd")
    line = "run folder:photos --strategy naive --epochs 1 --trunk-epochs 1 --batch-size 8 --image-size 16 --out O"
    typed(line)
    (result,) = Path("O").rglob("run.json")
    if not finished:
        result.unlink()
    photos(tmp_path / "photos", "abcde")
    capsys.readouterr()
    again = shlex.split(f"{line} --existing reuse")
    told(capsys, *again, problem="data of run directory O/", found=("class 'e'", "6 training images"), hint="Restore")


def test_another_precision_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """case 1: an explicit --speed that is not that of the run."""
    typed(f"run digits {SMALL} --speed full")
    typed(f"run digits {SMALL} --existing reuse")
    assert "finished before" in capsys.readouterr().out
    told(capsys, *shlex.split(f"run digits {SMALL} --speed mixed --existing reuse"), required="--speed mixed")


@pytest.mark.parametrize("command", [*EITHER, "reproduce table2", "quickstart"])
def test_one_thread_unless_told(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 39: whatever the number of cores, and how busy they are."""
    options = parse(shlex.split(command))
    assert getattr(options, "machine", options).threads == 1
    told = parse(shlex.split(f"{command} --threads 3"))
    assert getattr(told, "machine", told).threads == 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("", (None, None, None, None)),
        ("--data D --cache", (Path("D"), True, None, None)),
        ("--no-cache", (None, False, None, None)),
        ("--image-column photo --label-column kind", (None, None, "photo", "kind")),
    ],
)
@pytest.mark.parametrize("command", EITHER)
def test_how_data_is_read(command: str, line: str, expected: Any) -> None:
    options = parse(shlex.split(f"{command.replace('digits', 'hub:a/b')} {line}"))
    place = options.reading.place(options.data)
    assert (place.root, place.cache, place.image_column, place.label_column) == expected


@pytest.mark.parametrize(
    ("line", "problem", "required", "found"),
    [
        ("--cache --no-cache", ("--cache", "--no-cache"), "one of them", "both"),
        ("--image-column photo", ("image column", "'digits'"), "hub:OWNER/NAME", "'photo'"),
        ("--images-per-class 1", "--images-per-class", "2 or more", "1"),
        ("--augment flip", "augmentation", "crop, crop-flip, none", "'flip'"),
    ],
)
@pytest.mark.parametrize("command", EITHER)
def test_how_data_cannot_be_read(
    command: str, line: str, problem: Texts, required: str, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    told(capsys, *shlex.split(f"{command} {line}"), problem=problem, required=required, found=found)
    assert list(Path().iterdir()) == []


def test_images_per_class_are_part_of_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    typed(f"run digits {SMALL} --images-per-class 9")
    (path,) = Path("runs").rglob("run.json")
    content = json.loads(path.read_text())
    assert content["config"]["images_per_class"] == 9
    assert [task["train"] for task in content["tasks"]] == [18, 18]
    assert "of each class at most 9 training images are kept" in capsys.readouterr().out
    again = shlex.split(f"run digits {SMALL} --images-per-class 8 --existing reuse")
    told(capsys, *again, required="the same options", found="images-per-class 9 (asked for: 8)")
    told(capsys, *again[:-4], "--existing", "reuse", found="images-per-class 9 (asked for: not given)")


@pytest.mark.parametrize("augment", ["none", "crop", "crop-flip"])
def test_augmentation_is_part_of_a_run(augment: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It is recorded, kept in a directory of its own, and the same when the run is resumed."""
    typed(f"run digits {SMALL} --images-per-class 9")
    typed(f"run digits {SMALL} --images-per-class 9 --augment {augment}")
    usual, other = (json.loads(path.read_text()) for path in sorted(Path("runs").rglob("run.json"), key=_is_augmented))
    assert (usual["config"]["augment"], other["config"]["augment"]) == (None, augment)
    (path,) = (path for path in Path("runs").rglob("run.json") if _is_augmented(path))
    for name in ("run.json", "checkpoint.safetensors"):
        (path.parent / name).unlink(missing_ok=True)
    typed(f"resume {path.parent}")
    again = json.loads(path.read_text())
    assert (again["config"]["augment"], again["accuracy"]) == (augment, other["accuracy"])


def _is_augmented(path: Path) -> bool:
    return "augment" in path.parent.name


@pytest.mark.slow
@pytest.mark.skipif("tune" not in COMMANDS, reason="the search is being rewritten")
def test_tune_says_what_was_read_and_hands_the_limit_on(capsys: pytest.CaptureFixture[str]) -> None:
    typed(
        "tune digits --strategy separate-4 --try lr=0.001,0.002 --images-per-class 9 --augment none --no-cache "
        "--experiences 2 --image-size 8 --epochs 1 --trunk-epochs 1 --seeds 0 1"
    )
    said = capsys.readouterr().out
    assert len(re.findall(r"^digits: 1797 training images", said, re.MULTILINE)) == 1
    (use,) = re.findall(r"^to use it: (.*)$", said, re.MULTILINE)
    assert " --images-per-class 9 --augment none " in use
    assert " --no-cache" in use


@pytest.mark.slow
def test_reproduce_says_what_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    typed("reproduce table2 --scale smoke --strategy hn-4 lr-4 separate-4")
    assert len(re.findall(r"^digits: 1797 training images", capsys.readouterr().out, re.MULTILINE)) == 1


def test_help_puts_what_decides_the_outcome_apart_from_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        typed("run --help")
    said = re.sub(r"[│\s]+", " ", capsys.readouterr().out)
    titles = ("data and measurement options", "machine options", "frozen trunk options", "heads options")
    data, machine, trunk, after = (said.index(title) for title in titles)
    assert data < said.index("--images-per-class") < machine
    assert trunk < said.index("--views") < after
    assert "temporary files" in said[machine:trunk]
    assert "faster here" not in said
