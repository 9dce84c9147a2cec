"""What `hypertail reproduce` does: see what is finished, run what is missing, write and show the outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hypertail.errors import ConfigError, unknown_name
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.dataplace import DataPlace
from hypertail.lab.experiments.readings import Readings
from hypertail.lab.experiments.run import shared_features
from hypertail.lab.reports.tables import latex_table, markdown_table, rich_table
from hypertail.lab.reproduce.record import record_target
from hypertail.lab.reproduce.runs import Library, described, directory_name, distinct, run_missing
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import FinishedRun, Output, Target
from hypertail.lab.reproduce.targets import TARGETS
from hypertail.training.precision import Speed

_WIDEST = 1000  # columns of a table, with all it holds


def reproduce(
    names: Sequence[str],
    setting: Setting,
    out: Path,
    console: Console,
    *,
    others: Sequence[Path] = (),
    plan_only: bool = False,
    run: bool = True,
    device: torch.device | str = "cpu",
    speed: Speed = "auto",
    line: str = "",
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
        device: where to train.
        speed: precision of the steps.
        line: the command, recorded in every run.

    Raises:
        ConfigError: an unknown target, or one of which the setting leaves nothing.
        DataError: a folder in `others`, or a dataset, does not exist.
        HypertailError: from the first run that fails; finished ones stay.
    """
    targets = _targets(names, setting)
    folder = out / "runs"
    library = Library.of([*([folder] if folder.exists() else []), *others])
    for problem in library.unread:
        console.print(Text(f"not used: {problem}"), soft_wrap=True)
    plans = {target.name: distinct(target.plan(setting)) for target in targets}
    # runs that several targets need are made once, in the way that serves them all
    needed = distinct([config for plan in plans.values() for config in plan])
    if plan_only:
        _show_plan(needed, library, folder, console)
        return []
    written = []
    shared, readings = shared_features(device), Readings(console)
    for target in targets:
        serving = _serving(needed, plans[target.name])
        missing = library.missing(serving) if run else []
        if missing:
            console.print(Text(f"{target.name}: {len(missing)} of {len(serving)} runs to make"), soft_wrap=True)
            made: list[FinishedRun] = []
            run_missing(
                missing,
                folder,
                console,
                data=DataPlace(setting.data),
                device=device,
                speed=speed,
                line=line,
                shared=shared,
                readings=readings,
                on_finished=made.append,
            )
            library = replace(library, runs=(*library.runs, *made))
        output = target.render(setting, library.runs)
        files = write_output(output, out)
        if files:
            record_target(out, target, files, output)
        show_output(target, output, files, console)
        written += files
    return written


def _targets(names: Sequence[str], setting: Setting) -> list[Target]:
    targets = []
    for name in dict.fromkeys(names):
        if name not in TARGETS:
            raise unknown_name("table or figure", name, TARGETS)
        target = TARGETS[name]
        if not target.plan(setting) and target.plan(replace(setting, strategies=(), streams=())):
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
    return targets


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
    finished = 0
    for config in needed:
        found = library.finished((config,))
        finished += len(found)
        begun = (folder / directory_name(config)).exists()
        state = f"finished: {found[0].directory}" if found else "begun, will be continued" if begun else "to be made"
        table.add_row(*map(Text, (described(config), config.stream, str(config.seed), str(config.epochs), state)))
    _print_whole(table, console)
    console.print(f"{len(needed)} runs, {finished} finished, {len(needed) - finished} to be made")


def _print_whole(table: RichTable, console: Console) -> None:
    # a table too wide for the terminal is better broken at its edge than with its numbers cut off
    needed = console.measure(table, options=console.options.update(max_width=_WIDEST)).maximum
    console.print(table, width=max(console.width, needed), crop=False, soft_wrap=True)


def write_output(output: Output, out: Path) -> list[Path]:
    """Write tables (Markdown, CSV, LaTeX) to `out / "tables"` and figures (PNG, SVG, caption) to `out / "figures"`."""
    files = []
    for table in output.tables:
        folder = out / "tables"
        folder.mkdir(parents=True, exist_ok=True)
        contents = {"md": markdown_table(table.shown), "csv": table.to_csv(), "tex": latex_table(table.shown)}
        for kind, content in contents.items():
            files.append(folder / f"{table.stem}.{kind}")
            files[-1].write_text(content, encoding="utf-8")
    for stem, draw in output.figures.items():
        from hypertail.lab.reports.figures import save

        files += save(draw(), out / "figures" / stem)
        if stem in output.captions:
            files.append(out / "figures" / f"{stem}.md")
            files[-1].write_text("\n\n".join(output.captions[stem]) + "\n", encoding="utf-8")
    return files


def show_output(target: Target, output: Output, files: Sequence[Path], console: Console) -> None:
    """Print the sentence, the tables, and where the files are."""
    console.print(Text(f"\n{target.sentence}"))
    for table in output.tables:
        _print_whole(rich_table(table.shown), console)
    for stem in output.figures:
        for text in output.captions.get(stem, ())[1:]:
            console.print(Text(text))
    for path in files:
        if path.suffix in (".md", ".png"):
            console.print(Text(f"written: {path}"), soft_wrap=True)
    if not files:
        console.print(f"{target.name}: nothing to show, its runs are not finished")
