"""`hypertail learn`: learn a folder of images as a task of a bank."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from rich.console import Console
from rich.text import Text
from tyro.conf import OmitArgPrefixes, Positional, arg

from hypertail.bank import Bank, Learned, Preprocessing
from hypertail.bank.founding import AUTO_CUT, SLIM
from hypertail.bank.images.features import Augment
from hypertail.bank.learning.found import USUAL_CUT
from hypertail.bank.learning.notices import SAME_IMAGES
from hypertail.bank.methods.catalogue import method_names
from hypertail.bank.sources import SOURCES, source_name
from hypertail.bank.store.layout import holds_bank
from hypertail.bank.task_info import share_right
from hypertail.cli.bank.place import BankPlace, progress_on, say
from hypertail.cli.shared import listed
from hypertail.errors import ConfigError
from hypertail.streams.sources.folders import scan_folder
from hypertail.streams.sources.unreadable import OnBadImage


@dataclass(frozen=True)
class Learn:
    """Learn a folder of class folders as a task. The bank is made where there is none; the folder is not needed again.

    Example: hypertail learn photos/bakery --bank bank --trunk transformers:facebook/dinov2-small
    """

    folder: Annotated[Positional[Path], arg(metavar="FOLDER")]
    """Images, FOLDER/CLASS/IMAGE, or FOLDER/train/CLASS/IMAGE; those of FOLDER/test are not learned from."""
    place: OmitArgPrefixes[BankPlace]
    """The bank and its model."""
    task: Annotated[str | None, arg(metavar="NAME", help_behavior_hint="(default: that of the folder)")] = None
    """Name of the task."""
    trunk: Annotated[
        str | None,
        arg(
            metavar="SOURCE",
            help=f"Of a new bank without --model, where its model comes from:{listed(SOURCES)}",
            help_behavior_hint="(default: slim-resnet18)",
        ),
    ] = None
    cut: Annotated[str | None, arg(metavar="MODULE", help_behavior_hint="(default: that of the source)")] = None
    """Of a new bank, the first module that tasks may change, such as layer4; auto: tried on this folder."""
    image_size: Annotated[int | None, arg(metavar="PIXELS", help_behavior_hint="(default: 224; slim: 32)")] = None
    """Of a new bank with --model, the size that the model was trained at; of one without a source, that to train at."""
    mean: Annotated[
        tuple[float, float, float] | None, arg(metavar="R G B", help_behavior_hint="(default: ImageNet's)")
    ] = None
    """Of a new bank with --model, the mean of each colour on the scale 0 to 1."""
    std: Annotated[
        tuple[float, float, float] | None, arg(metavar="R G B", help_behavior_hint="(default: ImageNet's)")
    ] = None
    """Of a new bank with --model, the standard deviation of each colour."""
    method: Annotated[str, arg(metavar="NAME", help=f"How it is learned:{listed(method_names())}")] = "adapter"
    validation: Annotated[Path | None, arg(metavar="FOLDER", help_behavior_hint="(default: a tenth is held out)")] = (
        None
    )
    """Images to calibrate on."""
    epochs: Annotated[int | None, arg(metavar="N", help_behavior_hint="(default: 15 to 60, for 400 steps)")] = None
    """Passes over the images."""
    batch_size: Annotated[int, arg(metavar="N")] = 32
    """Images per step."""
    augment: Augment = "crop"
    """Views of an image: none, random crops, or crops that may be mirrored."""
    on_bad_image: OnBadImage = "error"
    """With an image that cannot be read: end with an error, or skip and list it."""
    seed: Annotated[int, arg(metavar="S")] = 0
    """Of all that is random."""


def execute(command: Learn, console: Console, line: str) -> None:
    """Learn the task, and print what came of it."""
    bank = _bank(command, console)
    name = command.task or command.folder.resolve().name
    with progress_on(console, name) as progress, warnings.catch_warnings():
        warnings.filterwarnings("ignore", SAME_IMAGES)  # it is among the notices
        learned = bank.learn(
            name,
            command.folder,
            validation=command.validation,
            method=command.method,
            epochs=command.epochs,
            batch_size=command.batch_size,
            augment=command.augment,
            on_bad_image=command.on_bad_image,
            seed=command.seed,
            progress=progress,
        )
    show(console, bank, learned)


def show(console: Console, bank: Bank, learned: Learned) -> None:
    """Print what came of learning."""
    for notice in learned.notices:
        say(console, notice)
    if learned.verdict:
        say(console, learned.verdict)
    evidence = bank.cut_evidence
    if evidence and bank.generation == 1:
        for row in evidence["tried"]:
            say(console, f"cut at {row['cut']}: {100 * row['accuracy']:.1f} % of {row['images']} held-out images right")
    accuracy, count = learned.held_out_accuracy, learned.held_out_images
    right = "accuracy not measured" if accuracy is None else share_right(accuracy, count)
    words = f"{learned.name}: {learned.method}, {learned.images} images, {learned.nbytes / 1000:.1f} kB, {right}"
    console.print(Text(f"{words} ({learned.seconds:.0f} s)"), soft_wrap=True)
    if learned.certificate is not None:
        say(console, f"earlier tasks: {learned.certificate}")


def _bank(command: Learn, console: Console) -> Bank:
    if holds_bank(command.place.bank.expanduser()):
        bank = command.place.open(console)
        _check_decided(command, bank)
        return bank
    scan_folder(command.folder)  # before anything is made
    device = command.place.settle()
    model, tail = command.place.modules()
    usual = Preprocessing()
    given = [value for value in (command.image_size, command.mean, command.std) if value is not None]
    preprocessing = Preprocessing(
        usual.size if command.image_size is None else command.image_size,
        command.mean or usual.mean,
        command.std or usual.std,
    )
    if given and model is None and command.trunk is not None:
        raise ConfigError(
            "options --image-size, --mean and --std",
            required="--model: a source says how its images are prepared",
            found=f"--trunk {command.trunk}",
            hint="Leave them out.",
        )
    return Bank.create(
        command.place.bank,
        model=model,
        tail=tail,
        cut=command.cut,
        trunk=command.trunk,
        preprocessing=preprocessing if given else None,
        device=device,
    )


def _check_decided(command: Learn, bank: Bank) -> None:
    """The options of a new bank may be given again as they were, so that one command serves every folder."""
    origin = bank.origin
    prepared = origin["preprocessing"] or {}
    chosen = bank.cut_evidence or (origin["source"] == SLIM and origin["cut"] == USUAL_CUT)
    cut = AUTO_CUT if chosen and command.cut == AUTO_CUT else origin["cut"]
    decided: dict[str, tuple[object, object]] = {
        "--trunk": (None if command.trunk is None else source_name(command.trunk), origin["source"]),
        "--cut": (command.cut, cut),
        "--image-size": (command.image_size, prepared.get("size")),
        "--mean": (command.mean, prepared.get("mean")),
        "--std": (command.std, prepared.get("std")),
    }
    for option, (asked, is_so) in decided.items():
        if asked is not None and asked != (tuple(is_so) if isinstance(is_so, list) else is_so):
            raise ConfigError(
                f"option {option} {_words(asked)}",
                required="what the bank has: its model is decided when it is made",
                found=f"{_words(is_so)} in the bank at {command.place.bank}",
                hint=f"Leave {option} out, or give another --bank.",
            )


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
