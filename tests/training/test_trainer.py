from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hypertail.errors import ConfigError, TrainingError
from hypertail.seeds import seeded
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.strategies import Lesson, Naive, Optimisation, Strategy, Task
from hypertail.streams import Stream
from hypertail.training.trainer import Trainer
from support.asserts import assert_same_run
from support.tiny import CONTINUAL, Name, build, plain, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2), validation=True)


class Recording(Strategy):
    """Learns nothing; remembers how it was called. Predicts class 0, and returns `losses` one after another."""

    steps: Tensor

    def __init__(self, bad: dict[tuple[int, int], float] | None = None) -> None:
        super().__init__()
        self.calls: list[tuple[str, int]] = []
        self.begun: list[Task] = []
        self.batches: list[tuple[int, Tensor, Tensor]] = []
        self.bad = bad or {}
        self.register_buffer("steps", torch.tensor(0))

    def begin(self, task: Task) -> RecordingLesson:
        self.calls.append(("begin", task.id))
        self.begun.append(task)
        return RecordingLesson(self, task)

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        self.calls.append(("predict", task))
        return torch.tensor([1.0, 0.0]).expand(len(inputs), 2)

    def memory(self) -> dict[str, int]:
        return {"nothing": 7}


class RecordingLesson(Lesson):
    def __init__(self, strategy: Recording, task: Task) -> None:
        self.strategy, self.task = strategy, task

    def step(self, inputs: Tensor, labels: Tensor, task: int | None = None) -> Tensor:
        assert task == self.task.id
        self.strategy.calls.append(("step", task))
        self.strategy.steps += 1
        number = self.strategy.calls.count(("step", task))
        self.strategy.batches.append((task, inputs.clone(), labels.clone()))
        return torch.tensor(self.strategy.bad.get((task, number), 1.0))

    def end(self) -> None:
        self.strategy.calls.append(("end", self.task.id))


def test_experiences_are_learned_in_order_and_all_seen_ones_are_measured() -> None:
    strategy = Recording()
    result = train(strategy, STREAM, epochs=1, batch_size=64)
    expected = []
    for task in range(3):
        expected += [("begin", task), ("step", task), ("end", task)]
        expected += [("predict", seen) for seen in range(task + 1)]
    assert strategy.calls == expected
    assert result.accuracy.isnan().tolist() == [
        [False, True, True],
        [False, False, True],
        [False, False, False],
    ]
    torch.testing.assert_close(result.accuracy[2], torch.tensor([1 / 2, 1 / 3, 1 / 2], dtype=torch.float64))


def test_each_epoch_shows_every_image_once_in_a_new_order() -> None:
    strategy = Recording()
    train(strategy, STREAM, epochs=2, batch_size=8)
    labels = [label for task, _, label in strategy.batches if task == 0]
    first, second = torch.cat(labels[:3]), torch.cat(labels[3:])
    assert first.sort().values.tolist() == [0] * 10 + [1] * 10 == second.sort().values.tolist()
    assert first.tolist() != second.tolist()


def test_batches_pair_images_with_their_own_labels() -> None:
    stream, strategy = tiny_stream(1, 3), Recording()
    train(strategy, Stream("tiny", (replace(stream[0], train_transform=plain),), (3, 8, 8)), epochs=1)
    images, labels = strategy.begun[0].plain()
    for _, inputs, own in strategy.batches:
        for image, label in zip(inputs, own, strict=True):
            rows = (images == image).flatten(1).all(1).nonzero().flatten()
            assert labels[rows].tolist() == [int(label)]


@pytest.mark.parametrize(
    ("examples", "sizes"), [(16, [8, 8]), (17, [8, 9]), (18, [8, 8, 2]), (9, [9]), (7, [7]), (8, [8])]
)
def test_no_batch_of_one(examples: int, sizes: list[int]) -> None:
    """Statistics of a single example mean nothing: it joins the batch before."""
    stream, strategy = tiny_stream(1, per_class=10), Recording()
    small = replace(stream[0], train=stream[0].train.subset(torch.arange(examples)))
    train(strategy, Stream("tiny", (small,), (3, 8, 8)), epochs=1, batch_size=8)
    assert [len(labels) for _, _, labels in strategy.batches] == sizes
    assert strategy.begun[0].steps == len(sizes)


