"""The options of a strategy, in groups by concern."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, TypeVar

from hypertail.errors import ConfigError, unknown_name

T = TypeVar("T", bound="OptionGroup")


@dataclass(frozen=True)
class OptionGroup:
    """Options that belong together; a frozen dataclass whose fields have defaults and a docstring each.

    A field's name is the option's: `penalty_weight` is `--penalty-weight` on the command line and the key in
    `run.json`, so that no two groups may have one of the same name. `__post_init__` checks ranges.

    Attributes:
        heading: of the group in the help text.
        records: names of options that decide what is recorded, not what happens.
    """

    heading: ClassVar[str] = ""
    records: ClassVar[frozenset[str]] = frozenset()


class Options:
    """The options of one run: one instance of each group that its strategy has. It cannot be changed.

    `options[Penalty].penalty_weight` is typed; `options.flat()` has all options by name.

    Args:
        groups: instances of `OptionGroup`, no two of one class.

    Raises:
        ConfigError: two groups have an option of the same name.
    """

    __slots__ = ("_by_type", "_group_of")

    def __init__(self, groups: Iterable[OptionGroup]) -> None:
        self._by_type = {type(group): group for group in groups}
        self._group_of: dict[str, type[OptionGroup]] = {}
        for kind in self._by_type:
            for item in fields(kind):
                if item.name in self._group_of:
                    raise ConfigError(
                        f"option '{item.name}'",
                        required="one group that has it",
                        found=f"{self._group_of[item.name].__name__} and {kind.__name__}",
                        hint="Give the option of your strategy another name.",
                    )
                self._group_of[item.name] = kind

    def __getitem__(self, kind: type[T]) -> T:
        """The group of that class."""
        return self._by_type[kind]  # type: ignore[return-value]

    def __contains__(self, name: object) -> bool:
        """Whether there is an option of that name."""
        return name in self._group_of

    def __eq__(self, other: object) -> bool:
        """Whether all options are equal."""
        return isinstance(other, Options) and self._by_type == other._by_type

    def __hash__(self) -> int:
        """A hash of all options."""
        return hash(frozenset(self._by_type.values()))

    def __repr__(self) -> str:
        """The groups."""
        return f"Options({', '.join(map(repr, self._by_type.values()))})"

    @property
    def groups(self) -> tuple[OptionGroup, ...]:
        """The groups, in their order."""
        return tuple(self._by_type.values())

    @property
    def recorded(self) -> frozenset[str]:
        """The options that decide what is recorded, not what happens."""
        return frozenset().union(*(kind.records for kind in self._by_type))

    def flat(self) -> dict[str, Any]:
        """Option -> value."""
        return {item.name: getattr(group, item.name) for group in self.groups for item in fields(group)}

    def get(self, name: str, default: Any = None) -> Any:
        """The value of an option, or `default` where the strategy has none of that name."""
        kind = self._group_of.get(name)
        return default if kind is None else getattr(self._by_type[kind], name)

    def replace(self, **values: Any) -> Options:
        """The same with other values.

        Raises:
            ConfigError: there is no such option (the message names the nearest), or a value is out of range.
        """
        for name in values:
            if name not in self:
                raise unknown_name("option", name, self._group_of)
        return self.updated(values)

    def updated(self, values: Mapping[str, Any]) -> Options:
        """The same with other values for those of `values` that it has; options of other strategies are left alone.

        Raises:
            ConfigError: a value is out of range.
        """
        groups = []
        for kind, group in self._by_type.items():
            own = {item.name: values[item.name] for item in fields(kind) if item.name in values}
            groups.append(replace(group, **own) if own else group)
        return Options(groups)

    def only(self, kinds: Iterable[type[OptionGroup]], otherwise: Options) -> Options:
        """The groups of these classes; those that it lacks are taken from `otherwise`."""
        return Options(self._by_type.get(kind) or otherwise[kind] for kind in kinds)
