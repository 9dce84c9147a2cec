from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from hypertail.errors import ConfigError
from hypertail.strategies import LatentReplay, Optimisation, Task, Trunk
from hypertail.strategies.parts.multihead import MultiHead
from support.tiny import backbone, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2))


def latent_replay(**options: object) -> LatentReplay:
    strategy = build("lr", **({"classes": 3} | options))  # type: ignore[arg-type]
    assert isinstance(strategy, LatentReplay)
    return strategy


@pytest.mark.parametrize("statistics", ["fixed", "batch"])
def test_the_buffer_holds_features_of_the_frozen_trunk(statistics: str) -> None:
    strategy = latent_replay(statistics=statistics)
    train(strategy, STREAM)
    assert len(strategy.buffer) == 12
    assert strategy.buffer.inputs.shape[1:] == (6, 2, 2)
    if strategy.frozen_trunk is not None:
        images = STREAM[0].test_transform(STREAM[0].train.images, torch.Generator())
        features = strategy.frozen_trunk(images)
        for exemplar in strategy.buffer.inputs[strategy.buffer.tasks == 0]:
            assert float((features - exemplar).abs().amax((1, 2, 3)).min()) < 1e-5


def test_depth_zero_replays_images() -> None:
    strategy = latent_replay(depth=0)
    train(strategy, STREAM, epochs=1)
    assert strategy.buffer.inputs.shape[1:] == (3, 8, 8)


def test_depth_four_replays_into_the_classifier_alone() -> None:
    strategy = latent_replay(depth=4)
    train(strategy, STREAM, epochs=1)
    assert strategy.buffer.inputs.shape[1:] == (6, 2, 2)
    assert [p.shape for p in strategy.tail.body.parameters()] == []


def test_a_step_descends_the_current_plus_c_times_the_replayed_loss() -> None:
    strategy = latent_replay(coefficient=0.7, net="mlp", depth=3, replay_batch=100)
    train(strategy, STREAM.first(1), epochs=1)
    assert strategy.frozen_trunk is not None
    images = STREAM[1].test_transform(STREAM[1].train.images, torch.Generator())
    features, labels = strategy.frozen_trunk(images), STREAM[1].train.labels
    lesson = strategy.begin(Task(1, 3, 5, lambda: (features, labels)))
    twin, leaves = copy.deepcopy(strategy.tail), lesson.descent.leaves
    adam = torch.optim.Adam(twin.parameters(), lr=strategy.optimisation.lr)
    buffer = strategy.buffer
    current = F.cross_entropy(twin(features, 1), labels)
    replayed = F.cross_entropy(twin(buffer.inputs, 0), buffer.labels)
    (current + 0.7 * replayed).backward()
    adam.step()
    returned = lesson.step(features, labels)
    torch.testing.assert_close(returned, current.detach())
    for name, parameter in twin.named_parameters():
        torch.testing.assert_close(leaves[name], parameter, rtol=1e-4, atol=1e-5)


def test_heads_are_as_wide_as_their_task() -> None:
    strategy = latent_replay()
    train(strategy, STREAM, epochs=1)
    assert [head.out_features for head in strategy.tail.heads.values()] == [2, 3, 2]


def test_mixed_batches_equal_each_task_on_its_own() -> None:
    model = MultiHead(backbone("mlp"), 0).eval()
    for classes in (2, 3, 2):
        model.add_task(classes)
    images = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    tasks = torch.tensor([0, 1, 2] * 3)
    logits = model.mixed(images, tasks)
    assert logits.shape == (9, 3)
    for task, classes in enumerate((2, 3, 2)):
        chosen = tasks == task
        torch.testing.assert_close(logits[chosen, :classes], model(images[chosen], task))
        assert (logits[chosen, classes:] == -torch.inf).all()
    loss = F.cross_entropy(logits, torch.zeros(9, dtype=torch.long))
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_heads_follow_from_the_seed_alone() -> None:
    heads = []
    for noise in (0, 1):
        torch.rand(noise)
        model = MultiHead(backbone("mlp"), 3)
        model.add_task(2)
        model.add_task(2)
        heads.append([head.weight.detach() for head in model.heads.values()])
    assert torch.equal(heads[0][0], heads[1][0])
    assert not torch.equal(heads[0][0], heads[0][1])


@pytest.mark.parametrize(
    ("sizes", "found"),
    [({"capacity": 0}, "buffer 0, replay batch 64"), ({"replay_batch": 0}, "buffer 200, replay batch 0")],
)
def test_no_exemplars(sizes: dict[str, int], found: str) -> None:
    with pytest.raises(ConfigError) as caught:
        LatentReplay(Trunk(nn.Sequential(), learns=False), backbone("mlp"), Optimisation(), **sizes)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"latent replay without exemplars: required a buffer and a replay batch of at least 1; found {found}. "
        "Use the naive strategy to train without replay."
    )


def test_model_without_a_classifier() -> None:
    with pytest.raises(ConfigError) as caught:
        MultiHead(nn.Sequential(nn.Conv2d(3, 2, 1)), 0)
    assert str(caught.value) == (
        "model without a classifier: required a last nn.Linear layer; found Sequential. End the model with nn.Linear."
    )


def test_what_is_replayed_at_a_step_follows_from_its_number_alone() -> None:
    """So that a run could go on in the middle of an experience."""
    strategy = latent_replay()
    train(strategy, STREAM.first(1), epochs=1)
    assert strategy.frozen_trunk is not None
    features = strategy.frozen_trunk(STREAM[1].test_transform(STREAM[1].train.images, torch.Generator()))
    labels, sample = STREAM[1].train.labels, strategy.buffer.sample
    lesson = strategy.begin(Task(1, 3, 5, lambda: (features, labels)))
    seen: list[torch.Tensor] = []

    def record(size: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        result = sample(size, generator)
        seen.append(result[0])
        return result

    strategy.buffer.sample = record  # type: ignore[method-assign]
    for _ in range(3):
        lesson.step(features, labels)
    lesson.descent.taken = 1
    lesson.step(features, labels)
    assert torch.equal(seen[1], seen[3])
    assert not torch.equal(seen[1], seen[2])
