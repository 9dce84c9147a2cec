"""Which tasks were learned while a bank had no other."""

from __future__ import annotations

from collections.abc import Iterable

from hypertail.bank.store import Entry


def learned_alone(log: Iterable[Entry]) -> frozenset[int]:
    """The ids of tasks beside which there was no other when they were learned.

    Args:
        log: of the bank, oldest first.
    """
    there: frozenset[int] = frozenset()
    at: dict[int, frozenset[int]] = {}
    alone: set[int] = set()
    for entry in log:
        number = entry.facts.get("id")
        if entry.event == "learn" and isinstance(number, int):
            alone |= set() if there else {number}
            there |= {number}
        elif entry.event == "forget":
            there -= {number}
        elif entry.event == "rollback":
            there = at.get(entry.facts.get("to", -1), there)
        at[entry.generation] = there
    return frozenset(alone)
