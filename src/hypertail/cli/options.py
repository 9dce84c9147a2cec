"""The options of strategies on the command line: those of the chosen ones, in their groups."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass
from typing import Annotated, Any, TypeVar

from tyro.conf import OmitArgPrefixes, arg

from hypertail.errors import ConfigError
from hypertail.recipes.catalogue import option_groups, parse_strategies, strategies_with, usual_options
from hypertail.recipes.options import OptionGroup, Options

T = TypeVar("T")


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

    Defaults are those of the preset among `args`. `options_of` collects the groups again.

    Args:
        base: frozen dataclass of the command's own options.
        args: the command line.
        usual: the strategies if none is named.

    Raises:
        ConfigError: an unknown strategy or preset, or an option that no chosen strategy has.
    """
    names = words_after("--strategy", args) or list(usual)
    strategies = list(dict.fromkeys(name for name, _ in parse_strategies(names, ("0",))))
    preset = next(iter(words_after("--preset", args)), "tuned")
    defaults = {kind: usual_options(name, preset)[kind] for name in strategies for kind in option_groups([name])}
    _refuse_idle(args, strategies, defaults)
    added: list[tuple[str, Any, Any]] = []
    for kind in option_groups(strategies):
        kept: Any = Annotated[OmitArgPrefixes[kind], arg(name=kind.heading or kind.__name__.lower())]  # type: ignore[misc,valid-type]
        added.append((f"group_{kind.__name__}", kept, field(default=defaults[kind])))
    made = make_dataclass(base.__name__, added, bases=(base,), frozen=True)
    made.__doc__, made.__module__ = base.__doc__, base.__module__
    return made


def options_of(command: object) -> Options:
    """The groups of options in a command that `with_groups` made."""
    return Options(value for value in vars(command).values() if isinstance(value, OptionGroup))


def _refuse_idle(args: Sequence[str], strategies: Sequence[str], groups: dict[type[OptionGroup], OptionGroup]) -> None:
    """An option of other strategies is no mistake of spelling."""
    known = {item.name for kind in groups for item in fields(kind)}
    for text in args:
        if not text.startswith("--"):
            continue
        name = text[2:].partition("=")[0].removeprefix("no-").replace("-", "_")
        others = () if name in known else strategies_with(name)
        if others:
            raise ConfigError(
                f"option --{name.replace('_', '-')}",
                required=f"an option that concerns {', '.join(strategies)}",
                found=f"one of {', '.join(others)} alone",
                hint="Leave it out, or name such a strategy after --strategy.",
            )
