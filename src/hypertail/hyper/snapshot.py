"""The hypernetwork as it was before an experience: what a penalty compares to."""

from __future__ import annotations

import copy

from hypertail.hyper.hypernetwork import Hypernetwork


def snapshot_of(hyper: Hypernetwork, *, rows: bool = False) -> Hypernetwork:
    """H*: generates for the tasks learned so far what `hyper` does now, whatever is learned later.

    What an experience can change of those tasks is copied. Their adapters and table rows are shared with `hyper`, as
    are the weights it adds to: a copy of them would take longer with every task.

    Args:
        hyper: the hypernetwork.
        rows: copy table rows too, since they are learned on.
    """
    shared = [hyper.base, *hyper.adapters.values(), *(() if rows else hyper.tables.values())]
    snapshot = copy.deepcopy(hyper, {id(part): part for part in shared})
    snapshot.embedding.requires_grad_(False)
    for part in (snapshot.mlp, snapshot.heads, *((snapshot.tables,) if rows else ())):
        part.requires_grad_(False)
    return snapshot
