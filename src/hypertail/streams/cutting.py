"""Cut a dataset into experiences: class order, groups and splits follow from the seed."""

from __future__ import annotations

from dataclasses import replace

from hypertail.errors import ConfigError
from hypertail.streams.options import Options
from hypertail.streams.report import DatasetReport
from hypertail.streams.sources.labelled import LabelledImages, at_most, hold_out, of_classes, partition, shuffled
from hypertail.streams.sources.named import Preprocessing
from hypertail.streams.stream import Experience, Stream, Transform

TEST_SHARE = 0.2  # held out where a source has no test set


def in_order(
    name: str,
    images: LabelledImages,
    size: int,
    preprocessing: Preprocessing,
    options: Options,
    notices: tuple[str, ...] = (),
) -> Stream:
    """A stream of all classes in random order, `size` an experience; its report has `notices` of the stream.

    Raises:
        ConfigError: `size`, or the number that `options` has in its place, is out of range.
        DataError: a class has too few images to hold any out.
    """
    order = shuffled(len(images.classes), options.seed, "class order", images.purpose)
    groups = partition(order, options.classes_per_experience or size)
    pixels = int(images.train.images.shape[-1])
    transforms = options.transforms(preprocessing, pixels)
    experiences = [
        experience_of(task, f"{images.name} {task + 1}", images, group, transforms, options)
        for task, group in enumerate(groups)
    ]
    return stream_of(name, experiences, [images] * len(experiences), options, notices)


def choose(purpose: str, images: LabelledImages, count: int, options: Options) -> list[int]:
    """The first `count` classes in random order.

    Raises:
        ConfigError: there are fewer.
    """
    if count > len(images.classes):
        raise ConfigError(
            f"classes taken from '{images.name}'",
            required=f"at most its {len(images.classes)} classes",
            found=f"{count}",
            hint="Lower the classes per experience.",
        )
    return shuffled(len(images.classes), options.seed, purpose, images.purpose)[:count]


def experience_of(
    task: int,
    name: str,
    images: LabelledImages,
    classes: list[int],
    transforms: tuple[Transform, Transform],
    options: Options,
) -> Experience:
    """The experience of the `classes` of a dataset, with what is held out of its training data.

    Raises:
        DataError: a class has too few images to hold any out.
    """
    part = of_classes(images, classes)
    train, test, validation, taken = part.train, part.test, None, None
    if test is None:
        train, test = hold_out(train, part.classes, TEST_SHARE, options.seed, "test", images.purpose)
        taken = test
    if options.images_per_class is not None:
        train = at_most(train, part.classes, options.images_per_class, options.seed, "images per class", images.purpose)
    if options.validation:
        purpose = ("validation", images.purpose)
        train, validation = hold_out(train, part.classes, options.validation, options.seed, *purpose, taken=taken)
    return Experience(task, name, part.classes, train, test, validation, *transforms)


def stream_of(
    name: str,
    experiences: list[Experience],
    sources: list[LabelledImages],
    options: Options,
    notices: tuple[str, ...] = (),
) -> Stream:
    """The stream of `experiences`, each made of the dataset at the same place in `sources`."""
    limit = options.images_per_class
    if limit is not None:
        notices = (f"of each class at most {limit} training images are kept, chosen by the seed", *notices)
    reports = reports_of(experiences, sources, notices)
    return Stream(name, tuple(experiences), experiences[0].image_shape, reports)


def reports_of(
    experiences: list[Experience], sources: list[LabelledImages], notices: tuple[str, ...] = ()
) -> tuple[DatasetReport, ...]:
    """One report for each dataset in `sources`, with what the experiences made of it hold out, and more `notices`."""
    reports: dict[str, DatasetReport] = {}
    for experience, images in zip(experiences, sources, strict=True):
        if images.report is not None:
            report = reports.get(images.name)
            if report is None:
                report = replace(images.report, notices=(*images.report.notices, *notices))
            held = dict(report.held_out)
            if images.test is None:
                held["test"] = held.get("test", 0) + len(experience.test)
            if experience.validation is not None:
                held["validation"] = held.get("validation", 0) + len(experience.validation)
            reports[images.name] = replace(report, held_out=held)
    return tuple(reports.values())
