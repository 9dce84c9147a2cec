"""Images of all kinds -> answers, probabilities and accuracies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cache

import torch

from hypertail.bank.contents import Contents
from hypertail.bank.images.opening import open_images
from hypertail.bank.images.pixels import PixelBatch, pixel_batches, read_batches, single
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.prediction import Prediction
from hypertail.errors import ConfigError, DataError
from hypertail.streams.sources.depth import Rule, Scaling
from hypertail.streams.sources.unreadable import OnBadImage


def predict(
    contents: Contents,
    images: object,
    task: str | Sequence[str | None] | None,
    batch_size: int,
    on_bad_image: OnBadImage = "error",
) -> Prediction | list[Prediction]:
    """Answers for images (`Bank.predict`)."""
    check_taught(contents)
    told = None if task is None or isinstance(task, str) else list(task)
    for name in dict.fromkeys([task] if isinstance(task, str) else told or []):
        if name is not None:
            contents.ref(name)
    answers: list[Prediction] = []
    scaling = _scaling(contents, task if isinstance(task, str) else told)
    for batch in read_batches(images, contents.backbone.preprocessing, batch_size, scaling, on_bad_image):
        start, count = len(answers), len(batch.paths)
        if isinstance(task, str) or told is None:
            of_batch: list[str | None] = [task if isinstance(task, str) else None] * count
        else:
            of_batch = told[start : start + count]
        if len(of_batch) != count:
            raise _uneven(len(told or ()))
        answers += _of_batch(contents, batch, of_batch)
    if told is not None and len(told) != len(answers):
        raise _uneven(len(told))
    return answers[0] if single(images) else answers


def _of_batch(contents: Contents, batch: PixelBatch, tasks: Sequence[str | None]) -> list[Prediction]:
    """An answer for each image, also for those that could not be read."""
    rows = [row for row in range(len(batch.paths)) if row not in batch.errors]
    paths, told = [batch.paths[row] for row in rows], [tasks[row] for row in rows]
    found = dict(zip(rows, contents.server.predict(batch.pixels, paths, told) if rows else (), strict=True))
    bad = {row: Prediction.none(batch.paths[row], str(error)) for row, error in batch.errors.items()}
    return [answer for _, answer in sorted({**found, **bad}.items())]


def probabilities(contents: Contents, images: object, batch_size: int = 64) -> Iterator[list[dict[str, float]]]:
    """For each image of a batch the probability of every label, over all tasks."""
    check_taught(contents)
    scaling = _scaling(contents, None)
    for pixels, _ in pixel_batches(images, contents.backbone.preprocessing, batch_size, scaling):
        yield contents.server.probabilities(pixels)


def _scaling(contents: Contents, task: str | Sequence[str | None] | None) -> Callable[[int], Scaling]:
    """How the image of a row is scaled, if it has more than 8 bits: as what its task learned from was.

    Where the task is not told, that is the first task that learned from such images.
    """

    @cache
    def first() -> Scaling:
        found: dict[bool, Rule] = {}
        for record in contents.server.readable.values():
            found = {**record.scaling, **found}
        return found

    def of_row(row: int) -> Scaling:
        told = task
        if task is not None and not isinstance(task, str):
            told = task[row] if row < len(task) else None
        return contents.record(told).scaling if isinstance(told, str) else first()

    return of_row


def evaluate(contents: Contents, name: str, data: object) -> float:
    """Accuracy on test data (`Bank.evaluate`)."""
    return measured(contents, name, data)[0]


def measured(contents: Contents, name: str, data: object) -> tuple[float, int]:
    """Accuracy on test data of a task, and of how many images."""
    contents.ref(name)
    scaling = contents.record(name).scaling
    images = open_images(data, contents.backbone.preprocessing, least_classes=1, scaling=scaling)
    test = images.test or images
    return accuracy(contents, name, test), len(test)


def accuracy(contents: Contents, name: str, images: TaskImages) -> float:
    """Share of images that a task labels rightly.

    Raises:
        DataError: a class that the task does not have.
    """
    classes = contents.record(name).classes
    foreign = [label for label in images.classes if label not in classes]
    if foreign:
        raise DataError(
            f"test data of task '{name}'",
            required=f"classes of the task ({', '.join(classes)})",
            found=", ".join(foreign),
            hint="Name the class folders as they were when the task was learned.",
        )
    rows = torch.tensor([classes.index(label) for label in images.classes])[images.labels]
    right = 0
    for part in torch.arange(len(images)).split(64):
        logits = contents.server.logits(name, images.pixels(part.tolist())).cpu()
        right += int((logits.argmax(1) == rows[part]).sum())
    return right / len(images)


def check_taught(contents: Contents) -> None:
    """Refuse a bank without tasks.

    Raises:
        ConfigError: it has none.
    """
    if not contents.manifest.tasks:
        raise ConfigError(
            "nothing to predict with",
            required="a bank with a task",
            found="none yet",
            hint="Learn one: bank.learn(name, folder).",
        )


def _uneven(told: int) -> ConfigError:
    return ConfigError(
        "tasks of the images",
        required="one task for all images, or one for each",
        found=f"{told} tasks for another number of images",
        hint="Give None for images whose task is not known.",
    )
