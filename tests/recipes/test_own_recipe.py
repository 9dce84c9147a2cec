"""A strategy registered from outside the package is known everywhere: run, table, figures, report, command line."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import pytest
import torch

from hypertail import cli
from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import strategy_of
from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports import figures
from hypertail.lab.reports.drawing import colour_of
from hypertail.lab.reports.groups import group_runs
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.summary import statement
from hypertail.lab.reports.tables import to_markdown
from hypertail.recipes import catalogue
from hypertail.recipes.catalogue import option_types, recipe_of, register, strategy_names
from hypertail.recipes.options import OptionGroup
from hypertail.recipes.recipe import Recipe
from hypertail.recipes.shared import Optimiser
from hypertail.strategies import Optimisation, Task
from support.tiny import tiny_stream

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "03_own_strategy.py"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The example's module; what it registers is forgotten afterwards."""
    monkeypatch.setattr(catalogue, "_RECIPES", dict(catalogue._RECIPES))
    monkeypatch.setattr(catalogue, "_SHORT", dict(catalogue._SHORT))
    spec = importlib.util.spec_from_file_location("own_strategy", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(__import__("sys").modules, "own_strategy", module)
    spec.loader.exec_module(module)
    yield module
    option_types.cache_clear()


def test_it_is_run_tabled_drawn_and_reported(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = "run digits --strategy naive cautious --experiences 2 --epochs 1 --trunk-epochs 1 --image-size 8"
    cli.main([*asked.split(), "--caution", "0.5"])
    assert "Cautious" in capsys.readouterr().out
    runs = [RunFile.read(path) for path in sorted(Path("runs").glob("*/run.json"))]
    own = next(run for run in runs if run.strategy == "cautious")
    assert (own.label, own.config["method"]["caution"]) == ("Cautious", 0.5)
    assert RunConfig.from_json(own.config).options.get("caution") == 0.5
    groups = group_runs(runs)
    assert [group.first.label for group in groups] == ["Naive", "Cautious"]
    assert colour_of(own) == "#c2527a"
    assert "| Cautious |" in to_markdown(runs)
    assert "Cautious" in statement(groups)
    assert "#c2527a" in figures.to_svg(figures.aca_curve(runs)).lower()
    page = write_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "trains like naive, but slower at every task." in page
    assert "#c2527a" in page.lower()


def test_a_run_of_it_stands_in_no_other_runs_way(
    example: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Finished, it is shown; not finished, it is left with what to do, and the others are resumed."""
    monkeypatch.chdir(tmp_path)
    asked = "run digits --strategy naive cautious --experiences 2 --epochs 1 --trunk-epochs 1 --image-size 8"
    cli.main(asked.split())
    own, naive = (Path("runs", f"digits-{name}-tuned-e1-seed0") for name in ("cautious", "naive"))
    (naive / "run.json").unlink()
    (Path("runs") / "broken").mkdir()
    Path("runs", "broken", "config.json").write_text("{")
    recipes = dict(catalogue._RECIPES)
    del catalogue._RECIPES["cautious"]
    option_types.cache_clear()
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        cli.main(["resume", "runs"])
    said, complaint = (" ".join(text.split()) for text in capsys.readouterr())
    assert left.value.code == 1
    assert "Cautious seed 0: ACA" in said
    assert "not resumed: runs/broken: options of a run" in said
    assert complaint.startswith("error: 1 of 3 runs: required runs that can be resumed")
    assert (naive / "run.json").is_file()
    (own / "run.json").unlink()
    with pytest.raises(SystemExit):
        cli.main(["resume", str(own)])
    complaint = " ".join(capsys.readouterr().err.split())
    assert complaint.startswith(f"error: strategy 'cautious' of a run, {own}: required one that is registered")
    assert "Register it in a script" in complaint
    assert "delete" not in complaint
    with pytest.raises(SystemExit):
        cli.main(["resume", "runs"])
    said, complaint = (" ".join(text.split()) for text in capsys.readouterr())
    assert "not resumed: runs/broken" in said
    assert f"not resumed: {own}: strategy 'cautious'" in said
    assert complaint.startswith("error: 2 of 3 runs")
    monkeypatch.setattr(catalogue, "_RECIPES", recipes)
    option_types.cache_clear()
    cli.main(["resume", str(own)])
    assert (own / "run.json").is_file()


def test_it_has_a_group_of_its_own_in_the_help(example: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["run", "--strategy", "cautious", "--help"])
    text = capsys.readouterr().out
    assert "caution options" in text
    assert "--caution" in text
    assert "--penalty-weight" not in text
    assert "cautious: trains like naive" in text


def test_all_options_of_its_optimiser_are_used(example: ModuleType) -> None:
    asked = dict(lr=0.5, schedule="constant", optimizer_state="kept", caution=2.0)
    strategy = strategy_of(RunConfig("tiny", "cautious", options=asked), tiny_stream(2))
    for task, lr in enumerate((0.5, 0.125)):
        strategy.begin(Task(task, 2, 1, lambda: (torch.empty(0), torch.empty(0))))
        assert strategy.optimisation == Optimisation(lr, "constant", "kept")


def test_its_options_decide_what_run_it_is(example: ModuleType) -> None:
    config = RunConfig("digits", "cautious", options={"caution": 0.5})
    assert config.identity()["caution"] == 0.5
    assert config.identity() != replace(config, options=None).identity()
    assert json.loads(json.dumps(config.to_json()))["method"]["caution"] == 0.5
    with pytest.raises(ConfigError) as error:
        RunConfig("digits", "cautious", options={"cauton": 2.0})
    assert error.value.hint == "Did you mean 'caution'?"


def test_a_run_of_it_is_read_where_it_is_not_known(tmp_path: Path) -> None:
    from support.sample_runs import sample_run

    run = replace(sample_run("naive", None), strategy="cautious", label="Cautious")
    assert "cautious" not in strategy_names()
    path = run.write(tmp_path / "run.json")
    read = RunFile.read(path)
    assert read == run
    assert "| Cautious |" in to_markdown([read])
    assert "Cautious" in write_report([read], tmp_path / "report.html").read_text(encoding="utf-8")


@dataclass(frozen=True)
class _Twice(OptionGroup):
    heading: ClassVar[str] = "twice"

    lr: float = 1.0


@pytest.mark.parametrize("name", ["naive", "lr", "own-3", "", "Own"])
def test_names_that_cannot_be(name: str) -> None:
    naive = recipe_of("naive")
    with pytest.raises(ConfigError) as error:
        register(Recipe(name, "Own", "w", 5, ("#000000",), (Optimiser,), naive.build))
    assert error.value.problem == f"strategy '{name}'"


def test_an_option_that_another_group_has() -> None:
    naive = recipe_of("naive")
    with pytest.raises(ConfigError) as error:
        register(Recipe("own", "Own", "w", 5, ("#000000",), (_Twice,), naive.build))
    assert error.value.problem == "option 'lr' of strategy 'own'"
    assert "own" not in strategy_names()
