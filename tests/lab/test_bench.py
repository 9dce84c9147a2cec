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
from hypertail.lab.bench import QUICK, bench, time_subjects
from hypertail.lab.bench_memory import PeakMemory
from hypertail.lab.bench_report import Measured, Target, facts, print_measured, targets
from hypertail.lab.bench_subjects import WITH_TRUNK, Subject, build_at, build_subject, random_stream
from hypertail.lab.bench_timing import Timing, interleaved
from hypertail.strategies import LatentReplay, PartialHypernet
from hypertail.strategies.strategy import Strategy

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
        # the mean of released is 20 times its median: an outlier must not make it look slow
        "released": {"HN-3": Timing.of([4.0, 4.0, 4.0, 4.0, 384.0])},
        "printed": {"HN-3": Timing.of([0.2])},
        "tuned": {"HN-3": Timing.of([0.1, 0.16, 0.16, 0.16, 9.0])},
        WITH_TRUNK: {"HN-3": Timing.of([5.0])},
        "trunk_forward": {"HN-3": Timing.of([0.84])},
    }
    defaults: dict[str, Any] = {
        "seconds": seconds,
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

    def during(self, step: Callable[[], object]) -> dict[tuple[type, tuple[int, ...]], int]:
        handle: AbstractContextManager[Any] = nn.modules.module.register_module_forward_hook(self)
        with handle:
            step()
        return self.seen


@pytest.mark.parametrize("mode", ["released", WITH_TRUNK])
def test_released_generates_a_weight_set_per_image_and_every_past_target_anew(mode: str) -> None:
    tasks, batch = 4, 6
    subject = build_subject(mode, ("hn", 3), tasks=tasks, batch=batch, device=CPU)
    convolutions = sum(isinstance(head, ChannelHead) for head in hypernet(subject).hyper.separable_heads().values())
    past = 2 * (tasks - 1)  # by the snapshot and by the hypernetwork
    assert convolutions == 5
    for _ in range(2):
        assert Calls().during(subject.step) == {
            (ChannelHead, (batch,)): convolutions,
            (ChannelHead, ()): convolutions * past,
            (LinearHead, (batch,)): 1,
            (LinearHead, ()): past,
        }


def test_weights_are_generated_once_a_batch() -> None:
    subject = build_subject("printed", ("hn", 4), tasks=4, batch=6, device=CPU)
    assert Calls().during(subject.step) == {(LinearHead, ()): 1}


def test_tuned_also_generates_the_one_past_task_of_its_output_term() -> None:
    subject = build_subject("tuned", ("hn", 4), tasks=4, batch=6, device=CPU)
    assert Calls().during(subject.step) == {(LinearHead, ()): 3}  # this batch; that task, before and now


def test_released_with_trunk_starts_from_images_and_the_others_from_features() -> None:
    for mode, cached in (("tuned", True), ("printed", True), ("released", True), (WITH_TRUNK, False)):
        strategy = build_subject(mode, ("hn", 4), tasks=2, batch=4, device=CPU).strategy
        assert isinstance(strategy, Strategy)
        assert (strategy.frozen_trunk is not None) is cached


def test_strategies_are_at_their_last_experience() -> None:
    strategy = hypernet(build_subject("tuned", ("hn", 4), tasks=5, batch=4, device=CPU))
    assert list(strategy.net.classes) == [0, 1, 2, 3, 4]
    assert isinstance(strategy.penalty, Penalty)
    assert strategy.penalty.tasks.tolist() == [0, 1, 2, 3]


def test_the_buffer_of_latent_replay_has_filled() -> None:
    strategy = build_subject("tuned", ("lr", 4), tasks=20, batch=16, device=CPU).strategy
    assert isinstance(strategy, LatentReplay)
    # two exemplars of every class of 19 tasks, and some of the odd ones
    assert 2 * 5 * 19 <= len(strategy.buffer) <= strategy.buffer.capacity == 200


def test_many_tasks_at_once_do_the_work_of_tasks_one_by_one() -> None:
    one_by_one = hypernet(build_subject("tuned", ("hn", 3), tasks=3, batch=4, device=CPU))
    at_once = hypernet(build_at(3, 3, batch=4, device=CPU))
    shapes = []
    for strategy in (one_by_one, at_once):
        penalty = strategy.penalty
        assert isinstance(penalty, Penalty)
        inputs, outputs = ({n: f.shape for n, f in own.items()} for own in (penalty.inputs, penalty.outputs))
        leaves = {name: leaf.shape for name, leaf in strategy.optimisation.leaves.items()}
        shapes.append((penalty.tasks.tolist(), inputs, outputs, leaves, set(strategy.net.statistics)))
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
    assert content["ratio_to_released"] == {"HN-3": pytest.approx(25.0)}
    assert content["ratio_to_released_with_trunk"] == {"HN-3": pytest.approx(31.25)}
    assert content["ratio_to_released_uncached"] == {"HN-3": pytest.approx(5.0)}
    assert content["ratio_to_floor"] == {"HN-3": pytest.approx(1.6)}
    assert content["seconds_per_step"]["tuned"] == {"HN-3": 0.16}
    assert content["evaluation"]["HN-3"]["epoch_of_steps"] == pytest.approx(40 * 0.16)


def test_targets_are_computed() -> None:
    met = {target.name: target.met for target in targets(measured())}
    assert met["HN-3: released / tuned, on features"] is True
    assert met["HN-3: tuned / bare loop of its tail"] is False
    assert met["HN-3: step at 1,000 tasks / at 20"] is False
    assert met["Naive: epoch of the trainer / of a bare loop"] is True
    assert met["HN-F: released / tuned, on features"] is None
    assert {target.name: target.met for target in targets(measured(by_tasks={20: Timing.of([1.0])}))}[
        "HN-3: step at 1,000 tasks / at 20"
    ] is None


def test_a_target_holds_on_its_bound() -> None:
    assert [Target("x", "at least", 8.0, value).met for value in (7.99, 8.0)] == [False, True]
    assert [Target("x", "at most", 1.2, value).met for value in (1.2, 1.21)] == [True, False]


def test_tables_show_what_was_measured() -> None:
    target, text = console()
    print_measured(measured(), facts(measured(), CPU), target)
    shown = text.getvalue()
    for expected in ("HN-3", "25.00", "1.60", "1,000", "200 B", "not measured", "experience 20 of 20"):
        assert expected in shown


def test_bench_writes_json(tmp_path: Path) -> None:
    target, text = console()
    path = tmp_path / "new" / "bench.json"
    content = bench(
        target,
        models=("hn-4", "naive"),
        repeats=2,
        threads=torch.get_num_threads(),
        quick=True,
        json_file=path,
        sizes=TINY,
        line="x",
    )
    assert json.loads(path.read_text()) == json.loads(json.dumps(content))
    seconds = content["seconds_per_step"]
    modes = ("floor", "tuned", "printed", "released")
    assert all(seconds[mode][model] > 0 for mode in modes for model in ("HN-4", "Naive"))
    assert set(seconds[WITH_TRUNK]) == set(seconds["trunk_forward"]) == {"HN-4"}
    assert content["ratio_to_released"]["HN-4"] == seconds["released"]["HN-4"] / seconds["tuned"]["HN-4"]
    assert content["ratio_to_floor"]["Naive"] == seconds["tuned"]["Naive"] / seconds["floor"]["Naive"]
    assert set(content["step_by_tasks"]) == {"2", "4"}
    assert content["naive_epoch"]["ratio"] > 0
    assert content["naive_epoch"]["trainer"]["n"] == content["naive_epoch"]["bare"]["n"] == 1
    assert set(content["evaluation"]) == {"HN-4", "Naive"}
    peak = content["peak_memory"]["floor"]["Naive"]
    assert peak["peak_bytes"] > peak["baseline_bytes"] > 10 << 20
    assert content["versions"]["torch"] == torch.__version__
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
