"""Generated pages and pictures are what their scripts make of the committed files."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from statistics import fmean
from types import ModuleType

import pytest

import hypertail as ht
from hypertail.lab.records.runfile import find_runs
from hypertail.lab.reports.paired import paired
from hypertail.lab.reports.verdict import verdicts

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
PLACES = ("results/pictures", "benchmarks", "docs/pictures")
REPRODUCED = sorted((RESULTS / "reproduced" / "tables").glob("*.csv"))


def script(path: Path) -> ModuleType:
    """A script of the repository, as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = script(RESULTS / "make_pages.py")
MADE: dict[Path, str] = PAGES.pages()


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_page_is_what_its_runs_say(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == MADE[path], "python results/make_pages.py writes it anew"


def test_every_table_is_made() -> None:
    assert set((RESULTS / "tables").iterdir()) <= set(MADE)


@pytest.mark.slow
def test_pictures_are_what_their_tables_say(tmp_path: Path) -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); import make_pictures; from pathlib import Path; "
    code += "print(*make_pictures.draw(Path(sys.argv[2])), sep='\\n')"
    subprocess.run([sys.executable, "-c", code, str(RESULTS), str(tmp_path)], check=True, capture_output=True)
    drawn = sorted(tmp_path.iterdir())
    assert [path.stem for path in drawn] == ["ablation", "matrices", "printed-against-measured", "step-times"]
    for path in drawn:
        (committed,) = [found for place in PLACES if (found := ROOT / place / path.name).is_file()]
        # other versions of matplotlib place and number differently: what must agree are the words and figures in it
        words = [re.findall(r">([^<>\s][^<>]*)</text>", text.read_text(encoding="utf-8")) for text in (path, committed)]
        assert words[0]
        assert words[0] == words[1], f"python results/make_pictures.py draws {path.name} anew"


@pytest.mark.slow
def test_the_page_of_the_command_line_is_what_help_prints() -> None:
    folder = ROOT / "docs" / "reference"
    code = "import make_command_line; print(make_command_line.page(), end='')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    page = (folder / "command-line.md").read_text(encoding="utf-8")
    assert page == done.stdout, "python docs/reference/make_command_line.py writes it anew"


def accuracies() -> set[tuple[str, float]]:
    """(label, ACA in percent): of runs that `hypertail reproduce` left, and the mean over seeds of others."""
    by_name: dict[str, list[tuple[str, float]]] = {}
    for pattern in ("reproduced/runs/*/run.json", "three-seeds/*/*/run.json", "ten-choices/*/run.json"):
        for path in RESULTS.glob(pattern):
            run = json.loads(path.read_text(encoding="utf-8"))
            name = "/".join(path.parts[-3:-1])
            name = name if pattern.startswith("reproduced") else re.sub(r"seed\d+", "", name)
            by_name.setdefault(name, []).append((run["label"], 100 * run["metrics"]["aca"]))
    return {(own[0][0], round(fmean(accuracy for _, accuracy in own), 6)) for own in by_name.values()}


@pytest.mark.parametrize("path", REPRODUCED, ids=lambda path: path.stem)
def test_accuracies_of_reproduced_tables_are_those_of_runs(path: Path) -> None:
    known = accuracies()
    with path.open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert table
    for row in table:
        if row.get("ACA %"):
            label = row.get("strategy") or path.stem.removeprefix("ablation-").upper()
            assert (label, round(float(row["ACA %"]), 6)) in known


def test_the_pages_mark_the_pairs_that_compare_marks() -> None:
    """Of every two methods with several seeds, but the trunks that the page knows to have been carried elsewhere."""
    pages = PAGES.seeds_pages
    (verdict,) = verdicts(find_runs([RESULTS / "three-seeds" / "split-cifar100-cosine-trunk"]))
    raw = pages._by_name(pages._runs("split-cifar100-cosine-trunk"))
    hyper = next(method for method in verdict.methods if method.name == "HN-2")
    for method in verdict.methods:
        found = paired(hyper.group, method.group)
        if method is not hyper and method.name in raw and method.name != "HN-3":
            assert found is not None
            assert ("†" in pages.difference(raw["HN-2"], raw[method.name])) is found.trained_again, method.name
    assert "†" in pages.difference(raw["HN-2"], raw["Separate-2"])


def test_cells_with_fewer_seeds_than_the_heading_say_so() -> None:
    pages, folder = PAGES.seeds_pages, "few-images-e1"
    lines = [line.split(" | ") for line in pages._few(folder, ("HN-3", "Adapter-3")).splitlines()]
    seeds: dict[tuple[str, int], set[int]] = {}
    for run in pages._runs(folder):
        seeds.setdefault((run["label"], run["config"]["images_per_class"]), set()).add(run["seed"])
    for (label, count), own in seeds.items():
        (place,) = (at for at, head in enumerate(lines[0]) if head.startswith(f"{count} images"))
        (cell,) = (line[place].strip(" |") for line in lines if line[0].strip("| ") == label)
        told = re.search(r"n = (\d+)", cell) or re.search(r"n = (\d+)", lines[0][place])
        assert told is not None
        assert int(told[1]) == len(own), (label, count)


def test_targets_name_files_that_are_there() -> None:
    folder = RESULTS / "reproduced"
    targets = json.loads((folder / "targets.json").read_text(encoding="utf-8"))["targets"]
    assert "ablation" in [target["name"] for target in targets]
    assert not [name for target in targets for name in target["files"] if not (folder / name).is_file()]


def test_the_picture_of_what_is_stored_counts_right() -> None:
    trunk, tail = ht.decompose(ht.slim_resnet18(5), depth=3)
    hyper = ht.tuned_hypernet(trunk, tail, tasks=20).hyper
    embedding = hyper.embedding.shape[1]
    rows, adapters = (sum(p.numel() for p in part.parameters()) // 20 for part in (hyper.tables, hyper.adapters))
    shared = sum(p.numel() for part in (hyper.mlp, hyper.heads) for p in part.parameters())
    statistics = sum(b.numel() for b in tail.buffers() if b.is_floating_point())
    stored = sum(p.numel() for p in tail.parameters()) + statistics
    (run,) = RESULTS.glob("reproduced/runs/split-cifar100-hn-3-*9724e7fe/run.json")
    factors = (json.loads(run.read_text(encoding="utf-8"))["bytes_kept_parts"]["curvature"] - 8) // 4
    own = embedding + rows + adapters + statistics
    trunks = sum(p.numel() for p in trunk.parameters())
    text = (ROOT / "docs" / "pictures" / "shared-and-own.svg").read_text(encoding="utf-8")
    for count in (trunks, shared, factors, embedding, rows, adapters, statistics, own, stored):
        assert f"{count:,}" in text, count
