"""Images of all kinds -> answers, probabilities and accuracies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch

from hypertail.bank.contents import Contents
from hypertail.bank.images.opening import pixel_batches, single
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.prediction import Prediction
from hypertail.errors import ConfigError, DataError


def predict(
    contents: Contents, images: object, task: str | Sequence[str | None] | None, batch_size: int
) -> Prediction | list[Prediction]:
    """Answers for images (`Bank.predict`)."""
    check_taught(contents)
    told = None if task is None or isinstance(task, str) else list(task)
    for name in dict.fromkeys([task] if isinstance(task, str) else told or []):
        if name is not None:
            contents.ref(name)
    answers: list[Prediction] = []
    for pixels, paths in pixel_batches(images, contents.backbone.preprocessing, batch_size):
        start = len(answers)
        if isinstance(task, str) or told is None:
            of_batch: list[str | None] = [task if isinstance(task, str) else None] * len(pixels)
        else:
            of_batch = told[start : start + len(pixels)]
        if len(of_batch) != len(pixels):
            raise _uneven(len(told or ()))
        answers += contents.server.predict(pixels, paths, of_batch)
    if told is not None and len(told) != len(answers):
        raise _uneven(len(told))
    return answers[0] if single(images) else answers


def probabilities(contents: Contents, images: object, batch_size: int = 64) -> Iterator[list[dict[str, float]]]:
    """For each image of a batch the probability of every label, over all tasks."""
    check_taught(contents)
    for pixels, _ in pixel_batches(images, contents.backbone.preprocessing, batch_size):
        yield contents.server.probabilities(pixels)


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
