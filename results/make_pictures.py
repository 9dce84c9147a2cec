"""Draw the pictures of measurements as SVG: `pictures/*.svg`, benchmarks/step-times.svg, docs/pictures/matrices.svg.

python results/make_pictures.py

Made from the tables of `hypertail reproduce`, run.json files and the JSON of `hypertail bench`. The same files give the
same pictures.
"""

from __future__ import annotations

import json
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import make_pages as pages
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

PICTURES = pages.HERE / "pictures"
STEP_TIMES = pages.ROOT / "benchmarks" / "step-times.svg"
MATRICES = pages.ROOT / "docs" / "pictures" / "matrices.svg"
INK, GREY, GRID = "#1a202c", "#64748b", "#e2e8f0"
MEASURED, PRINTED = "#1d4ed8", "#c2410c"
STYLE = {
    "svg.hashsalt": "hypertail",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": "white",
}


def printed_against_measured() -> Figure:
    """ACA of every row that the paper prints: a dot for the paper, a dot for here, a line between."""
    lines: list[tuple[str, float, float, float]] = []
    for row in pages.rows("table2-split-cifar100"):
        lines.append((row["strategy"], *_both(row)))
    for stem in ("table4", "table5"):
        for row in pages.rows(stem):
            if row["update"] in ("first order", "second order"):
                lines.append((f"{row['strategy']}, look-ahead, {row['update']}", *_both(row)))
    for row in pages.rows("table2-split-tinyimagenet"):
        lines.append((f"{row['strategy']}, Split-TinyImageNet", *_both(row)))
    lines = [line for line in lines if line[1] == line[1] and line[2] == line[2]]
    figure, axes = plt.subplots(figsize=(7.6, 0.36 * len(lines) + 1.3), layout="constrained")
    for place, (_, printed, measured, deviation) in enumerate(reversed(lines)):
        axes.plot((printed, measured), (place, place), color="#cbd5e1", linewidth=3, zorder=1)
        axes.plot(printed, place, "o", color=PRINTED, markersize=7, markerfacecolor="white", markeredgewidth=2)
        axes.errorbar(measured, place, xerr=deviation, fmt="o", color=MEASURED, markersize=7, capsize=3)
    axes.set_yticks(range(len(lines)), [label for label, *_ in reversed(lines)])
    axes.set_xlim(20, 86)
    axes.set_xlabel("average accuracy after the last experience (ACA), %")
    axes.grid(axis="x", color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    handles = [
        Line2D([], [], marker="o", color=PRINTED, markerfacecolor="white", markeredgewidth=2, linestyle=""),
        Line2D([], [], marker="o", color=MEASURED, linestyle=""),
    ]
    words = ("printed in the paper, 100 epochs", "measured here, 10 epochs, ± over 3 seeds")
    figure.legend(handles, words, loc="outside upper center", ncols=2, frameon=False)
    return figure


def _both(row: pages.Row) -> tuple[float, float, float]:
    printed, measured = row["ACA % paper"], row["ACA %"]
    return float(printed or "nan"), float(measured or "nan"), float(row.get("ACA % std") or 0)


FLOOR = -7.6
"""Points of ACA at which bars are cut off: without any penalty they would hide all others."""


def ablation() -> Figure:
    """What each changed option does to ACA, HN-3 beside HN-4."""
    strategies = ("hn-3", "hn-4")
    changes: dict[str, dict[str, float]] = {}
    for strategy in strategies:
        for row in pages.rows(f"ablation-{strategy}")[1:]:
            change = float(row["ACA change"] or "nan")
            changes.setdefault(_spelled(row["what differs"]), {})[strategy] = change
    known = {name: [change for change in own.values() if change == change] for name, own in changes.items()}
    order = sorted((name for name in changes if known[name]), key=lambda name: min(known[name]))
    figure, both = plt.subplots(1, 2, figsize=(9.6, 0.27 * len(order) + 1.2), sharey=True, layout="constrained")
    for axes, strategy in zip(both, strategies, strict=True):
        for place, name in enumerate(reversed(order)):
            change = changes[name].get(strategy)
            if change is None or change != change:
                words = "no convolutions" if change is None else "not measured"
                axes.text(1.1, place, words, va="center", fontsize=8, color=GREY)
                continue
            axes.barh(place, max(change, FLOOR), color=PRINTED if change < 0 else MEASURED, height=0.68)
            inside = change <= FLOOR
            axes.text(
                FLOOR + 0.2 if inside else change + (0.12 if change > 0 else -0.12),
                place,
                pages.number(change),
                va="center",
                ha="left" if inside or change > 0 else "right",
                fontsize=8,
                color="white" if inside else INK,
            )
        axes.axvline(0, color=GREY, linewidth=0.8)
        axes.axvspan(-1, 1, color=GRID, alpha=0.6, zorder=0)
        axes.set_xlim(FLOOR, 4.0)
        axes.set_title(strategy.upper(), fontsize=11, loc="left")
        axes.set_xlabel("change of ACA, points")
        axes.tick_params(axis="y", length=0)
    both[0].set_yticks(range(len(order)), list(reversed(order)))
    both[0].set_ylim(-0.7, len(order) - 0.3)
    return figure


def _spelled(what: str) -> str:
    # two rows refer to the one above them
    return {
        "the same, lambda 0.03": "squared distance of weights, lambda 0.03",
        "the same, and normalises by each batch when frozen": "with the tail, and statistics of each batch",
        "trunk learns e_1 together with the tail": "trunk learns together with the tail",
    }.get(what, what)


def step_times() -> Figure:
    """Milliseconds a step at each depth, with the lower bound marked."""
    bench = json.loads(pages.BENCH.read_text(encoding="utf-8"))
    models = ("HN-F", "HN-2", "HN-3", "HN-4")
    modes = (
        ("released", "the authors' algorithm", PRINTED),
        ("printed", "preset printed", "#94a3b8"),
        ("tuned", "preset tuned", MEASURED),
    )
    dashed = {"color": INK, "linewidth": 1.6, "linestyle": (0, (4, 2))}
    figure, axes = plt.subplots(figsize=(8.2, 4.0), layout="constrained")
    for group, model in enumerate(models):
        for place, (mode, _, color) in enumerate(modes):
            value = 1000 * bench["seconds_per_step"][mode][model]
            where = 1.25 * group + 0.27 * (place - 1)
            axes.bar(where, value, width=0.25, color=color)
            axes.text(where, value * 1.06, _short(value), ha="center", va="bottom", fontsize=8.5)
        bound = 1000 * bench["seconds_per_step"]["floor"][model]
        axes.plot((1.25 * group - 0.42, 1.25 * group + 0.42), (bound, bound), **dashed)
        axes.text(1.25 * group + 0.44, bound, _short(bound), va="center", fontsize=8.5)
    axes.set_yscale("log")
    axes.set_ylim(0.2, 20_000)
    axes.set_yticks((1, 10, 100, 1000, 10_000), ("1", "10", "100", "1,000", "10,000"))
    axes.set_xticks([1.25 * group for group in range(len(models))], models)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("ms a step (logarithmic)")
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    handles = [plt.Rectangle((0, 0), 1, 1, color=color) for *_, color in modes]
    handles.append(Line2D([], [], **dashed))
    labels = [*(words for _, words, _ in modes), "lower bound: the tail alone"]
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    return figure


def matrices() -> Figure:
    """Accuracy matrices of the digits: naive training, a hypernetwork, one stored tail per task."""
    shown = (("naive", "naive training"), ("hn-2", "hypernetwork, HN-2"), ("separate-2", "one stored tail per task"))
    figure, row = plt.subplots(1, len(shown), figsize=(8.8, 3.5), sharey=True, layout="constrained")
    for axes, (strategy, title) in zip(row, shown, strict=True):
        run = pages.run_of(f"defaults/now/digits6/digits-{strategy}-tuned-e6-seed0")
        cells = [[float("nan") if value is None else 100 * value for value in line] for line in run["accuracy"]]
        edges = [place - 0.5 for place in range(len(cells) + 1)]
        axes.pcolormesh(edges, edges, cells, cmap="viridis", vmin=0, vmax=100, edgecolors="white", linewidth=1)
        axes.set_aspect("equal")
        for i, line in enumerate(cells):
            for j, value in enumerate(line):
                if value == value:
                    axes.text(j, i, f"{value:.0f}", ha="center", va="center", color="white" if value < 70 else INK)
        axes.set_title(title, fontsize=11)
        axes.set_xlabel("accuracy on task, %")
        axes.set_xticks(range(len(cells)), [str(task + 1) for task in range(len(cells))])
        axes.tick_params(length=0)
    row[0].set_yticks(range(len(cells)), [str(task + 1) for task in range(len(cells))])
    row[0].set_ylabel("after learning task")
    row[0].invert_yaxis()
    return figure


def _short(value: float) -> str:
    return pages.number(value, 0 if value >= 100 else 1)


DRAWN = {
    PICTURES / "printed-against-measured.svg": printed_against_measured,
    PICTURES / "ablation.svg": ablation,
    STEP_TIMES: step_times,
    MATRICES: matrices,
}


def draw(folder: Path | None = None) -> list[Path]:
    """Draw them all, into `folder` where one is given."""
    written = []
    with mpl.rc_context(STYLE):
        for path, make in DRAWN.items():
            place = path if folder is None else folder / path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            figure = make()
            figure.savefig(place, metadata={"Date": None, "Creator": None})
            plt.close(figure)
            # lines that end in spaces are what an editor would change
            text = "\n".join(line.rstrip() for line in place.read_text(encoding="utf-8").splitlines())
            place.write_text(text + "\n", encoding="utf-8")
            written.append(place)
    return written


if __name__ == "__main__":
    for drawn in draw():
        print(drawn.relative_to(pages.ROOT))
