"""What a search tries: values or ranges of the method's switches, as a grid or as random draws."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

import torch

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.config import RunConfig
from hypertail.recipes.method import Method, settled
from hypertail.seeds import generator

_HINTS = get_type_hints(Method)


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, drawn log-uniformly; whole ones if `whole`."""

    low: float
    high: float
    whole: bool = False

    def draw(self, random: torch.Generator) -> float | int:
        """One number, with three significant digits so that a command line can say exactly what was run."""
        share = float(torch.rand((), generator=random, dtype=torch.float64))
        value = self.low * (self.high / self.low) ** share
        value = min(max(round(value) if self.whole else float(f"{value:.3g}"), self.low), self.high)
        return int(value) if self.whole else value


Values: TypeAlias = tuple[Any, ...]
Space: TypeAlias = Mapping[str, Values | Range]
"""Switch of `Method` -> the values, or the range, to try."""


def parse_space(texts: Sequence[str]) -> dict[str, Values | Range]:
    """The search space that texts such as `penalty-weight=0.01,0.05`, `mlp=50x32,128x64`, `hyper-lr=1e-4..1e-2` spell.

    Raises:
        ConfigError: a text without values, an unknown switch, a switch given twice, or a value that it cannot take.
    """
    space: dict[str, Values | Range] = {}
    for text in texts:
        given, _, values = text.partition("=")
        name = given.strip().replace("-", "_")
        if not values.strip():
            raise ConfigError(
                f"option --try {text}",
                required="SWITCH=VALUE,VALUE or SWITCH=LOW..HIGH",
                found="no values" if given.strip() else "no switch",
                hint="Write --try penalty-weight=0.01,0.05, say.",
            )
        if name not in _HINTS:
            raise unknown_name("switch to try", given, [item.name.replace("_", "-") for item in fields(Method)])
        if name in space:
            raise ConfigError(
                f"switch {option(name)} in --try",
                required="each switch once",
                found="it is given twice",
                hint="List all its values together, separated by commas.",
            )
        space[name] = _range(name, values) if ".." in values else _values(name, values)
    return space


def default_space(config: RunConfig) -> dict[str, Values | Range]:
    """Learning rate, lambda and embedding size (Appendix F), as far as the strategy has them.

    Each is tried at the value in `config` and at one smaller and one larger.
    """
    method, strategy = config.method.at(config.depth), config.strategy
    rate = "hyper_lr" if strategy == "hn" and method.hyper_lr is not None else "lr"
    space: dict[str, Values | Range] = {rate: _around(getattr(method, rate), 3)}
    if strategy == "hn":
        space["penalty_weight"] = _around(settled(method.penalty_weight), 5)
        space["embedding"] = tuple(sorted({max(1, method.embedding // 2), method.embedding, 2 * method.embedding}))
    elif strategy == "ewc":
        space["ewc_weight"] = _around(method.ewc_weight, 10)
    elif strategy == "lr":
        space["replay_coefficient"] = _around(method.replay_coefficient, 2)
    return space


def grid(space: Space) -> list[dict[str, Any]]:
    """Every combination of values, the last switch varying fastest.

    Raises:
        ConfigError: the space has a range.
    """
    listed: list[Values] = []
    for name, values in space.items():
        if isinstance(values, Range):
            raise ConfigError(
                f"switch {option(name)} in --try",
                required="listed values, for every combination to be tried",
                found=f"the range {values.low:g}..{values.high:g}",
                hint="List values, or use --search random.",
            )
        listed.append(values)
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*listed)]


def draws(space: Space, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """`count` different random combinations, or all there are if they are fewer.

    The same space and seed give the same ones, and a larger count more of them, so that a search can be extended.
    """
    if not any(isinstance(values, Range) for values in space.values()):
        combinations = grid(space)
        order = torch.randperm(len(combinations), generator=generator(seed, "tune", "order")).tolist()
        return [combinations[index] for index in order[:count]]
    found: list[dict[str, Any]] = []
    for number in range(100 * count):  # a narrow range of whole numbers may hold fewer than asked for
        drawn = {name: _draw(values, generator(seed, "tune", name, number)) for name, values in space.items()}
        if drawn not in found:
            found.append(drawn)
        if len(found) == count:
            break
    return found


def option(name: str) -> str:
    """A switch as the command line spells it, without the dashes before: `penalty-weight`."""
    return name.replace("_", "-")


def spell(value: object) -> str:
    """A value as `--try` spells it: `0.05`, `50x32`, `true`, `none`.

    Example:
        >>> spell(0.05), spell((50, 32)), spell(True), spell(None)
        ('0.05', '50x32', 'true', 'none')
    """
    if isinstance(value, list | tuple):
        return "x".join(map(spell, value))
    return str(value).lower().removesuffix(".0")


def arguments(method: Method, usual: Method) -> list[str]:
    """The options of `hypertail run` that turn the preset `usual` into `method`."""
    words: list[str] = []
    for item in fields(Method):
        value = getattr(method, item.name)
        if value == getattr(usual, item.name):
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{option(item.name)}")
        else:
            words += [f"--{option(item.name)}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def _around(value: float, factor: float) -> Values:
    return tuple(sorted({float(f"{value * by:.3g}") for by in (1 / factor, 1, factor)}))


def _draw(values: Values | Range, random: torch.Generator) -> Any:
    if isinstance(values, Range):
        return values.draw(random)
    return values[int(torch.randint(len(values), (), generator=random))]


def _kinds(name: str) -> tuple[Any, ...]:
    """The types that a switch may have: (float, NoneType), say."""
    hint = _HINTS[name]
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _values(name: str, text: str) -> Values:
    parsed = [_value(name, part.strip()) for part in text.split(",")]
    return tuple(dict.fromkeys(parsed))


def _value(name: str, text: str) -> Any:
    kinds = _kinds(name)
    if types.NoneType in kinds and text.lower() == "none":
        return None
    kind = kinds[0]
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        if text not in choices:
            raise unknown_name(f"value of {option(name)}", text, choices)
        return text
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise _unfit(name, text, "true or false")
        return text.lower() == "true"
    if get_origin(kind) is tuple:
        count = len(get_args(kind))
        numbers = text.lower().split("x")
        if len(numbers) != count or not all(number.strip().isdecimal() for number in numbers):
            raise _unfit(name, text, f"{count} whole numbers joined by x, as in {'x'.join(['50', '32'][:count])}")
        return tuple(int(number) for number in numbers)
    return _number(name, text)


def _number(name: str, text: str) -> float | int:
    whole = _kinds(name)[0] is int
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or (whole and not value.is_integer()):
        raise _unfit(name, text, "a whole number" if whole else "a number")
    return int(value) if whole else value


def _range(name: str, text: str) -> Range:
    kind = _kinds(name)[0]
    if kind not in (int, float):
        raise _unfit(name, text, "listed values, as it is no number")
    low, _, high = (part.strip() for part in text.partition(".."))
    first, last = _number(name, low), _number(name, high)
    if not 0 < first < last:
        raise _unfit(name, text, "a range from a number above 0 to a larger one")
    return Range(first, last, whole=kind is int)


def _unfit(name: str, text: str, required: str) -> ConfigError:
    return ConfigError(
        f"value of {option(name)} in --try", required=required, found=f"'{text}'", hint="Mend the value in --try."
    )
