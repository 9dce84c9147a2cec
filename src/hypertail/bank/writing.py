"""Changes of a bank that learn from images: a new task, or more of one."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.certificate import Certificate, damaged_check
from hypertail.bank.certificate.compare import Comparison
from hypertail.bank.contents import BACKBONE, HYPERNET, Contents, now
from hypertail.bank.founding import described
from hypertail.bank.images.opening import hold_out, open_images
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.learned import Learned
from hypertail.bank.learning.choice import Candidate, choose
from hypertail.bank.learning.extend import extended
from hypertail.bank.learning.found import found_backbone
from hypertail.bank.learning.held_out import check_all_classes, not_told, told_of_all
from hypertail.bank.learning.notices import left_alone, new_classes, same_images
from hypertail.bank.learning.task import Lessons, Material, accuracy_of, held_out_logits, learn_task, record_of
from hypertail.bank.methods.catalogue import AUTO, METHODS, check_method, make_method, tail_of
from hypertail.bank.methods.hypernet import HypernetMethod
from hypertail.bank.methods.method import Method
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.record import TaskRecord
from hypertail.bank.serving import Server
from hypertail.bank.store import Change, FileRef, TaskRef
from hypertail.bank.store.reading import DamagedError
from hypertail.bank.upkeep import check_name, check_taught_whole, hold, hypernet_facts, shared_tensors
from hypertail.environment import own_version
from hypertail.errors import ConfigError, check_range, warn
from hypertail.hyper.generated import GeneratedWeights
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.compact import halved
from hypertail.nets.task_tail import TaskTail
from hypertail.nets.tensors import nbytes
from hypertail.streams.sources.depth import scaling_to_json
from hypertail.training.loop import Progress, silent


class Writer:
    """Makes one change to a bank.

    Args:
        contents: of the bank; they are refreshed when the change is made.
        lessons: how tasks are learned.
        progress: shown to the user.
    """

    def __init__(self, contents: Contents, lessons: Lessons, progress: Progress = silent) -> None:
        self.contents, self.lessons, self.progress = contents, lessons, progress

    def learn(
        self, name: str, data: object, validation: object, method: str, options: Mapping[str, Any], budget: float
    ) -> Learned:
        """Learn a task (`Bank.learn`)."""
        started, contents = time.perf_counter(), self.contents
        with contents.store.change() as change:
            contents.refresh()
            check_name(name, contents)
            check_method(method, options)
            check_range("budget", budget, 0, 1)
            if method == HypernetMethod.name and not options.get("sealed", True):
                check_taught_whole(contents)
            backbone, shared = self._backbone(change, data, validation)
            train, held = self._images(data, validation, backbone.preprocessing)
            if method == AUTO and validation is not None:
                check_all_classes(held, train.classes)
            material = Material.of(name, backbone, train, held, self.lessons, contents.device)
            candidate, verdict = self._learned(method, options, material, backbone)
            facts = self._facts(train, started)
            records = {task.name: contents.readable(task.name) for task in contents.manifest.tasks}
            earlier = {each: found.moments for each, found in records.items() if found is not None}
            record = record_of(candidate.tail, candidate.method, material, backbone, earlier, self.lessons, facts)
            record = told_of_all(record, held)
            certificate = self._put_shared(change, candidate.method, shared, budget, backbone)
            taught = isinstance(candidate.method, HypernetMethod) and candidate.method.learns_shared
            number = contents.manifest.next_id
            learned = self._commit("learn", change, number, name, record, shared, verdict, taught)
        contents.refresh()
        beside = same_images(contents.manifest, number, train.digest)
        notices = (
            *train.notices,
            *not_told(held, train.classes, validation is not None),
            *beside,
            *left_alone(candidate, backbone),
        )
        return self._result(name, learned, record, started, certificate, verdict, notices)

    def extend(self, name: str, data: object) -> Learned:
        """More images for a task (`Bank.extend`)."""
        started, contents = time.perf_counter(), self.contents
        with contents.store.change() as change:
            contents.refresh()
            backbone, ref, record = contents.backbone, contents.ref(name), contents.record(name)
            images = self._opened(data, backbone.preprocessing, least_classes=1, scaling=record.scaling)
            known = len([label for label in images.classes if label in record.classes])
            train, held = (images, None) if known < len(images.classes) else self._held_out(images)
            material = Material.of(name, backbone, train, held, self.lessons, contents.device)
            tail = tail_of(record, backbone, contents.hyper if record.shares else None).to(contents.device)
            facts = self._facts(train, started) | {"images": record.facts.get("images", 0) + len(train)}
            grown = extended(record, tail, backbone, material, facts, self.lessons.seed)
            grown = told_of_all(grown, held)
            grown = replace(grown, probes=self._probes(grown, tail, backbone))
            before = contents.certify({}, 0.0, anew=False)
            learned = self._commit("extend", change, ref.id, name, grown, {})
        contents.refresh()
        added = new_classes(images.classes, record.classes)
        return self._result(name, learned, grown, started, before, "", (*images.notices, *added))

    def _probes(self, record: TaskRecord, tail: TaskTail, backbone: Backbone) -> dict[str, Tensor]:
        """The answers of a task that was extended."""
        probes = record.probes | {"logits": Comparison(self.contents.server, backbone, 0.0).answers(tail)}
        if "features" in probes:
            probes["answers"] = tail(probes["features"].to(self.contents.device)).cpu()
        return probes

    def _backbone(self, change: Change, data: object, validation: object) -> tuple[Backbone, dict[str, FileRef]]:
        """The backbone, and shared files with it where this folder decides it, by what the task learns from alone."""
        contents = self.contents
        if contents.founded:
            return contents.backbone, dict(contents.manifest.shared)
        opened = partial(self._training, data, validation)
        backbone, evidence = found_backbone(contents.founding, opened, self.lessons, contents.device, self.progress)
        shared = {BACKBONE: change.put(BACKBONE, backbone.tensors(), {})} if backbone.stored else {}
        said = described(backbone) | {"founder": contents.manifest.next_id}
        change.facts = {BACKBONE: said} | ({"cut": evidence} if evidence else {})
        return backbone, shared

    def _images(
        self, data: object, validation: object, preprocessing: Preprocessing
    ) -> tuple[TaskImages, TaskImages | None]:
        train, held = self._training(data, validation, preprocessing)
        if validation is not None:
            held = self._opened(validation, preprocessing, classes=train.classes, scaling=train.scaling)
        return train, held

    def _training(
        self, data: object, validation: object, preprocessing: Preprocessing
    ) -> tuple[TaskImages, TaskImages | None]:
        """What a task learns from, and what of it is held out, where nothing else is given to calibrate by."""
        images = self._opened(data, preprocessing)
        return self._held_out(images) if validation is None else (images, None)

    def _opened(self, data: object, preprocessing: Preprocessing, **more: Any) -> TaskImages:
        return open_images(data, preprocessing, on_bad_image=self.lessons.on_bad_image, with_test=False, **more)

    def _held_out(self, images: TaskImages) -> tuple[TaskImages, TaskImages | None]:
        if not self.lessons.hold_out:
            return images, None
        return hold_out(images, self.lessons.hold_out, self.lessons.seed)

    def _learned(
        self, name: str, options: Mapping[str, Any], material: Material, backbone: Backbone
    ) -> tuple[Candidate, str]:
        """The task learned by a method, or by the best of several."""
        hyper = self._shared(name)

        def learn(method: Method) -> Candidate:
            tail = learn_task(backbone, method, material, self.lessons, self.progress)
            own = [halved(value) for value in (*tail.weights.parameters(), *tail.head.parameters())]
            accuracy = accuracy_of(held_out_logits(tail, material), material.held_labels)
            return Candidate(method, tail, nbytes(own), accuracy)

        if name != AUTO:
            given = dict(options)
            if name == HypernetMethod.name and not given.get("sealed", True):
                given["earlier"] = self._embeddings()
            return learn(make_method(name, given, hyper)), ""
        if material.held is None:
            raise ConfigError(
                "method 'auto'",
                required="held-out images, by which it chooses",
                found="none",
                hint="Give validation images, or name a method: head, adapter or separate.",
            )
        tried = [make_method(each, None, hyper) for each in METHODS if each != HypernetMethod.name or hyper is not None]
        return choose(tried, learn)

    def _shared(self, method: str) -> Hypernetwork | None:
        """What tasks share, where a method needs it; `auto` goes on without one that is damaged."""
        if method not in (HypernetMethod.name, AUTO):
            return None
        try:
            return self.contents.hyper
        except DamagedError as error:
            if method != AUTO:
                raise
            warn(f"method 'auto' tries no 'hypernet'. {error}", RuntimeWarning)
        return None

    def _embeddings(self) -> Tensor | None:
        """Of the tasks that share the hypernetwork, (tasks, embedding)."""
        contents = self.contents
        records = [contents.readable(task.name) for task in contents.manifest.tasks]
        tails = [tail_of(record, contents.backbone, contents.hyper) for record in records
                 if record is not None and record.method == HypernetMethod.name]  # fmt: skip
        found = [tail.weights.embedding.detach() for tail in tails if isinstance(tail.weights, GeneratedWeights)]
        return torch.stack(found).to(contents.device) if found else None

    def _facts(self, images: TaskImages, started: float) -> dict[str, Any]:
        return {
            "images": len(images),
            "data": images.digest,
            "when": now(),
            "lessons": self.lessons.to_json(),
            "software": own_version(),
            **({"scaling": scaling_to_json(images.scaling)} if images.scaling else {}),
        }

    def _put_shared(
        self, change: Change, method: Method, shared: dict[str, FileRef], budget: float, backbone: Backbone
    ) -> Certificate | None:
        """Put a hypernetwork that learned, and certify the earlier tasks with it.

        Raises:
            BudgetError: they would answer otherwise by more than `budget`.
        """
        contents = self.contents
        hyper = method.hyper if isinstance(method, HypernetMethod) and method.learns_shared else None
        moved = hyper is not None
        if hyper is not None:
            hyper.requires_grad_(False)
            shared[HYPERNET] = change.put(HYPERNET, shared_tensors(hyper), hypernet_facts(hyper))
        if not contents.manifest.tasks:
            return None
        names = [task.name for task in contents.manifest.tasks]
        shares = (lambda: hyper) if moved else (lambda: contents.hyper)
        server = Server(backbone, contents.record, names, shares, contents.device)
        comparison = Comparison(server, backbone, budget, contents.compared)
        checks = []
        for task in contents.manifest.tasks:
            record = contents.readable(task.name)
            if record is None:
                checks.append(damaged_check(task.name))
                continue
            same = contents.as_learned(task) and not (moved and record.shares)
            digest = None if moved else contents.answers_with(task)
            checks.append(comparison.check(task.name, record, files_identical=same, digest=digest))
        certificate = contents.certificate(tuple(checks), budget)
        if moved:
            old = contents.server
            hold(certificate, lambda n: comparison.changed_since(old, n, contents.record(n)), "learning this task")
        return certificate

    def _commit(
        self,
        event: str,
        change: Change,
        number: int,
        name: str,
        record: TaskRecord,
        shared: dict[str, FileRef],
        verdict: str = "",
        taught: bool = False,
    ) -> FileRef:
        file = change.put(f"task-{number}", *record.to_file())
        manifest = self.contents.manifest
        every = {**manifest.shared, **shared}
        tasks = (*(task for task in manifest.tasks if task.id != number), TaskRef(number, name, file))
        hyper = every.get(HYPERNET)
        entry = {
            "id": number,
            "digest": file.digest,
            "shared": hyper.digest if hyper is not None and record.method == HYPERNET else None,
            "method": record.method,
            "classes": len(record.classes),
            "images": record.facts.get("images", 0),
            "data": record.facts.get("data", ""),
            "held_out_accuracy": record.held_out[0],
            "held_out_images": record.held_out[1],
            "lessons": record.facts.get("lessons", {}),
            "software": record.facts.get("software", ""),
        }
        entry |= {"verdict": verdict} if verdict else {}
        entry |= {"taught_shared": True} if taught else {}
        ordered = tuple(sorted(tasks, key=lambda task: task.id))
        change.commit(event, task=name, entry_facts=entry, tasks=ordered, shared=every)
        return file

    def _result(
        self,
        name: str,
        file: FileRef,
        record: TaskRecord,
        started: float,
        certificate: Certificate | None,
        verdict: str,
        notices: tuple[str, ...],
    ) -> Learned:
        return Learned(
            name,
            record.method,
            int(record.facts.get("images", 0)),
            record.held_out[0],
            file.nbytes,
            time.perf_counter() - started,
            self.contents.manifest.generation,
            certificate,
            verdict,
            notices,
            record.held_out[1],
        )
