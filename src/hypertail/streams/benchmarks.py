"""Named streams, and streams from the user's own images, behind one door: `build_stream`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypertail.errors import ConfigError, unknown_name
from hypertail.streams.datasets import DATASETS, DIGITS, IMAGENET, Look, digits, named_dataset
from hypertail.streams.folders import image_folder
from hypertail.streams.hub import HubSource, hub_dataset
from hypertail.streams.labelled import LabelledImages, hold_out, of_classes, partition, shuffled
from hypertail.streams.noise import Autocontrast, GaussianBlur, Grayscale, RandomGaussianBlur, Solarize
from hypertail.streams.stream import Experience, Stream, Transform
from hypertail.streams.transforms import Compose, Step, ToFloat

STREAMS: dict[str, str] = {
    "digits": "scikit-learn's handwritten digits, 16x16 grey: 5 experiences of 2 classes; needs no download",
    "split-cifar100": "CIFAR-100 in 20 experiences of 5 classes",
    "split-cifar10": "CIFAR-10 in 5 experiences of 2 classes",
    "split-tinyimagenet": "Tiny ImageNet in 20 experiences of 10 classes, 64x64 (or --image-size 32)",
    "noisy-cifar100": "20 classes of CIFAR-100 in 4 experiences: clean, solarized, blurred, grey and blurred",
    "noisy-cifar100-clean": "the classes, order and splits of noisy-cifar100 without the noise",
    "pair:A,B": "five classes of A, then five of B, from fashion-mnist, svhn, gtsrb, cifar10, cifar100",
    "folder:PATH": "your own images, PATH/<class>/<image> or PATH/{train,test}/<class>/<image>",
    "hub:OWNER/NAME": "any image classification dataset of the Hugging Face hub (hub:OWNER/NAME:CONFIG)",
}
PAIRS = ("fashion-mnist", "svhn", "gtsrb", "cifar10", "cifar100")
TEST_SHARE = 0.2  # held out where a source has no test set


@dataclass(frozen=True)
class _Wish:
    """The arguments of `build_stream` after its name."""

    seed: int
    data: str | Path | None
    validation: float
    image_size: int | None
    classes_per_experience: int | None

    def __post_init__(self) -> None:
        if not 0 <= self.validation < 1:
            raise ConfigError(
                "validation share",
                required="0 <= share < 1",
                found=f"{self.validation}",
                mend="Use 0.1, say.",
            )
        if self.image_size is not None and self.image_size < 8:
            raise ConfigError(
                "image size",
                required="8 pixels a side or more",
                found=f"{self.image_size}",
                mend="Use 32, say.",
            )
        if self.classes_per_experience is not None and self.classes_per_experience < 2:
            raise ConfigError(
                "classes per experience",
                required="2 or more",
                found=f"{self.classes_per_experience}",
                mend="Use 2, or leave it out.",
            )

    def size(self, default: int) -> int:
        return self.image_size or default


def build_stream(
    name: str,
    *,
    seed: int = 0,
    data: str | Path | None = None,
    validation: float = 0.0,
    image_size: int | None = None,
    experiences: int | None = None,
    classes_per_experience: int | None = None,
) -> Stream:
    """Build a stream by name (`STREAMS` lists them).

    Class order, chosen classes and splits follow from `seed` alone. Classes that do not fill a last
    experience make a smaller one if they are at least two; a single one joins the experience before it.
    For `folder:` and `hub:` an experience has a fifth of the classes (at least two) unless told, so there
    are about five; where they have no test set, 20 % of every class is held out as one.

    Args:
        name: one of `STREAMS`, with its blanks filled in.
        seed: of class order and splits.
        data: root folder of local datasets, `<data>/<owner>/<name>`; default `$HYPERTAIL_DATA`, else the hub.
        validation: share of the training data of every class to hold out for validation, in [0, 1).
        image_size: pixels a side; default 16 for digits, 64 for Tiny ImageNet, 32 otherwise.
        experiences: keep the first so many.
        classes_per_experience: other than the stream's own number.

    Raises:
        ConfigError: an unknown name or an option out of range.
        DataError: a dataset, folder or image is missing or unusable.
    """
    wish = _Wish(seed, data, validation, image_size, classes_per_experience)
    kind, _, rest = name.partition(":")
    whole: dict[str, Callable[[_Wish], Stream]] = {
        "digits": _digits,
        "split-cifar100": lambda wish: _split("split-cifar100", "cifar100", 5, wish),
        "split-cifar10": lambda wish: _split("split-cifar10", "cifar10", 2, wish),
        "split-tinyimagenet": lambda wish: _split("split-tinyimagenet", "tiny-imagenet", 10, wish),
        "noisy-cifar100": lambda wish: _noisy("noisy-cifar100", wish, noisy=True),
        "noisy-cifar100-clean": lambda wish: _noisy("noisy-cifar100-clean", wish, noisy=False),
    }
    open_ended: dict[str, Callable[[str, _Wish], Stream]] = {"pair": _pair, "folder": _folder, "hub": _hub}
    if name in whole:
        stream = whole[name](wish)
    elif kind in open_ended and rest:
        stream = open_ended[kind](rest, wish)
    else:
        raise unknown_name("stream", name, STREAMS)
    return stream if experiences is None else stream.first(experiences)


def experience_from_folder(
    path: str | Path,
    *,
    task: int = 0,
    name: str | None = None,
    seed: int = 0,
    validation: float = 0.0,
    image_size: int = 32,
) -> Experience:
    """All classes of an image folder (`image_folder`), in the order of their names, as one experience.

    Without a test set of its own, 20 % of every class is held out as one, following `seed`.

    Raises:
        ConfigError: an option out of range.
        DataError: the folder or an image is missing or unusable.
    """
    wish = _Wish(seed, None, validation, image_size, None)
    dataset = image_folder(path, image_size=image_size)
    classes = list(range(len(dataset.classes)))
    transforms = IMAGENET.train_transform(image_size), IMAGENET.test_transform()
    return _experience(task, name or dataset.name, dataset, classes, transforms, wish)


def _digits(wish: _Wish) -> Stream:
    return _in_order("digits", digits(wish.size(16)), 2, DIGITS, wish)


def _split(name: str, dataset: str, classes: int, wish: _Wish) -> Stream:
    images = named_dataset(dataset, image_size=wish.image_size, data=wish.data)
    return _in_order(name, images, classes, DATASETS[dataset].look, wish)


def _folder(path: str, wish: _Wish) -> Stream:
    images = image_folder(path, image_size=wish.size(32))
    return _in_order(f"folder:{path}", images, max(2, len(images.classes) // 5), IMAGENET, wish)


def _hub(rest: str, wish: _Wish) -> Stream:
    repo, _, config = rest.partition(":")
    images = hub_dataset(HubSource(repo, config or None), image_size=wish.size(32), data=wish.data)
    return _in_order(f"hub:{rest}", images, max(2, len(images.classes) // 5), IMAGENET, wish)


def _pair(rest: str, wish: _Wish) -> Stream:
    names = rest.split(",")
    for dataset in names:
        if dataset not in PAIRS:
            raise unknown_name("dataset in a pair", dataset, PAIRS)
    if len(names) != 2:
        raise ConfigError(
            f"stream 'pair:{rest}'",
            required="two datasets, pair:A,B",
            found=f"{len(names)}",
            mend="For example pair:svhn,cifar10.",
        )
    count = wish.classes_per_experience or 5
    experiences = []
    for task, dataset in enumerate(names):
        images = named_dataset(dataset, image_size=wish.size(32), data=wish.data)
        second = task == 1 and names[0] == names[1]  # the same dataset twice: its next classes
        chosen = _choose("pair", images, count * (2 if second else 1), wish)[-count:]
        look = DATASETS[dataset].look
        transforms = look.train_transform(wish.size(32)), look.test_transform()
        experiences.append(_experience(task, dataset, images, chosen, transforms, wish))
    return _stream(f"pair:{rest}", experiences)


def _noisy(name: str, wish: _Wish, *, noisy: bool) -> Stream:
    images = named_dataset("cifar100", image_size=wish.image_size, data=wish.data)
    count = wish.classes_per_experience or 5
    chosen = _choose("noisy", images, 4 * count, wish)
    look = DATASETS["cifar100"].look
    experiences = []
    for task, (noise, train, test) in enumerate(_noises()):
        label = noise if noisy else "clean"
        if noisy and train:
            augment = look.augment(wish.size(32))
            transforms: tuple[Transform, Transform] = (
                Compose((*augment, ToFloat(), *train, look.normalise())),
                Compose((ToFloat(), *test, look.normalise())),
            )
        else:
            transforms = look.train_transform(wish.size(32)), look.test_transform()
        classes = chosen[task * count : (task + 1) * count]
        experiences.append(_experience(task, label, images, classes, transforms, wish))
    return _stream(name, experiences)


def _noises() -> tuple[tuple[str, tuple[Step, ...], tuple[Step, ...]], ...]:
    """Name, training steps and test steps of each experience of the noisy stream.

    In training the last blur draws a sigma from 0.6..0.7 for every image; at test it is the middle, 0.65,
    so that what an image looks like never depends on its batch.
    """
    solarized, blurred = (Solarize(0.5),), (GaussianBlur(5, 0.9),)
    grey = (Autocontrast(), Grayscale())
    return (
        ("clean", (), ()),
        ("solarized", solarized, solarized),
        ("blurred", blurred, blurred),
        ("grey and blurred", (*grey, RandomGaussianBlur(5, 0.6, 0.7)), (*grey, GaussianBlur(5, 0.65))),
    )


def _in_order(name: str, images: LabelledImages, size: int, look: Look, wish: _Wish) -> Stream:
    """All classes in random order, `size` an experience."""
    order = shuffled(len(images.classes), wish.seed, "class order", images.name)
    groups = partition(order, wish.classes_per_experience or size)
    pixels = int(images.train.images.shape[-1])
    transforms = look.train_transform(pixels), look.test_transform()
    return _stream(
        name,
        [
            _experience(task, f"{images.name} {task + 1}", images, group, transforms, wish)
            for task, group in enumerate(groups)
        ],
    )


def _choose(purpose: str, images: LabelledImages, count: int, wish: _Wish) -> list[int]:
    """The first `count` classes in random order."""
    if count > len(images.classes):
        raise ConfigError(
            f"classes taken from '{images.name}'",
            required=f"at most its {len(images.classes)} classes",
            found=f"{count}",
            mend="Lower the classes per experience.",
        )
    return shuffled(len(images.classes), wish.seed, purpose, images.name)[:count]


def _experience(
    task: int,
    name: str,
    images: LabelledImages,
    classes: list[int],
    transforms: tuple[Transform, Transform],
    wish: _Wish,
) -> Experience:
    part = of_classes(images, classes)
    train, test, validation = part.train, part.test, None
    if test is None:
        train, test = hold_out(train, part.classes, TEST_SHARE, wish.seed, "test", images.name)
    if wish.validation:
        train, validation = hold_out(train, part.classes, wish.validation, wish.seed, "validation", images.name)
    return Experience(task, name, part.classes, train, test, validation, *transforms)


def _stream(name: str, experiences: list[Experience]) -> Stream:
    return Stream(name, tuple(experiences), experiences[0].image_shape)
