"""Changes of a bank that learn from no image: rename, forget, consolidate."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from hypertail.bank.certificate.certificate import Certificate, damaged_check
from hypertail.bank.certificate.compare import Comparison
from hypertail.bank.contents import BACKBONE, HYPERNET, Contents
from hypertail.bank.founding import SLIM
from hypertail.bank.learning.consolidate import Consolidated, consolidated
from hypertail.bank.serving import Server
from hypertail.bank.store import Entry, FileRef, Kept, Manifest, TaskRef, in_effect
from hypertail.bank.store.layout import tasks_on_disk
from hypertail.bank.task_info import no_such_task
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
        """Delete every task of a name and everything of it, also of one that only earlier generations have.

        With it goes what then only generations have that no rollback reaches.

        Raises:
            ConfigError: no task had that name.
            CheckpointError: the task is out of the bank, and a file of it cannot be deleted.
        """
        try:
            return self._forget(name)
        finally:  # also where a file could not be deleted: the task is out of the bank
            self.contents.refresh()

    def _forget(self, name: str) -> Forgotten:
        contents = self.contents
        with contents.store.change() as change:
            contents.refresh()
            old, kept = contents.manifest, Kept.of(contents.store)
            numbers, absent = kept.called(name), kept.absent()
            if not numbers:
                change.check_erased()
                return self._forgotten_before(name, [*absent.values()])
            tasks = tuple(task for task in old.tasks if task.id not in numbers)
            following = {ref.name for ref in (*old.shared.values(), *(task.file for task in tasks))}
            own = {name: ref for name, ref in _files_of(numbers, kept).items() if name not in following}
            erased = [*own.values(), *kept.out_of_reach(following, own)]
            left = [old, *(kept.reached(own) if kept.whole else kept.manifests)]
            reasons = list(dict.fromkeys(reason for number in numbers for reason in _left_behind(number, left)))
            facts: dict[str, Any] = {"id": numbers[0], "exact": not reasons}
            facts |= {"also": list(numbers[1:])} if numbers[1:] else {}
            lost = {*old.erased, *(ref.name for ref in erased)}
            others = {number: names[-1] for number, names in absent.items() if number not in numbers}
            gone = [each for number, each in others.items() if lost.issuperset(_files_of((number,), kept))]
            facts |= {"with": gone} if gone else {}
            told = [task.id for task in old.tasks if task.name == name]
            later = [(task.name, contents.readable(task.name)) for task in tasks if told and task.id > told[0]]
            seen = [f"'{each}'" for each, found in later if found is None or "threshold" in found.calibration]
            cut = "cut" in old.facts and old.facts.get(BACKBONE, {}).get("founder") in numbers
            change.commit("forget", task=name, entry_facts=facts, tasks=tasks, erase=erased)
        return Forgotten(name, not reasons, _explanation(len(numbers), reasons, seen, gone, cut))

    def _forgotten_before(self, name: str, absent: list[tuple[str, ...]]) -> Forgotten:
        """What came of it when it was forgotten: a command that was cut off may be given again.

        Raises:
            ConfigError: no task had that name.
        """
        manifest = self.contents.manifest
        forgotten = [entry for entry in manifest.log if entry.event == "forget"]
        done = [entry for entry in forgotten if name in (entry.task, *entry.facts.get("with", ()))]
        if not done:
            known = {task.name for task in manifest.tasks} | {each for names in absent for each in names}
            raise no_such_task(name, known)
        last, exact = done[-1], bool(done[-1].facts.get("exact"))
        words = f"That was done in generation {last.generation}, and no file of it is left."
        return Forgotten(name, exact, words if exact else f"{words} What tasks share learned from it.")

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
        after = Server(contents.backbone, lambda name: records[name], records, lambda: result.hyper, contents.device)
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


def _files_of(numbers: Collection[int], kept: Kept) -> dict[str, FileRef]:
    """All files that any kept generation has of tasks, and all that are there, as of one that is damaged, by name."""
    tasks = (task for manifest in kept.manifests for task in manifest.tasks)
    found = {task.file.name: task.file for task in tasks if task.id in numbers}
    there = (name for name, number in tasks_on_disk(kept.store.path).items() if number in numbers)
    return {name: FileRef(name, "", 0) for name in there} | found


def _left_behind(number: int, left: Iterable[Manifest]) -> list[str]:
    """What in the generations that are left learned from a task beside its own files."""
    reasons = []
    for manifest in left:
        said, done = manifest.facts.get(BACKBONE, {}), in_effect(manifest.log)
        # banks of older versions do not name the task that founded them
        learned = (entry.facts.get("id") for entry in done if entry.event == "learn")
        if said.get("source") == SLIM and said.get("founder", next(learned, number)) == number:
            reasons.append("the model below all tasks, which was trained on its images,")
        if HYPERNET in manifest.shared and any(_taught(number, entry) for entry in done or manifest.log):
            reasons.append("the shared hypernetwork")
    return reasons


def _taught(number: int, entry: Entry) -> bool:
    """Whether by a change the shared hypernetwork learned from a task."""
    if entry.event == "consolidate":
        return str(number) in entry.facts.get("tasks", {})
    return bool(entry.facts.get("taught_shared")) and entry.facts.get("id") == number


def _explanation(count: int, reasons: list[str], seen: list[str], gone: list[str], cut: bool) -> str:
    """Plain sentences on what forgetting left.

    Args:
        count: of tasks that had the name.
        reasons: what learned from it beside its own files.
        seen: tasks that were learned after it.
        gone: tasks that only generations had which cannot be rolled back to any more.
        cut: whether the model was cut where tasks on its images were learned best.
    """
    words = f"{count} tasks had that name, and all of them are gone. " if count > 1 else ""
    it, its = ("them", "Their") if count > 1 else ("it", "Its")
    if reasons:
        words += f"{its} own files are gone, but {' and '.join(reasons)} learned from {it}, "
        words += f"and cannot be cleared of {it}."
    else:
        words += f"Nothing that is left in the bank learned from {it}."
        if seen:
            words += (
                f" Two numbers were set beside {it}: the threshold for unknown images and the temperature of "
                f"distances of {', '.join(seen)}, learned after it."
            )
    if cut:
        words += f" Where the model is cut was chosen by accuracies on images of {it}, and stays so."
    if gone:
        named = ", ".join(f"'{name}'" for name in gone)
        words += f" With {it} went {named}, which only generations had that no rollback reaches any more."
    return words


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
