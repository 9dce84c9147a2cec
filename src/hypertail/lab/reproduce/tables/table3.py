"""Table 3: parameters of the hypernetwork by the size d of its channel vectors."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.experiments.sizes import describe
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.printed import TABLE3, TABLE3_CLASSES, TABLE3_TASKS
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target, no_runs
from hypertail.nets.models import USUAL, main_model
from hypertail.recipes.catalogue import usual_options
from hypertail.recipes.hypernet import Generator


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """Counted, not measured: a row for each d."""
    classes = TABLE3_TASKS * TABLE3_CLASSES
    with torch.device("meta"):
        main = sum(
            parameter.numel() for parameter in main_model(USUAL).build(classes, channels=3, norm="batch").parameters()
        )
    sizes = usual_options("hn", "printed")[Generator]
    rows: list[tuple[Cell, ...]] = []
    for d, printed in TABLE3.items():
        options = usual_options("hn", "printed").replace(rank=d)
        counted = describe(0, tasks=TABLE3_TASKS, classes=TABLE3_CLASSES, options=options).hypernetwork_parameters
        saved = 100 * (1 - counted / main)
        cells = (Number(counted, digits=0), Number(printed.parameters, digits=0), Number(saved))
        rows.append((str(d), *cells, Number(printed.percent, digits=0)))
    table = PaperTable(
        stem="table3",
        title="Table 3: parameters of the full hypernetwork by the size d of its channel vectors",
        columns=("d", "parameters", "parameters paper", "compression %", "compression % paper"),
        rows=tuple(rows),
        notes=(
            f"HN-F for {TABLE3_TASKS} tasks of {TABLE3_CLASSES} classes, embedding {sizes.embedding}, MLP "
            f"{' and '.join(map(str, sizes.mlp))}, as printed, whatever the preset. Counted exactly.",
            f"Compression is measured against the {main:,} parameters of a main model with {classes} classes, which "
            "agrees with every printed value; for the largest d the paper prints 0 where there is none.",
        ),
    )
    return Output(tables=(table,))


TARGET = Target(
    name="table3",
    title="Parameters and compression by the size of the channel vectors",
    sentence=(
        "A small vector stands for each output channel of a convolution: the smaller it is, the smaller the "
        "hypernetwork is beside the network that it generates."
    ),
    plan=no_runs,
    render=render,
)
