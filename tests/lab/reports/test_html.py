"""The report: whole in one file, honest in its sentences, safe with hostile names."""

from __future__ import annotations

import errno
import json
import math
import os
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from hypertail.errors import CheckpointError, DataError
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import RunFile, TaskInfo
from hypertail.lab.reports.figures import accuracy_heatmap, save
from hypertail.lab.reports.groups import group_runs
from hypertail.lab.reports.html import title_of, write_report
from hypertail.lab.reports.papertable import PaperTable
from hypertail.lab.reports.summary import statement
from hypertail.lab.reproduce.reproduce import record as record_target
from hypertail.lab.reproduce.target import Output, Target, no_runs
from hypertail.streams.report import DatasetReport, LeftOut
from support.sample_runs import sample_run, sample_runs, tiny_run

NAN = math.nan
CITATION = "https://arxiv.org/abs/2306.10724"
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "br", "link", "img", "input"}


class Outline(HTMLParser):
    """Open tags, ids and references of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.attributes |= {name for name, _ in attrs}
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "xlink:href"):
                self.references.append(value or "")
            self.references += [f"#{part}" for part in re.findall(r"url\(#([^)]*)\)", value or "")]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.problems.append(f"</{tag}> at {self.getpos()}")


def outline(page: Path) -> Outline:
    parser = Outline()
    parser.feed(page.read_text(encoding="utf-8"))
    parser.close()
    return parser


def said(*runs: RunFile) -> str:
    return statement(group_runs(runs)).replace("\N{NO-BREAK SPACE}", " ")


def named(label: str, R: list[list[float]], seed: int = 0, strategy: str = "") -> RunFile:
    return tiny_run(R, label=label, strategy=strategy or label.lower(), seed=seed)


def test_page_is_whole_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    runs = [*sample_runs(5, seeds=2, joint=True), *sample_runs(2, seeds=1, stream="noisy")]
    page = outline(write_report(runs, tmp_path / "report.html"))
    assert page.problems == []
    assert page.open == []
    assert page.tags.count("svg") == 10
    assert "script" not in page.tags
    assert len(page.ids) == len(set(page.ids))
    outside = [link for link in page.references if not link.startswith(("#", "data:image/png;base64,"))]
    assert outside == [CITATION]
    assert {link[1:] for link in page.references if link.startswith("#")} <= set(page.ids)
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"https?://[^\"<\s]*", text) == [CITATION]
    assert "@import" not in text


def test_title_names_streams_runs_and_seeds(tmp_path: Path) -> None:
    runs = sample_runs(2, seeds=3)
    assert title_of(runs) == "split-cifar100: 18 runs, seeds 0, 1, 2"
    assert title_of(runs[:1]) == "split-cifar100: 1 run, seed 0"
    text = write_report(runs[:3], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<title>split-cifar100: 3 runs, seeds 0, 1, 2</title>" in text
    assert "How to read this" in text


def test_every_run_is_listed_with_its_details(tmp_path: Path) -> None:
    runs = sample_runs(3, seeds=2)
    text = write_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    for run in runs:
        assert run.command in text
        assert f"<summary>split-cifar100, {run.label}, 3 experiences, seed {run.seed} " in text
    assert text.count("&#34;weight&#34;: 0.03") == len(runs)


def test_what_was_read_of_the_data_is_in_the_details(tmp_path: Path) -> None:
    """cases 3 and 11: counts, what was left out, and the digest; nothing of it for a run that did not record it."""
    left = (LeftOut("unreadable", 1, ("<b>.png",)),)
    data = DataRecord("0a1b2c", (DatasetReport("photos", "x", {"train": {"a": 3, "b": 4}}, left_out=left),))
    page = write_report([replace(sample_run(), data=data)], tmp_path / "with.html").read_text()
    assert "photos: 7 training images of 2 classes (a 3, b 4) | left out: 1 file unreadable (&lt;b&gt;.png)" in page
    assert "0a1b2c" in page
    assert "digest of the data" not in write_report([sample_run()], tmp_path / "without.html").read_text()


def test_changed_answers_and_answers_without_a_task_are_in_the_details(tmp_path: Path) -> None:
    run = sample_run()
    ways = {"class_means": {"accuracy": 0.25, "right_task": 0.5}, "combined": {"accuracy": 0.375, "right_task": 0.5}}
    shares = (0.125,) * len(run.tasks)
    page = write_report([replace(run, answers_changed=shares, class_incremental=ways)], tmp_path / "with.html")
    text = page.read_text(encoding="utf-8").replace("\N{NO-BREAK SPACE}", " ")
    assert "answers changed 12.5 %" in text
    assert "by class means 25.0 %; by combined 37.5 %" in text
    without = write_report([run], tmp_path / "without.html").read_text(encoding="utf-8")
    assert "answers changed" not in without
    assert "task not told" not in without


def test_ten_runs_of_twenty_experiences_stay_small(tmp_path: Path) -> None:
    path = write_report(sample_runs(20, seeds=2)[:10], tmp_path / "report.html")
    assert path.stat().st_size < 3_000_000


def test_hostile_names_are_shown_not_run(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"
    attribute = '" onload="alert(2)'
    run = replace(
        sample_run(n=2),
        **dict.fromkeys(("stream", "label", "strategy", "preset", "command", "started"), evil + attribute),
        config={evil: attribute},
        versions={evil: evil},
        hardware={evil: evil},
        seconds_by_phase={evil: 1.0},
        bytes_kept_parts={evil: 1},
        parameters={evil: 1},
        tasks=tuple(TaskInfo(f"{attribute}{evil}", (evil, "b"), 1, 1) for _ in range(2)),
    )
    path = write_report([run, replace(run, preset="other")], tmp_path / "report.html")
    page = outline(path)
    assert "script" not in page.tags
    assert page.problems == []
    text = path.read_text(encoding="utf-8")
    assert evil not in text
    assert "onload" not in page.attributes
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text


def test_numbers_in_names_are_not_rounded(tmp_path: Path) -> None:
    run = sample_run(n=2)
    runs = [replace(run, config={"lr": lr}) for lr in (0.00125, 0.0025)]
    text = write_report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    svg = "".join(re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))
    assert "lr=0.00125" in svg
    assert "lr=0.0025" in svg


def test_folder_gets_report_html_and_an_old_one_is_replaced(tmp_path: Path) -> None:
    path = write_report([sample_run(n=2)], tmp_path)
    assert path == tmp_path / "report.html"
    path.write_text("old")
    assert write_report([sample_run(n=2)], path).read_text(encoding="utf-8").startswith("<!doctype html>")


def test_no_runs_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError) as error:
        write_report([], tmp_path / "report.html")
    assert str(error.value) == (
        "report: required at least one finished run; found none. Name a run.json or a folder of runs."
    )


@pytest.mark.parametrize(
    "run",
    [tiny_run([[NAN, NAN], [NAN, NAN]]), sample_run("joint", None, n=2), sample_run(n=1)],
    ids=["nothing measured", "joint alone", "one experience"],
)
def test_odd_runs_are_reported(run: RunFile, tmp_path: Path) -> None:
    assert outline(write_report([run], tmp_path / "report.html")).problems == []


def test_the_verdict_has_sentences_and_a_table(tmp_path: Path) -> None:
    text = write_report(sample_runs(3, seeds=2, joint=True), tmp_path / "report.html").read_text(encoding="utf-8")
    assert text.count("Which method is best?") == 1
    assert "<h4>split-cifar100, 3 tasks of 5 classes, 500 images a class, 10 epochs a task</h4>" in text
    assert "<li>Best of 6 methods: " in text
    assert "<li>Best hypernetwork: HN-" in text
    assert ">to the best</th>" in text
    alone = write_report([sample_run(n=2)], tmp_path / "alone.html").read_text(encoding="utf-8")
    assert "Which method is best?" not in alone


def test_statement_on_the_usual_outcome() -> None:
    naive = [named("Naive", [[0.9, NAN], [0.3, 0.8]], seed) for seed in (0, 1)]
    hypernet = [named("HN-3", [[0.8, NAN], [0.79, 0.8]], seed, "hn") for seed in (0, 1)]
    joint = named("Joint", [[NAN, NAN], [0.9, 0.9]])
    assert said(*naive, *hypernet, joint) == (
        "Three strategies learned 2 experiences of split-cifar100, one after the other, with 2 seeds. "
        "Naive forgets: on earlier experiences it loses 60.0 points of accuracy, and it ends at 55.0 % on average. "
        "HN-3 loses 1.0 point on earlier experiences. "
        "The highest mean accuracy at the end is 79.5 % (HN-3), followed by 55.0 % (Naive); the verdict below says "
        "whether that is more than the spread. "
        "For reference, Joint (all experiences at once) reaches 90.0 %."
    )


def test_statement_when_the_naive_one_wins() -> None:
    text = said(named("Naive", [[0.5, NAN], [0.6, 0.8]]), named("HN-3", [[0.8, NAN], [0.2, 0.4]], strategy="hn"))
    assert "Naive, which does nothing against forgetting, gains 10.0 points on earlier experiences" in text
    assert "HN-3 loses 60.0 points on earlier experiences." in text
    assert "is 70.0 % (Naive), followed by 30.0 % (HN-3); without several seeds for both, that" in text


def test_statement_calls_no_winner_within_the_spread() -> None:
    runs = [named("HN-3", [[a]], seed, "hn") for seed, a in enumerate((0.6, 0.8))]
    runs += [named("EWC", [[a]], seed) for seed, a in enumerate((0.65, 0.7))]
    text = said(*runs)
    assert text.startswith("Two strategies learned 1 experience of split-cifar100, with 2 seeds. ")
    assert "followed by 67.5 % (EWC); the verdict below says whether that is more than the spread." in text
    assert "loses" not in text


@pytest.mark.parametrize("changes", [{"epochs": 2}, {"config": {"model": "other"}}])
def test_statement_ranks_no_runs_that_are_not_compared(changes: dict[str, Any], tmp_path: Path) -> None:
    runs = [named("EWC", [[a, NAN], [a, a]], seed) for seed, a in enumerate((0.6, 0.8))]
    runs += [replace(named("HN-3", [[a, NAN], [a, a]], seed, "hn"), **changes) for seed, a in enumerate((0.5, 0.6))]
    text = said(*runs)
    assert "ends at 70.0 %." in text
    assert "ends at 55.0 %." in text
    assert "The highest mean accuracy" not in text
    assert "Which method is best?" not in write_report(runs, tmp_path).read_text(encoding="utf-8")


def test_statement_names_what_is_missing_or_not_test_data() -> None:
    text = said(
        named("HN-3", [[0.8, NAN], [NAN, NAN]], strategy="hn"),
        replace(named("EWC", [[0.8, NAN], [0.8, 0.7]]), config={"measure_on": "validation"}),
    )
    assert "EWC loses nothing on earlier experiences." in text
    assert "EWC ends at 75.0 %." in text
    assert "Not measured to the end: HN-3." in text
    assert text.endswith("Measured on held-out training data, not on the test set: EWC.")


def reproduced(folder: Path, *names: str) -> None:
    """Record targets in `folder`, each with a picture and a table."""
    for name in names:
        title, sentence = f"Title of {name}", f"Sentence on {name}."
        target = Target(name, title, sentence, no_runs, lambda setting, runs: Output())
        figure = accuracy_heatmap(sample_run(n=2))
        table = PaperTable(name, "t", ("strategy", "ACA %", "ACA % paper"), (("HN-3", "70.1", "58.8"),), ("A note.",))
        record_target(folder, target, save(figure, folder / name, dpi=40), Output(tables=(table,)))


def test_reproduced_targets_come_first_pictures_before_tables(tmp_path: Path) -> None:
    reproduced(tmp_path, "table2", "figure8")
    path = write_report([sample_run(n=2)], tmp_path, folders=[tmp_path])
    page = outline(path)
    assert page.problems == []
    assert page.tags.count("svg") == 2 + 5
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.references if link.startswith("#")} <= set(page.ids)
    text = path.read_text(encoding="utf-8")
    order = [text.index(f"Sentence on {name}.") for name in ("figure8", "table2")]
    assert order == sorted(order)
    assert order[1] < text.index("stream by stream") < text.index('<details class="stream">')
    assert text.count('<td class="paper">58.8</td>') == 2
    assert text.count("A note.") == 2
    assert "<title>Partial hypernetworks for continual learning, measured again: 1 run</title>" in text
    assert "figure8.svg, figure8.png" in text


def test_targets_need_no_runs(tmp_path: Path) -> None:
    reproduced(tmp_path, "table3")
    text = write_report([], tmp_path, folders=[tmp_path]).read_text(encoding="utf-8")
    assert "Sentence on table3." in text
    assert "Every run" not in text


def test_target_without_picture_or_table_says_so(tmp_path: Path) -> None:
    target = Target("figure6", "Filters", "See.", no_runs, lambda setting, runs: Output())
    record_target(tmp_path, target, [tmp_path / "gone.svg"], Output())
    text = write_report([], tmp_path, folders=[tmp_path]).read_text(encoding="utf-8")
    assert "Nothing to show yet" in text


def test_foreign_pictures_are_refused(tmp_path: Path) -> None:
    """case 17: what else is refused is in test_svg.py."""
    reproduced(tmp_path, "figure4")
    svg = tmp_path / "figure4.svg"
    svg.write_text(svg.read_text().replace("</svg>", "<script>alert(1)</script></svg>"))
    with pytest.raises(DataError) as error:
        write_report([], tmp_path, folders=[tmp_path])
    assert str(error.value) == (
        "picture for the report: required an SVG that hypertail drew; found an element 'script'. Draw it again with "
        "hypertail reproduce."
    )
    assert not (tmp_path / "report.html").exists()


def test_page_allows_no_scripts_and_no_network(tmp_path: Path) -> None:
    """case 17: by a policy, too, should a filter ever fail."""
    text = write_report([sample_run(n=2)], tmp_path / "report.html").read_text(encoding="utf-8")
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', text)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; img-src data:;")
    assert text.index("Content-Security-Policy") < text.index("<title>")


def record(folder: Path, **changes: object) -> None:
    """A `targets.json` written by hand."""
    item = {"name": "figure4", "title": "t", "sentence": "s", "files": ["a.svg"], "tables": [], "notes": {}} | changes
    content = {"format": "hypertail-targets", "format_version": 1, "targets": [item]}
    (folder / "targets.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "name", ["../a.svg", "/etc/a.svg", "a/../../b.svg", "C:\\a.svg", "..\\a.svg", "a\0.svg", "", "a//b.svg"]
)
def test_pictures_outside_the_folder_are_not_read(name: str, tmp_path: Path) -> None:
    """case 17: names of files come from the folder, which may come from anyone."""
    folder = tmp_path / "folder"
    folder.mkdir()
    save(accuracy_heatmap(sample_run(n=2)), tmp_path / "a", dpi=40)
    record(folder, files=[name])
    with pytest.raises(CheckpointError, match=r"record of reproduced targets .* which is not in the folder"):
        write_report([], tmp_path / "report.html", folders=[folder])


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_links_out_of_the_folder_are_not_followed(kind: str, tmp_path: Path) -> None:
    """case 17: a link that leads elsewhere, as a picture or on the way to it."""
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    save(accuracy_heatmap(sample_run(n=2)), elsewhere / "a", dpi=40)
    if kind == "file":
        (folder / "a.svg").symlink_to(elsewhere / "a.svg")
        record(folder)
    else:
        (folder / "figures").symlink_to(elsewhere)
        record(folder, files=["figures/a.svg"])
    with pytest.raises(DataError, match=r"required a file in the folder; found a link to a file elsewhere"):
        write_report([], tmp_path / "report.html", folders=[folder])


@pytest.mark.parametrize("name", ['x"><img src=x onerror=alert(1)>', "a b", "", "\\g<1>", "x" * 100, "a\nb"])
def test_names_of_targets_are_names(name: str, tmp_path: Path) -> None:
    """case 17: a name becomes part of the ids within a picture, where it used not to be escaped."""
    save(accuracy_heatmap(sample_run(n=2)), tmp_path / "a", dpi=40)
    record(tmp_path, name=name)
    with pytest.raises(CheckpointError, match=r"record of reproduced targets .* name of a target"):
        write_report([], tmp_path / "report.html", folders=[tmp_path])


def test_a_picture_that_is_no_text(tmp_path: Path) -> None:
    """case 17: any bytes."""
    record(tmp_path)
    (tmp_path / "a.svg").write_bytes(b"<svg \xff\xfe")
    with pytest.raises(DataError, match="picture for the report"):
        write_report([], tmp_path / "report.html", folders=[tmp_path])


@pytest.mark.filterwarnings("ignore:Glyph")
def test_control_characters_and_formulas_in_names(tmp_path: Path) -> None:
    """case 17: a picture of a run holds its names, whatever is in them."""
    run = replace(sample_run(n=2), label="\x00\x1b[31m\x0b$\\frac$<b>&", stream="\x01\ufffe")
    path = write_report([run, replace(run, preset="other")], tmp_path / "report.html")
    assert outline(path).problems == []


def test_a_full_disk_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18: no half page, and no temporary."""
    path = tmp_path / "report.html"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*report\.html'"):
        write_report([sample_run(n=2)], path)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("report.html", "old")]


def test_runs_that_differ_in_many_options_are_told_apart_by_the_table_alone(tmp_path: Path) -> None:
    options = {f"option_number_{number}": 0 for number in range(8)}
    runs = [replace(sample_run(n=2), config=config) for config in (options, dict.fromkeys(options, 1))]
    page = outline(write_report(runs, tmp_path / "report.html"))
    assert (page.problems, page.tags.count("svg")) == ([], 0)


@pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine")
def test_browser_shows_the_report(tmp_path: Path) -> None:
    assert BROWSER is not None
    path = write_report(sample_runs(3, seeds=1), tmp_path / "report.html")
    result = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
            *("--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'user'}"),
            *("--dump-dom", path.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "<title>split-cifar100: 6 runs, seed 0</title>" in result.stdout
    assert result.stdout.count("<svg") == 5
    assert result.stdout.count("<details>") == 6 * 4
