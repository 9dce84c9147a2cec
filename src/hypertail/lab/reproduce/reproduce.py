"""What `hypertail reproduce` does: see what is finished, run what is missing, write and show the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.batch import Job, Runner, check_folder
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.console import ConsoleListener
from hypertail.lab.experiments.describe import described
from hypertail.lab.experiments.library import FinishedRun, Library, directory_name, distinct
from hypertail.lab.experiments.place import Place
from hypertail.lab.reports.tables import latex_table, markdown_table, rich_table
from hypertail.lab.reports.targets import Recorded, record_target, relative_names
from hypertail.lab.reports.terminal import print_table
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Output, Target
from hypertail.lab.reproduce.targets import RENAMED, TARGETS
from hypertail.nets.models import USUAL
from hypertail.storage.atomic import write_text


def reproduce(
    names: Sequence[str],
    setting: Setting,
    out: Path,
    console: Console,
    *,
    others: Sequence[Path] = (),
    plan_only: bool = False,
    run: bool = True,
    place: Place = Place(),  # noqa: B008 -- immutable
) -> list[Path]:
    """Make tables and figures of the paper and return the files that were written.

    Args:
        names: of `TARGETS`.
        setting: how.
        out: folder of `tables`, `figures`, `runs` and `targets.json`; finished runs in it are used.
        console: where everything is shown.
        others: folders with more finished runs.
        plan_only: show which runs are needed, and do nothing.
        run: make missing runs; otherwise show what can be shown of finished ones.
        place: where and how runs are executed.

    Raises:
        ConfigError: an unknown target, or one of which the setting leaves nothing.
        DataError: a folder in `others`, or a dataset, does not exist.
        HypertailError: from the first run that fails; finished ones stay.
    """
    targets = _targets(names, setting)
    place = replace(place, weights=setting.weights)
    folder = out / "runs"
    library = Library.of([*([folder] if folder.exists() else []), *others]).at(place.speed)
    for problem in library.unread:
        console.print(Text(f"not used: {problem}"), soft_wrap=True)
    plans = {target.name: distinct(target.plan(setting)) for target in targets}
    # runs that several targets need are run once, recording what every target needs
    needed = distinct([config for plan in plans.values() for config in plan])
    if plan_only:
        _show_plan(needed, library, folder, console)
        return []
    written = []
    with ConsoleListener(console) as listener:
        runner = Runner(place, listener)
        for target in targets:
            serving = _serving(needed, plans[target.name])
            missing = library.missing(serving) if run else []
            if missing:
                listener.print(f"{target.name}: {len(missing)} of {len(serving)} runs to do")
                check_folder(folder)
                jobs = [_job(config, folder) for config in missing]
                done = zip(runner.run(jobs), jobs, strict=True)
                made = [FinishedRun(finished, job.config, job.directory) for finished, job in done]
                library = replace(library, runs=(*library.runs, *made))
            output = target.render(setting, library.runs)
            files = write_output(output, out)
            if files:
                record(out, target, files, output)
            show_output(target, output, files, console)
            written += files
    return written


def _job(config: RunConfig, folder: Path) -> Job:
    title = f"{_told(config)} on {config.stream}, seed {config.seed}"
    return Job(config, folder / directory_name(config), title)


def _told(config: RunConfig) -> str:
    """The run in a few words, with few images and a main model that is not the usual one."""
    words = [described(config)]
    words += [] if config.images_per_class is None else [f"{config.images_per_class} images a class"]
    words += [] if config.model == USUAL else [config.model]
    return ", ".join(words + ([] if config.weights is None else ["pretrained"]))


def _targets(names: Sequence[str], setting: Setting) -> list[Target]:
    targets = []
    for name in dict.fromkeys(names):
        target = TARGETS.get(RENAMED.get(name, name))
        if target is None:
            raise unknown_name("table or figure", name, TARGETS)
        if not target.shows(setting):
            asked = [f"--strategy {' '.join(setting.strategies)}"] if setting.strategies else []
            asked += [f"--stream {' '.join(setting.streams)}"] if setting.streams else []
            raise ConfigError(
                f"rows of {name}",
                required="at least one",
                found=f"none for {' '.join(asked)}",
                hint="Ask for other ones, or leave these options out.",
            )
        targets.append(target)
    if not targets:
        raise ConfigError("tables or figures", required="at least one", found="none", hint="Name table2, say.")
    _check_weights(targets, setting)
    return targets


def _check_weights(targets: Sequence[Target], setting: Setting) -> None:
    without = replace(setting, weights=None)
    if setting.weights is not None and all(target.plan(setting) == target.plan(without) for target in targets):
        raise ConfigError(
            "option --weights",
            required="a table or figure that shows a pretrained main model: fewshot",
            found=" ".join(target.name for target in targets),
            hint="Leave --weights out, or add fewshot.",
        )


def _serving(needed: Sequence[RunConfig], plan: Sequence[RunConfig]) -> list[RunConfig]:
    """Those of the `needed` runs that stand for one of the plan."""
    wanted = [(config, config.identity()) for config in plan]
    return [
        config
        for config, own in ((config, config.identity()) for config in needed)
        if any(own == identity and config.records(other) for other, identity in wanted)
    ]


def _show_plan(needed: Sequence[RunConfig], library: Library, folder: Path, console: Console) -> None:
    table = RichTable(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("run", "stream", "seed", "epochs", "state"):
        table.add_column(name)
    states = {"finished": 0, "begun": 0, "not started": 0}
    for config in needed:
        found = library.finished((config,))
        begun = (folder / directory_name(config)).exists()
        state = "finished" if found else "begun" if begun else "not started"
        states[state] += 1
        state += f": {found[0].directory}" if found else ", will be continued" if begun else ""
        table.add_row(*map(Text, (_told(config), config.stream, str(config.seed), str(config.epochs), state)))
    print_table(console, table)
    counts = ", ".join(f"{count} {state}" for state, count in states.items() if count or state != "begun")
    console.print(f"{len(needed)} runs, {counts}")


def write_output(output: Output, out: Path) -> list[Path]:
    """Write tables (Markdown, CSV, LaTeX) to `out / "tables"` and figures (PNG, SVG, caption) to `out / "figures"`."""
    files = []
    for table in output.tables:
        folder = out / "tables"
        contents = {"md": markdown_table(table.shown), "csv": table.to_csv(), "tex": latex_table(table.shown)}
        for kind, content in contents.items():
            files.append(folder / f"{table.stem}.{kind}")
            write_text(files[-1], content)
    for stem, draw in output.figures.items():
        from hypertail.lab.reports.figures import save

        files += save(draw(), out / "figures" / stem)
        if stem in output.captions:
            files.append(out / "figures" / f"{stem}.md")
            write_text(files[-1], "\n\n".join(output.captions[stem]) + "\n")
    return files


def show_output(target: Target, output: Output, files: Sequence[Path], console: Console) -> None:
    """Print the sentence, the tables, and where the files are."""
    console.print(Text(f"\n{target.sentence}"))
    for table in output.tables:
        print_table(console, rich_table(table.shown))
    for stem in output.figures:
        for text in output.captions.get(stem, ())[1:]:
            console.print(Text(text))
    for path in files:
        if path.suffix in (".md", ".png"):
            console.print(Text(f"written: {path}"), soft_wrap=True)
    if not files:
        console.print(f"{target.name}: nothing to show, its runs are not finished")


def record(out: Path, target: Target, files: Sequence[Path], output: Output) -> Path:
    """Note in `out / targets.json` that `target` was reproduced, for the report.

    Args:
        out: folder of the reproduced tables and figures; made where missing.
        target: what was reproduced.
        files: what was written for it, in or below `out`.
        output: its tables and captions.

    Raises:
        CheckpointError: the file is there, but cannot be read.
    """
    names = relative_names(out, files)
    captions = {
        name: output.captions[Path(name).stem]
        for name in names
        if name.endswith(".svg") and Path(name).stem in output.captions
    }
    tables = tuple(table.shown for table in output.tables)
    return record_target(out, Recorded(target.name, target.title, target.sentence, names, tables, captions))
