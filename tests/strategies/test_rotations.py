from __future__ import annotations

import pytest
import torch

from hypertail.errors import ConfigError
from hypertail.strategies import Naive, Rotations, Task
from hypertail.strategies.rotations import turned
from support.asserts import assert_same_tensors
from support.tiny import build, tiny_stream, train

STREAM = tiny_stream(2, (2, 3))


def rotations(seed: int = 0) -> Rotations:
    return Rotations(build("naive"), seed=seed)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_each_image_is_turned_by_its_own_number_of_quarter_turns(layout: torch.memory_format) -> None:
    images = torch.randn(9, 3, 5, 5).to(memory_format=layout)
    turns = torch.tensor([0, 1, 2, 3, 3, 2, 1, 0, 1])
    result = turned(images, turns)
    for image, turn, own in zip(images, turns.tolist(), result, strict=True):
        expected = image
        for _ in range(turn):
            # the rightmost column becomes the top row
            expected = torch.stack([expected[:, :, column] for column in reversed(range(5))], dim=1)
        assert torch.equal(own, expected)
    assert result.is_contiguous(memory_format=layout)


@pytest.mark.usefixtures("unchecked_shapes")
def test_images_that_are_not_square_are_refused() -> None:
    with pytest.raises(ConfigError) as caught:
        turned(torch.zeros(2, 3, 4, 6), torch.tensor([0, 1]))
    assert str(caught.value) == str(
        ConfigError(
            "rotations as labels",
            required="square images",
            found="images of 4 x 6 pixels",
            hint="Give --image-size, or train the trunk on classes alone (--no-trunk-rotations).",
        )
    )


def test_the_learner_has_a_label_for_each_class_and_orientation() -> None:
    strategy = rotations()
    assert isinstance(strategy.learner, Naive)
    train(strategy, STREAM, epochs=1)
    assert [head.out_features for head in strategy.learner.model.heads.values()] == [8, 12]
    images = STREAM[1].test.images.float() / 255
    logits = strategy.predict(images, 1)
    assert torch.equal(logits, strategy.learner.predict(images, 1)[:, [0, 4, 8]])


def test_labels_follow_class_and_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    strategy = rotations()
    seen: list[torch.Tensor] = []

    def spy(inputs: torch.Tensor, labels: torch.Tensor, task: int | None) -> torch.Tensor:
        seen.extend((inputs, labels))
        return torch.zeros(())

    lesson = strategy.begin(Task(0, 2, 1, lambda: (torch.empty(0), torch.empty(0))))
    monkeypatch.setattr(lesson.lesson, "step", spy)
    images, labels = torch.randn(40, 3, 8, 8), torch.arange(40) % 2
    lesson.step(images, labels)
    assert torch.equal(seen[1] // 4, labels)
    assert torch.equal(seen[0], turned(images, seen[1] % 4))
    assert set((seen[1] % 4).tolist()) == {0, 1, 2, 3}


def test_it_learns_the_classes() -> None:
    accuracy = train(rotations(), STREAM.first(1), epochs=30).accuracy
    assert float(accuracy[0, 0]) > 0.8


def test_the_same_seed_turns_alike_and_another_does_not() -> None:
    one, same, other = rotations(), rotations(), rotations(seed=1)
    for strategy in (one, same, other):
        train(strategy, STREAM.first(1), epochs=1)
    assert_same_tensors(one.state(), same.state())
    assert any(not torch.equal(tensor, other.state()[name]) for name, tensor in one.state().items())


def test_state_goes_to_another_one() -> None:
    one, other = rotations(), rotations()
    train(one, STREAM, epochs=1)
    other.load_state(one.state())
    assert_same_tensors(one.state(), other.state())
    assert other.memory() == one.memory()
