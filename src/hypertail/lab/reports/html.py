"""One HTML file that shows finished runs to someone who has not read the paper: no network, no scripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments.describe import described
from hypertail.lab.experiments.library import options_of
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports import figures
from hypertail.lab.reports.drawing import colour_of
from hypertail.lab.reports.groups import group_runs
from hypertail.lab.reports.summary import percent, statement
from hypertail.lab.reports.svg import inline_svg, themed
from hypertail.lab.reports.tables import MISSING, build_tables, human_bytes
from hypertail.lab.reports.targets import Recorded, read_targets
from hypertail.lab.reports.verdict import verdicts
from hypertail.lab.reports.verdicttable import verdict_table
from hypertail.lab.reports.verdictwords import sentences
from hypertail.recipes.catalogue import known_recipe
from hypertail.storage.atomic import write_bytes
from hypertail.streams.report import DatasetReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Heading, one plain sentence or two, and how to draw it; by the name used in ids.
_FIGURES: dict[str, tuple[str, str, Callable[[list[RunFile]], Figure]]] = {
    "first": (
        "Does it still know its first experience?",
        "Each line is one strategy: its accuracy on the test images of experience 1, measured again after "
        "every further experience. A flat line has forgotten nothing.",
        figures.first_experience_curve,
    ),
    "aca": (
        "How good is it on everything learned so far?",
        "Accuracy averaged over all experiences learned so far. The right end is the ACA of the table.",
        figures.aca_curve,
    ),
    "retention": (
        "What becomes of each experience?",
        "Each line is one experience, from the moment it was learned (the dot) to the end of the stream.",
        figures.retention_curves,
    ),
    "matrix": (
        "Every accuracy that was measured",
        "Each row shows the test accuracy on all experiences seen by then. Read a column downwards: where "
        "its colour fades, that experience is being forgotten.",
        figures.heatmap_grid,
    ),
    "cost": (
        "What does it cost?",
        "Left, the time of a whole run. Right, what must be kept from one experience to the next, apart from "
        "frozen layers, after the last experience.",
        lambda runs: figures.time_and_memory(group_runs(runs)),
    ),
}

_OVER_TIME = ("first", "aca", "retention", "matrix")  # nothing to see in a stream of one experience

_LONGEST_NAME = 90  # runs that differ in more options than fit beside a line are told apart by the table alone


def write_report(runs: Iterable[RunFile], out: str | Path, *, folders: Iterable[str | Path] = ()) -> Path:
    """Write one self-contained HTML file about `runs` and return its path.

    Args:
        runs: finished runs of one or several streams.
        out: the file, replaced if it is there; in an existing folder, `report.html` in it.
        folders: tables and figures that `hypertail reproduce` left in one of them come first; the runs then follow
            stream by stream, folded.

    Raises:
        DataError: there is no run and nothing was reproduced, or a picture is not one of hypertail's.
        CheckpointError: the record of what was reproduced cannot be read.
        OSError: the file cannot be written; one that was there is kept.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    runs = list(runs)
    targets = [_target(Path(folder), target) for folder in folders for target in read_targets(Path(folder))]
    if not runs and not targets:
        raise DataError(
            "report",
            required="at least one finished run",
            found="none",
            hint="Name a run.json or a folder of runs.",
        )
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    environment = Environment(
        loader=PackageLoader("hypertail.lab.reports", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    streams = list(dict.fromkeys(run.stream for run in runs))
    sections = [_section(index, [r for r in runs if r.stream == name]) for index, name in enumerate(streams)]
    known = {recipe for run in runs if (recipe := known_recipe(run.strategy)) is not None}
    present = sorted(known, key=lambda recipe: recipe.order)
    text = environment.get_template("report.html.j2").render(
        title=f"Partial hypernetworks for continual learning, measured again: {count}" if targets else title_of(runs),
        targets=targets,
        sections=sections,
        strategies=[(f"{recipe.label}{'-k' * recipe.has_depth}", recipe.what) for recipe in present],
        details=[_details(run) for group in group_runs(runs) for run in group.runs],
        nbsp="\N{NO-BREAK SPACE}",
    )
    out = Path(out)
    path = out / "report.html" if out.is_dir() else out
    # a surrogate, from a class folder whose name is not UTF-8, say, has no place in a page
    write_bytes(path, text.encode("utf-8", errors="replace"))
    return path


def title_of(runs: list[RunFile]) -> str:
    """Streams, number of runs and seeds, as one line."""
    streams = ", ".join(dict.fromkeys(run.stream for run in runs))
    seeds = sorted({run.seed for run in runs})
    listed = ", ".join(map(str, seeds))
    return f"{streams}: {len(runs)} run{'s' * (len(runs) != 1)}, seed{'s' * (len(seeds) != 1)} {listed}"


def _target(folder: Path, target: Recorded) -> dict[str, Any]:
    """What the template shows of one reproduced table or figure."""
    from markupsafe import Markup

    pictures = []
    for number, name in enumerate(target.pictures):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise DataError(
                f"picture '{path}'",
                required="a file in the folder",
                found="a link to a file elsewhere",
                hint="Draw it again with hypertail reproduce.",
            )
        if path.is_file():
            svg = themed(path.read_text(encoding="utf-8", errors="replace"), f"{target.name}-{number}", target.title)
            pictures.append(Markup(svg))
    return {"name": target.name, "title": target.title, "sentence": target.sentence, "pictures": pictures} | {
        "tables": target.tables,
        "files": target.files,
    }


def _section(index: int, runs: list[RunFile]) -> dict[str, Any]:
    """What the template shows of one stream."""
    from markupsafe import Markup

    groups = group_runs(runs)
    (table,) = build_tables(runs, every_metric=True)
    pictures = []
    one = all(len(run.tasks) == 1 for run in runs)
    drawn = _FIGURES if max(len(group.name) for group in groups) <= _LONGEST_NAME else {}
    for name, (heading, sentence, draw) in drawn.items():
        if one and name in _OVER_TIME:
            continue
        if name == "aca" and any(len(group.seeds) > 1 for group in groups):
            sentence += " Bands: ± one standard deviation over seeds."
        if name in ("retention", "matrix") and len(figures.measured_over_time(runs)) < len(groups):
            sentence += " Strategies that were measured at the end only are left out."
        svg = Markup(inline_svg(draw(runs), f"s{index}-{name}", heading))
        pictures.append({"heading": heading, "sentence": sentence, "svg": svg})
    return {
        "stream": runs[0].stream,
        "statement": statement(groups),
        "verdicts": [
            {"table": verdict_table(verdict), "sentences": sentences(verdict)}
            for verdict in verdicts(runs)
            if len(verdict.methods) > 1
        ],
        "pictures": pictures,
        "table": table,
        "colours": [colour_of(group.first) for group in groups],
    }


def _details(run: RunFile) -> dict[str, Any]:
    """What the template shows of one run."""
    aca, forgetting = run.metrics["aca"], run.metrics["forgetting"]
    facts = {
        "command": run.command,
        "started": run.started,
        "preset": f"{run.preset}, {run.epochs} epochs per experience",
        "data": " | ".join(line for report in _reports(run) for line in report.lines()),
        "digest of the data": run.data.digest if run.data else "",
        "time": "; ".join(f"{name} {value:.1f} s" for name, value in run.seconds_by_phase.items()),
        "task not told": "; ".join(
            f"by {way.replace('_', ' ')} {percent(found['accuracy'])}"
            for way, found in (run.class_incremental or {}).items()
        ),
        "bytes kept": "; ".join(f"{name} {human_bytes(value)}" for name, value in run.bytes_kept_parts.items()),
        "parameters": "; ".join(f"{name} {value:,}" for name, value in _parameters(run).items()),
        "versions": "; ".join(f"{name} {value}" for name, value in run.versions.items()),
        "hardware": "; ".join(f"{name} {value}" for name, value in run.hardware.items()),
    }
    return {
        "name": f"{run.stream}, {_described(run)}, {len(run.tasks)} experiences, seed {run.seed}",
        "result": f"ACA {MISSING if aca is None else percent(aca)}, "
        f"forgetting {MISSING if forgetting is None else percent(forgetting)}, "
        + (f"answers changed {percent(run.changed)}, " if run.changed is not None else "")
        + f"{run.seconds:.1f} s",
        "facts": {name: value for name, value in facts.items() if value},
        "config": json.dumps(run.to_json()["config"], indent=2, ensure_ascii=False),
        "tasks": run.tasks,
        "rows": [["" if value is None else f"{100 * value:.1f}" for value in row] for row in run.accuracy],
    }


def _described(run: RunFile) -> str:
    """The label with the options that differ from the preset's, where the options are this version's."""
    try:
        return described(options_of(run))
    except ConfigError:
        return run.label


def _reports(run: RunFile) -> tuple[DatasetReport, ...]:
    return run.data.reports if run.data else ()


def _parameters(run: RunFile) -> dict[str, int]:
    generated = {} if run.hypernetwork_parameters is None else {"hypernetwork": run.hypernetwork_parameters}
    return {**run.parameters, **generated}
