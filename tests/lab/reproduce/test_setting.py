"""Settings: what each scale runs, and which rows and streams are chosen."""

from __future__ import annotations

from typing import Any

import pytest

from hypertail.errors import HypertailError
from hypertail.lab.experiments.config import expand_strategies
from hypertail.lab.reproduce.setting import SCALES, Setting
from hypertail.lab.reproduce.target import Output
from hypertail.lab.reproduce.targets import TARGETS
from hypertail.recipes.catalogue import usual_options
from hypertail.recipes.presets import PRESETS
from support.made_runs import all_finished

KNOWN = ("naive", "lr-2", "hn-2", "hn-3", "hn-f")


def test_the_scale_for_two_cores() -> None:
    config, *others = Setting().config("split-cifar100", "hn-3")
    assert [other.seed for other in others] == [1, 2]
    assert (config.stream, config.label, config.seed, config.preset) == ("split-cifar100", "HN-3", 0, "tuned")
    assert (config.epochs, config.options.get("views"), config.batch_size, config.experiences) == (10, 5, 64, None)
    assert config.options == usual_options("hn")
    assert config.options.get("trunk_epochs") == 60


@pytest.mark.parametrize(
    ("preset", "strategy", "scale", "passes"),
    [
        ("tuned", "naive", "cpu", 30),
        ("cosine-trunk", "hn-3", "cpu", 30),
        ("printed", "hn-3", "cpu", 30),
        ("cosine-trunk", "hn-3", "smoke", 1),
        ("tuned", "hn-3", "full", None),
    ],
)
def test_a_trunk_learns_as_long_as_the_scale_and_the_preset_allow(
    preset: str, strategy: str, scale: str, passes: int | None
) -> None:
    config, *_ = Setting(preset=preset, scale=scale).config("split-cifar100", strategy)
    assert config.options.get("trunk_epochs") == passes


def test_the_scale_of_the_paper() -> None:
    configs = Setting(scale="full", preset="printed").config("split-cifar100", "hn-3")
    assert [config.seed for config in configs] == [0, 1, 2]
    assert {(config.epochs, config.options.get("views"), config.options.get("trunk_epochs")) for config in configs} == {
        (100, None, None)
    }
    assert configs[0].options == usual_options("hn", "printed").replace(views=None)


@pytest.mark.parametrize("stream", ["split-cifar100", "noisy-cifar100", "pair:svhn,cifar10", "split-tinyimagenet"])
def test_the_smallest_scale_needs_no_download(stream: str) -> None:
    setting = Setting(scale="smoke")
    (config,) = setting.config(stream, "hn-3")
    assert (config.stream, config.epochs, config.experiences, config.image_size) == ("digits", 1, 2, None)


def test_tiny_images_are_those_of_the_authors_scripts() -> None:
    assert Setting().config("split-tinyimagenet", "naive")[0].image_size == 32
    assert Setting().config("split-tinyimagenet", "naive", image_size=64)[0].image_size == 64
    assert Setting().config("split-cifar100", "naive")[0].image_size is None


def test_what_is_asked_for_goes_before_the_scale() -> None:
    setting = Setting(epochs=3, seeds=(5, 7))
    configs = setting.config("split-cifar100", "lr-2", eval_every=1, values={"buffer": 9})
    assert [(config.seed, config.epochs, config.eval_every) for config in configs] == [(5, 3, 1), (7, 3, 1)]
    assert {(config.options.get("buffer"), config.options.get("trunk_epochs")) for config in configs} == {(9, 60)}


def test_a_seed_asked_for_twice_is_one_run() -> None:
    assert [config.seed for config in Setting(seeds=(1, 0, 1)).config("split-cifar100", "naive")] == [1, 0]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_fits_every_scale(preset: str, scale: str) -> None:
    setting = Setting(preset=preset, scale=scale)
    for strategy in (*KNOWN, "separate-3", "joint", "ewc"):
        assert len(setting.config("split-cifar100", strategy)) == len(SCALES[scale].seeds)


@pytest.mark.parametrize(
    ("asked", "rows"),
    [
        ((), ["naive", "hn-3"]),
        (("hn-3",), ["hn-3"]),
        (("hn-f", "lr-2"), ["lr-2", "hn-f"]),
        (("hn",), ["hn-2", "hn-3", "hn-f"]),
        (("hn-0",), ["hn-f"]),
        (("finetune",), ["naive"]),
        (("separate-2",), []),
    ],
)
def test_rows(asked: tuple[str, ...], rows: list[str]) -> None:
    assert Setting(strategies=asked).chosen(("hn-3", "naive"), KNOWN) == rows


def test_streams() -> None:
    assert Setting().among(("a", "b")) == ["a", "b"]
    assert Setting(streams=("split-cifar10",)).among(("a", "split-cifar10")) == ["split-cifar10"]
    assert Setting(streams=("split-cifar10",)).among(("a",)) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scale": "ful"},
            r"unknown scale 'ful': required one of cpu, full, smoke; found 'ful'. Did you mean 'full'\?",
        ),
        ({"preset": "tunde"}, r"unknown preset 'tunde': .* Did you mean 'tuned'\?"),
        ({"strategies": ("nave",)}, r"unknown strategy 'nave': .* Did you mean 'naive'\?"),
        ({"streams": ("split-cifar10O",)}, r"unknown stream 'split-cifar10O': .* Did you mean 'split-cifar100?'\?"),
        ({"seeds": ()}, "option --seeds: required at least one value; found none."),
    ],
)
def test_settings_that_mean_nothing(options: dict[str, Any], message: str) -> None:
    with pytest.raises(HypertailError, match=message):
        Setting(**options)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize(
    "setting",
    [
        *[Setting(streams=(stream,)) for stream in ("split-cifar100", "split-tinyimagenet", "noisy-cifar100")],
        *[Setting(streams=(stream,)) for stream in ("noisy-cifar100-clean", "pair:cifar10,cifar100")],
        *[Setting(strategies=(strategy,)) for strategy in ("ewc", "hn-2", "hn-4", "lr-3", "head")],
    ],
    ids=lambda setting: "".join((*setting.streams, *setting.strategies)),
)
def test_no_target_plans_what_was_not_asked_for(name: str, setting: Setting) -> None:
    target = TARGETS[name]
    planned = target.plan(setting)
    assert {config.stream for config in planned} <= set(setting.streams) or not setting.streams
    asked = set(expand_strategies(setting.strategies or ("ewc",), ("4",)))
    assert {(config.strategy, config.depth) for config in planned} <= asked or not setting.strategies
    if planned:
        assert target.shows(setting)
        assert target.render(setting, all_finished(planned)) != Output() or name == "figure6"  # which has no checkpoint
