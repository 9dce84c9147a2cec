"""Table 6: what latent replay and hypernetworks keep in memory between experiences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.experiments.sizes import describe
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.printed import REPLAY_BUFFER, TABLE6, TABLE6_CLASSES, TABLE6_TASKS
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target, no_runs
from hypertail.recipes.catalogue import usual_options

MB = 2**20
CLASSES: Mapping[str, int] = {"split-cifar100": 5, "split-tinyimagenet": 10}
"""Classes of one experience."""
PIXELS: Mapping[str, int] = {"split-cifar100": 32, "split-tinyimagenet": 64}
"""Pixels a side, as the paper counts them."""
TITLES: Mapping[str, str] = {"split-cifar100": "Split-CIFAR100", "split-tinyimagenet": "Split-TinyImageNet"}


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """Counted, not measured: a table for each stream, a row for each depth."""
    return Output(tables=tuple(_table(setting, stream) for stream in setting.among(tuple(TABLE6))))


def _table(setting: Setting, stream: str) -> PaperTable:
    rows: list[tuple[Cell, ...]] = []
    for depth, printed in enumerate(TABLE6[stream]):
        counted = describe(
            depth,
            tasks=TABLE6_TASKS,
            classes=TABLE6_CLASSES,
            image_size=PIXELS[stream],
            buffer=REPLAY_BUFFER[stream],
            options=usual_options("hn", "printed"),
        )
        run = describe(depth, tasks=TABLE6_TASKS, classes=CLASSES[stream], options=usual_options("hn", setting.preset))
        rows.append(
            (
                f"LR-{depth}, HN-{depth or 'F'}",
                _shape(counted.exemplar_shape),
                _shape(printed.exemplar),
                Number(counted.buffer_bytes / MB, digits=2),
                Number(printed.replay_mb, digits=2),
                Number(counted.hypernetwork_parameters, digits=0),
                Number(printed.parameters, digits=0),
                Number(counted.hypernetwork_bytes / MB, digits=2),
                Number(printed.hypernetwork_mb, digits=2),
                Number(run.hypernetwork_parameters, digits=0),
            )
        )
    return PaperTable(
        stem=f"table6-{stream}",
        title=f"Table 6: memory of latent replay and of partial hypernetworks, {TITLES[stream]}",
        columns=(
            *("model", "exemplar", "exemplar paper", "buffer MB", "buffer MB paper"),
            *("HN parameters", "HN parameters paper", "HN MB", "HN MB paper"),
            f"parameters {setting.preset}",
        ),
        rows=tuple(rows),
        notes=(
            f"Buffers of {REPLAY_BUFFER[stream]} exemplars of {PIXELS[stream]}×{PIXELS[stream]} images; hypernetworks "
            f"for {TABLE6_TASKS} tasks of {TABLE6_CLASSES} classes, sizes as printed. Counted exactly; 32-bit numbers, "
            "MB of 2^20 bytes.",
            f"Last column: the preset {setting.preset} with the {CLASSES[stream]} classes that an experience has. "
            "Normalisation statistics of each task come on top (hypertail info).",
            *(
                ("The paper prints 4×16×16 for LR-2; the memory beside it is that of 40×16×16.",)
                if stream == "split-cifar100"
                else ("The paper counts 64×64 images; the authors' scripts bring them to 32×32.",)
            ),
        ),
    )


def _shape(sizes: Sequence[int]) -> str:
    return "×".join(map(str, sizes))


TARGET = Target(
    name="table6",
    title="Memory of latent replay and of partial hypernetworks",
    sentence=(
        "Latent replay keeps features of old images, a hypernetwork keeps itself: deeper trunks make both smaller, and "
        "only the first grows with the size of the images."
    ),
    plan=no_runs,
    render=render,
    streams=tuple(TABLE6),
)
