"""Strategies as they are offered: a file each with options, words, colour, defaults, presets and builder."""

from hypertail.recipes.catalogue import recipe_of, register, strategy_names
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import Parts, Recipe

__all__ = ["OptionGroup", "Options", "Parts", "Recipe", "recipe_of", "register", "strategy_names"]
