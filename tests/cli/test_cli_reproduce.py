"""`hypertail reproduce` as a user meets it."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from safetensors.torch import save_file

from hypertail.cli import COMMANDS, main, parse, reproduce
from hypertail.lab.records.runfile import find_runs
from hypertail.lab.reproduce.targets import TARGETS
from hypertail.nets.models import main_model
from hypertail.seeds import seeded
from support.commands import told


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")  # narrower than the tables


@pytest.mark.slow
def test_a_table_from_runs_to_files(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["reproduce", "table2", "--scale", "smoke", "--strategy", "hn-3", "separate-3", "--speed", "full"]
    main(command)
    out, err = capsys.readouterr()
    assert err == ""
    assert "table2: 2 of 2 runs to " in out
    assert "58.8 ± 1.0" in out
    assert "…" not in out  # no number is cut off
    assert "written: reproduced/tables/table2-split-cifar100.md" in out
    with Path("reproduced/tables/table2-split-cifar100.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["strategy"] for row in rows] == ["HN-3", "Separate-3"]
    assert all(0 < float(row["ACA %"]) <= 100 for row in rows)
    changed = {run.label: run.changed for run in find_runs(["reproduced/runs"])}
    assert {row["strategy"]: float(row["answers changed %"]) / 100 for row in rows} == pytest.approx(changed)
    main(command)
    out = capsys.readouterr().out
    assert "written: " in out
    assert "runs to " not in out


@pytest.mark.slow
def test_counted_tables_need_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    main(["reproduce", "table3", "table6", "--stream", "split-cifar100"])
    out = capsys.readouterr().out
    for count in ("451,661", "1,124,081", "1,272,877", "533,922"):
        assert out.count(count) >= 2  # measured and printed
    names = {path.name for path in Path("reproduced/tables").iterdir()}
    assert names == {f"{stem}.{kind}" for stem in ("table3", "table6-split-cifar100") for kind in ("md", "csv", "tex")}


def weights_for_digits(path: Path) -> Path:
    """Weights of the usual main model for images of one channel."""
    with seeded(0, "weights"):
        model = main_model("slim-resnet18").build(7, channels=1, norm="batch")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, path)
    return path


@pytest.mark.slow
def test_few_images_and_bytes_from_runs_to_files(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    weights = weights_for_digits(tmp_path / "weights.safetensors")
    usual = ["--scale", "smoke", "--strategy", "hn-3", "head-4", "--speed", "full"]
    main(["reproduce", "fewshot", *usual, "--weights", str(weights)])
    out, err = capsys.readouterr()
    assert err == ""
    assert "fewshot: 12 of 12 runs to do" in out
    assert "HN-3, 5 images a class, pretrained on digits, seed 0" in out
    for stem in ("fewshot", "fewshot-pretrained"):
        with Path(f"reproduced/tables/{stem}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [row["strategy"] for row in rows] == ["Head-4", "HN-3"]
        assert all(0 < float(row[column]) <= 100 for row in rows for column in ("5", "20", "all"))
    main(["reproduce", "bytes", *usual])
    out = capsys.readouterr().out
    assert "runs to do" not in out  # all images of a class are the ordinary runs
    assert {path.name for path in Path("reproduced/figures").glob("*.svg")} == {"fewshot.svg", "bytes.svg"}
    with Path("reproduced/tables/bytes.csv").open(newline="") as file:
        sizes = {row["strategy"]: row for row in csv.DictReader(file)}
    assert float(sizes["Head-4"]["1,000 tasks"]) == 500 * float(sizes["Head-4"]["bytes kept"])
    assert float(sizes["HN-3"]["1,000 tasks"]) < 500 * float(sizes["HN-3"]["bytes kept"])


def test_options() -> None:
    line = (
        "reproduce table2 figure8 --preset printed --scale full --seeds 4 5 --epochs 2 --strategy hn --from a b --plan"
    )
    command = parse(line.split())
    assert isinstance(command, reproduce.Reproduce)
    assert (command.targets, command.preset, command.scale) == (("table2", "figure8"), "printed", "full")
    assert (command.seeds, command.epochs, command.strategy) == ((4, 5), 2, ("hn",))
    assert (command.others, command.plan, command.finished) == ((Path("a"), Path("b")), True, False)
    usual = parse(["reproduce", "table2"])
    assert (usual.preset, usual.scale, usual.out, usual.seeds) == ("tuned", "cpu", Path("reproduced"), None)


def test_help_lists_every_target(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    text = capsys.readouterr().out
    for name in TARGETS:
        assert f"- {name}: " in text


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ("reproduce tabel2", {"problem": "'tabel2'", "hint": "'table2'"}),
        ("reproduce", {"required": "at least one", "found": "none", "hint": "table2"}),
        ("reproduce table2 --scale ful", {"problem": "scale 'ful'", "hint": "'full'"}),
        ("reproduce table2 --from nowhere", {"problem": "'nowhere'", "required": "finished runs"}),
        (
            "reproduce table2 --weights nowhere.safetensors",
            {"problem": "--weights", "required": "pretrained main model", "found": "table2"},
        ),
        ("reproduce fewshot --weights nowhere.safetensors", {"problem": "nowhere.safetensors"}),
        (
            "reproduce --from a b table2 --plan",
            {"problem": "--from", "found": "--from a b table2", "hint": "Name targets before --from"},
        ),
        ("reproduce table1 --from a ledger", {"problem": "--from", "hint": "Name targets before --from"}),
        ("reproduce --strategy hn-3 figure8", {"problem": "--strategy", "hint": "Name targets before --strategy"}),
        ("reproduce --stream split-cifar100 fewshot", {"problem": "--stream", "hint": "before --stream"}),
        ("reproduce table2 --epochs 0", {"problem": "--epochs", "required": "1 or more", "found": "0"}),
    ],
)
def test_mistakes(line: str, fields: dict[str, str], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    told(capsys, *line.split(), **fields)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_runs_may_have_the_name_of_a_target(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "table2").mkdir()
    main(["reproduce", "table1", "--from", "table2", "--plan"])
    assert "0 finished" in capsys.readouterr().out


def test_what_is_said_of_an_interrupted_command() -> None:
    assert COMMANDS["reproduce"].stopped(["reproduce", "table2"]) == (
        "stopped; what was learned is saved; the same command continues"
    )
