"""`targets.json`: which tables and figures lie in a folder of reproduced ones, for the report to show."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypertail.errors import CheckpointError
from hypertail.lab.reports.tables import Table
from hypertail.storage.atomic import write_text
from hypertail.storage.jsonfile import read_json

FILE_NAME, FORMAT, FORMAT_VERSION = "targets.json", "hypertail-targets", 1


@dataclass(frozen=True)
class Recorded:
    """A target that was reproduced.

    Attributes:
        name, title, sentence: of the target.
        files: what was written, relative to the folder.
        tables: the tables, as text.
        notes: name of a figure's SVG among `files` -> its caption and notes.
    """

    name: str
    title: str
    sentence: str
    files: tuple[str, ...]
    tables: tuple[Table, ...] = ()
    notes: Mapping[str, tuple[str, ...]] | None = None

    @property
    def pictures(self) -> tuple[str, ...]:
        """The figures among the files."""
        return tuple(name for name in self.files if name.endswith(".svg"))


def record_target(out: Path, target: Recorded) -> Path:
    """Note in `out / targets.json` that a target was reproduced; an older note on the same target is replaced.

    Args:
        out: folder of the reproduced tables and figures; made where missing.
        target: what was reproduced, with files in or below `out`.

    Raises:
        CheckpointError: the file is there, but cannot be read.
    """
    kept = [other for other in read_targets(out) if other.name != target.name]
    targets = [asdict(other) for other in sorted([*kept, target], key=_place)]
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "targets": targets}
    path = out / FILE_NAME
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return path


def relative_names(out: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Files as a record names them: relative to the folder, with forward slashes."""
    root = out.resolve()
    return tuple(os.path.relpath(file.resolve(), root).replace(os.sep, "/") for file in files)


def read_targets(folder: Path) -> tuple[Recorded, ...]:
    """What was reproduced in `folder`, pictures first; nothing if it has no `targets.json`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return ()
    try:
        content = read_json(path)
        if content["format"] != FORMAT or not 1 <= content["format_version"] <= FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, version {content['format_version']}")
        return tuple(sorted((_read(item) for item in content["targets"]), key=_place))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"record of reproduced targets '{path}'",
            required=f"JSON of format {FORMAT}, version {FORMAT_VERSION}",
            found=f"something else ({type(error).__name__}: {error})",
            hint="Remove the file and run hypertail reproduce again; finished runs are reused.",
        ) from error


def _read(item: Mapping[str, Any]) -> Recorded:
    tables = tuple(
        Table(
            str(table["title"]),
            tuple(map(str, table["columns"])),
            tuple(tuple(map(str, row)) for row in table["rows"]),
            tuple(map(str, table["notes"])),
        )
        for table in item["tables"]
    )
    notes = {name: tuple(map(str, lines)) for name, lines in (item["notes"] or {}).items()}
    name, title, sentence = (str(item[key]) for key in ("name", "title", "sentence"))
    # names become ids of the page and files are read: a folder from elsewhere may say anything
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name):
        raise ValueError(f"name of a target {name[:80]!r}")
    files = tuple(map(str, item["files"]))
    for file in files:
        if not is_inside(file):
            raise ValueError(f"file {file[:80]!r}, which is not in the folder")
    return Recorded(name, title, sentence, files, tables, notes)


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder, on any system: no `..`, no drive, no root, no empty name.

    Example:
        >>> [is_inside(name) for name in ("figures/a.svg", "../a.svg", "C:/a.svg", "/a.svg", "")]
        [True, False, False, False, False]
    """
    parts = re.split(r"[/\\]", name)
    return bool(name) and "\0" not in name and ":" not in parts[0] and not {"", ".."} & set(parts)


def _place(target: Recorded) -> tuple[bool, bool, str, int]:
    """Sample images, then figures, then tables, each by number."""
    kind, number = re.fullmatch(r"(.*?)(\d*)", target.name).groups()  # type: ignore[union-attr]
    return kind == "table", kind != "samples", kind, int(number or 0)
