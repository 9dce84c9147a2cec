"""The strategies by name: built-in ones, and those that users register."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from typing import Any, get_type_hints

from hypertail.errors import ConfigError, unknown_name
from hypertail.recipes import adapter, ewc, head, hypernet, joint, lda, lwf, naive, replay, separate
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.presets import PRESETS, check_preset
from hypertail.recipes.recipe import Recipe

_RECIPES: dict[str, Recipe] = {}
_SHORT: dict[str, str] = {}


def register(recipe: Recipe) -> Recipe:
    """Make a strategy known: to `hypertail.lab`, the command line of this process, tables, figures and reports.

    Raises:
        ConfigError: its name is taken by another one, or ends in `-` and a number, which names a depth; or one of its
            options has the name of one of another group.
    """
    name = recipe.name
    taken = _RECIPES.get(name, recipe) is not recipe or _SHORT.get(name, name) != name
    if taken or not name or name.rpartition("-")[2].isdecimal() or name != name.lower():
        raise ConfigError(
            f"strategy '{name}'",
            required="a lower-case name that no other strategy has, without a depth at its end",
            found="a name that is taken" if taken else f"'{name}'",
            hint="Give the recipe another name.",
        )
    for kind in recipe.groups:
        for item in fields(kind):
            known = {option.name: group for group in option_groups() for option in fields(group)}
            if known.get(item.name, kind) is not kind:
                raise ConfigError(
                    f"option '{item.name}' of strategy '{name}'",
                    required="a name that no other option has",
                    found=f"one of {known[item.name].__name__}",
                    hint="Give the option another name, or use that group.",
                )
    _RECIPES[name] = recipe
    for short in recipe.short:
        _SHORT.setdefault(short, f"{name}-full" if short.startswith("full-") else name)
    option_types.cache_clear()
    return recipe


def recipe_of(name: str) -> Recipe:
    """The recipe of a strategy.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    recipe = known_recipe(name)
    if recipe is None:
        raise unknown_name("strategy", name, _RECIPES)
    return recipe


def known_recipe(name: str) -> Recipe | None:
    """The recipe of a strategy by its name or a shorter one; None for one that is not known here.

    A `run.json` from elsewhere may be of a strategy that was registered there.
    """
    return _RECIPES.get(_SHORT.get(name, name))


def strategy_names() -> dict[str, str]:
    """Name -> what it does, in order."""
    return {recipe.name: recipe.what for recipe in sorted(_RECIPES.values(), key=lambda recipe: recipe.order)}


def label_for(strategy: str, depth: int | str | None) -> str:
    """The name that tables use: HN-3, HN-F (depth "full"), LR-2, Separate-3, Naive, EWC, Joint.

    Example:
        >>> label_for("hn", "full"), label_for("replay", 2), label_for("naive", None)
        ('HN-F', 'LR-2', 'Naive')
    """
    recipe = known_recipe(strategy)
    if recipe is not None:
        return recipe.label_at(depth)
    return strategy if depth is None else f"{strategy}-{'F' if depth == 'full' else depth}"


def usual_options(strategy: str, preset: str = "tuned") -> Options:
    """The options of a strategy under a preset; those that follow from the tail are left open (None).

    Raises:
        ConfigError: an unknown strategy or preset.
    """
    recipe = recipe_of(strategy)
    like = PRESETS[check_preset(preset)].like
    usual = _defaults(recipe) if like is None else usual_options(strategy, like)
    return usual.updated({**PRESETS[preset].shared, **recipe.presets.get(preset, {})})


@cache
def _defaults(recipe: Recipe) -> Options:
    return Options(kind() for kind in recipe.groups)


def option_groups(strategies: Iterable[str] | None = None) -> tuple[type[OptionGroup], ...]:
    """The groups of options of some strategies, or of all, each once."""
    recipes = _RECIPES.values() if strategies is None else [recipe_of(name) for name in strategies]
    return tuple(dict.fromkeys(kind for recipe in recipes for kind in recipe.groups))


def strategies_with(option: str) -> tuple[str, ...]:
    """The strategies that have an option of that name."""
    return tuple(
        name
        for name, recipe in _RECIPES.items()
        if any(item.name == option for kind in recipe.groups for item in fields(kind))
    )


def strategies_with_depth(names: Iterable[str]) -> tuple[str, ...]:
    """Those of some names, as users give them, that are combined with depths: `hn`, and neither `hn-3` nor `naive`."""
    found = ((name, known_recipe(name.lower())) for name in names)
    return tuple(name for name, recipe in found if recipe is not None and recipe.has_depth)


@cache
def option_types() -> dict[str, Any]:
    """Option -> its type."""
    return {item.name: get_type_hints(kind)[item.name] for kind in option_groups() for item in fields(kind)}


def parse_depth(text: str) -> int:
    """`0`, `1`, ..., or `full` (`f`) for 0.

    Raises:
        ConfigError: anything else.
    """
    if text.lower() in ("full", "f"):
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise ConfigError(f"depth '{text}'", required="0, 1, ... or full", found=text, hint="Use --depth 3, say.")
    return int(text)


def parse_strategies(names: Sequence[str], depths: Sequence[str]) -> list[tuple[str, int | None]]:
    """Pairs of strategy and depth.

    A name may carry its depth (`hn-3`, `replay-2`, `hn-f`, `separate-4`); one that does not is combined with every
    depth.

    Raises:
        ConfigError: an unknown name or depth, with the nearest valid one.
    """
    pairs: list[tuple[str, int | None]] = []
    for given in names:
        name = _SHORT.get(given.lower(), given.lower())
        stem, _, suffix = name.rpartition("-")
        whole, part = known_recipe(name), known_recipe(stem)
        if whole is not None:
            pairs += [(whole.name, parse_depth(depth)) for depth in depths] if whole.has_depth else [(whole.name, None)]
        elif part is not None and part.has_depth:
            pairs.append((part.name, parse_depth(suffix)))
        else:
            raise unknown_name("strategy", given, _RECIPES)
    return list(dict.fromkeys(pairs))


for _module in (naive, ewc, lwf, replay, hypernet, adapter, head, lda, separate, joint):
    register(_module.RECIPE)
