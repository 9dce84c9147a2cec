"""Main models by name: where they may be cut, and that a run of another one is another run."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from hypertail.errors import ConfigError
from hypertail.lab.experiments.config import RunConfig
from hypertail.nets import models, slim_resnet18
from hypertail.nets.models import USUAL, MainModel, cut_of, main_model, model_names, register_model
from support.runs import run_in
from support.tiny import tiny_stream


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a registered model, forgotten afterwards."""
    monkeypatch.setattr(models, "_MODELS", dict(models._MODELS))
    yield register_model(MainModel("small", "eight channels", partial(slim_resnet18, width=8))).name
    models.cut_of.cache_clear()
    models._deepest.cache_clear()


def test_the_usual_one_is_the_paper_s() -> None:
    assert next(iter(model_names())) == USUAL == RunConfig("digits", "naive").model
    assert main_model(USUAL).deepest == main_model("resnet18").deepest == 4


@pytest.mark.parametrize("depth", range(5))
def test_a_cut_says_what_is_on_either_side(depth: int) -> None:
    cut = cut_of(USUAL, depth)
    assert (cut.has_trunk, cut.is_classifier, cut.has_convolutions) == (depth > 0, depth == 4, depth < 4)
    assert all(parameter.is_meta for part in (cut.trunk, cut.tail) for parameter in part.parameters())


def test_looking_at_a_cut_moves_no_random_state() -> None:
    cut_of.cache_clear()
    before = torch.get_rng_state()
    cut_of(USUAL, 2)
    assert torch.equal(before, torch.get_rng_state())


def test_names_that_are_not_known_or_taken(small: str) -> None:
    with pytest.raises(ConfigError) as error:
        RunConfig("digits", "naive", model="resnet81")
    assert (error.value.problem, error.value.hint) == ("unknown main model 'resnet81'", "Did you mean 'resnet18'?")
    with pytest.raises(ConfigError) as error:
        register_model(MainModel(small, "another", partial(slim_resnet18, width=9)))
    assert error.value.problem == "main model 'small'"


@pytest.mark.parametrize("strategy", ["hn", "separate", "naive"])
def test_a_run_of_another_model_is_another_run(small: str, strategy: str, tmp_path: Path) -> None:
    usual, other = (
        RunConfig("tiny", strategy, 3, model, epochs=1, batch_size=8, options={"trunk_epochs": 1})
        for model in (USUAL, small)
    )
    assert usual.identity() != other.identity()
    assert "model" not in usual.identity()  # as runs from before there was a choice
    assert other.run_name == usual.run_name.replace("tiny-", "tiny-small-")
    assert RunConfig.from_json(other.to_json()) == other
    stream = tiny_stream(1, per_class=6, size=16)
    kept = [
        run_in(tmp_path, config, stream=lambda: stream, cache_bytes=1 << 24).bytes_kept for config in (usual, other)
    ]
    assert kept[1] < kept[0] / 3
    if strategy != "naive":  # no trunk of another model is taken for its own
        assert len(list((tmp_path / "trunks").iterdir())) == 2
