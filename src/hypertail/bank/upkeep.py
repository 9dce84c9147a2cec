"""Changes of a bank that learn from no image: rename, forget, consolidate."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from hypertail.bank.certificate.certificate import Certificate, damaged_check
from hypertail.bank.certificate.compare import Comparison
from hypertail.bank.contents import HYPERNET, Contents
from hypertail.bank.founding import SLIM
from hypertail.bank.learning.consolidate import Consolidated, consolidated
from hypertail.bank.serving import Server
from hypertail.bank.store import FileRef, TaskRef, in_effect
from hypertail.bank.store.layout import tasks_on_disk
from hypertail.bank.store.reading import DamagedError
from hypertail.errors import BudgetError, ConfigError
from hypertail.hyper.generated import shared_parameters
from hypertail.hyper.heads import ChannelHead
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.compact import halved
from hypertail.training.loop import Progress, silent


@dataclass(frozen=True)
class Forgotten:
    """What came of forgetting a task.

    Attributes:
        name: of the task.
        exact: whether nothing that is left in the bank learned from it.
        explanation: a plain sentence.
    """

    name: str
    exact: bool
    explanation: str


class Upkeep:
    """Changes a bank without images; each change is one transaction of its store.

    Args:
        contents: of the bank; they are refreshed when the change is made.
        progress: shown to the user.
    """

    def __init__(self, contents: Contents, progress: Progress = silent) -> None:
        self.contents, self.progress = contents, progress

    def rename(self, name: str, new: str) -> None:
        """Call a task by another name."""
        contents = self.contents
        with contents.store.change() as change:
            contents.refresh()
            ref = contents.ref(name)
            check_name(new, contents)
            tasks = tuple(
                TaskRef(task.id, new if task.id == ref.id else task.name, task.file) for task in contents.manifest.tasks
            )
            change.commit("rename", task=new, entry_facts={"id": ref.id, "was": name}, tasks=tasks)
        contents.refresh()

    def forget(self, name: str) -> Forgotten:
        """Delete a task and everything of it."""
        contents = self.contents
        with contents.store.change() as change:
            contents.refresh()
            ref = contents.ref(name)
            reasons = self._left_behind(ref)
            exact = not reasons
            tasks = tuple(task for task in contents.manifest.tasks if task.id != ref.id)
            erased = self._files_of(ref.id)
            later = [(task, contents.readable(task.name)) for task in tasks if task.id > ref.id]
            seen = [f"'{task.name}'" for task, record in later if record is None or "threshold" in record.calibration]
            change.commit("forget", task=name, entry_facts={"id": ref.id, "exact": exact}, tasks=tasks, erase=erased)
        contents.refresh()
        if exact:
            words = "Nothing that is left in the bank learned from it."
            if seen:
                words += (
                    " Two numbers were set beside it: the threshold for unknown images and the temperature of "
                    f"distances of {', '.join(seen)}, learned after it."
                )
        else:
            words = f"Its own files are gone, but {' and '.join(reasons)} learned from it, and cannot be cleared of it."
        return Forgotten(name, exact, words)

    def consolidate(self, budget: float, steps: int) -> Certificate:
        """Move what the adapters of hypernetwork tasks have in common into the hypernetwork."""
        contents = self.contents
        with contents.store.change() as change:
            contents.refresh()
            names = [task.name for task in contents.manifest.tasks if contents.info(task).method == HYPERNET]
            hyper = contents.hyper
            if hyper is None or len(names) < 2:
                raise ConfigError(
                    "nothing to consolidate",
                    required="at least two tasks of method 'hypernet'",
                    found=f"{len(names)}",
                    hint="Learn tasks by method='hypernet' first.",
                )
            check_taught_whole(contents)
            records = {name: contents.record(name) for name in names}
            result = consolidated(records, contents.backbone, hyper, steps, self.progress)
            certificate = self._consolidation(result, budget)
            put = change.put(HYPERNET, shared_tensors(result.hyper), hypernet_facts(result.hyper))
            tasks = []
            entry: dict[str, Any] = {"tasks": {}}
            for task in contents.manifest.tasks:
                if task.name in result.records:
                    file = change.put(f"task-{task.id}", *result.records[task.name].to_file())
                    tasks.append(TaskRef(task.id, task.name, file))
                    entry["tasks"][str(task.id)] = file.digest
                else:
                    tasks.append(task)
            shared = {**contents.manifest.shared, HYPERNET: put}
            change.commit("consolidate", entry_facts=entry, tasks=tuple(tasks), shared=shared)
        contents.refresh()
        return certificate

    def _consolidation(self, result: Consolidated, budget: float) -> Certificate:
        contents = self.contents
        found = {task.name: contents.readable(task.name) for task in contents.manifest.tasks}
        records = {name: record for name, record in found.items() if record is not None} | result.records
        after = Server(contents.backbone, lambda name: records[name], records, result.hyper, contents.device)
        comparison = Comparison(after, contents.backbone, budget)
        checks = []
        for name in found:
            if name not in records:
                checks.append(damaged_check(name))
                continue
            before = contents.server.tail(name).tensors
            same = name not in result.records
            checks.append(comparison.check(name, contents.record(name), files_identical=same, before=before))
        certificate = contents.certificate(tuple(checks), budget)
        hold(
            certificate,
            lambda name: comparison.changed_since(contents.server, name, contents.record(name)),
            "consolidation",
        )
        return certificate

    def _left_behind(self, ref: TaskRef) -> list[str]:
        """What in the bank learned from a task beside its own files."""
        log = self.contents.manifest.log
        reasons = []
        said = self.contents.manifest.facts["backbone"]
        # banks of older versions do not name the task that founded them
        learned = (entry.facts.get("id") for entry in in_effect(log) if entry.event == "learn")
        if said["source"] == SLIM and said.get("founder", next(learned, ref.id)) == ref.id:
            reasons.append("the model below all tasks, which was trained on its images,")
        if self.contents.info(ref).method == HYPERNET:
            taught = [entry for entry in log if entry.facts.get("taught_shared") and entry.facts.get("id") == ref.id]
            consolidated_with = [e for e in log if e.event == "consolidate" and str(ref.id) in e.facts.get("tasks", {})]
            if taught or consolidated_with:
                reasons.append("the shared hypernetwork")
        return reasons

    def _files_of(self, number: int) -> list[FileRef]:
        """All files that any kept generation has of a task, and all that are there, as of one that is damaged."""
        store, found = self.contents.store, dict[str, FileRef]()
        for generation in store.generations():
            with contextlib.suppress(DamagedError):
                tasks = store.read(generation, None).tasks
                found |= {task.file.name: task.file for task in tasks if task.id == number}
        for name in (name for name, task in tasks_on_disk(store.path).items() if task == number):
            found.setdefault(name, FileRef(name, "", 0))
        return list(found.values())


def check_name(name: str, contents: Contents) -> None:
    """Refuse a name for a new task.

    Raises:
    ConfigError: it is empty, not printable, too long or taken.
    """
    taken = [task.name for task in contents.manifest.tasks]
    if not name.strip() or not name.isprintable() or len(name) > 200:
        raise ConfigError(
            "task name",
            required="1 to 200 printable characters",
            found=ascii(name[:60]),
            hint="Give a short name, such as that of the folder.",
        )
    if name in taken:
        raise ConfigError(
            f"task name '{name}'",
            required="a name that no other task has",
            found="the name of a task that was learned",
            hint="More images for that task go by bank.extend (hypertail extend); or give another name.",
        )


def check_taught_whole(contents: Contents) -> None:
    """Refuse to move a hypernetwork while a task that shares it cannot be read, and so not be checked.

    Raises:
        ConfigError: naming the tasks.
    """
    tasks = [contents.info(task) for task in contents.manifest.tasks]
    lost = [task.name for task in tasks if task.damaged and task.method == HYPERNET]
    if lost:
        raise ConfigError(
            "change of the hypernetwork that tasks share",
            required="all tasks of method 'hypernet' whole, to see what it does to them",
            found=f"damaged: {', '.join(lost)}",
            hint="Put their files back from a copy, or forget these tasks.",
        )


def hypernet_facts(hyper: Hypernetwork) -> dict[str, Any]:
    """Sizes by which `shared_hypernetwork` makes one like it."""
    rank = next((head.rank for head in hyper.heads.values() if isinstance(head, ChannelHead)), 0)
    return {"embedding": hyper.embedding.shape[1], "rank": rank}


def shared_tensors(hyper: Hypernetwork) -> dict[str, torch.Tensor]:
    """The shared parameters of a hypernetwork by name, in half precision, to which they were rounded."""
    return {name: halved(value.detach()).cpu() for name, value in shared_parameters(hyper).items()}


def hold(after: Certificate, changed: Callable[[str], int], what: str) -> None:
    """Refuse a change that changes answers of a task which would then fail.

    Args:
        after: what a certificate would say if the change were made.
        changed: name of a task -> how many of its answers this change changes.
        what: the change, for the message.

    Raises:
        BudgetError: naming the one that would have changed most.
    """
    failed = [each for each in after.checks if not each.passed and each.probes and changed(each.task)]
    if failed:
        worst = max(failed, key=lambda check: check.answers_changed / max(1, check.probes))
        count = changed(worst.task)
        raise BudgetError(
            what,
            required=f"at most {100 * after.budget:g} % of an earlier task's answers changed",
            found=f"{worst.answers_changed} of {worst.probes} for task '{worst.task}', {count} by this change",
            hint="The bank is as it was. Give a larger budget, or a method that shares only fixed parts.",
        )
