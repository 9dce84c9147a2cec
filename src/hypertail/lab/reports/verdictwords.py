"""A verdict in plain sentences, made from its numbers alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from hypertail.lab.reports.notes import repeated, validation
from hypertail.lab.reports.paired import DAGGER
from hypertail.lab.reports.summary import percent, points
from hypertail.lab.reports.tables import human_bytes
from hypertail.lab.reports.verdict import Method, Rival, Verdict

_MANY = 4  # more methods than this are not listed one by one
_ZERO = 0.0005  # below half of the last decimal shown
ONE_SEED = "One seed: the spread of every difference is unknown, and each may be chance."


def sentences(verdict: Verdict) -> tuple[str, ...]:
    """What is best and by how much, at how many bytes, and how the hypernetworks do; a paragraph for each."""
    return _Words(verdict).all()


def overview(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """A sentence for each set of conditions under which there is something to compare."""
    found = []
    for verdict in verdicts:
        if verdict.best is None or len(verdict.candidates) < 2:
            continue
        best, hyper = verdict.best, verdict.hypernetwork
        text = f"{verdict.conditions.words(verdict.runs)}: {best.name} is best, {percent(best.aca.mean)}"
        words, other = _Words(verdict), verdict.other
        if hyper is not None and hyper is best:
            text += "; it is a hypernetwork"
            text += f", {words.beside(hyper, other)}" if other is not None else ""
        elif hyper is not None:
            text += f"; the best hypernetwork, {hyper.name}, is {words.beside(hyper, best)}"
        found.append(f"{text}.")
    return tuple(found)


@dataclass(frozen=True)
class _Words:
    verdict: Verdict

    def all(self) -> tuple[str, ...]:
        """Every sentence that there is something to say in."""
        found = [
            self.best(),
            self.near(),
            self.by_bytes(),
            self.hypernetwork(),
            self.old_data(),
            self.references(),
            f"Not measured to the end: {_listed(self.verdict.unmeasured)}." if self.verdict.unmeasured else "",
            repeated((method.name, method.group) for method in self.verdict.methods),
            validation([method.group for method in self.verdict.methods]),
        ]
        return tuple(text for text in found if text)

    @property
    def lone(self) -> bool:
        """Whether one seed is all there is: said once, and not after each number."""
        return len({run.seed for run in self.verdict.runs}) == 1

    def best(self) -> str:
        """The best method, and the best without old data where that is another one."""
        best, count = self.verdict.best, len(self.verdict.candidates)
        if best is None:
            return ""
        if count == 1:
            return f"One method, {best.name}, and nothing to compare it with: {self.numbers(best)}."
        text = f"Best of {count} methods: {best.name} ({_kind(best)}). {_capital(self.numbers(best))}."
        if best.keeps_data and (others := self.verdict.without_old_data):
            text += f" Best without old data: {others[0].name}, {self.beside(others[0], best)}."
        return text

    def near(self) -> str:
        """Those within the spread of the best, or how far the next one is."""
        verdict = self.verdict
        rivals = [rival for method in verdict.candidates if (rival := verdict.rival(method)) is not None]
        if not rivals:
            return ""
        spreads = [rival for rival in rivals if rival.difference is not None and rival.difference.std is not None]
        near = [rival for rival in spreads if rival.difference is not None and not rival.difference.beyond]
        if near:
            shown = [f"{rival.method.name}, {_by(rival)}{_spread(rival)}" for rival in near[:_MANY]]
            more = [f"{len(near) - _MANY} more"] if len(near) > _MANY else []
            return f"Within the spread of the best, so not told apart from it: {'; '.join([*shown, *more])}."
        first = rivals[0]
        text = f"Next is {first.method.name}, {_by(first)}{self.worth(first)}."
        if self.lone:
            return f"{text} {ONE_SEED}"
        if len(spreads) == len(rivals):
            return f"{text} No other is within the spread of the best."
        return f"{text} Of those paired over several seeds none is within the spread of the best." if spreads else text

    def by_bytes(self) -> str:
        """The methods without old data that are ahead of all that take fewer bytes."""
        front = self.verdict.front
        if len(self.verdict.candidates) < 2 or not front:
            return ""
        head = "Best for its bytes a task, among methods that store no old data"
        head += ":" if self.lone else ", a dearer one where it is ahead beyond the spread:"
        if len(front) == 1:
            beats = "which none beats at any size" if self.lone else "which none beats beyond the spread at any size"
            return f"{head} {_at(front[0])}, {beats}."
        parts = [f"below {_size(dearer.bytes_a_task)}, {_at(method)}" for method, dearer in itertools.pairwise(front)]
        parts.append(f"above, {_at(front[-1])}")
        unsure = [""] + [self._unsure(Rival.of(dearer, cheaper)) for cheaper, dearer in itertools.pairwise(front)]
        return f"{head} {'; '.join(map(''.join, zip(parts, unsure, strict=True)))}."

    def _unsure(self, step: Rival) -> str:
        """What a step to a dearer method rests on where no spread is known; empty where one is."""
        if self.lone or (step.difference is not None and step.difference.std is not None):
            return ""
        return ", by the means alone" if step.difference is None else ", by one seed in common"

    def hypernetwork(self) -> str:
        """The best hypernetwork beside the best of the others that store no old data, and beside separate tails."""
        hyper, other, separate = self.verdict.hypernetwork, self.verdict.other, self.verdict.separate
        if hyper is None or (other is None and separate is None):
            return ""
        parts = []
        if other is not None:
            told = ", the best other method that stores no old data"
            parts.append(self.beside(hyper, other, told + f" and takes {_size(other.bytes_a_task)} a task"))
        if separate is not None:
            told = f", which stores a tail of {_size(separate.bytes_a_task)} for each task"
            parts.append(self.beside(hyper, separate, told))
        numbers = "" if hyper is self.verdict.best else f", {self.numbers(hyper)}"
        return f"Best hypernetwork: {hyper.name}{numbers}. It is {'; and '.join(parts)}."

    def old_data(self) -> str:
        """The methods that store old data, which may not be allowed."""
        keeping = [method for method in self.verdict.candidates if method.keeps_data]
        names = [
            f"{method.name} ({_size(method.old_data)} of it; {percent(method.aca.mean)} at "
            f"{_size(method.bytes_a_task)} a task)"
            for method in keeping
        ]
        return f"Old data is stored by {_listed(names)}." if names else ""

    def references(self) -> str:
        """What is reached with all data at once."""
        texts = [
            f"{method.name}, which learns from all data at once, reaches {self.accuracy(method)}"
            for method in self.verdict.methods
            if method.sees_all_data
        ]
        return f"For reference, {_listed(texts)}." if texts else ""

    def beside(self, method: Method, other: Method, told: str = "") -> str:
        """`4.3 points below LR-3`, what is `told` of it, and what the difference is worth."""
        rival = Rival.of(method, other)
        return f"{_by(rival)}{' with' * _level(rival)} {other.name}{told}{self.worth(rival)}"

    def worth(self, rival: Rival) -> str:
        """The spread of a difference, and whether it is within it."""
        difference = rival.difference
        if difference is None:
            return f" (no pairs: {rival.unpaired})"
        if difference.std is None:
            return "" if self.lone else " (one seed in common: spread unknown)"
        return f"{_spread(rival)[:-1]}: {'beyond' if difference.beyond else 'within'} the spread)"

    def numbers(self, method: Method) -> str:
        """Accuracy, forgetting and bytes."""
        parts = [f"ACA {self.accuracy(method)}"]
        if method.forgetting is not None and len(method.group.first.tasks) > 1:
            lost = method.forgetting.mean
            verb = "forgets" if lost > 0 else "gains"
            parts.append("forgets nothing" if abs(lost) < _ZERO else f"{verb} {points(lost)} on earlier tasks")
            changed = method.group.stat("changed")
            if changed is not None and changed.mean > 0:
                parts.append(f"answers {percent(changed.mean)} of earlier test images otherwise than at first")
        own = method.own_bytes
        total = f"keeps {_size(method.bytes_a_task)} a task"
        if own is not None and own < 0.95 * method.bytes_a_task:
            total += f", of which a further task adds {_size(own)}"
        return ", ".join([*parts, total])

    def accuracy(self, method: Method) -> str:
        """Mean, deviation and seeds."""
        stat = method.aca
        if stat.std is None:
            return percent(stat.mean) if self.lone else f"{percent(stat.mean)} (one seed)"
        return f"{percent(stat.mean)} ± {100 * stat.std:.1f} over {stat.n} seeds"


def _kind(method: Method) -> str:
    if method.keeps_data:
        return "it stores old data"
    if method.is_hypernetwork:
        return "a hypernetwork"
    return "a stored tail for each task" if method.is_upper else "no hypernetwork"


def _at(method: Method) -> str:
    return f"{method.name} ({percent(method.aca.mean)} at {_size(method.bytes_a_task)})"


def _spread(rival: Rival) -> str:
    difference = rival.difference
    if difference is None or difference.std is None:
        return ""
    return f" (± {100 * difference.std:.1f}{f' {DAGGER}' * difference.trained_again}, n = {difference.n})"


def _level(rival: Rival) -> bool:
    return abs(rival.by) < _ZERO


def _by(rival: Rival) -> str:
    return "level" if _level(rival) else f"{points(rival.by)} {'above' if rival.by > 0 else 'below'}"


def _size(size: float) -> str:
    return human_bytes(size).replace(" ", "\N{NO-BREAK SPACE}")


def _listed(texts: Sequence[str]) -> str:
    shown, rest = list(texts[:_MANY]), len(texts) - _MANY
    if rest > 0:
        shown.append(f"{rest} more")
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
