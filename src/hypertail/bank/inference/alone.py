"""Which tasks were learned while a bank had no other."""

from __future__ import annotations

from collections.abc import Sequence

from hypertail.bank.store import Entry, in_effect


def learned_alone(log: Sequence[Entry]) -> frozenset[int]:
    """The ids of tasks beside which there was no other when they were learned.

    Args:
        log: of the bank, oldest first.
    """
    there: set[int] = set()
    alone: set[int] = set()
    for entry in in_effect(log):
        number = entry.facts.get("id")
        if entry.event == "learn" and isinstance(number, int):
            if not there:
                alone.add(number)
            there.add(number)
        elif entry.event == "forget":
            there.discard(number)
    return frozenset(alone)
