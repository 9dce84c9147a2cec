"""Answers of learned tasks: tails made when they are needed, and the task of an image where it is not told."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from hypertail.bank.backbone import Backbone
from hypertail.bank.inference import Descriptor, TaskInference, known, posterior
from hypertail.bank.methods.catalogue import tail_of
from hypertail.bank.prediction import Prediction
from hypertail.bank.record import TaskRecord
from hypertail.bank.store.reading import DamagedError
from hypertail.errors import warn
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.applied import applied
from hypertail.nets.moments import Moments
from hypertail.nets.task_head import TaskHead
from hypertail.nets.task_tail import TaskTail
from hypertail.streams.sources.depth import Rule

MOST_TAILS = 64
"""Tails of so many tasks are held in memory; the others are made again from what was stored."""

_MAKING = threading.Lock()
"""Held while a tail is made: its modules are those of the last one of its kind."""


@dataclass(frozen=True, eq=False)
class ReadyTail:
    """A task's tail with its weights made.

    Attributes:
        tensors: parameters and buffers of the body, by name; those not there are the body's own.
        head: vectors -> logits.
        temperature: of the logits.
    """

    tensors: Mapping[str, Tensor]
    head: TaskHead
    temperature: float

    @torch.no_grad()
    def logits(self, backbone: Backbone, features: Tensor) -> Tensor:
        """Logits of features, before the temperature."""
        logits: Tensor = self.head(applied(backbone.body, self.tensors, features))
        return logits


class Noted(NamedTuple):
    """What all tasks together are asked for once their files were read.

    Attributes:
        calibration, scaling: of the record.
    """

    calibration: Mapping[str, float]
    scaling: Mapping[bool, Rule]


class Server:
    """Predicts with the tasks of one generation of a bank. Several threads may ask at once.

    Args:
        backbone: of the bank, on `device`.
        records: gives what is kept of a task, by its name.
        names: the tasks there are, oldest first.
        hyper: gives what tasks of method `hypernet` share; it is asked only where such a task needs it.
        device: where it computes.
        alone: tasks beside which there was no other when they were learned.
    """

    def __init__(
        self,
        backbone: Backbone,
        records: Callable[[str], TaskRecord],
        names: Iterable[str],
        hyper: Callable[[], Hypernetwork | None],
        device: str,
        alone: Collection[str] = (),
    ) -> None:
        self.backbone, self.device = backbone, device
        self.names, self._alone = tuple(names), alone
        self._records, self._hyper = records, hyper
        self._tails: OrderedDict[str, ReadyTail] = OrderedDict()
        self._templates: dict[str, TaskTail] = {}
        self._descriptor = Descriptor(backbone)

    def tail(self, name: str) -> ReadyTail:
        """The tail of a task."""
        with _MAKING:
            return self._tail(name)

    def _tail(self, name: str) -> ReadyTail:
        if name in self._tails:
            self._tails.move_to_end(name)
            return self._tails[name]
        record = self._records(name)
        with torch.no_grad():
            kind = json.dumps([record.method, record.settings], sort_keys=True)
            shared = self._hyper() if record.shares else None
            tail = tail_of(record, self.backbone, shared, self._templates.get(kind))
            self._templates[kind] = tail  # building its modules takes longer than filling them
            tensors = {key: value.to(self.device, copy=True) for key, value in tail.tensors().items()}
        ready = ReadyTail(tensors, tail.head.to(self.device), record.calibration.get("temperature", 1.0))
        self._tails[name] = ready
        while len(self._tails) > MOST_TAILS:
            self._tails.popitem(last=False)
        return ready

    @cached_property
    def _every(self) -> tuple[dict[str, Noted], TaskInference]:
        """What is noted of the tasks that can be read, and their inference: each file is read once and not kept."""
        found: dict[str, Noted] = {}
        errors: dict[str, DamagedError] = {}

        def moments() -> Iterator[tuple[str, Moments]]:
            for name in self.names:
                try:
                    record = self._records(name)
                    if record.shares:
                        self._hyper()
                except DamagedError as error:
                    errors[name] = error
                    continue
                found[name] = Noted(record.calibration, record.scaling)
                yield name, record.moments
            if errors and not found:
                raise next(iter(errors.values()))

        inference = TaskInference(moments())
        if errors:
            first = next(iter(errors.values()))
            words = f"left out where the task of an image is inferred: {', '.join(errors)}. {first}"
            warn(words, RuntimeWarning)
        return found, inference

    @property
    def readable(self) -> dict[str, Noted]:
        """What is noted of the tasks, those aside of which a file cannot be read: a warning names them.

        Raises:
            DamagedError: none can be read.
            CheckpointError: one cannot be read just now.
        """
        return self._every[0]

    @property
    def inference(self) -> TaskInference:
        """Proposes tasks; made once, from the moments of all that can be read."""
        return self._every[1]

    @property
    def threshold(self) -> float:
        """Strangeness from which on an image is of no task: the mean of what tasks were calibrated to.

        Where there are such, tasks that had others beside them decide: beside a lonely task, all that was ever learned
        is that task. Of these the newer half, three or more: how strange own images are falls as tasks come, and the
        newer were measured beside nearly all.
        """
        found = self._calibrated("threshold", but=self._alone) or self._calibrated("threshold")
        found = found[-max(3, (len(found) + 1) // 2) :]
        return sum(found) / len(found) if found else float("inf")

    @property
    def task_temperature(self) -> float:
        """Of distances: the mean over tasks that had others to be told from when they were learned; 1 without any."""
        found = self._calibrated("task_temperature", but=self._alone)
        return sum(found) / len(found) if found else 1.0

    def _calibrated(self, name: str, but: Collection[str] = ()) -> list[float]:
        noted = [each for task, each in self.readable.items() if task not in but]
        return [each.calibration[name] for each in noted if name in each.calibration]

    @torch.no_grad()
    def logits(self, name: str, pixels: Tensor) -> Tensor:
        """Logits (n, classes) of uint8 images for a task, divided by its temperature."""
        tail = self.tail(name)
        return tail.logits(self.backbone, self.backbone.features(pixels.to(self.device))) / tail.temperature

    @torch.no_grad()
    def predict(self, pixels: Tensor, paths: list[str | None], tasks: list[str | None]) -> list[Prediction]:
        """Answers for uint8 images (n, 3, size, size), each of the task told or, where that is None, of any."""
        features = self.backbone.features(pixels.to(self.device))
        vectors = self._descriptor(features).cpu()
        distances, strange = self.inference.distances(vectors), self.inference.strangeness(vectors)
        likely = posterior(distances, self.task_temperature)
        is_known = known(strange, self.threshold).tolist()
        found = [self.inference.tasks[number] for number in distances.argmin(1).tolist()]
        chosen = [name or other for name, other in zip(tasks, found, strict=True)]
        answers: list[Prediction | None] = [None] * len(chosen)
        for name in dict.fromkeys(chosen):
            rows = [row for row, other in enumerate(chosen) if other == name]
            ready, classes = self.tail(name), self._records(name).classes
            logits = ready.logits(self.backbone, features[torch.tensor(rows, device=features.device)])
            best = torch.softmax(logits.double().cpu() / ready.temperature, dim=1).max(1)
            share = likely[:, self.inference.tasks.index(name)].tolist()
            for row, probability, number in zip(rows, best.values.tolist(), best.indices.tolist(), strict=True):
                told, label = tasks[row] is not None, classes[number]
                answers[row] = Prediction(
                    name if told or is_known[row] else None,
                    label if told or is_known[row] else None,
                    probability if told else probability * share[row],
                    is_known[row],
                    paths[row],
                    (name, label),
                )
        return [answer for answer in answers if answer is not None]

    @torch.no_grad()
    def probabilities(self, pixels: Tensor) -> list[dict[str, float]]:
        """For each image the probability of every label: of its task, times that within the task."""
        features = self.backbone.features(pixels.to(self.device))
        distances = self.inference.distances(self._descriptor(features).cpu())
        shares = posterior(distances, self.task_temperature)
        found: list[dict[str, float]] = [{} for _ in range(len(pixels))]
        for column, name in enumerate(self.inference.tasks):
            tail, classes = self.tail(name), self._records(name).classes
            within = torch.softmax(tail.logits(self.backbone, features).double().cpu() / tail.temperature, dim=1)
            for row, values in enumerate((within * shares[:, column : column + 1]).tolist()):
                for label, value in zip(classes, values, strict=True):
                    # classes of several tasks may have one name
                    found[row][label] = found[row].get(label, 0.0) + value
        return found
