"""`build_stream`: named benchmarks, and streams from your own images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from hypertail.errors import ConfigError, unknown_name
from hypertail.streams.cutting import choose, experience_of, in_order, reports_of, stream_of
from hypertail.streams.names import shown
from hypertail.streams.noise import Autocontrast, GaussianBlur, Grayscale, RandomGaussianBlur, Solarize
from hypertail.streams.options import Options
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from hypertail.streams.sources.named import (
    DATASETS,
    DIGITS,
    IMAGENET,
    Augment,
    Preprocessing,
    digits,
    named_dataset,
)
from hypertail.streams.sources.unreadable import OnBadImage
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


def build_stream(
    name: str,
    *,
    seed: int = 0,
    data: str | Path | None = None,
    validation: float = 0.0,
    image_size: int | None = None,
    experiences: int | None = None,
    classes_per_experience: int | None = None,
    cache: bool | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    images_per_class: int | None = None,
    on_bad_image: OnBadImage = "error",
    augment: Augment | None = None,
) -> Stream:
    """Build a stream by name (`STREAMS` lists them).

    Class order, chosen classes and splits follow from `seed` and the dataset alone: for a folder of your own from the
    names of its classes and its images, wherever it lies and whatever it is called. `Stream.reports` say what was
    read.

    Classes that do not fill a last experience make a smaller one if they are at least two; a single one joins the
    experience before it.
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
        cache: keep the decoded images on disk, to start faster (docs/reference/privacy.md). None keeps those of named
            and of downloaded datasets, which are public, and none of your own folders.
        image_column, label_column: of a `hub:` dataset, where the usual ones are not right.
        images_per_class: keep at most so many training images of each class, 2 or more, chosen by `seed`. What is held
            out for validation comes out of them; test images stay as they are.
        on_bad_image: what to do with an image that cannot be read: end with an `error`, or `skip` and list it.
        augment: what is random in training images: `none`, `crop`, or `crop-flip`, which also mirrors: for images
            whose mirror image is of the same class. None is what fits the dataset: `crop-flip` for images of your
            own, but for digits and traffic signs `crop`.

    Raises:
        ConfigError: an unknown name or an option out of range.
        DataError: a dataset, folder or image is missing or unusable.
    """
    columns = image_column, label_column
    options = Options(
        *(seed, data, validation, image_size, classes_per_experience, cache, *columns),
        images_per_class=images_per_class,
        on_bad_image=on_bad_image,
        augment=augment,
    )
    kind, _, rest = name.partition(":")
    if kind != "hub":
        options.refuse_columns(shown(name))
    whole: dict[str, Callable[[Options], Stream]] = {
        "digits": _digits,
        "split-cifar100": lambda options: _split("split-cifar100", "cifar100", 5, options),
        "split-cifar10": lambda options: _split("split-cifar10", "cifar10", 2, options),
        "split-tinyimagenet": lambda options: _split("split-tinyimagenet", "tiny-imagenet", 10, options),
        "noisy-cifar100": lambda options: _noisy("noisy-cifar100", options, noisy=True),
        "noisy-cifar100-clean": lambda options: _noisy("noisy-cifar100-clean", options, noisy=False),
    }
    open_ended: dict[str, Callable[[str, Options], Stream]] = {"pair": _pair, "folder": _folder, "hub": _hub}
    if name in whole:
        stream = whole[name](options)
    elif kind in open_ended and rest:
        stream = open_ended[kind](rest, options)
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
    cache: bool = False,
    on_bad_image: OnBadImage = "error",
    augment: Augment | None = None,
) -> Experience:
    """All classes of an image folder (`image_folder`), in the order of their names, as one experience.

    Without a test set of its own, 20 % of every class is held out as one, following `seed`. `cache` keeps the decoded
    images on disk. An image that cannot be read is an `error`, or skipped and listed (`on_bad_image`). Training images
    are cropped at random and mirrored half of the time, or as `augment` says: `none`, `crop` or `crop-flip`.

    Raises:
        ConfigError: an option out of range.
        DataError: the folder or an image is missing or unusable.
    """
    options = Options(seed, validation=validation, image_size=image_size, augment=augment)
    dataset = image_folder(path, image_size=image_size, cache=cache, on_bad_image=on_bad_image)
    classes = list(range(len(dataset.classes)))
    transforms = options.transforms(IMAGENET, image_size)
    experience = experience_of(task, name or dataset.name, dataset, classes, transforms, options)
    reports = reports_of([experience], [dataset], _told(IMAGENET, options))
    return replace(experience, report=next(iter(reports), None))


def _digits(options: Options) -> Stream:
    return in_order("digits", digits(options.size(16)), 2, DIGITS, options)


def _split(name: str, dataset: str, classes: int, options: Options) -> Stream:
    images = _named(dataset, options.image_size, options)
    return in_order(name, images, classes, DATASETS[dataset].preprocessing, options)


def _named(dataset: str, image_size: int | None, options: Options) -> LabelledImages:
    return named_dataset(
        dataset,
        image_size=image_size,
        data=options.data,
        cache=options.cache is not False,
        on_bad_image=options.on_bad_image,
    )


def _folder(path: str, options: Options) -> Stream:
    bad = options.on_bad_image
    images = image_folder(path, image_size=options.size(32), cache=bool(options.cache), on_bad_image=bad)
    return _of_all(f"folder:{shown(path)}", images, IMAGENET, options)


def _hub(rest: str, options: Options) -> Stream:
    repo, _, config = rest.partition(":")
    chosen = options.image_column is not None or options.label_column is not None
    source = HubSource(repo, config or None, options.image_column, options.label_column, strict=chosen)
    named = next((spec for spec in DATASETS.values() if spec.source.repo == repo), None)
    keep = True if options.cache is None and named is not None else options.cache
    size, bad = options.size(32), options.on_bad_image
    images = hub_dataset(source, image_size=size, data=options.data, cache=keep, on_bad_image=bad)
    return _of_all(f"hub:{rest}", images, IMAGENET if named is None else named.preprocessing, options)


def _of_all(name: str, images: LabelledImages, preprocessing: Preprocessing, options: Options) -> Stream:
    """About five experiences of a dataset that may be any, with a word on what is made of its images."""
    size = max(2, len(images.classes) // 5)
    return in_order(name, images, size, preprocessing, options, _told(preprocessing, options))


def _told(preprocessing: Preprocessing, options: Options) -> tuple[str, ...]:
    chosen = preprocessing.augmented(options.augment)
    unsure = preprocessing is IMAGENET and options.augment is None
    doubt = "; where left and right mean something, use --augment crop" if unsure else ""
    return (f"training images are {chosen.words()}{doubt}",)


def _pair(rest: str, options: Options) -> Stream:
    names = rest.split(",")
    for dataset in names:
        if dataset not in PAIRS:
            raise unknown_name("dataset in a pair", dataset, PAIRS)
    if len(names) != 2:
        raise ConfigError(
            f"stream 'pair:{rest}'",
            required="two datasets, pair:A,B",
            found=f"{len(names)}",
            hint="For example pair:svhn,cifar10.",
        )
    count = options.classes_per_experience or 5
    experiences, sources = [], []
    for task, dataset in enumerate(names):
        images = _named(dataset, options.size(32), options)
        second = task == 1 and names[0] == names[1]  # the same dataset twice: its next classes
        chosen = choose("pair", images, count * (2 if second else 1), options)[-count:]
        preprocessing = DATASETS[dataset].preprocessing
        transforms = options.transforms(preprocessing, options.size(32))
        experiences.append(experience_of(task, dataset, images, chosen, transforms, options))
        sources.append(images)
    return stream_of(f"pair:{rest}", experiences, sources, options)


def _noisy(name: str, options: Options, *, noisy: bool) -> Stream:
    images = _named("cifar100", options.image_size, options)
    count = options.classes_per_experience or 5
    chosen = choose("noisy", images, 4 * count, options)
    preprocessing = DATASETS["cifar100"].preprocessing.augmented(options.augment)
    experiences = []
    for task, (noise, train, test) in enumerate(_noises()):
        label = noise if noisy else "clean"
        if noisy and train:
            augment = preprocessing.augment(options.size(32))
            transforms: tuple[Transform, Transform] = (
                Compose((*augment, ToFloat(), *train, preprocessing.normalise())),
                Compose((ToFloat(), *test, preprocessing.normalise())),
            )
        else:
            transforms = options.transforms(preprocessing, options.size(32))
        classes = chosen[task * count : (task + 1) * count]
        experiences.append(experience_of(task, label, images, classes, transforms, options))
    return stream_of(name, experiences, [images] * len(experiences), options)


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
