"""Runs with pretrained weights: what they begin with, what they record, and which files are refused."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from hypertail.cli import main as cli
from hypertail.errors import ConfigError, DataError
from hypertail.lab.experiments.backbones import digest_of_weights, pretrained_trunk
from hypertail.lab.experiments.begun import read_begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import strategy_of
from hypertail.nets.models import main_model
from hypertail.nets.standardise import Restore, Standardise
from hypertail.strategies import Task
from hypertail.streams import Compose, Normalise, Stream, build_stream
from support.runs import run_in
from support.tiny import tiny_stream

CPU = torch.device("cpu")


@lru_cache
def coloured() -> Stream:
    return tiny_stream(2, per_class=6, size=16)


def weights_of(path: Path, model: str = "slim-resnet18", seed: int = 5) -> Path:
    torch.manual_seed(seed)
    built = main_model(model).build(7, channels=3, norm="batch")
    for name, buffer in built.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand(buffer.shape) + 0.5)
    save_file({name: value.contiguous() for name, value in built.state_dict().items()}, path)
    return path


def config_of(path: Path, strategy: str = "adapter", **fields: object) -> RunConfig:
    base = RunConfig("tiny", strategy, 3, epochs=1, batch_size=8)
    return replace(base, weights=digest_of_weights(path), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("strategy", ["adapter", "separate", "hn", "head", "lda", "lwf", "replay"])
def test_the_trunk_is_that_of_the_file_and_nothing_is_trained_on_e_1(strategy: str, tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors")
    config = config_of(path, strategy)
    result = run_in(tmp_path, config, stream=coloured, weights=path)
    assert not (tmp_path / "trunks").exists()
    assert result.config["weights"] == digest_of_weights(path)
    assert result.extra["trunk"] == digest_of_weights(path)
    assert "pretrained" in config.run_name
    assert read_begun(tmp_path / config.run_name).place.weights == path.absolute()  # type: ignore[union-attr]
    again = run_in(tmp_path, config, stream=coloured, weights=path, existing="reuse")
    assert again.accuracy == result.accuracy


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("strategy", ["separate", "hn"])
def test_trunk_and_tail_are_the_model_of_the_file(strategy: str, standardise: bool, tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors")
    config = config_of(path, strategy).with_options(standardise=standardise)
    given = pretrained_trunk(config, coloured(), path, CPU)
    strategy_ = strategy_of(config, coloured(), given.module, CPU, given.tail)
    torch.manual_seed(5)
    whole = nn.Sequential(*list(main_model("slim-resnet18").build(7, channels=3, norm="batch"))[:-1]).eval()
    found = {name: value for name, value in _named(path).items() if not name.startswith("classifier.")}
    whole.load_state_dict(dict(zip(whole.state_dict(), found.values(), strict=True)))
    images = torch.randn(4, 3, 16, 16)
    strategy_.begin(Task(0, 2, 5, lambda: (images, torch.zeros(4))))
    assert strategy_.frozen_trunk is not None
    with torch.no_grad():
        features = strategy_.frozen_trunk(images)
        tail: Any = strategy_.tail(0) if strategy == "separate" else strategy_.net.materialize(0)[1]  # type: ignore[attr-defined]
        torch.testing.assert_close(tail.block4(features), whole(images), rtol=1e-4, atol=1e-4)


def _named(path: Path) -> dict[str, torch.Tensor]:
    stored = load_file(path)
    order = main_model("slim-resnet18").build(7, channels=3, norm="batch").state_dict()
    return {name: stored[name] for name in order}


def test_images_are_brought_to_what_the_weights_expect(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors", "cifar-resnet20")
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    first, second = coloured()
    normalised = Compose((Normalise(mean, std),))
    stream = Stream("tiny", (replace(first, test_transform=normalised), second), first.image_shape)
    config = config_of(path, "adapter", model="cifar-resnet20", depth=2)
    trunk = pretrained_trunk(config.with_options(standardise=False), stream, path, CPU).module
    restore, brought, _ = trunk
    assert isinstance(restore, Restore)
    assert isinstance(brought, Standardise)
    plain = torch.rand(2, 3, 16, 16)
    shaped = [torch.tensor(values).view(3, 1, 1) for values in (mean, std, *main_model(config.model).expects)]  # type: ignore[misc]
    seen = brought(restore((plain - shaped[0]) / shaped[1]))
    torch.testing.assert_close(seen, (plain - shaped[2]) / shaped[3])


def test_options_of_a_trunk_that_is_not_trained_do_not_count(tmp_path: Path) -> None:
    config = config_of(weights_of(tmp_path / "weights.safetensors"))
    other = config.with_options(trunk_epochs=7, trunk_rotations=False)
    assert config.identity() == other.identity()
    assert config.identity() != replace(config, weights=None).identity()
    assert RunConfig.from_json(config.to_json()) == config


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_the_name_of_the_file_may_be_in_any_encoding(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors").rename(tmp_path / os.fsdecode(b"w\xe9ights.safetensors"))
    assert pretrained_trunk(config_of(path), coloured(), path, CPU).digest == digest_of_weights(path)


def test_other_files_and_other_strategies_are_refused(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors")
    other = weights_of(tmp_path / "other.safetensors", seed=6)
    config = config_of(path)
    with pytest.raises(ConfigError, match=r"weights .*required the file that the run began with"):
        pretrained_trunk(config, coloured(), other, CPU)
    with pytest.raises(ConfigError, match=r"pretrained weights of the run: required the file .* found none"):
        pretrained_trunk(config, coloured(), None, CPU)
    with pytest.raises(DataError, match=r"those of cifar-resnet20, with 'stem.conv1.weight'.*found none"):
        pretrained_trunk(replace(config, model="cifar-resnet20", depth=2), coloured(), path, CPU)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match="a readable safetensors file"):
        pretrained_trunk(replace(config, weights=digest_of_weights(broken)), coloured(), broken, CPU)
    with pytest.raises(DataError, match=r"required a file that can be read; found No such file.* Check the path"):
        digest_of_weights(tmp_path / "missing.safetensors")
    for strategy, depth in (("naive", None), ("joint", None), ("hn", 0)):
        with pytest.raises(ConfigError, match="a strategy with a frozen trunk"):
            RunConfig("tiny", strategy, depth, weights="00")


def test_images_of_other_channels_are_refused(tmp_path: Path) -> None:
    path = weights_of(tmp_path / "weights.safetensors", "cifar-resnet20")
    config = config_of(path, "adapter", model="cifar-resnet20", depth=2)
    grey = build_stream("digits", experiences=2)
    with pytest.raises(ConfigError, match=r"images of digits: required 3 channels, .* found 1\. Use a stream of such"):
        pretrained_trunk(config, grey, path, CPU)


def test_as_a_user_runs_it_and_resumes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(main_model("slim-resnet18").build(2, channels=1, norm="batch").state_dict(), path)
    out = tmp_path / "runs"
    short = ("--experiences", "2", "--epochs", "1", "--images-per-class", "6", "--image-size", "8")
    cli(["run", "digits", "--strategy", "adapter-3", "--weights", str(path), *short, "--out", str(out)])
    (directory,) = (place for place in out.iterdir() if (place / "run.json").is_file())
    (directory / "run.json").unlink()
    cli(["resume", str(directory)])
    assert (directory / "run.json").is_file()
    path.write_bytes(path.read_bytes() + b" ")
    (directory / "run.json").unlink()
    with pytest.raises(SystemExit):
        cli(["resume", str(directory)])
    assert "required the file that the run began with" in " ".join(capsys.readouterr().err.split())
    with pytest.raises(SystemExit):
        cli(["run", "digits", "--strategy", "naive", "--weights", str(path), *short, "--out", str(out)])
    assert "a strategy with a frozen trunk" in " ".join(capsys.readouterr().err.split())
