"""What a search tries: values or ranges of a strategy's options."""

from __future__ import annotations

import itertools
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.config import RENAMED, RunConfig
from hypertail.lab.experiments.describe import spell
from hypertail.recipes.catalogue import option_types, strategies_with, usual_options
from hypertail.recipes.options import Options

LISTED = 10_000
"""So many combinations are looked at one by one."""


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, drawn log-uniformly; whole ones if `whole`."""

    low: float
    high: float
    whole: bool = False

    def nearest(self, value: float) -> float | int:
        """The number in it that is tried for `value`: with three significant digits, which a command line can spell."""
        number = min(max(round(value) if self.whole else float(f"{value:.3g}"), self.low), self.high)
        return int(number) if self.whole else number

    def __contains__(self, value: object) -> bool:
        """Whether a number lies in it."""
        return isinstance(value, int | float) and self.low <= value <= self.high


Values: TypeAlias = tuple[Any, ...]
Space: TypeAlias = Mapping[str, Values | Range]
"""Option of the strategy -> the values, or the range, to try."""


def parse_space(texts: Sequence[str]) -> dict[str, Values | Range]:
    """The search space that texts such as `penalty-weight=0.01,0.05`, `mlp=50x32,128x64`, `hyper-lr=1e-4..1e-2` spell.

    Raises:
        ConfigError: a text without values, an unknown option, an option given twice, or a value that it cannot take.
    """
    space: dict[str, Values | Range] = {}
    for text in texts:
        given, _, values = text.partition("=")
        name = given.strip().removeprefix("--").replace("-", "_")
        name = RENAMED.get(name, name)
        if not values.strip():
            raise ConfigError(
                f"option --try {text}",
                required="OPTION=VALUE,VALUE or OPTION=LOW..HIGH",
                found="no values" if given.strip() else "no option",
                hint="Write --try penalty-weight=0.01,0.05, say.",
            )
        if name not in option_types():
            raise unknown_name("option to try", given, [spelled(known) for known in option_types()])
        if name in space:
            raise ConfigError(
                f"option {spelled(name)} in --try",
                required="each option once",
                found="it is given twice",
                hint="List all its values together, separated by commas.",
            )
        space[name] = _range(name, values) if ".." in values else _values(name, values)
    return space


def default_space(config: RunConfig) -> dict[str, Values | Range]:
    """What the strategy's recipe says is worth trying: with `hn`, learning rate, lambda and embedding size."""
    return dict(config.recipe.space(config.settled().options))


def check_space(space: Space, base: RunConfig) -> None:
    """Refuse a search over nothing, or over an option that the strategy does not have.

    Raises:
        ConfigError: naming the option; or a value is out of range.
    """
    if not space:
        raise ConfigError(
            "option --try",
            required="at least one option with values",
            found="none",
            hint="Write --try penalty-weight=0.01,0.05, say, or leave --try out.",
        )
    for name, values in space.items():
        if name not in base.options:
            raise ConfigError(
                f"option {spelled(name)} in --try",
                required=f"one that decides what {base.label} learns",
                found=f"one of {', '.join(strategies_with(name)) or 'no strategy'} alone",
                hint="Leave it out, or use another --strategy.",
            )
        for tried in (values.low, values.high) if isinstance(values, Range) else values:
            base.options.replace(**{name: values.nearest(tried) if isinstance(values, Range) else tried})


def check_not_fixed(space: Space, base: RunConfig) -> None:
    """Refuse an option that is both tried and set to a value of its own: one of them would be forgotten.

    Raises:
        ConfigError: naming it.
    """
    usual = usual_options(base.strategy, base.preset)
    for name in space:
        value = base.options.get(name)
        if value != usual.get(name):
            raise ConfigError(
                f"option {spelled(name)}",
                required="either a fixed value or values to try",
                found=f"--{spelled(name)} {spell(value)} and --try {spelled(name)}=...",
                hint="Leave one of them out.",
            )


def combinations(space: Space) -> list[dict[str, Any]]:
    """Every combination of values, the last option varying fastest.

    Raises:
        ConfigError: the space has a range.
    """
    listed: list[Values] = []
    for name, values in space.items():
        if isinstance(values, Range):
            raise ConfigError(
                f"option {spelled(name)} in --try",
                required="listed values, for every combination to be tried",
                found=f"the range {values.low:g}..{values.high:g}",
                hint="List values, or use --search random or tpe.",
            )
        listed.append(values)
    return [dict(zip(space, chosen, strict=True)) for chosen in itertools.product(*listed)]


def listed(space: Space) -> list[dict[str, Any]] | None:
    """Every combination, those of ranges of whole numbers included; None where there are more than `LISTED`."""
    if size(space) > LISTED:
        return None
    return combinations(
        {
            name: tuple(range(int(values.low), int(values.high) + 1)) if isinstance(values, Range) else values
            for name, values in space.items()
        }
    )


def size(space: Space) -> float:
    """The number of different combinations; infinite where a range is not of whole numbers."""
    counts = [
        len(values) if not isinstance(values, Range) else values.high - values.low + 1 if values.whole else math.inf
        for values in space.values()
    ]
    return math.prod(counts)


def spelled(name: str) -> str:
    """An option as the command line spells it, without the dashes before: `penalty-weight`."""
    return name.replace("_", "-")


def arguments(options: Options, usual: Options) -> list[str]:
    """The words of `hypertail run` that turn the options `usual` into `options`."""
    words: list[str] = []
    for name, value in options.flat().items():
        if value == usual.get(name):
            continue
        if isinstance(value, bool):
            words.append(f"--{'' if value else 'no-'}{spelled(name)}")
        else:
            words += [f"--{spelled(name)}", *map(str, value if isinstance(value, tuple) else (value,))]
    return words


def _kinds(name: str) -> tuple[Any, ...]:
    """The types that an option may have: (float, NoneType), say."""
    hint = option_types()[name]
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
            raise unknown_name(f"value of {spelled(name)}", text, choices)
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
        f"value of {spelled(name)} in --try", required=required, found=f"'{text}'", hint="Mend the value in --try."
    )
