"""Reproduced figures: they show the runs they were given, say what is missing, and cut no text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from hypertail.errors import CheckpointError, DataError
from hypertail.hyper import Hypernetwork
from hypertail.lab.experiments.library import FinishedRun
from hypertail.lab.experiments.run import strategy_of
from hypertail.lab.records.runfile import Curve
from hypertail.lab.reports import drawing, figures
from hypertail.lab.reproduce.captions import caption
from hypertail.lab.reproduce.figures import (
    fewshot,
    figure4,
    figure6,
    figure7,
    figure8,
    figure11,
    figure12,
    memory,
    samples,
)
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.target import Target
from hypertail.lab.reproduce.timeline import accuracy_line, timeline
from hypertail.recipes.presets import PRESETS
from hypertail.storage.checkpoint import save_checkpoint
from hypertail.strategies import PartialHypernet
from hypertail.streams import Examples, Experience
from hypertail.streams.noise import Solarize
from hypertail.streams.transforms import Compose, Normalise, ToFloat
from support.made_runs import all_finished, finished
from support.sample_runs import tiny_run
from support.tiny import tiny_stream

NAN = float("nan")
CPU = Setting(seeds=(0,))
MODULES = (figure4, figure7, figure8, figure11, figure12, fewshot, memory)
TARGETS = {module.TARGET.name: module.TARGET for module in MODULES}
STEMS = {name: (name,) for name in TARGETS} | {"figure11": ("figure11-hn-3", "figure11-hn-4")}

each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def texts(figure: Figure) -> list[str]:
    """Everything written in the figure."""
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def assert_nothing_is_cut(figure: Figure) -> None:
    """Every piece of text lies within the figure."""
    with drawing.style():
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        inside = figure.bbox.padded(1.0)
        ticks = [axis.get_ticklabels(which="both") for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
        not_drawn = {id(label) for labels in ticks for label in labels}  # beyond the limits of their axes
        for text in figure.findobj(Text):
            if id(text) not in not_drawn and text.get_visible() and text.get_text().strip():
                box = text.get_window_extent(canvas.get_renderer())
                corners = ((box.x0, box.y0), (box.x1, box.y1))
                assert all(inside.contains(*corner) for corner in corners), text.get_text()


@pytest.mark.parametrize(("name", "seeds"), [*((name, (0, 1, 2)) for name in TARGETS), ("figure4", (0,))])
def test_figure_is_drawn_from_its_planned_runs(name: str, seeds: tuple[int, ...]) -> None:
    target, setting = TARGETS[name], Setting(seeds=seeds)
    output = target.render(setting, all_finished(target.plan(setting)))
    assert tuple(output.figures) == STEMS[target.name]
    assert output.captions.keys() == output.figures.keys()
    for stem, draw in output.figures.items():
        figure = draw()
        assert_nothing_is_cut(figure)
        written = " ".join(texts(figure))
        assert "Preset tuned, 10" in written
        assert f"{'40' if name == 'fewshot' else '10'} epochs per experience" in written
        assert f"n = {len(seeds)}" in written
        assert output.captions[stem][0] == target.sentence
        assert "not finished" not in written.lower()


def test_the_same_runs_give_the_same_figure() -> None:
    draw = figure12.render(CPU, all_finished(figure12.plan(CPU))).figures["figure12"]
    assert figures.to_svg(draw()) == figures.to_svg(draw())


@each_target
def test_no_runs_give_no_figure(target: Target) -> None:
    assert not target.render(CPU, ()).figures


@each_target
def test_missing_runs_leave_gaps_and_are_named(target: Target) -> None:
    planned = target.plan(Setting())
    output = target.render(Setting(), all_finished(planned[:1]))
    (draw,) = list(output.figures.values())[:1]
    assert "not finished" in " ".join(texts(draw())).lower()


@each_target
def test_runs_of_other_methods_are_left_alone(target: Target) -> None:
    others = [config.with_options(lr=0.5) for config in target.plan(CPU)]
    assert not target.render(CPU, all_finished(others)).figures


@each_target
@pytest.mark.parametrize("preset", ["tuned", "printed", "released"])
@pytest.mark.parametrize("scale", ["smoke", "cpu", "full"])
def test_every_preset_and_scale_can_be_planned(target: Target, preset: str, scale: str) -> None:
    assert target.plan(Setting(preset=preset, scale=scale))


def test_smoke_says_that_its_numbers_mean_nothing() -> None:
    setting = Setting(scale="smoke")
    outputs = [target.render(setting, all_finished(target.plan(setting))) for target in TARGETS.values()]
    said = [" ".join(texts(draw())) for output in outputs for draw in output.figures.values()]
    assert len(said) >= 5
    assert all("no result" in text for text in said)


def test_timeline_joins_matrix_and_curves() -> None:
    run = replace(
        tiny_run([[0.9, NAN, NAN], [0.6, 0.8, NAN], [0.5, 0.7, 0.6]]),
        epochs=4,
        curves=(Curve(0, 2, (0.4,)), Curve(1, 1, (0.7, 0.3)), Curve(2, 3, (0.55, None, 0.2))),
    )
    assert timeline(run, 0) == {1.0: 0.9, 1.25: 0.7, 2.0: 0.6, 2.75: 0.55, 3.0: 0.5}
    assert timeline(run, 1) == {2.0: 0.8, 3.0: 0.7}
    assert timeline(run, 2) == {3.0: 0.6}


def test_line_holds_what_all_seeds_measured_and_what_was_lost() -> None:
    config = CPU.config("noisy-cifar100", "hn-3")[0]
    often = replace(tiny_run([[0.9, NAN], [0.5, 0.7]], epochs=2), curves=(Curve(1, 1, (0.7, 0.1)),))
    seldom = tiny_run([[0.7, NAN], [0.6, 0.7]], epochs=2, seed=1)
    runs = [FinishedRun(run, config, Path()) for run in (often, seldom)]
    line = accuracy_line("HN-3", runs, 0, "#000000")
    assert line is not None
    assert line.x.tolist() == [1, 2]
    assert line.values.tolist() == [[90, 50], [70, 60]]
    lost = accuracy_line("HN-3", runs, 0, "#000000", lost=True)
    assert lost is not None
    np.testing.assert_allclose(lost.values, [[0, 40], [0, 10]])
    assert accuracy_line("HN-3", runs, 2, "#000000") is None


def test_caption_names_length_seeds_hardware_and_gaps() -> None:
    planned = [config for name in ("hn-3", "lr-3") for config in CPU.config("split-cifar100", name)]
    lines = caption(CPU, planned, [finished(planned[0])])
    assert lines == (
        "Preset tuned, 10 epochs per experience, 120 for the trunk, n = 1 (seed 0); Example CPU, 2 threads.",
        "Not finished, so not shown: LR-3, seed 0.",
    )
    three = replace(CPU, seeds=(0, 1, 2)).config("split-cifar100", "hn-3")
    lines = caption(CPU, three, all_finished(three))
    assert lines[0].endswith("n = 3 (seeds 0, 1, 2); Example CPU, 2 threads.")
    assert lines[1:] == ("Lines are means over seeds, bands ± one standard deviation.",)


def test_figure4_trains_one_plain_model_per_pair_and_depth() -> None:
    planned = figure4.plan(CPU)
    assert len(planned) == 20
    assert {config.stream for config in planned} >= {"pair:cifar10,cifar100", "pair:gtsrb,cifar100"}
    for preset in ("tuned", "printed", "released"):
        for config in figure4.plan(Setting(preset=preset)):
            assert (config.strategy, config.options.get("replay_coefficient")) == ("replay", 0.0)
            # the second experience goes on from a model that e_1 trained whole, at every depth for equally long
            assert (config.options.get("trunk_training"), config.options.get("trunk_epochs")) == ("with-tail", None)
    chosen = figure4.plan(Setting(streams=("pair:svhn,fashion-mnist",)))
    assert {config.stream for config in chosen} == {"pair:svhn,fashion-mnist"}


def test_figure4_shows_the_second_accuracy_and_what_freezing_changed() -> None:
    runs = [
        FinishedRun(tiny_run([[0.9, NAN], [0.1, accuracy]]), config, Path())
        for config, accuracy in zip(figure4.plan(CPU)[:5], (0.8, 0.7, 0.75, 0.6, 0.5), strict=True)
    ]
    figure = figure4.render(CPU, runs).figures["figure4"]()
    left, right = figure.axes
    drawn = [line.get_ydata() for line in left.lines + right.lines]
    for wanted in ([80, 70, 75, 60, 50], [0, -10, -5, -20, -30]):
        assert any(len(line) == 5 and np.allclose(line, wanted) for line in drawn)
    assert "CIFAR-10 → CIFAR-100" in texts(figure)
    assert len(figure4.render(CPU, runs[1:]).figures["figure4"]().axes) == 1


def test_figure7_shares_its_runs_with_table_1() -> None:
    identities = [config.identity() for config in figure7.plan(CPU)]
    for strategy in ("lr-2", "hn-3"):
        (config,) = CPU.config("noisy-cifar100", strategy)
        assert config.identity() in identities


def test_figure7_shows_what_was_lost() -> None:
    written = texts(figure7.render(CPU, all_finished(figure7.plan(CPU))).figures["figure7"]())
    assert {"LR-2, clean", "LR-4, noisy", "HN-3", "LR-3"} <= set(written)


def test_figure8_has_a_panel_for_each_depth_and_experience() -> None:
    figure = figure8.render(CPU, all_finished(figure8.plan(CPU))).figures["figure8"]()
    assert len(figure.axes) == 9
    only = Setting(strategies=("hn-3",))
    assert len(figure8.render(only, all_finished(figure8.plan(only))).figures["figure8"]().axes) == 3


def test_figure11_looks_closely_at_the_first_eight_experiences() -> None:
    figure = figure11.render(CPU, all_finished(figure11.plan(CPU))).figures["figure11-hn-3"]()
    assert len(figure.axes) == 8
    assert figure.axes[0].get_ylim()[0] > 20


def test_figure12_shows_the_first_epoch_only() -> None:
    (config,) = figure12.plan(Setting(seeds=(0,)))
    assert config.experiences == 2
    run = finished(config).run
    values = figure12.first_epoch(run)
    assert values is not None
    np.testing.assert_allclose(values, [-0.5 + 0.001 * step for step in range(40)])
    assert figure12.first_epoch(replace(run, extra={})) is None
    assert len(figure12.plan(Setting())) == 3


def checkpointed(tmp_path: Path, depth: int = 2, preset: str = "tuned") -> tuple[FinishedRun, Hypernetwork]:
    """A run whose checkpoint holds its hypernetwork for four tasks as it begins, and that hypernetwork."""
    (config,) = replace(CPU, preset=preset).config("noisy-cifar100", f"hn-{depth}")
    strategy = strategy_of(config, tiny_stream(4, 5))
    assert isinstance(strategy, PartialHypernet)
    with torch.no_grad():
        for value in strategy.hyper.parameters():  # where nothing was learned, tasks do not differ
            value.add_(0.01 * torch.randn(value.shape, generator=torch.Generator().manual_seed(0)))
    state = {f"strategy.{name}": value for name, value in strategy.state().items()}
    save_checkpoint(tmp_path / "checkpoint.safetensors", state | {"accuracy": torch.zeros(1)}, {})
    return finished(config, tmp_path), strategy.hyper


@pytest.mark.parametrize("preset", PRESETS)
def test_figure6_generates_the_filters_of_the_second_and_third_experience(preset: str, tmp_path: Path) -> None:
    run, hyper = checkpointed(tmp_path, preset=preset)
    filters = figure6.generated_filters(run)
    assert (filters.layer, filters.tasks) == ("block3.0.conv1.weight", (1, 2))
    assert filters.first.shape == filters.second.shape == (80, 40, 3, 3)
    assert not np.array_equal(filters.first, filters.second)
    with torch.no_grad():
        for task, found in ((1, filters.first), (2, filters.second)):
            np.testing.assert_allclose(found, hyper(task)[filters.layer].numpy(), rtol=1e-5, atol=1e-6)
    figure = figure6.render(replace(CPU, preset=preset), [run]).figures["figure6"]()
    assert_nothing_is_cut(figure)
    assert {"experience 2", "experience 3", "experience 3 minus experience 2"} <= set(texts(figure))


def test_figure6_says_that_a_checkpoint_holds_another_hypernetwork(tmp_path: Path) -> None:
    run, _ = checkpointed(tmp_path)
    other = replace(run, config=run.config.with_options(rank=5))
    with pytest.raises(CheckpointError, match="required the state of a strategy that was built like this one"):
        figure6.generated_filters(other)


def test_figure6_needs_a_checkpoint_with_a_generated_third_block(tmp_path: Path) -> None:
    (config,) = figure6.plan(CPU)
    assert not figure6.render(CPU, [finished(config, tmp_path)]).figures
    with pytest.raises(DataError) as error:
        figure6.generated_filters(checkpointed(tmp_path, depth=3)[0])
    assert str(error.value) == (
        "filters of HN-3: required two experiences and a generated convolution in block3; found 4 experiences, depth "
        "3. Use a hypernetwork at depth 2 or less."
    )


def test_figure6_measures_how_alike_filters_are() -> None:
    values = np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3) - 17
    same = figure6.measured(figure6.Filters("block3.0.conv1.weight", (1, 2), values, values))
    assert same == (
        "Over all 2 × 2 filters of 3 × 3 in block3.0.conv1.weight, the two sets correlate at r = 1.00; their "
        "difference is 0 % as large as the filters (root mean squares)."
    )
    opposite = figure6.measured(figure6.Filters("w", (1, 2), values, -values))
    assert "r = -1.00; their difference is 200 %" in opposite


def test_mosaic_keeps_every_weight_in_its_place() -> None:
    values = np.random.default_rng(0).normal(size=(13, 4, 3, 3)).astype(np.float32)
    tiles = figure6.mosaic(values)
    assert tiles.shape == (12 * 4 - 1, 4 * 4 - 1)
    np.testing.assert_array_equal(tiles[4 * 5 : 4 * 5 + 3, 4 * 2 : 4 * 2 + 3], values[5, 2])
    assert np.isnan(tiles[3::4]).all()


def test_samples_are_the_images_before_normalisation() -> None:
    images = torch.randint(256, (6, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    examples = Examples(images, torch.tensor([0, 1, 2, 2, 1, 0]))
    transform = Compose((ToFloat(), Solarize(0.5), Normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))))
    experience = Experience(1, "solarized", ("a", "b", "c"), examples, examples, None, transform, transform)
    shown = samples.one_of_each_class(experience, seed=0)
    assert [sample.name for sample in shown] == ["a", "b", "c"]
    values = images.float() / 255
    solarized = torch.where(values >= 0.5, 1 - values, values).permute(0, 2, 3, 1)
    for label, sample in enumerate(shown):
        mine = [solarized[row] for row in (examples.labels == label).nonzero().flatten().tolist()]
        assert any(np.allclose(sample.pixels, image.numpy(), atol=1e-6) for image in mine)


def test_samples_of_the_embedded_digits() -> None:
    setting = Setting(scale="smoke")
    output = samples.TARGET.render(setting, ())
    figure = output.figures["samples"]()
    assert_nothing_is_cut(figure)
    assert sum(len(axes.images) for axes in figure.axes) == 10
    assert not samples.TARGET.plan(setting)
