"""Files of every kind that hypertail reads, damaged at random: what is opened is whole, what is not is named."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

Reader = Callable[[Path], Any]


def damaged(content: bytes, chance: random.Random, *, is_json: bool) -> tuple[str, bytes]:
    """A damaged copy, and how: cut short, bits flipped, bytes put in, taken out or overwritten, or a value edited."""
    ways = ["cut short", "flipped", "put in", "taken out", "overwritten", *(["edited"] * 3 if is_json else [])]
    way, place = chance.choice(ways), chance.randrange(max(1, len(content)))
    changed = bytearray(content)
    if way == "cut short":
        return way, bytes(changed[:place])
    if way == "flipped":
        for _ in range(chance.choice((1, 1, 3))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    elif way == "put in":
        changed[place:place] = chance.randbytes(chance.randrange(1, 40))
    elif way == "taken out":
        del changed[place : place + chance.randrange(1, 40)]
    elif way == "overwritten":
        changed[place : place + 8] = chance.randbytes(8)
    else:
        return way, edited(content, chance)
    return way, bytes(changed)


ODD = (
    None,
    True,
    -1,
    2**70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "../../x",
    "/etc/passwd",
    "<script>",
    "\x00",
    [],
    {},
)


def edited(content: bytes, chance: random.Random) -> bytes:
    """One value of a JSON text is another one: odd, of another type, or nested deeply."""
    value = json.loads(content[content.find(b"{") :])
    holders = [value]
    for item in holders:
        children = item.values() if isinstance(item, dict) else item
        holders += [child for child in children if isinstance(child, dict | list) and child]
    holder = chance.choice(holders)
    key = chance.choice(list(holder)) if isinstance(holder, dict) else chance.randrange(len(holder))
    deep: Any = []
    for _ in range(chance.choice((80, 3000))):
        deep = [deep]
    holder[key] = chance.choice((*ODD, deep))
    try:
        return content[: content.find(b"{")] + json.dumps(value).encode()
    except RecursionError:
        return b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}"


class Files:
    """Whole files of every kind in a folder, and how each is read.

    Args:
        folder: where they are made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.readers: dict[str, tuple[Path, Reader]] = {}
        self._runs()
        self._bank()
        self._data()
        self.whole = {name: reader(file) for name, (file, reader) in self.readers.items()}

    def _runs(self) -> None:
        from hypertail.lab.experiments.begun import read_begun
        from hypertail.lab.experiments.config import RunConfig
        from hypertail.lab.experiments.run import execute
        from hypertail.lab.records.runfile import RunFile
        from hypertail.storage.checkpoint import load_checkpoint
        from hypertail.training.features.cache import warn  # noqa: F401 - imported where warnings are still shown

        place = self.folder / "run"
        execute(RunConfig("digits", "naive", epochs=1, experiences=2, image_size=8, images_per_class=5), place)

        def tensors(path: Path) -> Any:
            found, facts = load_checkpoint(path)
            return {name: value.tolist() for name, value in found.items()}, facts

        self.readers["run.json"] = place / "run.json", lambda path: RunFile.read(path).to_json()
        self.readers["config.json"] = place / "config.json", lambda path: read_begun(path.parent)
        self.readers["checkpoint"] = place / "checkpoint.safetensors", tensors

    def _bank(self) -> None:
        import banks

        place = self.folder / "bank"
        banks.make(place)

        def state(path: Path) -> Any:
            """What is read of it, and what `verify` says; other bytes that it opens must be told."""
            root = path.parent if path.name == "bank.json" else path.parent.parent
            bank = banks.opened(root)
            told = (*bank.notices, *(problem.file for problem in bank.verify().problems))
            return "told" if told else banks.state(root)

        current = max(int(child.stem) for child in (place / "generations").iterdir())
        self.readers["bank.json"] = place / "bank.json", state
        self.readers["manifest"] = place / "generations" / f"{current:06d}.json", state
        self.readers["task"] = max((place / "files").glob("task-1-*")), state
        self.readers["hypernetwork"] = max((place / "files").glob("hyper*")), state

    def _data(self) -> None:
        import datasets
        from PIL import Image

        from hypertail.streams.sources.decode import read_images
        from hypertail.streams.sources.hub import HubSource, hub_dataset

        chance, place = random.Random(1), self.folder / "images"
        place.mkdir()
        for kind in ("png", "jpg", "webp", "gif", "bmp", "tiff"):
            image = Image.frombytes("RGB", (24, 24), chance.randbytes(3 * 24 * 24))
            image.save(place / f"a.{kind}")
            self.readers[f"image.{kind}"] = place / f"a.{kind}", lambda path: read_images([path], 16).shape
        cells = [{"bytes": (place / "a.png").read_bytes(), "path": None}] * 8
        features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["a", "b"])})
        data = datasets.Dataset.from_dict({"image": cells, "label": [0, 1] * 4}, features=features)
        table = self.folder / "data" / "a" / "b" / "train.parquet"
        table.parent.mkdir(parents=True)
        data.to_parquet(table)
        root = self.folder / "data"
        self.readers["parquet"] = table, lambda path: len(hub_dataset(HubSource("a/b"), image_size=16, data=root).train)

    def try_one(self, name: str, chance: random.Random) -> tuple[str, str]:
        """Damage a file, read it and mend it: how it was damaged, and `refused`, `the same`, or what is wrong.

        Images and tables have no digest of their own: what opens of them may differ.
        """
        from hypertail.errors import HypertailError

        file, reader = self.readers[name]
        content = file.read_bytes()
        way, other = damaged(content, chance, is_json=file.suffix == ".json")
        before = {path: path.stat().st_mtime_ns for path in self.folder.rglob("*") if path != file}
        file.write_bytes(other)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = reader(file)
            same = found in (self.whole[name], "told") or other == content
            outcome = "the same or told" if same else "another content was accepted"
            if name.startswith("image.") or name == "parquet":
                outcome = "opened"
        except HypertailError:
            outcome = "refused"
        except Exception as error:
            outcome = f"WRONG: {type(error).__name__}: {str(error)[:200]}"
        if outcome == "another content was accepted":
            outcome = f"WRONG: {outcome}"
        if file.read_bytes() != other:
            outcome = "WRONG: the file was changed"
        changed = [path.name for path, when in before.items() if not path.exists() or path.stat().st_mtime_ns != when]
        if changed:
            outcome = f"WRONG: {changed} changed"
        file.write_bytes(content)
        return way, outcome


def fresh(folder: Path) -> Path:
    """An empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
