"""What is said of seeds: how many there are, and which rows have other ones."""

from __future__ import annotations

from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.cells import notes
from hypertail.lab.reproduce.figures import figure11
from hypertail.lab.reproduce.seeds import seeds_by_row, told_seeds
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.tables import table2
from support.made_runs import all_finished

THREE = Setting()


def runs_of(seeds: dict[str, tuple[int, ...]]) -> list[FinishedRun]:
    """Runs of some strategies, each with seeds of its own."""
    configs = [config for name, own in seeds.items() for config in Setting(seeds=own).config("split-cifar100", name)]
    return all_finished(configs)


def test_all_rows_have_the_same_seeds() -> None:
    runs = runs_of({"hn-3": (0, 1, 2), "naive": (0, 1, 2)})
    assert told_seeds(runs) == "n = 3 (seeds 0, 1, 2)"
    assert [seeds for _, seeds in seeds_by_row(runs)] == [(0, 1, 2), (0, 1, 2)]


def test_rows_with_other_seeds_are_named() -> None:
    three = {"hn-3": (0, 1, 2), "naive": (0, 1, 2)}
    runs = runs_of({**three, "joint": (0,), "lr-3": (0,), "hn-2": (0, 1)})
    assert told_seeds(runs) == "n = 3 (seeds 0, 1, 2), but Joint, LR-3: n = 1 (seed 0); HN-2: n = 2 (seeds 0, 1)"


def test_many_exceptions_are_counted() -> None:
    single = {name: (0,) for name in ("hn-1", "hn-2", "hn-4", "lr-1", "lr-2", "lr-4", "ewc")}
    several = {name: (0, 1) for name in (*table2.REFERENCES, "naive", "hn-3", "lda-4")}
    assert told_seeds(runs_of({**single, **several})) == "n = 1 to 2 (of seeds 0, 1)"


def test_images_and_streams_tell_rows_apart() -> None:
    runs = [
        *all_finished(THREE.config("split-cifar100", "hn-3")),
        *all_finished(Setting(seeds=(0,)).config("split-cifar100", "hn-3", images_per_class=10)),
    ]
    assert told_seeds(runs).endswith("but HN-3 with 10 images a class: n = 1 (seed 0)")


def test_options_tell_rows_apart() -> None:
    """Figure 11 without the runs with look-ahead: what is missing is not the HN-3 that is shown."""
    planned = figure11.plan(Setting(seeds=(0,)))
    used = all_finished(config for config in planned if config.options.get("lookahead") == "none")
    (missing,) = (line for line in caption(THREE, planned, used) if line.startswith("Not finished"))
    assert missing == ("Not finished, so not shown: HN-3 (lookahead first), seed 0; HN-4 (lookahead first), seed 0.")


def test_a_table_says_of_how_many_runs_its_spread_is() -> None:
    planned = [*THREE.config("split-cifar100", "hn-3"), *THREE.config("split-cifar100", "naive")]
    runs = all_finished(planned)
    said = " ".join(notes(THREE, planned, runs))
    assert "n = 3 (seeds 0, 1, 2)" in said
    assert "sample standard deviation" in said
    assert "n = 1" not in said
    said = " ".join(notes(THREE, planned, runs[:4]))
    assert "n = 3 (seeds 0, 1, 2), but Naive: n = 1 (seed 0)" in said
    assert "Where n = 1 the spread is unknown." in said
    (single,) = {note for note in notes(THREE, planned, runs[3:4]) if "unknown" in note}
    assert single == "One run per row: its spread over seeds is unknown."