@pytest.mark.parametrize("name", [*CONTINUAL, "joint"])
def test_a_run_depends_on_its_seed_alone(name: Name) -> None:
    stream = tiny_stream(2)
    runs = []
    for noise, seed in ((0, 0), (5, 0), (0, 1)):
        torch.rand(noise)
        strategy = build(name)
        runs.append((train(strategy, stream, epochs=1, seed=seed), strategy))
    (a, first), (b, second), (c, _) = runs
    assert_same_run(a, b, first, second)
    if name != "lda":  # which takes no steps and draws nothing
        assert a.losses != c.losses


def test_dropout_follows_the_seed_too() -> None:
    runs = []
    for noise in (0, 3):
        with seeded(0, "model"):
            layers = (nn.Flatten(), nn.Linear(192, 20), nn.Dropout(0.5), nn.Linear(20, 2))
        strategy = Naive(nn.Sequential(*layers), Optimisation())
        torch.rand(noise)
        runs.append((train(strategy, tiny_stream(2), epochs=1), strategy))
    (a, first), (b, second) = runs
    assert_same_run(a, b, first, second)


def test_the_first_experience_may_take_its_own_number_of_epochs() -> None:
    strategy = Recording()
    result = train(strategy, tiny_stream(2), epochs=1, first_epochs=3)
    assert [len(losses) for losses in result.losses] == [3, 1]
    assert [task.steps for task in strategy.begun] == [9, 3]


def test_the_global_random_state_is_left_alone() -> None:
    strategy = build("hn", output_weight=0.5)
    before = torch.get_rng_state()
    train(strategy, tiny_stream(2), epochs=1)
    assert torch.equal(torch.get_rng_state(), before)


def test_accuracies_on_the_validation_split() -> None:
    strategy = build("naive", classes=3)
    result = train(strategy, STREAM, epochs=1, split="validation")
    counts = [2 * 3, 3 * 3, 2 * 3]
    correct = result.accuracy[-1] * torch.tensor(counts)
    torch.testing.assert_close(correct, correct.round())


def test_curves_within_experiences_do_not_change_the_run() -> None:
    quiet, curious = build("hn", classes=3), build("hn", classes=3)
    a = train(quiet, STREAM, epochs=3)
    b = train(curious, STREAM, epochs=3, eval_every=1)
    assert [(curve["task"], curve["epoch"], len(curve["accuracy"])) for curve in b.curves] == [
        (task, epoch, task + 1) for task in range(3) for epoch in (1, 2)
    ]
    b.curves.clear()
    assert_same_run(a, b, quiet, curious)


def test_what_is_measured_of_every_experience() -> None:
    result = train(Recording(), STREAM, epochs=2)
    assert [len(losses) for losses in result.losses] == [2, 2, 2]
    assert result.bytes_per_experience == [7, 7, 7]
    assert len(result.seconds_per_experience) == 3
    assert set(result.seconds) == {"features", "training", "evaluation"}
    assert 0 < sum(result.seconds.values()) <= sum(result.seconds_per_experience) + 1e-6


class Wavering(Recording):
    """Answers class 1 for the images of the first task above a brightness that falls with every task begun."""

    def predict(self, inputs: Tensor, task: int) -> Tensor:
        bright = inputs.flatten(1).mean(1) > (1.0 - len(self.begun) if task == 0 else torch.inf)
        return torch.stack((~bright, bright), 1).float()


def test_changed_answers_are_counted_though_accuracy_may_be_the_same() -> None:
    strategy = Wavering()
    result = train(strategy, STREAM, epochs=1)
    images = STREAM[0].test_transform(STREAM[0].test.images, torch.Generator()).flatten(1).mean(1)
    begun, ended = images > 0.0, images > -2.0
    assert result.changed == [pytest.approx(float((begun != ended).double().mean())), 0.0, 0.0]
    assert result.changed[0] > 0


