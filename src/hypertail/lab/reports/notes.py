"""What a reader must know before comparing the rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from hypertail.lab.reports.groups import Group
from hypertail.recipes.catalogue import known_recipe


def notes(groups: Sequence[Group]) -> tuple[str, ...]:
    """Plain sentences on what limits the comparison of `groups`; nothing where nothing does."""
    found = [
        _spread(groups),
        validation(groups),
        _untold(groups),
        repeated((group.name, group) for group in groups),
        _seeds(groups),
        _tasks(groups),
        _machines(groups),
        _threads(groups),
    ]
    found += [_versions(groups), _bounds(groups)]
    return tuple(note for note in found if note)


def validation(groups: Sequence[Group]) -> str:
    """Which groups were not measured on test data; empty if all were."""
    names = [g.name for g in groups if any(run.config.get("measure_on") == "validation" for run in g.runs)]
    if not names:
        return ""
    return f"Measured on held-out training data, not on the test set: {', '.join(names)}."


def repeated(groups: Iterable[tuple[str, Group]]) -> str:
    """Which of the named groups have several runs of one seed; empty if none has."""
    names = [name for name, group in groups if group.repeated]
    if not names:
        return ""
    return f"A seed that occurs more than once counts once, by the mean of its runs: {', '.join(names)}."


def _spread(groups: Sequence[Group]) -> str:
    single = [group.name for group in groups if len(group.seeds) == 1]
    if len(single) == len(groups):
        return "One seed per row (n = 1): the spread over seeds is unknown."
    text = "Mean ± sample standard deviation over n seeds."
    return f"{text} One seed only, spread unknown: {', '.join(single)}." if single else text


def _untold(groups: Sequence[Group]) -> str:
    if not any(group.stat("cil") for group in groups):
        return ""
    return (
        "CIL: the task is not told, but that of the nearest class mean of trunk features. ACA: it is told. LDA keeps "
        "class means and covariance; for others they are computed over all training images at the end, and are not in "
        "bytes kept."
    )


def _seeds(groups: Sequence[Group]) -> str:
    seeds = [group.seeds for group in groups]
    usual = max(seeds, key=seeds.count)
    others = [(group.name, own) for group, own in zip(groups, seeds, strict=True) if own != usual]
    if not others:
        return ""
    each = "; ".join(f"{name}: {_listed(own)}" for name, own in others)
    return f"The rows do not share the same seeds (most: {_listed(usual)}; {each})."


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _tasks(groups: Sequence[Group]) -> str:
    seen: dict[int, set[object]] = {}
    for group in groups:
        for run in group.runs:
            seen.setdefault(run.seed, set()).add(run.tasks)
    differing = [str(seed) for seed, tasks in sorted(seen.items()) if len(tasks) > 1]
    if not differing:
        return ""
    return f"Not all runs learned the same experiences (seed {', '.join(differing)}): compare with care."


def _machines(groups: Sequence[Group]) -> str:
    keys = ("device", "cpu", "cores", "threads")
    machines = {tuple(str(run.hardware.get(key)) for key in keys) for group in groups for run in group.runs}
    return "Times come from different machines or thread counts: do not compare them." if len(machines) > 1 else ""


def _threads(groups: Sequence[Group]) -> str:
    runs = [run for group in groups for run in group.runs if run.hardware.get("device") == "cpu"]
    counts = sorted({run.hardware["threads"] for run in runs if isinstance(run.hardware.get("threads"), int)})
    if len(counts) < 2:
        return ""
    return f"CPU threads differ ({', '.join(map(str, counts))}): results may differ in the last digits for it."


def _versions(groups: Sequence[Group]) -> str:
    found = []
    for name in ("hypertail", "torch"):
        versions = {run.versions.get(name, "unknown") for group in groups for run in group.runs}
        if len(versions) > 1:
            found.append(f"{name} {', '.join(sorted(versions))}")
    return f"The runs were made with different versions: {'; '.join(found)}." if found else ""


def _bounds(groups: Sequence[Group]) -> str:
    recipes = {recipe for group in groups if (recipe := known_recipe(group.first.strategy)) is not None}
    present = [
        recipe.reference[1] for recipe in sorted(recipes, key=lambda recipe: recipe.order) if recipe.reference[1]
    ]
    return f"{' and '.join(present)}: shown for reference." if present else ""
