"""What a bank says to inputs that it cannot take, and that it is as it was afterwards.

RESNET56=cifar10-resnet56.safetensors python results/bank/bad_inputs.py --bank WORK/head-0 --tasks TASKS \
        --work WORK/bad --out results/bank/bad-inputs.md
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from resnet_cifar import resnet56
from torch import nn

import hypertail as ht


class Branching(nn.Module):
    """Goes another way for bright images: it cannot be traced."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2, self.head = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.layer1(x)
        if x.mean() > 0:
            x = -x
        return self.head(self.layer2(x).mean((2, 3)))


class Skipping(nn.Module):
    """The input of layer2 is used again behind layer3: two tensors cross a cut there."""

    def __init__(self) -> None:
        super().__init__()
        self.layer1, self.layer2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.layer3, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        x = self.layer1(x)
        y = self.layer2(x)
        return self.head((self.layer3(y) + x).mean((2, 3)))


def state(place: Path) -> dict[str, bytes]:
    """Every file of a bank."""
    return {str(path.relative_to(place)): path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file()}


def main() -> None:
    """Try each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bank", "tasks", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(given.work, ignore_errors=True)
    work = given.work
    shutil.copytree(given.bank, work / "bank")
    bank = ht.Bank.open(work / "bank", model=resnet56())
    source = given.tasks / "bears-and-cats" / "train"
    classes = sorted(source.iterdir())

    (work / "empty").mkdir()
    shutil.copytree(classes[0], work / "one" / classes[0].name)
    shutil.copytree(source, work / "broken")
    broken = sorted((work / "broken" / classes[1].name).iterdir())[3]
    broken.write_bytes(broken.read_bytes()[:200])
    shutil.copytree(source, work / "split" / "train")
    shutil.copytree(classes[0], work / "split" / "test" / classes[0].name)
    shutil.copytree(classes[1], work / "split" / "test" / "grizzly")
    shutil.copytree(work / "bank", work / "newer")
    pointer = json.loads((work / "newer" / "bank.json").read_text())
    pointer["version"] = 99
    (work / "newer" / "bank.json").write_text(json.dumps(pointer))
    shutil.copytree(work / "bank", work / "flipped")
    file = max((work / "flipped" / "files").glob("task*"), key=lambda path: path.stat().st_mtime)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    def flipped() -> object:
        report = ht.Bank.open(work / "flipped", model=resnet56()).verify()
        return "\n".join(report.lines())

    def opened_flipped() -> object:
        damaged = ht.Bank.open(work / "flipped", model=resnet56())
        return [damaged.evaluate(name, given.tasks / name / "test") for name in damaged.tasks]

    pixels = ht.Preprocessing(size=32)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("an empty folder", lambda: bank.learn("new", work / "empty")),
        ("a folder of one class", lambda: bank.learn("new", work / "one")),
        ("an unreadable image among many", lambda: bank.learn("new", work / "broken", method="head").notices),
        ("class folders that disagree between train and test", lambda: bank.learn("new2", work / "split")),
        ("a task name with a slip", lambda: bank.evaluate("bears-and-cat", source)),
        ("a name that is taken", lambda: bank.learn("trees", source)),
        ("a bank of a newer version", lambda: ht.Bank.open(work / "newer", model=resnet56())),
        ("a bank with a flipped bit: verify", flipped),
        ("a bank with a flipped bit: its task is asked", opened_flipped),
        ("another model than the bank's", lambda: ht.Bank.open(work / "bank", model=Skipping())),
        (
            "a model that cannot be traced",
            lambda: ht.Bank.create(work / "new", model=Branching(), cut="layer2", preprocessing=pixels),
        ),
        (
            "a cut that two tensors cross",
            lambda: ht.Bank.create(work / "new", model=Skipping(), cut="layer3", preprocessing=pixels),
        ),
        (
            "a cut that is not there",
            lambda: ht.Bank.create(work / "new", model=Skipping(), cut="layer9", preprocessing=pixels),
        ),
        ("an image that is none", lambda: bank.predict(work / "bank" / "bank.json")),
    ]
    lines = ["# What a bank says to bad input", "", "<!-- generated by results/bank/bad_inputs.py -->", ""]
    for title, attempt in cases:
        before = state(work / "bank")
        try:
            answer, kind = attempt(), "goes on, and says"
        except ht.HypertailError as error:
            answer, kind = str(error), next(each.__name__ for each in type(error).__mro__ if each.__name__[0] != "_")
        same = state(work / "bank") == before
        told = str(answer).replace(str(work), "WORK").replace(str(given.tasks), "TASKS")
        lines += [f"**{title}** ({kind}; {'the bank is as it was' if same else 'the task was learned'})", ""]
        lines += [f"> {line}" for line in told.splitlines()] + [""]
        assert not (work / "new").exists()
    given.out.write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
