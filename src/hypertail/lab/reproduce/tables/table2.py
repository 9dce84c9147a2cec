"""Table 2: accuracy, forgetting and running time on Split-CIFAR100 and Split-TinyImageNet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.library import FinishedRun, matching
from hypertail.lab.reports.papertable import Cell, Number, PaperTable
from hypertail.lab.reproduce.cells import TIMES, count, kept, minutes, notes, percent, with_devices
from hypertail.lab.reproduce.printed import TABLE2
from hypertail.lab.reproduce.setting import TINY_PIXELS, Setting
from hypertail.lab.reproduce.target import Output, Target

STREAMS: Mapping[str, str] = {"split-cifar100": "Split-CIFAR100", "split-tinyimagenet": "Split-TinyImageNet"}
PRINTED = tuple(TABLE2["split-cifar100"])
OTHERS = ("lwf-3", "adapter-2", "adapter-3", "head-4", "lda-4")
"""Rows that the paper lacks: distillation, and what keeps the model of e_1 as it is."""
REFERENCES = ("separate-1", "separate-2", "separate-3", "separate-4", "joint")
"""Rows that the paper lacks: what could be reached without any forgetting."""
KNOWN = (*PRINTED, *OTHERS, *REFERENCES)

USUAL: Mapping[str, tuple[str, ...]] = {
    "smoke": ("naive", "lr-3", "hn-3", "hn-f", "separate-3", "joint"),
    "cpu": (
        *("naive", "lr-3", "hn-2", "hn-3", "hn-4", *OTHERS),
        *("separate-2", "separate-3", "separate-4", "joint"),
    ),
    "full": KNOWN,
}
"""Scale -> the rows that are made unless told; others once they are asked for."""

_COLUMNS = (
    *("strategy", "ACA %", "ACA % paper", "forgetting %", "forgetting % paper"),
    *("answers changed %", "learning accuracy %"),
    *("time (min)", "time (min) paper", "bytes kept", "n"),
)


def _streams(setting: Setting) -> list[str]:
    # two streams are two tables: on a CPU the second one only if it is asked for
    names = tuple(STREAMS)
    return setting.among(names if setting.streams or setting.scale == "full" else names[:1])


def plan(setting: Setting) -> tuple[RunConfig, ...]:
    """Every strategy on Split-CIFAR100 (at scale full on Split-TinyImageNet, too)."""
    return tuple(config for stream in _streams(setting) for config in _plan(setting, stream))


def _plan(setting: Setting, stream: str) -> tuple[RunConfig, ...]:
    return tuple(
        config
        for strategy in setting.chosen(USUAL[setting.scale], KNOWN)
        for config in setting.config(stream, strategy)
    )


def render(setting: Setting, runs: Sequence[FinishedRun]) -> Output:
    """A table for each stream, with rows for what was planned and for what is finished besides."""
    tables = []
    for stream in setting.among(tuple(STREAMS)):
        chosen = setting.chosen(USUAL[setting.scale], KNOWN)
        # runs that are finished anyway are shown, unless only some rows were asked for
        finished = {name: matching(runs, setting.config(stream, name)) for name in setting.chosen(KNOWN, KNOWN)}
        planned = stream in _streams(setting)
        shown = [name for name in finished if finished[name] or (planned and name in chosen)]
        if shown and (planned or not setting.size.digits):
            tables.append(_table(setting, stream, {name: finished[name] for name in shown}))
    return Output(tables=tuple(tables))


def _table(setting: Setting, stream: str, rows: Mapping[str, Sequence[FinishedRun]]) -> PaperTable:
    cells: list[tuple[Cell, ...]] = []
    for name, own in rows.items():
        printed = TABLE2[stream].get(name)
        cells.append(
            (
                own[0].run.label if own else setting.config(stream, name)[0].label,
                percent(own, "aca"),
                printed and printed.aca.number,
                percent(own, "forgetting"),
                printed and printed.forgetting.number,
                percent(own, "changed"),
                percent(own, "learning_accuracy"),
                minutes(own),
                printed and Number(printed.minutes, digits=0),
                kept(own),
                count(own),
            )
        )
    planned = [config for name in rows for config in setting.config(stream, name)]
    used = [run for own in rows.values() for run in own]
    more = [
        "Bytes kept: what is held from one experience to the next, the frozen trunk excepted; of Adapter, Head and LDA "
        "the frozen model of the first experience.",
        "Answers changed: the share of test images of earlier experiences that get another answer at the end than "
        "right after their experience. Accuracy hides changes that cancel. Not recorded by older runs.",
        TIMES,
        "LwF, Adapter, Head and LDA are not in the paper.",
        "Separate (one stored tail per experience) and Joint (all experiences at once, its bytes without the data) are "
        "references that the paper does not have.",
        "The paper's values are means ± deviation; how many runs it does not say for this table.",
    ]
    if stream == "split-tinyimagenet":
        more.append(f"Images of {TINY_PIXELS}×{TINY_PIXELS} pixels, as in the authors' scripts. {_images(used)}")
    columns, body = with_devices(_COLUMNS, cells, list(rows.values()))
    return PaperTable(
        stem=f"table2-{stream}",
        title=f"Table 2: {STREAMS[stream]}, accuracy after the last experience, forgetting and running time",
        columns=columns,
        rows=body,
        notes=notes(setting, planned, used, *more),
    )


def _images(used: Sequence[FinishedRun]) -> str:
    """Training images that were learned: fewer than the 100,000 of the dataset where it is there in part only."""
    counts = sorted({sum(task.train for task in run.run.tasks) for run in used})
    return f"Training images learned: {', '.join(f'{number:,}' for number in counts)} of 100,000." if counts else ""


TARGET = Target(
    name="table2",
    title="Average accuracy, forgetting and running time on Split-CIFAR100 and Split-TinyImageNet",
    sentence=(
        "Twenty experiences are learned one after another: naive training forgets most of them, latent replay less, "
        "hypernetworks hardly any. Separate shows what one stored copy of the tail per experience reaches."
    ),
    plan=plan,
    render=render,
)
