"""What is open of a bank: its generation, its model, and the tasks as far as they were needed."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch
from torch import nn

from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.certificate import Certificate, TaskCheck, damaged_check
from hypertail.bank.certificate.compare import Compared, Comparison
from hypertail.bank.export.served import Served
from hypertail.bank.founding import Founding, described, made_again, without_model
from hypertail.bank.inference.alone import learned_alone
from hypertail.bank.record import TaskRecord
from hypertail.bank.serving import Server
from hypertail.bank.shared import HYPERNET, hypernetwork_of
from hypertail.bank.store import BACKBONE, Manifest, Store, TaskRef
from hypertail.bank.store.reading import DamagedError
from hypertail.bank.task_info import TaskInfo, no_such_task
from hypertail.environment import hardware, versions
from hypertail.errors import ConfigError
from hypertail.hyper.hypernetwork import Hypernetwork

HELD = 512 << 20
"""What is kept of tasks is held in memory up to so many bytes of their files; other files are read again."""

__all__ = ["BACKBONE", "HYPERNET", "Contents", "now"]


class Contents:
    """A generation of a bank, read as far as it is needed.

    Args:
        store: its directory.
        device: where it computes.
        model, tail: given again, where the bank does not keep them.
        backbone: where it is at hand.
    """

    def __init__(
        self,
        store: Store,
        device: str,
        model: nn.Module | None = None,
        tail: nn.Module | None = None,
        backbone: Backbone | None = None,
    ) -> None:
        self.store, self.device = store, device
        self._model, self._tail, self._backbone = model, tail, backbone
        self._records: dict[str, TaskRecord] = {}
        self._keeping = threading.Lock()
        self._server: Server | None = None
        self._hyper: tuple[str, Hypernetwork] | None = None
        self._whole: set[str] = set()
        self.compared: dict[str, Compared] = {}

    @classmethod
    def create(cls, path: Path, founding: Founding, device: str) -> Contents:
        """Of a new bank."""
        if founding.needs_images:
            return cls(Store.create(path, {"founding": founding.to_json()}), device, founding.model, founding.tail)
        backbone = founding.backbone()
        # in one commit: a bank that says that it keeps its model, and does not, cannot be opened
        shared = {BACKBONE: backbone.tensors()} if backbone.stored else {}
        store = Store.create(path, {BACKBONE: described(backbone)}, shared)
        return cls(store, device, founding.model, founding.tail, _moved(backbone, device))

    @classmethod
    def open(cls, path: Path, model: nn.Module | None, tail: nn.Module | None, device: str) -> Contents:
        """Of a bank that is there. Its model is checked at once."""
        contents = cls(Store.open(path), device, model, tail)
        if contents.founded:
            _ = contents.backbone
        return contents

    @property
    def manifest(self) -> Manifest:
        """Of the generation that is open."""
        return self.store.manifest

    @property
    def founded(self) -> bool:
        """Whether the backbone is decided."""
        return BACKBONE in self.manifest.facts

    @property
    def founding(self) -> Founding:
        """What was asked for, while it is not."""
        return Founding.from_json(self.manifest.facts["founding"], self._model, self._tail)

    @property
    def backbone(self) -> Backbone:
        """Trunk and body.

        Raises:
            ConfigError: the first folder is still to decide it, or the model has to be given again.
        """
        if not self.founded:
            raise ConfigError(
                "model of this bank",
                required="a first task, which decides it",
                found="no task yet",
                hint="Learn a task: hypertail learn FOLDER --bank BANK.",
            )
        if self._backbone is None:
            said, ref = self.manifest.facts[BACKBONE], self.manifest.shared.get(BACKBONE)
            if said["stored"] and ref is None:
                raise without_model(self.store)
            tensors = None if ref is None else self.store.load(ref)[0]
            self._backbone = _moved(made_again(said, tensors, self._model, self._tail), self.device)
        return self._backbone

    @property
    def hyper(self) -> Hypernetwork | None:
        """What tasks of method `hypernet` share; None where there is none yet."""
        ref = self.manifest.shared.get(HYPERNET)
        if ref is None:
            return None
        if self._hyper is None or self._hyper[0] != ref.digest:
            tensors, facts = self.store.load(ref)
            self._whole.add(ref.digest)
            self._hyper = ref.digest, hypernetwork_of(self.backbone.body, tensors, facts, self.device)
        return self._hyper[1]

    def ref(self, name: str) -> TaskRef:
        """Of a task.

        Raises:
            ConfigError: no such task; the nearest is named.
        """
        for task in self.manifest.tasks:
            if task.name == name:
                return task
        raise no_such_task(name, [task.name for task in self.manifest.tasks])

    def record(self, name: str) -> TaskRecord:
        """What is kept of a task."""
        ref = self.ref(name)
        with self._keeping:
            record = self._records.pop(ref.file.digest, None)
            if record is not None:
                self._records[ref.file.digest] = record  # the last one that was asked for
                return record
        record = TaskRecord.from_file(*self.store.load(ref.file))
        with self._keeping:
            self._records[ref.file.digest] = record
            sizes = {task.file.digest: task.file.nbytes for task in self.manifest.tasks}
            held = sum(sizes.get(digest, 0) for digest in self._records)
            while len(self._records) > 1 and held > HELD:
                oldest = next(iter(self._records))
                held -= sizes.get(oldest, 0)
                del self._records[oldest]
        return record

    def readable(self, name: str) -> TaskRecord | None:
        """What is kept of a task; None where a file that answers for it is damaged or missing."""
        with contextlib.suppress(DamagedError):
            record = self.record(name)
            if record.shares:
                self._check_shared()
            return record
        return None

    def _check_shared(self) -> None:
        """Read the file of the hypernetwork once, for which no model is needed.

        Raises:
            DamagedError: it is not as it was written.
        """
        ref = self.manifest.shared.get(HYPERNET)
        if ref is not None and ref.digest not in self._whole:
            self.store.load(ref)
            self._whole.add(ref.digest)

    def info(self, ref: TaskRef) -> TaskInfo:
        """What a task's file says of it; where it is damaged, what the log does."""
        record = self.readable(ref.name)
        if record is not None:
            return TaskInfo.of(ref.name, record, ref.file.nbytes)
        said = [entry for entry in self.manifest.log if entry.facts.get("id") == ref.id and "method" in entry.facts]
        facts, when = (said[-1].facts, said[-1].when) if said else ({}, "")
        return TaskInfo(
            ref.name, (), str(facts.get("method", "")), int(facts.get("images", 0)), ref.file.nbytes, None, when, True
        )

    @property
    def server(self) -> Server:
        """Answers with the tasks of this generation."""
        if self._server is None:
            names, ids = [task.name for task in self.manifest.tasks], learned_alone(self.manifest.log)
            alone = [task.name for task in self.manifest.tasks if task.id in ids]
            self._server = Server(self.backbone, self.record, names, lambda: self.hyper, self.device, alone)
        return self._server

    def refresh(self) -> None:
        """Look at the last generation."""
        self.store.refresh()
        self._server = None
        kept = {task.file.digest for task in self.manifest.tasks}
        self._records = {digest: record for digest, record in self._records.items() if digest in kept}
        said = self.manifest.facts.get(BACKBONE, {})
        if self._backbone is not None and said.get("digest") != self._backbone.digest:
            # rolled back to where the model was still to be decided; another folder may have decided it since
            self._backbone, self._hyper, self.compared = None, None, {}

    def certify(self, accuracies: Mapping[str, tuple[float, int]], budget: float, *, anew: bool = True) -> Certificate:
        """Every task beside what was written when it was learned; not `anew` what this process has compared before."""
        if anew and not self._read_anew():
            return self.certificate(tuple(damaged_check(task.name) for task in self.manifest.tasks), budget, "")
        known = {} if anew else self.compared
        comparison = Comparison(self.server, self.backbone, budget, known)
        checks = [
            comparison.check(
                task.name,
                record,
                files_identical=self.as_learned(task),
                measured=accuracies.get(task.name),
                digest=self.answers_with(task),
            )
            if (record := self.readable(task.name)) is not None
            else damaged_check(task.name)
            for task in self.manifest.tasks
        ]
        return self.certificate(tuple(checks), budget)

    def _read_anew(self) -> bool:
        """Forget what this process read of the files before; False where that of the model is damaged.

        The model stays in memory: its file is read to the last byte, and its digest is taken of its tensors again.
        """
        self._records, self._server, self._hyper, self._whole = {}, None, None, set()
        self._backbone, ref = replace(self.backbone), self.manifest.shared.get(BACKBONE)
        try:
            if ref is not None:
                self.store.load(ref)
        except DamagedError:
            return False
        return True

    def certificate(self, checks: tuple[TaskCheck, ...], budget: float, digest: str | None = None) -> Certificate:
        """The checks with what they were made on.

        Args:
            checks: of all tasks.
            budget: of the certificate.
            digest: of trunk and body, "" where their file is damaged; None for that of the model in memory.
        """
        digest, said = self.backbone.digest if digest is None else digest, self.manifest.facts[BACKBONE]["digest"]
        machine = hardware(torch.device(self.device))
        software = {**versions(), "processor": str(machine.get("cpu", "")), "threads": str(torch.get_num_threads())}
        return Certificate(
            self.store.digest,
            self.manifest.generation,
            now(),
            budget,
            digest == said,
            digest,
            {name: str(value) for name, value in software.items()},
            checks,
        )

    def as_learned(self, task: TaskRef) -> bool:
        """Whether every stored bit that answers for a task is that of the last entry about it that is in effect."""
        last = self.manifest.last_told.get(task.id)
        if last is None:
            return False
        facts, shared = last.facts, self.manifest.shared.get(HYPERNET)
        moved = facts.get("shared") is not None and (shared is None or facts["shared"] != shared.digest)
        return bool(facts["digest"] == task.file.digest) and not moved

    def answers_with(self, task: TaskRef) -> str:
        """The digests of all that answers for a task."""
        shared = self.manifest.shared.get(HYPERNET)
        return f"{self.backbone.digest}/{task.file.digest}/{shared.digest if shared else ''}"

    def served(self, name: str) -> Served:
        """A task as an export takes it."""
        record, ready = self.record(name), self.server.tail(name)
        head = ready.head.joined()
        tensors = {key: value.detach() for key, value in ready.tensors.items()}
        return Served(
            name,
            record.classes,
            self.backbone,
            tensors,
            head.weight.detach(),
            head.bias.detach(),
            ready.temperature,
            record.facts.get("scaling", {}),
        )

    def rollback(self, generation: int) -> None:
        """A new generation like an earlier one."""
        self.store.rollback(generation)
        self.refresh()


def now() -> str:
    """Date and time, UTC; that of `SOURCE_DATE_EPOCH` where a build asks for it."""
    told = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = datetime.fromtimestamp(int(told), UTC) if told.isdecimal() else datetime.now(UTC)
    return moment.isoformat(timespec="seconds")


def _moved(backbone: Backbone, device: str) -> Backbone:
    backbone.trunk.to(device)
    backbone.body.to(device)
    return backbone
