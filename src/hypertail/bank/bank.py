"""The bank: learn folder by folder, predict, extend, certify, export, forget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hypertail.bank import answering
from hypertail.bank.accounting import Summary
from hypertail.bank.answers import Answers
from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.certificate import Certificate
from hypertail.bank.contents import Contents
from hypertail.bank.founding import Founding
from hypertail.bank.learned import Learned
from hypertail.bank.learning.lesson import Schedule
from hypertail.bank.learning.task import Augment, Lessons
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.store import Entry, Report, verify
from hypertail.bank.summary import summary_of
from hypertail.bank.task_info import TaskInfo
from hypertail.bank.upkeep import Forgotten, Upkeep
from hypertail.bank.writing import Writer
from hypertail.errors import check_range
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.training.loop import Progress, silent


class Bank(Answers):
    """One directory with a frozen model and all tasks that were learned on it. Made by `create` and `open`.

    No image is kept in it. A task owns what answers for it, so that learning another one changes no bit of its answers
    (docs/guide/bank.md). Every change is a new generation, written whole or not at all.
    """

    @classmethod
    def create(
        cls,
        path: str | Path,
        *,
        model: nn.Module | None = None,
        tail: nn.Module | None = None,
        cut: str | None = None,
        trunk: str | None = None,
        preprocessing: Preprocessing | None = None,
        device: str = "cpu",
    ) -> Bank:
        """A new, empty bank.

        Args:
            path: of its directory, which must not be there or be empty.
            model: any module, images (n, 3, s, s) -> logits or vectors; it is copied and not changed. The bank does not
                keep it: give it again to `open`.
            tail: where `model` is only the part below the cut: the part above.
            cut: name of the first module of the tail, such as `layer4`; `auto` to have the first folder decide.
            trunk: in place of `model`: `transformers:NAME_OR_PATH`, `timm:NAME`, or `slim-resnet18`, which the first
                folder trains and is the default. The bank keeps these.
            preprocessing: size and normalisation of images, where `model` is given; 224 pixels and ImageNet's mean and
                deviation by default.
            device: where it computes.

        Raises:
            ConfigError: the directory is taken, or the model cannot be cut there.
        """
        founding = Founding.of(model, trunk, cut, tail, preprocessing)
        return cls(Contents.create(Path(path), founding, device))

    @classmethod
    def open(
        cls, path: str | Path, *, model: nn.Module | None = None, tail: nn.Module | None = None, device: str = "cpu"
    ) -> Bank:
        """A bank that is there, at its last generation.

        Args:
            path: of its directory.
            model, tail: as given to `create`, where the bank does not keep them; checked by their digest.
            device: where it computes.

        Raises:
            ConfigError: no bank there, or the model has to be given again.
            CheckpointError: a damaged bank, one of a newer version, or another model.
        """
        return cls(Contents.open(Path(path), model, tail, device))

    @property
    def path(self) -> Path:
        """Of its directory."""
        return self._contents.store.path

    @property
    def generation(self) -> int:
        """Number of the state that is open; every change makes a new one."""
        return self._contents.manifest.generation

    @property
    def backbone(self) -> Backbone:
        """The frozen model; refused while the first folder is still to decide it."""
        return self._contents.backbone

    @property
    def origin(self) -> dict[str, Any]:
        """Where the model is from: `source`, `cut` and `preprocessing`, as decided, or as asked for until they are."""
        facts = self._contents.manifest.facts
        said = facts.get("backbone") or facts["founding"]
        return {name: said[name] for name in ("source", "cut", "preprocessing")}

    @property
    def cut_evidence(self) -> dict[str, Any] | None:
        """Where the first folder decided the cut (`cut="auto"`): what was tried, with its accuracies."""
        found: dict[str, Any] | None = self._contents.manifest.facts.get("cut")
        return found

    @property
    def notices(self) -> tuple[str, ...]:
        """What to know of the bank as it was opened."""
        return tuple(self._contents.store.notices)

    @property
    def tasks(self) -> dict[str, TaskInfo]:
        """The tasks by name, in the order in which they were learned."""
        return {task.name: self._contents.info(task) for task in self._contents.manifest.tasks}

    def learn(
        self,
        name: str,
        data: object,
        *,
        validation: object = None,
        method: str = "adapter",
        options: Mapping[str, Any] | None = None,
        budget: float = 0.0,
        epochs: int | None = None,
        batch_size: int = 32,
        augment: Augment = "crop",
        views: int = 4,
        hold_out: float = 0.1,
        keep_probes: int = 0,
        on_bad_image: OnBadImage = "error",
        seed: int = 0,
        progress: Progress = silent,
    ) -> Learned:
        """Learn a task. Its images may be deleted afterwards.

        Args:
            name: of the task; no other may have it.
            data: a folder of class folders, `(images, labels)`, a `datasets.Dataset` with images and labels, or a
                map-style torch Dataset of pairs.
            validation: of the same kinds, to calibrate and choose by; by default a share of `data`, never its `test/`.
            method: `adapter`, `head`, `hypernet`, `separate` or `auto` (`methods`).
            options: of the method, such as `{"rank": 4}`.
            budget: share of an earlier task's answers that may change; beyond it the bank stays as it was.
            epochs: passes over the images; by default as many as make 400 steps, 15 at least and 60 at most.
            batch_size: images a step.
            augment: `none`, `crop`, or `crop-flip` where a mirrored image is of the same class.
            views: augmented views of each image.
            hold_out: share of each class to hold out where there is no `validation`.
            keep_probes: keep trunk features of so many held-out images, drawn evenly of all classes, for certificates.
            on_bad_image: with an image that cannot be read: end with an `error`, or `skip` and list it.
            seed: of all that is random.
            progress: shown to the user.

        Returns:
            What came of it, with a certificate of all earlier tasks.

        Raises:
            ConfigError: the name is taken, or an option is out of range.
            DataError: the images cannot be used.
            BudgetError: earlier answers would change by more than `budget`.
        """
        schedule = Schedule(epochs, batch_size)
        lessons = Lessons(schedule, views, augment, hold_out, seed, keep_probes, on_bad_image=on_bad_image)
        writer = Writer(self._contents, lessons, progress)
        with _learning():
            return writer.learn(self._called(name), data, validation, method, dict(options or {}), budget)

    def extend(
        self,
        name: str,
        data: object,
        *,
        seed: int = 0,
        augment: Augment = "crop",
        on_bad_image: OnBadImage = "error",
        progress: Progress = silent,
    ) -> Learned:
        """More images for a task: of classes that it has, or of new ones. The old images are not needed.

        With a new class, what the task gave for its old ones stays equal to the bit. Without one its head is learned
        again. Other tasks never change.

        Args:
            name: of the task.
            data: as for `learn`; class names that the task has are those classes. One class is enough.
            seed: of all that is random.
            augment, on_bad_image: as for `learn`.
            progress: shown to the user.

        Raises:
            ConfigError: no such task.
            DataError: the images cannot be used.
        """
        lessons = Lessons(augment=augment, seed=seed, on_bad_image=on_bad_image)
        with _learning():
            return Writer(self._contents, lessons, progress).extend(self._called(name), data)

    def evaluate(self, name: str, data: object) -> float:
        """Accuracy, 0..1, on test data of a task, with the task given.

        Args:
            name: of the task.
            data: as for `learn`, with class names of the task; of a folder with `train/` and `test/` the latter.
        """
        return answering.evaluate(self._contents, self._called(name), data)

    def rename(self, name: str, new: str) -> None:
        """Call a task by another name; nothing else changes.

        Raises:
            ConfigError: no such task, or the new name is taken.
        """
        Upkeep(self._contents).rename(self._called(name), self._called(new))

    def forget(self, name: str) -> Forgotten:
        """Delete a task, from earlier generations too, or one that a rollback left in those alone.

        Other tasks stay equal to the bit. The result says whether anything of it is left in what they share.

        Raises:
            ConfigError: no task ever had that name.
        """
        return Upkeep(self._contents).forget(self._called(name))

    def certify(self, data: Mapping[str, object] | None = None, *, budget: float = 0.0) -> Certificate:
        """Whether every task still answers as it did when it was learned.

        Args:
            data: name of a task -> test data, where there is any.
            budget: share of a task's answers that may be other ones, 0 to 1.
        """
        check_range("budget", budget, 0, 1)
        told = {self._called(name): value for name, value in (data or {}).items()}
        whole = {name: value for name, value in told.items() if self._contents.readable(name) is not None}
        accuracies = {name: answering.measured(self._contents, name, value) for name, value in whole.items()}
        return self._contents.certify(accuracies, budget)

    def consolidate(self, *, budget: float = 0.0, steps: int = 2000, progress: Progress = silent) -> Certificate:
        """Let the hypernetwork take over what adapters have in common, within `budget`. No image is needed.

        Args:
            budget: share of a task's answers that may change, 0 to 1.
            steps: of Adam.
            progress: shown to the user.

        Raises:
            ConfigError: no two tasks of method `hypernet`, or a number out of range.
            BudgetError: more answers would change; the bank is as it was.
        """
        check_range("budget", budget, 0, 1)
        check_range("steps", steps, 1)
        with _learning():
            return Upkeep(self._contents, progress).consolidate(budget, steps)

    def summary(self) -> Summary:
        """Bytes of every task and of all, beside what other ways to keep the same tasks would take."""
        return summary_of(self._contents)

    def log(self) -> Sequence[Entry]:
        """What was done to the bank, when, and from what."""
        return self._contents.store.history()

    def verify(self) -> Report:
        """Read every byte and say what is damaged and what still works."""
        return verify(self._contents.store)

    def rollback(self, generation: int) -> None:
        """Make a new generation that is like an earlier one. Tasks that were forgotten since do not come back.

        Raises:
            ConfigError: no such generation, or it needs what was forgotten.
        """
        self._contents.rollback(generation)

    def refresh(self) -> None:
        """Look at the last generation, which another process may have made."""
        self._contents.refresh()

    def __repr__(self) -> str:
        names = ", ".join(task.name for task in self._contents.manifest.tasks)
        return f"Bank({str(self.path)!r}, generation {self.generation}: {names or 'no tasks'})"


@contextmanager
def _learning() -> Iterator[None]:
    """Gradients, also for a caller who has turned them off."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