def test_no_answers_change_where_all_experiences_are_learned_at_once() -> None:
    assert train(build("joint", classes=3), STREAM, epochs=1).changed == []


def test_a_checkpoint_without_first_answers_goes_on_without_them(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    train(Recording(), tiny_stream(2), epochs=1, checkpoint=path)
    tensors, facts = load_checkpoint(path)
    path.unlink()
    del facts["changed"]
    save_checkpoint(path, {name: value for name, value in tensors.items() if not name.startswith("answers.")}, facts)
    result = train(Recording(), tiny_stream(3), epochs=1, checkpoint=path, resume=True)
    assert result.changed == [None, None, 0.0]


def test_progress_counts_optimizer_steps() -> None:
    seen: list[tuple[int, int, str]] = []
    Trainer(tiny_stream(2), Recording(), epochs=2, batch_size=8, progress=lambda *state: seen.append(state)).run()
    assert [(done, total) for done, total, _ in seen] == [(3, 12), (6, 12), (9, 12), (12, 12)]
    assert seen[2][2] == "experience 2/2, epoch 1/2, loss 1.000"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_names_task_epoch_and_step(value: float) -> None:
    with pytest.raises(TrainingError) as caught:
        train(Recording({(1, 6): value}), STREAM, epochs=2)  # 4 steps an epoch: the second of epoch 2
    assert str(caught.value) == (
        f"loss of task 1 in epoch 2, step 2: required a finite loss; found {value}. "
        "Lower the learning rate or the penalty weight, or check the data."
    )


def test_the_checkpoint_before_a_loss_that_is_not_finite_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with pytest.raises(TrainingError) as caught:
        train(Recording({(1, 1): float("nan")}), STREAM, epochs=2, checkpoint=path)
    assert str(caught.value) == (
        "loss of task 1 in epoch 1, step 1: required a finite loss; found nan. "
        f"The state before this experience is kept in {path}. "
        "Lower the learning rate or the penalty weight, or check the data."
    )
    tensors, facts = load_checkpoint(path)
    assert facts["learned"] == 1
    assert int(tensors["strategy.steps"]) == 6
    strategy = Recording()
    result = train(strategy, STREAM, epochs=2, checkpoint=path, resume=True)
    assert int(strategy.steps) == 6 + len(strategy.batches)
    assert strategy.calls[0] == ("begin", 1)
    assert not result.accuracy[-1].isnan().any()


@pytest.mark.parametrize("name", ["naive", "hn"])
def test_divergence_is_caught(name: Name) -> None:
    with pytest.raises(TrainingError, match=r"loss of task 0 in epoch \d+, step \d+: required a finite loss"):
        train(build(name, net="mlp", lr=1e38), tiny_stream(1), epochs=4)


def test_without_a_checkpoint_resuming_starts_anew(tmp_path: Path) -> None:
    strategy = Recording()
    train(strategy, STREAM, epochs=1, checkpoint=tmp_path / "none yet", resume=True)
    assert strategy.calls[0] == ("begin", 0)


@pytest.mark.parametrize("sizes", [{"epochs": 0}, {"batch_size": 1}, {"first_epochs": 0}])
def test_no_training_at_all(sizes: dict[str, Any]) -> None:
    options = {"epochs": 1, "first_epochs": None, "batch_size": 64} | sizes
    with pytest.raises(ConfigError) as caught:
        Trainer(STREAM, Recording(), **options)
    assert str(caught.value) == (
        "length of training: required at least 1 epoch and batches of at least 2; "
        f"found epochs={options['epochs']}, first_epochs={options['first_epochs']}, "
        f"batch_size={options['batch_size']}. Give larger numbers."
    )


def test_no_validation_data() -> None:
    with pytest.raises(ConfigError) as caught:
        Trainer(tiny_stream(1), Recording(), epochs=1, split="validation")
    assert str(caught.value) == (
        "no validation data to measure on: required a stream with a validation split; "
        "found stream tiny without one. Hold some training data out, for example with --validation 0.1."
    )
