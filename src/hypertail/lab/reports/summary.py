"""What finished runs show, in plain sentences made from their numbers alone."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.lab.reports.conditions import by_conditions
from hypertail.lab.reports.groups import Group, Stat
from hypertail.lab.reports.notes import validation
from hypertail.recipes.catalogue import known_recipe
from hypertail.recipes.recipe import Role

_NUMBERS = (
    "No",
    "One",
    "Two",
    "Three",
    "Four",
    "Five",
    "Six",
    "Seven",
    "Eight",
    "Nine",
    "Ten",
    "Eleven",
    "Twelve",
)
_MANY = 6  # more strategies than this are not listed one by one
_ZERO = 0.0005  # below half of the last decimal shown


def statement(groups: Sequence[Group]) -> str:
    """One paragraph on the groups of one stream: what was forgotten, what is left, who is ahead, if anyone."""
    parts = [
        _setting(groups),
        _naive(groups),
        _losses(groups),
        _leader(groups),
        _references(groups),
        _gaps(groups),
        validation(groups),
    ]
    return " ".join(part for part in parts if part)


def percent(value: float) -> str:
    """An accuracy in 0..1 as a text in percent."""
    return f"{100 * value:.1f}\N{NO-BREAK SPACE}%"


def points(value: float) -> str:
    """A difference of accuracies as a text in percentage points, without its sign."""
    text = f"{100 * abs(value):.1f}"
    return f"{text} point" if text == "1.0" else f"{text} points"


def _setting(groups: Sequence[Group]) -> str:
    counts = sorted({len(group.first.tasks) for group in groups})
    experiences = " or ".join(map(str, counts)) + (" experience" if counts == [1] else " experiences")
    seeds = len({seed for group in groups for seed in group.seeds})
    number = _NUMBERS[len(groups)] if len(groups) < len(_NUMBERS) else f"{len(groups)}"
    names = f"{number} {'strategy' if len(groups) == 1 else 'strategies'}"
    after = "" if counts == [1] else ", one after the other"
    runs = f"with {seeds} seeds" if seeds > 1 else "with one seed"
    return f"{names} learned {experiences} of {groups[0].first.stream}{after}, {runs}."


def _naive(groups: Sequence[Group]) -> str:
    parts = []
    for group in groups:
        lost, aca = group.stat("forgetting"), group.stat("aca")
        if _role(group) != "lower" or lost is None or aca is None or len(group.first.tasks) == 1:
            continue
        if lost.mean >= _ZERO:
            text = f"{group.name} forgets: on earlier experiences it loses {points(lost.mean)} of accuracy"
        else:
            text = f"{group.name}, which does nothing against forgetting, {_change(lost)} on earlier experiences"
        parts.append(f"{text}, and it ends at {percent(aca.mean)} on average.")
    return " ".join(parts)


def _losses(groups: Sequence[Group]) -> str:
    measured = [
        (stat, group.name)
        for group in _learners(groups)
        if _role(group) != "lower" and len(group.first.tasks) > 1 and (stat := group.stat("forgetting"))
    ]
    measured.sort(key=lambda item: item[0].mean)
    if not measured:
        return ""
    if len(measured) > _MANY:
        (least, first), (most, last) = measured[0], measured[-1]
        return f"Of the others, {first} {_change(least)} on earlier experiences and {last} {_change(most)}."
    texts = [f"{name} {_change(stat)}" for stat, name in measured]
    return f"{_joined(texts)} on earlier experiences."


def _leader(groups: Sequence[Group]) -> str:
    ranked = [(stat, group) for group in _learners(groups) if (stat := group.stat("aca"))]
    if len(ranked) < 2 or len(by_conditions(run for _, group in ranked for run in group.runs)) > 1:
        return " ".join(
            f"{group.name} ends at {percent(stat.mean)}." for stat, group in ranked if _role(group) != "lower"
        )
    ranked.sort(key=lambda item: -item[0].mean)
    (best, first), (next_best, second) = ranked[:2]
    text = (
        f"The highest mean accuracy at the end is {percent(best.mean)} ({first.name}), "
        f"followed by {percent(next_best.mean)} ({second.name})"
    )
    if best.std is None or next_best.std is None:
        return f"{text}; without several seeds for both, that difference may be chance."
    return f"{text}; the verdict below says whether that is more than the spread."


def _references(groups: Sequence[Group]) -> str:
    texts = [
        f"{group.name} ({_words(group)}) reaches {percent(stat.mean)}"
        for group in groups
        if _role(group) == "upper" and (stat := group.stat("aca"))
    ]
    return f"For reference, {_joined(texts)}." if texts else ""


def _gaps(groups: Sequence[Group]) -> str:
    names = [group.name for group in groups if group.stat("aca") is None]
    return f"Not measured to the end: {', '.join(names)}." if names else ""


def _learners(groups: Sequence[Group]) -> list[Group]:
    return [group for group in groups if _role(group) != "upper"]


def _change(forgetting: Stat) -> str:
    if abs(forgetting.mean) < _ZERO:
        return "loses nothing"
    return f"{'loses' if forgetting.mean > 0 else 'gains'} {points(forgetting.mean)}"


def _joined(texts: Sequence[str]) -> str:
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


def _role(group: Group) -> Role:
    """Upper references store a model per experience or see all data at once: no continual learners to rank."""
    recipe = known_recipe(group.first.strategy)
    return "learner" if recipe is None else recipe.role


def _words(group: Group) -> str:
    recipe = known_recipe(group.first.strategy)
    return "" if recipe is None else recipe.reference[0]
