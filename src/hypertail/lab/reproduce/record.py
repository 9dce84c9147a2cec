"""`targets.json`: which tables and figures lie in a folder of reproduced ones, for the report to show."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hypertail.errors import CheckpointError
from hypertail.lab.reproduce.target import Output, Target
from hypertail.lab.tables import Table

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


def record_target(out: Path, target: Target, files: Sequence[Path], output: Output | None = None) -> Path:
    """Note in `out / targets.json` that `target` was reproduced; an older note on the same target is replaced.

    Args:
        out: folder of the reproduced tables and figures; made where missing.
        target: what was reproduced.
        files: what was written for it, in or below `out`.
        output: its tables and captions, which the report shows.

    Raises:
        CheckpointError: the file is there, but cannot be read.
    """
    output = output or Output()
    root = out.resolve()
    names = tuple(os.path.relpath(file.resolve(), root).replace(os.sep, "/") for file in files)
    captions = {
        name: output.captions[Path(name).stem]
        for name in names
        if name.endswith(".svg") and Path(name).stem in output.captions
    }
    tables = tuple(table.shown for table in output.tables)
    own = Recorded(target.name, target.title, target.sentence, names, tables, captions)
    kept = [other for other in read_targets(out) if other.name != own.name]
    targets = [asdict(other) for other in sorted([*kept, own], key=_place)]
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "targets": targets}
    out.mkdir(parents=True, exist_ok=True)
    path = out / FILE_NAME
    handle, part = tempfile.mkstemp(dir=out, prefix=f".{FILE_NAME}.", suffix=".part")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        Path(part).chmod(0o644)
        Path(part).replace(path)
    finally:
        Path(part).unlink(missing_ok=True)
    return path


def read_targets(folder: Path) -> tuple[Recorded, ...]:
    """What was reproduced in `folder`, pictures first; nothing if it has no `targets.json`.

    Raises:
        CheckpointError: the file cannot be read.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT or not 1 <= content["format_version"] <= FORMAT_VERSION:
            raise ValueError(f"format {content['format']}, version {content['format_version']}")
        return tuple(sorted((_read(item) for item in content["targets"]), key=_place))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(
            f"record of reproduced targets '{path}'",
            required=f"JSON of format {FORMAT}, version {FORMAT_VERSION}",
            found=f"something else ({type(error).__name__}: {error})",
            mend="Remove the file and run hypertail reproduce again; finished runs are reused.",
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
    return Recorded(name, title, sentence, tuple(map(str, item["files"])), tables, notes)


def _place(target: Recorded) -> tuple[bool, bool, str, int]:
    """Sample images, then figures, then tables, each by number."""
    kind, number = re.fullmatch(r"(.*?)(\d*)", target.name).groups()  # type: ignore[union-attr]
    return kind == "table", kind != "samples", kind, int(number or 0)
