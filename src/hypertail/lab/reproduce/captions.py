"""The small print of a reproduced figure or table: how its data was made, and what of it is missing."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reproduce.seeds import named, seeds_by_row, told_seeds
from hypertail.lab.reproduce.setting import Setting

_MANY = 6  # more missing runs than this are counted, not listed


def caption(
    setting: Setting,
    planned: Sequence[RunConfig],
    used: Sequence[FinishedRun],
    spread: str = "Lines are means over seeds, bands ± one standard deviation.",
) -> tuple[str, ...]:
    """Preset, epochs, n, hardware; how several seeds are drawn; which planned runs are missing.

    Args:
        setting: what was asked for.
        planned: all runs it needs.
        used: those that are shown.
        spread: said where there are several seeds.
    """
    epochs = sorted({finished.run.epochs for finished in used})
    length = f"{_listed(epochs)} {'epoch' if epochs == [1] else 'epochs'} per experience"
    facts = [f"Preset {setting.preset}", length, *_trunk(used, epochs)]
    several = any(len(seeds) > 1 for _, seeds in seeds_by_row(used))
    lines = [f"{', '.join([*facts, told_seeds(used)])}; {machines([finished.run for finished in used])}."]
    if several and spread:
        lines.append(spread)
    if setting.size.digits:
        lines.append("Made on the embedded digits in place of the paper's data, to show that it works: no result.")
    if missing := _missing(planned, used):
        lines.append(missing)
    return tuple(lines)


def machines(runs: Sequence[RunFile]) -> str:
    """The hardware of some runs in a few words."""
    found = []
    for run in runs:
        hardware = run.hardware
        gpu = hardware.get("gpu")
        cores = hardware.get("threads") or hardware.get("cores")
        cpu = f"{hardware.get('cpu', 'unknown hardware')}, {cores} {'thread' if cores == 1 else 'threads'}"
        found.append(str(gpu) if gpu else cpu)
    return " and ".join(dict.fromkeys(found)) or "no run"


def _trunk(used: Sequence[FinishedRun], epochs: Sequence[int]) -> list[str]:
    lengths = sorted({_passes(finished) for finished in used if finished.config.weights is None})
    return [f"{_listed(lengths)} for the trunk"] if lengths and lengths != list(epochs) else []


def _passes(finished: FinishedRun) -> int:
    """Passes over the first experience for the trunk, or for the whole model of strategies without one."""
    options = finished.config.options
    alone = options.get("trunk_training") == "alone"
    turns = bool(finished.config.depth) and options.get("trunk_rotations") and alone
    return (2 if turns else 1) * (options.get("trunk_epochs") or finished.run.epochs)


def _missing(planned: Sequence[RunConfig], used: Sequence[FinishedRun]) -> str:
    missing = [config for config in dict.fromkeys(planned) if not matching(used, [config])]
    if not missing:
        return ""
    if len(missing) > _MANY:
        return f"{len(missing)} of {len(set(planned))} runs are not finished and not shown."
    names = [f"{named(config, planned)}, seed {config.seed}" for config in missing]
    return f"Not finished, so not shown: {'; '.join(names)}."


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
