"""The options of strategies on the command line: those of the chosen ones, in their groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, TypeVar

from tyro.conf import OmitArgPrefixes, arg

from hypertail.errors import ConfigError
from hypertail.recipes.catalogue import (
    option_groups,
    parse_strategies,
    strategies_with,
    strategies_with_depth,
    usual_options,
)
from hypertail.recipes.options import OptionGroup

T = TypeVar("T")


def option_in(text: str) -> str:
    """The option that a word of the command line names, spelled with dashes; empty if it names none.

    `--batch-size=8` and `--batch_size` name `--batch-size`; `--no-curvature` names `--curvature`.
    """
    if not text.startswith("--") or text == "--":
        return ""
    name = text[2:].partition("=")[0].replace("_", "-")
    return f"--{name.removeprefix('no-')}"


def words_after(option: str, args: Sequence[str]) -> list[str]:
    """What `args` give an option: `--strategy hn lr`, `--strategy=hn`; nothing if it is not among them.

    Strategy and preset decide which other options there are and their defaults, so that they are looked for first.
    """
    words: list[str] = []
    for place, text in enumerate(args):
        if text.startswith(f"{option}="):
            words.append(text.partition("=")[2])
        elif text == option:
            rest = args[place + 1 :]
            end = next((number for number, word in enumerate(rest) if word.startswith("-")), len(rest))
            words += rest[:end]
    return words


def with_groups(base: type[T], args: Sequence[str], usual: Sequence[str]) -> type[T]:
    """A command's options and, in groups, those of the strategies that `args` name.

    Defaults are those of the preset among `args`; where they differ between strategies, the last one's are shown.
    `typed_options` collects what was given.

    Args:
        base: frozen dataclass of the command's own options.
        args: the command line.
        usual: the strategies if none is named.

    Raises:
        ConfigError: an unknown strategy or preset, an option that no chosen strategy has, or a depth for strategies
            that none is combined with.
    """
    names = words_after("--strategy", args) or list(usual)
    strategies = list(dict.fromkeys(name for name, _ in parse_strategies(names, ("0",))))
    preset = next(iter(words_after("--preset", args)), "tuned")
    defaults = {kind: usual_options(name, preset)[kind] for name in strategies for kind in option_groups([name])}
    given = frozenset(option_in(text)[2:].replace("-", "_") for text in args)
    _refuse_idle(given, strategies, defaults)
    _refuse_idle_depth(args, names)
    added: list[tuple[str, Any, Any]] = []
    for kind in option_groups(strategies):
        kept: Any = Annotated[OmitArgPrefixes[kind], arg(name=kind.heading or kind.__name__.lower())]  # type: ignore[misc,valid-type]
        added.append((f"group_{kind.__name__}", kept, field(default=defaults[kind])))
    made = make_dataclass(base.__name__, added, bases=(base,), frozen=True, namespace={"given": given})
    made.__doc__, made.__module__ = base.__doc__, base.__module__
    return made


def typed_options(command: object) -> dict[str, Any]:
    """The options of strategies that were given to a command that `with_groups` made, by name.

    Those that were not are left out, even where they have a default here: strategies may differ in it.
    """
    given: frozenset[str] = getattr(type(command), "given", frozenset())
    groups = [value for value in vars(command).values() if isinstance(value, OptionGroup)]
    return {item.name: getattr(group, item.name) for group in groups for item in fields(group) if item.name in given}


def _refuse_idle(
    given: frozenset[str], strategies: Sequence[str], groups: Mapping[type[OptionGroup], OptionGroup]
) -> None:
    """An option of other strategies is no mistake of spelling."""
    known = {item.name for kind in groups for item in fields(kind)}
    for name in sorted(given):
        others = () if name in known else strategies_with(name)
        if others:
            raise ConfigError(
                f"option --{name.replace('_', '-')}",
                required=f"an option that concerns {', '.join(strategies)}",
                found=f"one of {', '.join(others)} alone",
                hint="Leave it out, or name such a strategy after --strategy.",
            )


def _refuse_idle_depth(args: Sequence[str], names: Sequence[str]) -> None:
    depths = words_after("--depth", args)
    if depths and not strategies_with_depth(names):
        raise ConfigError(
            "option --depth",
            required="a strategy that has a depth, named without one, such as hn",
            found=f"--strategy {' '.join(names)} --depth {' '.join(depths)}",
            hint="Leave --depth out, or name the strategy without its depth.",
        )
