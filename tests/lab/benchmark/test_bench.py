"""The benchmark measures what it says: the work of each mode, the order of turns, and ratios of medians."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn

from hypertail.errors import ConfigError, TrainingError
from hypertail.hyper import ChannelHead, LinearHead, Penalty
from hypertail.lab.benchmark import bench as bench_module
from hypertail.lab.benchmark.bench import QUICK, Sizes, bench, chosen_precision, time_subjects
from hypertail.lab.benchmark.memory import PeakMemory
from hypertail.lab.benchmark.modes import MODES, RATIOS, Model, modes_of
from hypertail.lab.benchmark.profile import SHOWN, Operator, Profile, profile_step, summed
from hypertail.lab.benchmark.report import Measured, Target, facts, ratios, targets
from hypertail.lab.benchmark.subjects import Subject, build_at, build_subject, random_stream
from hypertail.lab.benchmark.tables import STEPS, TO_FLOOR, TO_RELEASED, print_measured
from hypertail.lab.benchmark.timing import Timing, interleaved
from hypertail.strategies import LatentReplay, PartialHypernet
from hypertail.strategies.hypernet_lesson import LaterLesson
from hypertail.strategies.strategy import Strategy
from hypertail.training.precision import Precision

CPU = torch.device("cpu")
TINY = replace(QUICK, tasks=3, batch=4, train=16, test=5, task_counts=(2, 4), by_tasks_depth=4, memory=("floor",))


def console() -> tuple[Console, StringIO]:
    text = StringIO()
    return Console(file=text, width=160), text


def hypernet(subject: Subject) -> PartialHypernet:
    assert isinstance(subject.strategy, PartialHypernet)
    return subject.strategy


def measured(**changes: Any) -> Measured:
    seconds = {
        "floor": {"HN-3": Timing.of([0.1])},
        "floor_mixed": {"HN-3": Timing.of([0.05])},
        # the mean of released is 20 times its median: an outlier must not make it look slow
        "released": {"HN-3": Timing.of([4.0, 4.0, 4.0, 4.0, 384.0])},
        "printed": {"HN-3": Timing.of([0.2])},
        "tuned": {"HN-3": Timing.of([0.1, 0.16, 0.16, 0.16, 9.0])},
        "tuned_full": {"HN-3": Timing.of([0.32])},
        "weight_space": {"HN-3": Timing.of([0.125])},
        "weight_space_full": {"HN-3": Timing.of([0.25])},
        "released_with_trunk": {"HN-3": Timing.of([5.0])},
        "trunk_forward": {"HN-3": Timing.of([0.84])},
    }
    defaults: dict[str, Any] = {
        "seconds": seconds,
        "precision": {"HN-3": "mixed"},
        "by_tasks": {20: Timing.of([1.0]), 1000: Timing.of([1.3])},
        "by_tasks_model": "HN-3",
        "epochs": {"trainer": Timing.of([1.02]), "bare": Timing.of([1.0])},
        "memory": {"tuned": {"HN-3": PeakMemory(300, 100)}},
        "evaluation": {"HN-3": Timing.of([0.8])},
        "steps_per_epoch": 40,
        "settings": {"batch": 64, "tasks": 20, "quick": False},
        "took": 1.0,
    }
    return Measured(**(defaults | changes))


class Calls:
    """Counts calls of heads by the leading shape of what they generate."""

    def __init__(self) -> None:
        self.seen: dict[tuple[type, tuple[int, ...]], int] = {}

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, ChannelHead | LinearHead):
            key = (type(module), tuple(output.shape[: output.dim() - len(module.shape)]))
            self.seen[key] = self.seen.get(key, 0) + 1

    def during(self, step: Callable[[], object], times: int = 1) -> dict[tuple[type, tuple[int, ...]], int]:
        handle: AbstractContextManager[Any] = nn.modules.module.register_module_forward_hook(self)
        with handle:
            for _ in range(times):
                step()
        return self.seen


def tail_precisions(step: Callable[[], object]) -> set[torch.dtype]:
    """Types of what the convolutions of a tail give in one step."""
    seen = set()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            seen.add(output.dtype)

    handle: AbstractContextManager[Any] = nn.modules.module.register_module_forward_hook(note)
    with handle:
        step()
    return seen


@pytest.mark.parametrize("mode", ["released", "released_with_trunk"])
def test_released_generates_a_weight_set_per_image_and_every_past_target_anew(mode: str) -> None:
    tasks, batch = 4, 6
    subject = build_subject(mode, ("hn", 3), tasks=tasks, batch=batch, device=CPU)
    convolutions = sum(isinstance(head, ChannelHead) for head in hypernet(subject).hyper.separable_heads().values())
    past = 2 * (tasks - 1)  # by the snapshot and by the hypernetwork
    assert convolutions == 5
    for _ in range(2):
        assert Calls().during(subject.step) == {
            (ChannelHead, (batch,)): convolutions,
            (ChannelHead, (1,)): convolutions * past,
            (LinearHead, (batch,)): 1,
            (LinearHead, (1,)): past,
        }


@pytest.mark.parametrize("mode", ["printed", "weight_space", "weight_space_full"])
def test_weights_of_the_one_task_are_generated_once_a_batch(mode: str) -> None:
    subject = build_subject(mode, ("hn", 4), tasks=4, batch=6, device=CPU)
    assert Calls().during(subject.step, times=3) == {(LinearHead, (1,)): 3}


@pytest.mark.parametrize("mode", ["tuned", "tuned_full"])
def test_tuned_generates_the_past_task_of_its_output_term_together_with_its_own(mode: str) -> None:
    tasks, steps = 4, 30
    subject = build_subject(mode, ("hn", 4), tasks=tasks, batch=6, device=CPU, precision="mixed")
    calls = Calls().during(subject.step, times=steps)
    # what the snapshot generates for a past task is kept after its first draw, and all were drawn
    assert calls == {(LinearHead, (2,)): steps, (LinearHead, (1,)): tasks - 1}
    assert Calls().during(subject.step, times=steps) == {(LinearHead, (2,)): steps}


@pytest.mark.slow
@pytest.mark.parametrize("chosen", ["full", "mixed"])
def test_modes_run_at_their_precision(chosen: Precision) -> None:
    follows = {"tuned", "weight_space"}
    for mode in MODES:
        subject = build_subject(mode, ("hn", 3), tasks=2, batch=4, device=CPU, precision=chosen)
        mixed = mode == "floor_mixed" or (mode in follows and chosen == "mixed")
        assert tail_precisions(subject.step) == {torch.bfloat16 if mixed else torch.float32}, mode
    at = build_at(3, 3, batch=4, device=CPU, precision=chosen)
    assert tail_precisions(at.step) == {torch.bfloat16 if chosen == "mixed" else torch.float32}


def test_weight_space_is_tuned_without_its_output_term_and_nothing_else() -> None:
    tuned, weight_space = (MODES[mode].config(("hn", 3), 64).options for mode in ("tuned", "weight_space"))
    assert tuned.get("output_weight") > 0
    assert tuned.replace(output_weight=0.0) == weight_space
    assert hypernet(build_subject("weight_space", ("hn", 4), tasks=2, batch=4, device=CPU)).output is None


@pytest.mark.parametrize(
    ("model", "missing"),
    [
        (("hn", 3), set()),
        (("hn", 0), {"released_with_trunk", "trunk_forward"}),
        (("replay", 3), {"weight_space", "weight_space_full"}),
        (("naive", None), {"weight_space", "weight_space_full", "released_with_trunk", "trunk_forward"}),
    ],
)
def test_modes_without_meaning_for_a_model_are_left_out(model: Model, missing: set[str]) -> None:
    assert set(MODES) - set(modes_of(model, "mixed")) == missing


def test_a_step_at_full_precision_is_not_timed_twice() -> None:
    assert modes_of(("hn", 4), "mixed") == list(MODES)
    assert set(MODES) - set(modes_of(("hn", 4), "full")) == {"tuned_full", "weight_space_full"}


def test_the_precision_is_the_one_that_a_run_would_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def chosen(speed: str, *, bfloat16: bool, pixels: int, convolutions: bool) -> str:
        asked.append((speed, convolutions))
        return "mixed" if convolutions else "full"

    monkeypatch.setattr("hypertail.lab.experiments.precisions.choose_precision", chosen)
    assert chosen_precision(("hn", 3), TINY, CPU) == "mixed"
    assert chosen_precision(("hn", 4), TINY, CPU) == "full"
    assert chosen_precision(("naive", None), TINY, CPU) == "mixed"
    # of the steps, then of the trunk
    assert asked == [("auto", True), ("auto", True), ("auto", False), ("auto", True), ("auto", True), ("auto", True)]


def test_released_with_trunk_starts_from_images_and_the_others_from_features() -> None:
    for name, mode in MODES.items():
        if mode.what == "strategy":
            strategy = build_subject(name, ("hn", 4), tasks=2, batch=4, device=CPU).strategy
            assert isinstance(strategy, Strategy)
            assert (strategy.frozen_trunk is None) is (name == "released_with_trunk")


def test_strategies_are_at_their_last_experience() -> None:
    subject = build_subject("tuned", ("hn", 4), tasks=5, batch=4, device=CPU)
    assert list(hypernet(subject).net.classes) == [0, 1, 2, 3, 4]
    assert isinstance(subject.lesson, LaterLesson)
    assert isinstance(subject.lesson.penalty, Penalty)
    assert subject.lesson.penalty.tasks.tolist() == [0, 1, 2, 3]


def test_the_buffer_of_latent_replay_has_filled() -> None:
    strategy = build_subject("tuned", ("lr", 4), tasks=20, batch=16, device=CPU).strategy
    assert isinstance(strategy, LatentReplay)
    # two exemplars of every class of 19 tasks, and some of the odd ones
    assert 2 * 5 * 19 <= len(strategy.buffer) <= strategy.buffer.capacity == 200


def test_many_tasks_at_once_do_the_work_of_tasks_one_by_one() -> None:
    one_by_one = build_subject("tuned", ("hn", 3), tasks=3, batch=4, device=CPU)
    at_once = build_at(3, 3, batch=4, device=CPU)
    shapes = []
    for subject in (one_by_one, at_once):
        lesson = subject.lesson
        assert isinstance(lesson, LaterLesson)
        penalty = lesson.penalty
        assert isinstance(penalty, Penalty)
        inputs, outputs = ({n: f.shape for n, f in own.items()} for own in (penalty.inputs, penalty.outputs))
        leaves = {name: leaf.shape for name, leaf in lesson.descent.leaves.items()}
        shapes.append((penalty.tasks.tolist(), inputs, outputs, leaves, set(lesson.net.statistics)))
    assert shapes[0] == shapes[1]
    assert shapes[0][0] == [0, 1]


def test_random_stream_has_the_shape_of_split_cifar100() -> None:
    stream = random_stream(20, train=10, test=5)
    assert (len(stream), stream.image_shape, stream.max_classes) == (20, (3, 32, 32), 5)
    assert torch.equal(stream[0].train.images, random_stream(1, train=10, test=5)[0].train.images)


def test_steps_take_turns_round_after_round() -> None:
    order: list[str] = []
    steps = {name: (lambda name=name: order.append(name)) for name in "abc"}
    timings = interleaved(steps, rounds=4, slice_seconds=0.0, budget=100.0)
    assert order == ["a", "a", "b", "b", "c", "c", *("a", "b", "c") * 4]
    assert {name: timing.n for name, timing in timings.items()} == {"a": 4, "b": 4, "c": 4}


def test_a_spent_budget_still_leaves_three_rounds() -> None:
    timings = interleaved({"a": lambda: None}, rounds=50, slice_seconds=0.0, budget=0.0)
    assert timings["a"].n == 3


def test_timing_is_median_and_quartiles() -> None:
    assert Timing.of([5.0, 1.0, 2.0, 3.0, 400.0]) == Timing(median=3.0, q1=2.0, q3=5.0, n=5)


def test_ratios_are_ratios_of_medians() -> None:
    content = facts(measured(), CPU)
    expected = {
        "ratio_to_released": 25.0,
        "ratio_to_released_weight_space": 32.0,
        "ratio_to_released_float32": 12.5,
        "ratio_to_released_weight_space_float32": 16.0,
        "ratio_to_released_printed": 20.0,
        "ratio_to_released_with_trunk": 31.25,
        "ratio_to_released_with_trunk_weight_space": 40.0,
        "ratio_to_released_uncached": 5.0,
        "ratio_to_released_uncached_weight_space": 5.0 / 0.965,
        "ratio_to_floor": 1.6,
        "ratio_to_floor_weight_space": 1.25,
        "ratio_to_floor_printed": 2.0,
        "ratio_to_floor_float32": 3.2,
        "ratio_to_floor_weight_space_float32": 2.5,
        "ratio_to_floor_same_precision": 3.2,
        "ratio_to_floor_weight_space_same_precision": 2.5,
        "output_term_share": 0.035 / 0.16,
    }
    found = {key: value for key, value in content.items() if key.startswith("ratio_") or key == "output_term_share"}
    assert found == {key: {"HN-3": pytest.approx(value)} for key, value in expected.items()}
    assert content["precision"] == {"HN-3": "mixed"}
    assert content["seconds_per_step"]["tuned"] == {"HN-3": 0.16}
    assert content["evaluation"]["HN-3"]["epoch_of_steps"] == pytest.approx(40 * 0.16)
    assert "profile" not in content


def test_the_loop_at_the_same_precision_is_the_float32_one_where_full_is_chosen() -> None:
    found = ratios(measured(precision={"HN-3": "full"}))
    assert found["ratio_to_floor_same_precision"] == found["ratio_to_floor"] == {"HN-3": pytest.approx(1.6)}


def test_ratios_name_modes() -> None:
    assert {mode for pair in RATIOS.values() for mode in pair} <= set(MODES)


def test_targets_are_computed_for_the_weight_space_penalty() -> None:
    met = {target.name: target.met for target in targets(measured())}
    assert met["HN-3: released / weight-space"] is True
    assert met["HN-3: released + trunk / weight-space"] is True
    assert met["HN-3: weight-space / bare loop"] is True
    assert met["HN-3: weight-space / bare loop, same precision"] is False
    assert met["HN-3: output-space term / tuned step"] is True
    assert met["HN-3: step at 1,000 tasks / at 20"] is False
    assert met["Naive: epoch of the trainer / of a bare loop"] is True
    assert met["HN-F: released / weight-space"] is None
    assert met["HN-1: output-space term / tuned step"] is None
    assert {target.name: target.met for target in targets(measured(by_tasks={20: Timing.of([1.0])}))}[
        "HN-3: step at 1,000 tasks / at 20"
    ] is None


def test_an_output_term_of_more_than_half_the_step_is_missed() -> None:
    seconds = measured().seconds | {"weight_space": {"HN-3": Timing.of([0.07])}}
    met = {target.name: target.met for target in targets(measured(seconds=seconds))}
    assert met["HN-3: output-space term / tuned step"] is False


def test_a_target_holds_on_its_bound() -> None:
    assert [Target("x", "at least", 8.0, value).met for value in (7.99, 8.0)] == [False, True]
    assert [Target("x", "at most", 1.2, value).met for value in (1.2, 1.21)] == [True, False]


def test_tables_show_what_was_measured() -> None:
    profile = Profile("HN-3", "mixed", 0.2, (Operator("aten::mm", 0.05, 18), Operator("aten::add", 0.15, 0.5)))
    result = measured(profile=profile)
    target, text = console()
    print_measured(result, facts(result, CPU), target)
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.getvalue().splitlines() if "│" in line]
    rows = {cells[0]: cells[1:] for cells in lines}
    assert ["HN-3 weight-space", "32.00", "16.00", "40.00", "5.18"] in lines
    assert ["HN-3 tuned", "25.00", "12.50", "31.25", "5.00"] in lines
    assert ["HN-3 weight-space", "1.25", "2.50", "2.50", ""] in lines
    assert ["HN-3 tuned", "1.60", "3.20", "3.20", "0.22"] in lines
    assert ["HN-3 printed", "20.00", "", "", ""] in lines
    assert rows["tuned"] == ["160 ±0"]
    assert rows["bare loop, mixed"] == ["50.0 ±0.0"]
    assert rows["1,000"] == ["1300 ±0", "1"]
    assert rows["HN-3"] == ["200 B"]
    assert rows["HN-3: weight-space / bare loop, same precision"] == ["at most 1.5", "2.50", "no"]
    assert rows["HN-F: released / weight-space"] == ["at least 8", "not measured", ""]
    assert rows["aten::mm"] == ["50.00", "25.0%", "18"]
    assert rows["aten::add"] == ["150.00", "75.0%", "0.5"]
    assert "experience 20 of 20" in text.getvalue()


def test_columns_of_ratios_are_filled() -> None:
    known = set(ratios(measured())) | {"output_term_share"}
    for key in (*TO_RELEASED.values(), *TO_FLOOR.values()):
        assert key.format(STEPS["tuned"]) in known


def test_profile_adds_up_to_the_step() -> None:
    operators = [Operator(f"operator {number}", 0.001 * number, number) for number in range(1, SHOWN + 4)]
    *named, rest, between = summed(operators, 1.0)
    assert named == sorted(operators, key=lambda operator: -operator.seconds)[:SHOWN]
    assert (rest.seconds, rest.calls) == (pytest.approx(0.006), 6)
    assert sum(operator.seconds for operator in (*named, rest, between)) == pytest.approx(1.0)
    # rounding must not turn what is left negative
    assert summed(operators, 0.0)[-1].seconds == 0.0


def test_profile_counts_the_operators_of_one_step() -> None:
    left, right = torch.randn(64, 64), torch.randn(64, 64)

    def step() -> None:
        torch.mm(torch.mm(left, right), right)

    profile = profile_step(step, "HN-3", "full", CPU)
    calls = {operator.name: operator.calls for operator in profile.operators}
    assert calls["aten::mm"] == 2
    content = profile.to_json()
    assert (content["model"], content["mode"], content["precision"]) == ("HN-3", "tuned", "full")
    assert sum(operator["share"] for operator in content["operators"]) == pytest.approx(1.0)


@pytest.fixture
def mixed_for_hn_4(monkeypatch: pytest.MonkeyPatch) -> None:
    def choose(model: Model, plan: Sizes, device: torch.device) -> Precision:
        return "mixed" if model == ("hn", 4) else "full"

    monkeypatch.setattr(bench_module, "chosen_precision", choose)


@pytest.mark.slow
@pytest.mark.usefixtures("mixed_for_hn_4")
def test_bench_writes_json(tmp_path: Path) -> None:
    target, text = console()
    path = tmp_path / "new" / "bench.json"
    content = bench(
        target,
        models=("hn-4", "naive"),
        repeats=2,
        threads=torch.get_num_threads(),
        quick=True,
        profile="hn-4",
        json_file=path,
        sizes=TINY,
        line="x",
    )
    assert json.loads(path.read_text()) == json.loads(json.dumps(content))
    seconds = content["seconds_per_step"]
    assert {mode: set(own) for mode, own in seconds.items()} == {
        name: {label for label, model in (("HN-4", ("hn", 4)), ("Naive", ("naive", None))) if mode.suits(model)}
        for name, mode in MODES.items()
    }
    assert all(value > 0 for own in seconds.values() for value in own.values())
    assert content["precision"] == {"HN-4": "mixed", "Naive": "full"}
    assert seconds["tuned"]["Naive"] == seconds["tuned_full"]["Naive"]
    assert content["ratio_to_released"]["HN-4"] == seconds["released"]["HN-4"] / seconds["tuned"]["HN-4"]
    assert content["ratio_to_floor"]["Naive"] == seconds["tuned"]["Naive"] / seconds["floor"]["Naive"]
    same = content["ratio_to_floor_weight_space_same_precision"]
    assert same == {"HN-4": seconds["weight_space"]["HN-4"] / seconds["floor_mixed"]["HN-4"]}
    assert (content["profile"]["model"], content["profile"]["precision"]) == ("HN-4", "mixed")
    assert set(content["step_by_tasks"]) == {"2", "4"}
    assert content["naive_epoch"]["ratio"] > 0
    assert content["naive_epoch"]["trainer"]["n"] == content["naive_epoch"]["bare"]["n"] == 1
    assert set(content["evaluation"]) == {"HN-4", "Naive"}
    peak = content["peak_memory"]["floor"]["Naive"]
    assert peak["peak_bytes"] > peak["baseline_bytes"] > 10 << 20
    assert content["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert content["hardware"]["threads"] == torch.get_num_threads()
    assert (content["command"], content["settings"]["quick"]) == ("x", True)
    assert "few repeats" in text.getvalue()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"models": ("hn-3", "hn3")},
            "unknown model 'hn3': required one of hn-0, hn-1, hn-2, hn-3, hn-4, hn-f, lr-0, lr-1, lr-2, lr-3, lr-4, "
            "naive; found 'hn3'. Did you mean 'hn-3'?",
        ),
        (
            {"profile": "hn-5"},
            "unknown model 'hn-5': required one of hn-0, hn-1, hn-2, hn-3, hn-4, hn-f, lr-0, lr-1, "
            "lr-2, lr-3, lr-4, naive; found 'hn-5'. Did you mean 'hn-f'?",
        ),
        ({"models": ()}, "models of a benchmark: required at least one; found none. Name hn-3, say."),
        ({"repeats": 0}, "repeats: required 1 or more; found 0. Leave --repeats out, or give 3."),
    ],
)
def test_messages(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        bench(console()[0], **options)
    assert str(error.value) == message


def test_infinite_numbers_are_refused() -> None:
    with pytest.raises(TrainingError) as error:
        time_subjects("HN-3", {"tuned": Subject(lambda: torch.tensor(torch.nan))}, TINY)
    assert str(error.value) == (
        "benchmark of HN-3, tuned: required finite numbers after the timed steps; found infinity or NaN. "
        "They make timings meaningless; take fewer --repeats."
    )
