"""What a bank answers, and files that answer the same elsewhere: the part of `Bank` that changes nothing in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hypertail.bank import answering
from hypertail.bank.contents import Contents
from hypertail.bank.export import Format, export_all, export_task
from hypertail.bank.prediction import Prediction
from hypertail.bank.task_info import called
from hypertail.streams.sources.unreadable import OnBadImage


class Answers:
    """Predictions and exports of what is open of a bank."""

    def __init__(self, contents: Contents) -> None:
        self._contents = contents

    def _called(self, name: str) -> str:
        """The name of a task as the bank spells it."""
        return called(name, (task.name for task in self._contents.manifest.tasks))

    def predict(
        self,
        images: object,
        task: str | Sequence[str | None] | None = None,
        *,
        batch_size: int = 64,
        on_bad_image: OnBadImage = "error",
    ) -> Prediction | list[Prediction]:
        """Answers for images; one for one image, a list for several.

        Args:
            images: a path, the bytes of an image file, a file opened in binary mode, a PIL image, an array or a tensor
                (h, w), (c, h, w) with c 1 or 3, (h, w, c) with c 1, 3 or 4 for alpha; or several of them, the first
                axis of an array counting them; or a folder.
            task: the task of all of them, or of each; None where it is to be inferred.
            batch_size: images that go through the model together.
            on_bad_image: with an image that cannot be read: end with an `error`, or `skip` it; its answer then has
                `error`, and neither task nor label. A file that is missing is always an error.

        Raises:
            ConfigError: no such task (the nearest one is named), or no task was learned.
            DataError: an image cannot be read.
        """
        if task is not None and not isinstance(task, str):
            task = list(task)
            spelled = {name: self._called(name) for name in {*task} if name is not None}
            told: str | list[str | None] | None = [None if name is None else spelled[name] for name in task]
        else:
            told = None if task is None else self._called(task)
        return answering.predict(self._contents, images, told, batch_size, on_bad_image)

    def probabilities(self, images: object) -> Iterator[list[dict[str, float]]]:
        """For each image of a batch the probability of every label over all tasks, the task being inferred."""
        return answering.probabilities(self._contents, images)

    def export(self, name: str, path: str | Path, format: Format | None = None, *, replace: bool = False) -> Path:
        """Write a task as a plain model without a hypernetwork, with a JSON file that says how to use it.

        Args:
            name: of the task.
            path: of the file.
            format: `pt2`, `onnx` or `safetensors`; by default from the suffix.
            replace: write over files that are there; each is the old or the new one, whatever happens.

        Raises:
            ConfigError: no such task, an unknown format or the suffix of another, or something is there already.
        """
        return export_task(self._contents.served(self._called(name)), Path(path), format, replace=replace)

    def export_all(self, path: str | Path, *, replace: bool = False) -> Path:
        """Write all tasks as one ONNX graph whose tail weights are inputs, with a small file for each task.

        Args:
            path: of the folder.
            replace: write over files that are there.
        """
        names = [task.name for task in self._contents.manifest.tasks]
        return export_all([self._contents.served(name) for name in names], Path(path), replace=replace)
