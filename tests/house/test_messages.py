"""The wording of the messages that users meet most, pinned once: `messages.txt` holds them as they are read.

After a change of wording: `HYPERTAIL_REWRITE_MESSAGES=1 pytest tests/house/test_messages.py`, and read the difference.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hypertail.environment import choose_device, use_threads
from hypertail.errors import HypertailError, check_choice, unknown_task
from hypertail.storage import load_checkpoint, save_checkpoint
from hypertail.streams import build_stream
from support.image_sources import noise_image, png, write_folder, write_split

SNAPSHOT = Path(__file__).with_name("messages.txt")
HEADER = "# Made by tests/house/test_messages.py, which says how to make it again.\n"


def folder(classes: dict[str, int], then: Callable[[Path], object] = lambda root: None) -> Callable[[], object]:
    """Read the stream of a folder of images that holds so many of each class."""

    def read() -> object:
        Path("photos").mkdir()
        write_folder(Path("photos"), classes)
        then(Path("photos"))
        return build_stream("folder:photos", validation=0.1)

    return read


def table(labels: list[object], column: str = "label", split: str = "train", **options: str) -> Callable[[], object]:
    """Read the stream of a local copy of a hub dataset with these labels."""

    def read() -> object:
        cells = [png(noise_image(row)) for row in range(len(labels))]
        write_split(Path("data"), "me/things", split, cells, labels, columns=("image", column))
        return build_stream("hub:me/things", data=Path("data"), **options)  # type: ignore[arg-type]

    return read


def checkpoint(spoil: Callable[[Path], object]) -> Callable[[], object]:
    """Load a checkpoint that was spoiled after it was written."""

    def read() -> object:
        path = Path("run.safetensors")
        save_checkpoint(path, {"weight": torch.ones(4)}, {"learned": 2})
        spoil(path)
        return load_checkpoint(path)

    return read


def device(name: str) -> Callable[[], object]:
    """Choose a device where there is no GPU."""

    def choose() -> object:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.cuda, "is_available", lambda: False)
            return choose_device(name)

    return choose


MISTAKES: dict[str, Callable[[], object]] = {
    "a misspelt name": lambda: check_choice("strategy", "nave", ["naive", "ewc", "hn"]),
    "a name like no other": lambda: check_choice("strategy", "zzz", ["naive", "ewc", "hn"]),
    "a task that was not learned": lambda: check_task(3),
    "a misspelt device": device("cud"),
    "no GPU": device("cuda"),
    "no threads": lambda: use_threads(0),
    "a misspelt stream": lambda: build_stream("digit"),
    "too many experiences": lambda: build_stream("digits", experiences=9),
    "too many classes per experience": lambda: build_stream("digits", classes_per_experience=11),
    "a validation share of everything": lambda: build_stream("digits", validation=1.0),
    "images too small": lambda: build_stream("digits", image_size=4),
    "digits that cannot be scaled": lambda: build_stream("digits", image_size=20),
    "one image per class": lambda: build_stream("digits", images_per_class=1),
    "half a pair": lambda: build_stream("pair:svhn"),
    "a misspelt half of a pair": lambda: build_stream("pair:svhn,cifar"),
    "a column of what has no columns": lambda: build_stream("digits", image_column="photo"),
    "no data folder": lambda: build_stream("split-cifar100", data=Path("nowhere")),
    "no dataset and no network": lambda: build_stream("split-cifar100"),
    "no name of a hub dataset": lambda: build_stream("hub:../secret"),
    "no image folder": lambda: build_stream("folder:nowhere"),
    "an empty image folder": folder({}),
    "images without class folders": folder({}, lambda root: noise_image(0).save(root / "a.png")),
    "one class": folder({"only": 3}),
    "a class without images": folder({"a": 3, "b": 0}),
    "a class too small to hold out from": folder({"a": 2, "b": 9}),
    "an unreadable image": folder({"a": 3, "b": 3}, lambda root: (root / "b" / "001.png").write_bytes(b"x")),
    "splits in classes": folder({"cat/train": 2, "cat/test": 2, "dog/train": 2}),
    "classes in folders that are no splits": folder({"one/cat": 2, "one/dog": 2, "two/cat": 2, "two/dog": 2}),
    "a test class that is never learned": folder({"train/a": 3, "train/b": 3, "test/c": 1}),
    "no test class": folder({"train/a": 3, "train/b": 3}, lambda root: (root / "test").mkdir()),
    "no label column": table(["x", "y"], "caption"),
    "another label column": table(["x", "y"], label_column="kind"),
    "an image without a label": table(["x", None, "y"]),
    "one class of a hub dataset": table(["x", "x"]),
    "no training split": table(["x", "y"], split="test"),
    "no checkpoint": lambda: load_checkpoint(Path("run.safetensors")),
    "a cut checkpoint": checkpoint(lambda path: path.write_bytes(path.read_bytes()[:-3])),
    "a changed checkpoint": checkpoint(lambda path: path.write_bytes(path.read_bytes()[:-3] + b"abc")),
    "a foreign checkpoint": checkpoint(lambda path: save_file({"x": torch.ones(1)}, path)),
    "a newer checkpoint": checkpoint(lambda path: save_file({"x": torch.ones(1)}, path, metadata=NEWER)),
}
NEWER = {"format": "hypertail-checkpoint", "version": "99", "facts": "{}"}


# before and after what others say, and that
OTHERS = (
    (r"the download failed \(", r".*?", r"\)\. "),
    (r"found UnidentifiedImageError: ", r".*?", r"\. Replace"),
    (r"found ", r"Error while deserializing.*?", r"\. The file"),
    (r"found torch ", r"\S+", r" without"),
)


def check_task(task: int) -> None:
    raise unknown_task(task, 3)


def worded(error: HypertailError) -> str:
    """The message without what other libraries and the machine put into it."""
    text = str(error)
    for before, others, after in OTHERS:
        text = re.sub(f"({before}){others}({after})", r"\1...\2", text)
    return text


def test_the_messages_are_worded_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [HEADER]
    for name, make in MISTAKES.items():
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        with pytest.raises(HypertailError) as caught:
            make()
        assert all((caught.value.problem, caught.value.required, caught.value.found, caught.value.hint)), name
        assert str(tmp_path) not in str(caught.value), f"{name}: a path that was given is not told as it was given"
        lines.append(f"\n{name}\n    {type(caught.value).__name__}: {worded(caught.value)}\n")
    text = "".join(lines)
    if os.environ.get("HYPERTAIL_REWRITE_MESSAGES"):
        SNAPSHOT.write_text(text, encoding="utf-8")
    assert text == SNAPSHOT.read_text(encoding="utf-8"), "if this is meant: HYPERTAIL_REWRITE_MESSAGES=1 (see above)"
