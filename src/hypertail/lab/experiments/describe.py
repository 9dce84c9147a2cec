"""A run in a few words."""

from __future__ import annotations

from hypertail.lab.experiments.config import LATER, RunConfig

_OF_THE_SCALE = ("trunk_epochs", "fisher_samples", "views")


def described(config: RunConfig) -> str:
    """`HN-3`, or `HN-3 (lookahead first, rank 32)` where options of a learner differ from those of the preset."""
    words = ", ".join(unusual(config))
    return f"{config.label} ({words})" if words else config.label


def unusual(config: RunConfig) -> list[str]:
    """The options of a learner that differ from those of the preset: `rank 32`, `mlp 64x32`."""
    identity = config.identity()
    usual = RunConfig(
        config.stream, config.strategy, config.depth, config.model, preset=config.preset, epochs=config.epochs
    ).settled()
    # an option without effect on either side tells nothing
    effective = {**usual.options.flat(), **usual.identity()}
    names = [
        name
        for name in usual.options.flat()
        if name in identity and identity[name] != effective[name] and name not in _OF_THE_SCALE
    ]
    shown = names if config.recipe.role == "learner" and config.recipe.has_depth else []
    return [f"{name.replace('_', '-')} {spell(identity[name])}" for name in shown]


def differences(found: RunConfig, wanted: RunConfig) -> list[str]:
    """What keeps a run of `found` from standing for one of `wanted`: `images-per-class 9 (asked for: 8)`, an item each.

    First what decides the outcome; where that is the same, what `wanted` records and `found` does not.
    """
    before, now = found.identity(), wanted.identity()
    if before == now:
        if found.records(wanted):
            return []
        before, now = ({"eval_every": config.eval_every, **config.options.flat()} for config in (found, wanted))
        recorded = {"eval_every", *wanted.options.recorded}
        before, now = ({name: of[name] for name in of if name in recorded} for of in (before, now))
    told = []
    for name in dict.fromkeys((*now, *before)):
        one, other = (of.get(name, LATER.get(name, "without effect")) for of in (before, now))
        if one != other:
            told.append(f"{name.replace('_', '-')} {_shown(one)} (asked for: {_shown(other)})")
    return told


def _shown(value: object) -> str:
    return "not given" if value is None else value if isinstance(value, str) else spell(value)


def spell(value: object) -> str:
    """A value as `--try` spells it: `0.05`, `50x32`, `true`, `none`.

    Example:
        >>> spell(0.05), spell((50, 32)), spell(True), spell(None)
        ('0.05', '50x32', 'true', 'none')
    """
    if isinstance(value, list | tuple):
        return "x".join(map(spell, value))
    return str(value).lower().removesuffix(".0")
