"""The verdict: what may be compared, what is best, and how it is said."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.records.runfile import RunFile, TaskInfo
from hypertail.lab.reports.verdict import Verdict, verdicts
from hypertail.lab.reports.verdicttable import COLUMNS, verdict_table
from hypertail.lab.reports.verdictwords import overview, sentences
from support.sample_runs import sample_runs, tiny_run

NAN = math.nan


def runs_of(
    strategy: str, depth: int | None, label: str, final: Sequence[float], kept: int = 2000, **changes: object
) -> list[RunFile]:
    """A run of two tasks for each seed, with that accuracy at the end, which lost one point of the first task."""
    generated = 10 if strategy == "hn" else None
    usual: dict[str, object] = {
        "strategy": strategy,
        "depth": depth,
        "label": label,
        "bytes_kept": kept,
        "bytes_kept_parts": {"all": kept},
        "bytes_per_experience": (kept // 2, kept),
        "hypernetwork_parameters": generated,
    }
    return [
        tiny_run([[a + 0.01, NAN], [a, a]], seed=seed, **(usual | changes))  # type: ignore[arg-type]
        for seed, a in enumerate(final)
    ]


HYPER = runs_of("hn", 3, "HN-3", (0.80, 0.82, 0.81), 40_000)
HEAD = runs_of("head", 4, "Head-4", (0.70, 0.72, 0.72), 2_000)
SEPARATE = runs_of("separate", 3, "Separate-3", (0.81, 0.81, 0.82), 6_000_000)
REPLAY = runs_of("replay", 3, "LR-3", (0.60, 0.61, 0.59), 80_000, bytes_kept_parts={"tail": 20_000, "buffer": 60_000})
JOINT = runs_of("joint", None, "Joint", (0.9,), 0)


def verdict_of(*runs: RunFile) -> Verdict:
    (verdict,) = verdicts(runs)
    return verdict


def said(*runs: RunFile) -> list[str]:
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in sentences(verdict_of(*runs))]


def test_what_is_best_and_what_is_not_told_apart() -> None:
    verdict = verdict_of(*HYPER, *HEAD, *SEPARATE, *REPLAY, *JOINT)
    assert verdict.best is not None
    assert verdict.best.name == "Separate-3"
    assert {method.name: verdict.mark(method) for method in verdict.methods} == {
        "Joint": "reference",
        "Separate-3": "best",
        "HN-3": "within spread",
        "Head-4": "beyond spread",
        "LR-3": "beyond spread",
    }
    assert [method.name for method in verdict.front] == ["Head-4", "HN-3"]  # Separate-3 is within the spread of HN-3


def test_changed_answers_are_said_where_some_changed() -> None:
    def of(share: float) -> list[str]:
        return said(*(replace(run, answers_changed=(share,) * len(run.tasks)) for run in HYPER), *HEAD)

    assert (
        "forgets 1.0 point on earlier tasks, answers 12.5 % of earlier test images otherwise than at first"
        in of(0.125)[0]
    )
    assert "otherwise than at first" not in "".join(of(0.0))


def test_the_sentences() -> None:
    assert said(*HYPER, *HEAD, *SEPARATE, *REPLAY, *JOINT) == [
        "Best of 4 methods: Separate-3 (a stored tail for each task). ACA 81.3 % ± 0.6 over 3 seeds, forgets 1.0 point "
        "on earlier tasks, keeps 3.00 MB a task.",
        "Within the spread of the best, so not told apart from it: HN-3, 0.3 points below (± 1.2, n = 3).",
        "Best for its bytes a task, among methods that store no old data, a dearer one where it is ahead beyond the "
        "spread: below 20.0 kB, Head-4 (71.3 % at 1.00 kB); above, HN-3 (81.0 % at 20.0 kB).",
        "Best hypernetwork: HN-3, ACA 81.0 % ± 1.0 over 3 seeds, forgets 1.0 point on earlier tasks, keeps 20.0 kB a "
        "task. It is 9.7 points above Head-4, the best other method that stores no old data and takes 1.00 kB a task "
        "(± 0.6, n = 3: beyond the spread); and 0.3 points below Separate-3, which stores a tail of 3.00 MB for each "
        "task (± 1.2, n = 3: within the spread).",
        "Old data is stored by LR-3 (60.0 kB of it; 60.0 % at 40.0 kB a task).",
        "For reference, Joint, which learns from all data at once, reaches 90.0 % (one seed).",
    ]


def test_a_dearer_method_within_the_spread_of_a_cheaper_one_is_not_best_for_its_bytes() -> None:
    """One that is ahead by three points on average, and behind by fifteen with one seed."""
    cheap = runs_of("head", 3, "Head-3", (0.600, 0.700, 0.764), 2_600)
    middle = runs_of("hn", 4, "HN-4", (0.748, 0.795, 0.615), 108_000)
    dear = runs_of("separate", 3, "Separate-3", (0.80, 0.90, 0.96), 6_000_000)
    verdict = verdict_of(*cheap, *middle, *dear)
    assert [method.name for method in verdict.front] == ["Head-3", "Separate-3"]
    assert "HN-4" not in next(text for text in said(*cheap, *middle, *dear) if "bytes a task, among" in text)
    (text,) = (text for text in said(*cheap, *middle) if "bytes a task, among" in text)
    assert text.endswith("Head-3 (68.8 % at 1.30 kB), which none beats beyond the spread at any size.")
    assert verdict.to_json()["best_below_bytes_a_task"] == ["Head-3", "Separate-3"]


def test_a_dearer_method_below_a_cheaper_one_is_not_best_for_its_bytes() -> None:
    """Also where the cheaper one is itself within the spread of the one before."""
    cheap = runs_of("head", 3, "Head-3", (0.70, 0.70, 0.70), 2_000)
    unsure = runs_of("adapter", 3, "Adapter-3", (0.70, 0.74, 0.78), 100_000)
    below = runs_of("hn", 3, "HN-3", (0.72, 0.73, 0.72), 200_000)
    lone = runs_of("hn", 2, "HN-2", (0.735,), 300_000)
    verdict = verdict_of(*cheap, *unsure, *below, *lone)
    assert [method.name for method in verdict.front] == ["Head-3"]
    assert [method.name for method in verdict_of(*cheap, *below, *lone).front] == ["Head-3", "HN-3", "HN-2"]


def test_what_a_step_to_more_bytes_rests_on_without_a_spread() -> None:
    (text,) = (text for text in said(HYPER[0], *HEAD) if "bytes a task, among" in text)
    assert text.endswith("above, HN-3 (80.0 % at 20.0 kB), by one seed in common.")
    (text,) = (text for text in said(HYPER[0], HEAD[0]) if "bytes a task, among" in text)
    assert "old data: below 20.0 kB, Head-4" in text
    assert text.endswith("above, HN-3 (80.0 % at 20.0 kB).")
    apart = [replace(run, seed=run.seed + 5) for run in HYPER]
    (text,) = (text for text in said(*apart, *HEAD) if "bytes a task, among" in text)
    assert text.endswith("above, HN-3 (81.0 % at 20.0 kB), by the means alone.")


def test_one_seed_knows_no_spread() -> None:
    verdict = verdict_of(HYPER[0], HEAD[0])
    assert [verdict.mark(method) for method in verdict.methods] == ["best", "spread unknown"]
    text = " ".join(said(HYPER[0], HEAD[0]))
    assert "Next is Head-4, 10.0 points below. One seed: the spread of every difference is unknown" in text
    assert "±" not in text
    assert any(note.startswith("One seed: the spread is unknown") for note in verdict_table(verdict).notes)


def test_a_seed_that_lies_in_two_folders_moves_no_mean() -> None:
    """HN-3 is a point better seed by seed, and has a worse seed three times."""
    hyper = runs_of("hn", 3, "HN-3", (0.61, 0.81), 40_000)
    verdict = verdict_of(*[hyper[0]] * 3, hyper[1], *runs_of("head", 4, "Head-4", (0.60, 0.80), 2_000))
    table = verdict_table(verdict)
    assert [row[:3] for row in table.rows] == [("HN-3", "2", "71.0 ± 14.1"), ("Head-4", "2", "70.0 ± 14.1")]
    assert "A seed that occurs more than once counts once, by the mean of its runs: HN-3." in sentences(verdict)
    assert verdict.to_json()["methods"][0]["seeds"] == [0, 1]


def test_runs_of_one_seed_have_no_spread() -> None:
    again = replace(HEAD[0], accuracy=((0.75, None), (0.75, 0.75)))
    assert "over 2 seeds" not in " ".join(said(HEAD[0], again))
    assert verdict_table(verdict_of(HEAD[0], again)).rows[0][2] == "72.5"


def test_old_data_is_said_to_be_stored_where_it_is_best() -> None:
    best = [replace(run, accuracy=((0.9, None), (0.9, 0.9))) for run in REPLAY]
    first, *_ = said(*best, *HEAD)
    assert first.startswith("Best of 2 methods: LR-3 (it stores old data). ACA 90.0 %")
    assert "Best without old data: Head-4, 18.7 points below LR-3 (± 1.2, n = 3: beyond the spread)." in first
    table = verdict_table(verdict_of(*best, *HEAD))
    assert table.rows[0][0] == "LR-3 *"
    assert "* It stores old data." in table.notes


def test_the_table() -> None:
    table = verdict_table(verdict_of(*HYPER, *HEAD))
    assert table.title == "split-cifar100, 2 tasks of 5 classes, 500 images a class, 10 epochs a task"
    assert table.columns == COLUMNS
    assert table.rows == (
        ("HN-3", "3", "81.0 ± 1.0", "1.0 ± 0.0", "20.0 kB", "–", "–", "best"),
        ("Head-4", "3", "71.3 ± 1.2", "1.0 ± 0.0", "1.00 kB", "1.00 kB", "-9.7 ± 0.6", "behind"),
    )


def test_of_equal_methods_the_smaller_is_best() -> None:
    larger = runs_of("adapter", 3, "Adapter-3", (0.70, 0.72, 0.72), 9_000)
    verdict = verdict_of(*larger, *HEAD)
    assert verdict.best is not None
    assert verdict.best.name == "Head-4"
    assert "Adapter-3, level (± 0.0, n = 3)." in said(*larger, *HEAD)[1]


def few(run: RunFile, images: int) -> RunFile:
    return replace(run, tasks=tuple(replace(task, train=images * len(task.classes)) for task in run.tasks))


def test_runs_of_other_conditions_are_not_compared() -> None:
    runs = [HYPER[0], replace(HYPER[0], epochs=20), few(HYPER[0], 20), few(HEAD[0], 20), *sample_runs(3, seeds=1)]
    found = verdicts(runs)
    assert [(v.conditions.tasks, v.conditions.images, v.conditions.epochs, len(v.methods)) for v in found] == [
        (2, 20, 10, 2),
        (2, 500, 10, 1),
        (2, 500, 20, 1),
        (3, 500, 10, 6),
    ]
    assert [line.partition(":")[0] for line in overview(found)] == [
        "split-cifar100, 2 tasks of 5 classes, 20 images a class, 10 epochs a task",
        "split-cifar100, 3 tasks of 5 classes, 500 images a class, 10 epochs a task",
    ]


def test_seeds_with_classes_of_other_sizes_are_compared() -> None:
    (verdict,) = verdicts([few(HYPER[0], 100), few(HYPER[1], 104), few(HYPER[2], 97)])
    assert verdict.methods[0].aca.n == 3


def test_options_that_are_not_the_strategys_part_runs() -> None:
    configs = [RunConfig("digits", "naive", validation=share) for share in (0.0, 0.1)]
    found = verdicts([replace(HEAD[0], config=config.to_json()) for config in configs])
    assert [verdict.conditions.others for verdict in found] == [(), (("validation", "0.1"),)]


def test_names_have_the_options_that_tell_them_apart() -> None:
    runs = []
    for options in ({}, {"rank": 32}, {"rank": 32, "lookahead": "first"}):
        config = RunConfig("split-cifar100", "hn", 3, options={"code": "product", **options})  # type: ignore[arg-type]
        runs.append(replace(HYPER[0], config=config.settled().to_json()))
    names = {method.name for method in verdict_of(*runs, HEAD[0]).methods}
    assert names == {"HN-3", "HN-3 (rank 32)", "HN-3 (rank 32, lookahead first)", "Head-4"}


def test_pairs_of_numbers_in_names() -> None:
    configs = [RunConfig("split-cifar100", "hn", 3, options={"mlp": pair}) for pair in ((64, 32), (128, 32))]
    runs = [replace(HYPER[0], config=config.settled().to_json()) for config in configs]
    assert {method.name for method in verdict_of(*runs).methods} == {"HN-3 (mlp 64x32)", "HN-3 (mlp 128x32)"}


def test_other_limits_of_images_are_not_compared() -> None:
    def limited(run: RunFile, images: int | None) -> RunFile:
        config = RunConfig("split-cifar100", run.strategy, 3, images_per_class=images).settled().to_json()
        return replace(few(run, images or 25), config=config)

    found = verdicts([limited(HYPER[0], 20), limited(SEPARATE[0], 25), limited(SEPARATE[0], None)])
    assert [(v.conditions.images, [m.name.partition(" ")[0] for m in v.methods]) for v in found] == [
        (20, ["HN-3"]),
        (25, ["Separate-3", "Separate-3"]),
    ]
    words = [replace(run, config={**run.config, "images_per_class": "all"}) for run in (HYPER[0], SEPARATE[0])]
    assert len(verdicts([*words, limited(HYPER[1], 500)])) == len(
        verdicts([HYPER[0], SEPARATE[0], limited(HYPER[1], 500)])
    )
    uneven = [few(limited(HYPER[0], 25), 24), few(limited(SEPARATE[0], 25), 25)]  # a class had fewer
    assert len(verdicts(uneven)) == 1


def test_odd_runs() -> None:
    nothing = tiny_run([[NAN, NAN], [NAN, NAN]])
    assert said(nothing) == ["Not measured to the end: HN-3."]
    assert verdict_table(verdict_of(nothing)).rows == ()
    assert said(JOINT[0]) == ["For reference, Joint, which learns from all data at once, reaches 90.0 %."]
    (only,) = said(HEAD[0])
    assert only.startswith("One method, Head-4, and nothing to compare it with: ACA 70.0 %")
    assert overview(verdicts([nothing, HEAD[0]])) == ()
    without = replace(HEAD[0], tasks=tuple(TaskInfo("t", (), 0, 0) for _ in range(2)))
    assert verdict_table(verdict_of(without)).rows


def test_json_has_the_numbers() -> None:
    content = json.loads(json.dumps(verdict_of(*HYPER, *HEAD).to_json()))
    assert content["best"] == "HN-3"
    assert content["conditions"]["images_a_class"] == 500
    hyper, head = content["methods"]
    assert hyper["difference"] is None
    assert head["difference"]["n"] == 3
    assert head["difference"]["beyond"] is True
    assert round(head["difference"]["mean"], 6) == -0.096667


def test_trunks_that_were_trained_twice_are_marked() -> None:
    """Runs on a GPU beside runs on a CPU, none of which recorded its trunk: no sentence says that it is the same."""
    options = {name: RunConfig("digits", name, 3).settled().to_json() for name in ("hn", "separate")}
    here = [replace(run, config=options["hn"]) for run in HYPER]
    there = [
        replace(run, config=options["separate"], hardware={"device": "cuda", "gpu": "NVIDIA H200"}) for run in SEPARATE
    ]
    verdict = verdict_of(*here, *there)
    table = verdict_table(verdict)
    assert [row[6] for row in table.rows] == ["–", "-0.3 ± 1.2 †"]
    assert "data, and without † on the same trunk, ±" in table.notes[0]
    assert table.notes[1].startswith("† Trunk trained again, on other hardware or with another torch")
    assert "HN-3, 0.3 points below (± 1.2 †, n = 3)." in " ".join(said(*here, *there))
    assert verdict.to_json()["methods"][1]["difference"]["trunk_trained_again"] is True
    assert not any("†" in text for text in (*said(*HYPER, *SEPARATE), *verdict_table(verdict_of(*HYPER, *HEAD)).notes))
