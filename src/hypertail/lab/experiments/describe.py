"""A run in a few words."""

from __future__ import annotations

from hypertail.lab.experiments.config import RunConfig

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


def spell(value: object) -> str:
    """A value as `--try` spells it: `0.05`, `50x32`, `true`, `none`.

    Example:
        >>> spell(0.05), spell((50, 32)), spell(True), spell(None)
        ('0.05', '50x32', 'true', 'none')
    """
    if isinstance(value, list | tuple):
        return "x".join(map(spell, value))
    return str(value).lower().removesuffix(".0")
