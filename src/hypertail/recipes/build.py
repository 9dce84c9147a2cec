"""From options to a strategy."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from hypertail.errors import ConfigError
from hypertail.nets import decompose
from hypertail.nets.models import cut_of, main_model
from hypertail.nets.resnet import Norm
from hypertail.recipes.catalogue import recipe_of
from hypertail.recipes.options import Options
from hypertail.recipes.recipe import Parts
from hypertail.recipes.shared import FrozenTrunk
from hypertail.seeds import seeded
from hypertail.strategies import Strategy, Trunk
from hypertail.streams import Stream


def build_model(
    model: str, stream: Stream, classes: int, seed: int, *purpose: object, norm: Norm = "batch"
) -> nn.Sequential:
    """A freshly initialised main model whose weights follow from seed and purpose, channels-last."""
    with seeded(seed, *purpose):
        built = main_model(model).build(classes, channels=stream.image_shape[0], norm=norm)
    return built.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def settled(strategy: str, options: Options, model: str, depth: int | None) -> Options:
    """The same options, those that were left open (None) with what they stand for at this cut."""
    usual = recipe_of(strategy).defaults(options, None if depth is None else cut_of(model, depth))
    return options.updated({name: value for name, value in usual.items() if options.get(name) is None})


def build_strategy(
    strategy: str,
    options: Options,
    stream: Stream,
    *,
    depth: int | None = None,
    model: str = "slim-resnet18",
    trunk: nn.Module | None = None,
    own_tail: nn.Module | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
) -> Strategy:
    """The strategy of that name.

    Args:
        strategy: name of a recipe.
        options: of that recipe.
        stream: gives image channels and class counts.
        depth: where the main model is cut; None for a strategy without a trunk, whose recipe
            has no options of `FrozenTrunk`.
        model: name of the main model.
        trunk: the trunk trained on e_1, or None where the strategy trains its own (or has none).
        own_tail: the tail that was trained with that trunk, without its classifier: features -> vectors.
        seed: of all that is random.
        device: where it is to learn.

    Raises:
        ConfigError: an unknown strategy or model, or heads that are narrower than a task.
    """
    recipe, cut = recipe_of(strategy), None if depth is None else cut_of(model, depth)
    options = settled(strategy, options, model, depth)
    width = options.get("head_width") or stream.max_classes
    if width < stream.max_classes:
        raise ConfigError(
            "width of the heads",
            required=f"at least {stream.max_classes} outputs, the most classes of a task in the stream",
            found=str(width),
            hint="Leave --head-width out, or give more.",
        )
    whole = build_model(model, stream, width, seed, "model").to(device)
    first, tail = (None, None) if depth is None else decompose(whole, depth)
    if depth is not None and recipe.norm_follows and (norm := options.get(recipe.norm_follows)) != "batch":
        # in the authors' code only generated layers see batches of one
        tail = decompose(build_model(model, stream, width, seed, "model", norm=norm).to(device), depth)[1]
    frozen: Trunk | None = None
    if first is not None:
        if trunk is None:
            frozen = Trunk(first, learns=True, statistics=options[FrozenTrunk].trunk_statistics)
        else:
            frozen = Trunk(trunk.to(device), learns=False)
    make = _tail_maker(model, stream, depth, seed, device)
    above = None if own_tail is None else own_tail.to(device)
    return recipe.build(Parts(options, stream, seed, device, whole, cut, frozen, tail, make, above))


def _tail_maker(
    model: str, stream: Stream, depth: int | None, seed: int, device: torch.device | str
) -> Callable[[int, int], nn.Module]:
    def build(task: int, classes: int) -> nn.Module:
        # the tail of e_1 belongs to the model whose trunk learns with it
        purpose = ("model",) if task == 0 else ("tail", task)
        return decompose(build_model(model, stream, classes, seed, *purpose), depth)[1].to(device)

    return build
