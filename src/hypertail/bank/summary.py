"""Bytes of the tasks of a bank, beside what other means would take."""

from __future__ import annotations

from hypertail.bank.accounting import Summary, TaskSize, alternatives, verdict
from hypertail.bank.contents import HYPERNET, Contents
from hypertail.errors import HypertailError


def summary_of(contents: Contents) -> Summary:
    """Bytes of tasks and alternatives."""
    sizes = []
    for task in contents.manifest.tasks:
        record = contents.readable(task.name)
        if record is None:
            continue
        sizes.append(
            TaskSize(
                task.name,
                record.method,
                len(record.classes),
                int(record.facts.get("images", 0)),
                task.file.nbytes,
                record.answering,
                *record.held_out,
            )
        )
    shared = {name: ref.nbytes for name, ref in contents.manifest.shared.items()}
    try:
        others = alternatives(contents.backbone, [task.classes for task in sizes]) if contents.founded else {}
    except HypertailError as error:  # of a bank that is open without its model
        words = "What the same tasks would take by other means needs the model of the bank"
        return Summary(tuple(sizes), shared, {}, f"{words}: {error.hint}")
    adapters = next((count for name, count in others.items() if "adapter" in name), 0)
    return Summary(tuple(sizes), shared, others, verdict(sizes, shared.get(HYPERNET, 0), adapters))
