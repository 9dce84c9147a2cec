"""Runs: what they leave behind, that every option reaches the strategy, and that nothing is lost on the way."""

from __future__ import annotations

import errno
import json
import math
import os
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hypertail.errors import CheckpointError, ConfigError, HypertailError
from hypertail.hyper import Hypernetwork
from hypertail.lab.experiments.begun import read_options
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import OPTIONS, claimed
from hypertail.lab.experiments.run import Existing, strategy_of
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.recipes.catalogue import option_types, recipe_of, strategy_names
from hypertail.storage.checkpoint import load_checkpoint
from hypertail.strategies import PartialHypernet, Task, hypernet_lesson
from hypertail.streams import Stream
from hypertail.training.loop import Progress, silent
from hypertail.training.metrics import summarise
from support.runs import changed, run_in
from support.tiny import tiny_stream

STRATEGIES = tuple(strategy_names())

SHORT = dict(trunk_epochs=1)
HN = RunConfig("tiny", "hn", 4, epochs=1, batch_size=8, options=SHORT)


@lru_cache
def tiny(tasks: int = 3) -> Stream:
    # of 16 pixels, so that instance normalisation has more than one left in the last block
    return tiny_stream(tasks, per_class=6, size=16)


def run(
    config: RunConfig, out: Path, *, existing: Existing = "error", progress: Progress = silent, tasks: int = 3
) -> RunFile:
    return run_in(
        out, config, stream=lambda: tiny(tasks), existing=existing, progress=progress, cache_bytes=1 << 24, speed="full"
    )


def with_depth(strategy: str, depth: int = 4) -> RunConfig:
    return replace(HN, strategy=strategy, depth=depth if recipe_of(strategy).has_depth else None)


# --- what a run leaves behind ------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_run_json_is_whole_and_its_metrics_follow_from_the_accuracies(strategy: str, tmp_path: Path) -> None:
    config = with_depth(strategy)
    run(config, tmp_path)
    content = json.loads((tmp_path / config.run_name / FILE_NAME).read_text())
    told = ("stream", "strategy", "depth", "preset", "seed", "epochs")
    assert {key: content[key] for key in told} == {key: getattr(config, key) for key in told}
    assert content["config"] == config.settled().to_json()
    usual = config.recipe.defaults(config.options, config.cut)
    assert None not in (content["config"]["method"][name] for name in usual), "usual values may change"
    accuracy = content["accuracy"]
    assert [len(row) for row in accuracy] == [3, 3, 3]
    measured = [[value is not None for value in row] for row in accuracy]
    if strategy == "joint":
        assert measured == [[False] * 3, [False] * 3, [True] * 3]
    else:
        assert measured == [[j <= i for j in range(3)] for i in range(3)]
    R = np.array([[np.nan if value is None else value for value in row] for row in accuracy])
    assert content["metrics"] == pytest.approx(summarise(R))
    for name in ("aca", "forgetting", "forgetting_max", "learning_accuracy"):
        value = content["metrics"][name]
        assert (value is None) == (strategy == "joint" and name != "aca")
        assert value is None or -1 <= value <= 1
    assert content["seconds"] == pytest.approx(sum(content["seconds_by_phase"].values()))
    assert content["seconds"] > 0
    assert len(content["seconds_per_experience"]) == len(content["bytes_per_experience"]) == 3
    assert content["bytes_kept"] == sum(content["bytes_kept_parts"].values()) == content["bytes_per_experience"][-1] > 0
    assert (content["hypernetwork_parameters"] is None) == (strategy != "hn")
    assert content["versions"]["torch"].startswith(torch.__version__.partition("+")[0])
    assert content["hardware"]["device"] == "cpu"
    assert [task["train"] for task in content["tasks"]] == [12, 12, 12]


@pytest.mark.slow
def test_same_seed_same_numbers_and_another_seed_others(tmp_path: Path) -> None:
    first, again = (run(HN, tmp_path / place) for place in ("a", "b"))
    assert first.accuracy == again.accuracy
    assert_same(state(HN, tmp_path / "a"), state(HN, tmp_path / "b"))
    other = replace(HN, seed=1)
    run(other, tmp_path / "a")
    assert differ(state(HN, tmp_path / "a"), state(other, tmp_path / "a"))


def test_curves_between_experiences(tmp_path: Path) -> None:
    result = run(replace(with_depth("naive"), epochs=2, eval_every=1, options=dict(trunk_epochs=2)), tmp_path)
    assert [(curve.task, curve.epoch, len(curve.accuracy)) for curve in result.curves] == [
        (0, 1, 1),
        (1, 1, 2),
        (2, 1, 3),
    ]


# --- the shared trunk --------------------------------------------------------------------------------------------


def test_the_trunk_is_trained_once_and_its_seconds_count_in_every_run(tmp_path: Path) -> None:
    said: list[str] = []
    runs = []
    for config in (HN, with_depth("lr", 3), with_depth("separate", 2)):
        runs.append(run(config, tmp_path, progress=lambda done, total, text: said.append(text)))
    assert sum(text.startswith("trunk: ") for text in said) == 2  # one epoch of twice the length, once
    assert len(list((tmp_path / "trunks").iterdir())) == 1
    seconds = {run.seconds_by_phase["trunk"] for run in runs}
    assert len(seconds) == 1
    assert seconds.pop() > 0
    assert len({run.extra["trunk"] for run in runs}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("size", [16, 32])
def test_one_trunk_whatever_the_depth_and_the_precision(
    bfloat16: bool, size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 1: at depth 4 a classifier alone learns, at full precision, on features of the trunk of the others."""
    monkeypatch.setattr("hypertail.lab.experiments.precisions.multiplies_bfloat16", lambda device: bfloat16)
    stream = tiny_stream(1, per_class=6, size=size)
    found = {}
    for strategy, depth in (("separate", 3), ("separate", 4)):
        result = run_in(tmp_path, with_depth(strategy, depth), stream=lambda: stream, cache_bytes=1 << 24)
        found[depth] = result.extra["precision"], result.extra["precision_of_features"]
    mixed = "mixed" if bfloat16 and size == 32 else "full"
    assert found == {3: (mixed, mixed), 4: ("full", mixed)}
    assert len(list((tmp_path / "trunks").iterdir())) == 1


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 4}, {"options": dict(SHORT, lr=0.01)}])
def test_another_trunk_where_its_training_differs(change: dict[str, Any], tmp_path: Path) -> None:
    one = run(HN, tmp_path, tasks=1)
    other = run(replace(HN, **change, epochs=2), tmp_path, tasks=1)
    assert len(list((tmp_path / "trunks").iterdir())) == 2
    assert one.extra["trunk"] != other.extra["trunk"]


def test_no_trunk_is_recorded_where_none_was_trained_alone(tmp_path: Path) -> None:
    assert "trunk" not in run(with_depth("naive"), tmp_path, tasks=1).extra


# --- every option does something ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An option set to `value`, for a strategy at a depth, among options that make it matter."""

    value: Any
    strategy: str = "hn"
    depth: int = 4
    among: tuple[tuple[str, Any], ...] = ()


WITH_TAIL = (("trunk_training", "with-tail"), ("standardise", False))
OUTPUT = (("output_weight", 1.0),)
OPTIONS_TRIED: dict[str, Case] = {
    "lr": Case(1e-2),
    "hyper_lr": Case(1e-2),
    "schedule": Case("constant"),
    "optimizer_state": Case("kept"),
    "trunk_training": Case("with-tail", among=(("standardise", False),)),
    "trunk_epochs": Case(2),
    "trunk_rotations": Case(False),
    "trunk_schedule": Case("cosine"),
    "classifier_lr": Case(None, "separate"),
    "tail_start": Case("fresh", depth=3),
    "classifier": Case("generated", depth=3),
    "trunk_statistics": Case("batch", among=WITH_TAIL),
    "standardise": Case(False),
    "norm": Case("instance", depth=3),
    "head_width": Case(7),
    "embedding": Case(8),
    "mlp": Case((20, 10)),
    "rank": Case(4, depth=3),
    "adapter_rank": Case(3, depth=3),
    "classifier_rank": Case(1),
    "reference_steps": Case(1, depth=3),
    "task_lr": Case(2e-2, depth=3),
    "code": Case("product", depth=3),
    "channel_vectors": Case("learned", depth=3, among=(("tail_start", "fresh"),)),
    "vectors": Case("gaussian", depth=3),
    "init": Case("library"),
    "new_embedding": Case("copied"),
    "penalty_weight": Case(50.0),
    "reduction": Case("mean"),
    "lookahead": Case("first"),
    "virtual_step": Case("sgd", among=(("lookahead", "first"),)),
    "combine": Case("sum", among=(("lr", 1e-2),)),
    "curvature": Case(False),
    "damping": Case(100.0),
    "output_weight": Case(1.0),
    "output_tasks": Case(2, among=OUTPUT),
    "output_share": Case(1.0, among=OUTPUT),
    "task_rank": Case(2, "adapter", depth=3),
    "adapter_lr": Case(1e-3, "adapter", depth=3),
    "buffer": Case(3, "lr"),
    "buffer_policy": Case("reservoir", "lr"),
    "replay_batch": Case(2, "lr"),
    "replay_coefficient": Case(0.25, "lr", 3),
    "ewc_weight": Case(1e8, "ewc"),
    "fisher_samples": Case(2, "ewc", among=(("ewc_weight", 1e8),)),
    "distill_weight": Case(50.0, "lwf", 3),
    "distill_temperature": Case(20.0, "lwf", 3),
    "projection_width": Case(30, "lda", 3),
}
EXAMPLES: set[str] = set()
"""Options of strategies that other tests register."""
ELSEWHERE = {
    "views",
    "penalty_form",
    "per_sample",
    "record_cosine",
    "ridge",
}  # these have tests of their own


def state(config: RunConfig, out: Path) -> dict[str, Tensor]:
    """Everything that the strategy had learned in the end, and the accuracies."""
    return load_checkpoint(out / config.run_name / "checkpoint.safetensors")[0]


def differ(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() != other.keys() or any(
        one[name].shape != other[name].shape or not torch.allclose(one[name], other[name], equal_nan=True, rtol=1e-4)
        for name in one
    )


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor.nan_to_num(-1.0), other[name].nan_to_num(-1.0)), name


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Trains a configuration, once for all tests that need it, and gives what it learned."""

    @lru_cache
    def outcome(config: RunConfig) -> dict[str, Tensor]:
        out = tmp_path_factory.mktemp("run")
        run(config, out)
        return state(config, out)

    return outcome


def test_every_option_has_a_case() -> None:
    assert option_types().keys() - EXAMPLES == OPTIONS_TRIED.keys() | ELSEWHERE


@pytest.mark.parametrize("option", OPTIONS_TRIED)
def test_an_option_changes_what_is_learned(option: str, learned: Any) -> None:
    case = OPTIONS_TRIED[option]
    config = changed(with_depth(case.strategy, case.depth), **dict(case.among))
    assert config.options.get(option) != case.value
    assert differ(learned(config), learned(config.with_options(**{option: case.value})))


@pytest.mark.parametrize(("form", "regenerates"), [("closed", False), ("direct", True)])
def test_penalty_form(form: Any, regenerates: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called = []
    original = hypernet_lesson.direct_penalty
    monkeypatch.setattr(hypernet_lesson, "direct_penalty", lambda *args: (called.append(1), original(*args))[1])
    run(replace(HN, options=dict(SHORT, curvature=False, penalty_form=form)), tmp_path, tasks=2)
    assert bool(called) == regenerates


@pytest.mark.parametrize("per_sample", [False, True])
def test_per_sample(per_sample: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    original = Hypernetwork.per_sample
    monkeypatch.setattr(
        Hypernetwork, "per_sample", lambda self, tasks: (sizes.append(len(tasks)), original(self, tasks))[1]
    )
    run(replace(HN, options=dict(SHORT, norm="instance", per_sample=per_sample)), tmp_path, tasks=1)
    assert set(sizes) == ({8, 4, 12} if per_sample else set())  # the two batches, and the test images


@pytest.mark.parametrize("recorded", [False, True])
def test_record_cosine(recorded: bool) -> None:
    strategy = strategy_of(replace(HN, options=dict(SHORT, record_cosine=recorded)), tiny(2))
    for experience in tiny(2):
        images = experience.train.images.float() / 255
        lesson = strategy.begin(Task(experience.task, 2, 1, lambda images=images: (images, images[:, 0, 0, 0].long())))
        inputs = images if strategy.frozen_trunk is None else strategy.frozen_trunk(images)
        lesson.step(inputs, experience.train.labels)
        if experience.task == 0:
            strategy.trunk.freeze()  # type: ignore[attr-defined]
    cosines = strategy.diagnostics().get("cosine", [])
    assert len(cosines) == (1 if recorded else 0)
    assert all(-1 <= cosine <= 1 for cosine in cosines)


@pytest.mark.slow
def test_each_option_of_the_run_itself_does_something(learned: Any) -> None:
    usual = changed(replace(HN, epochs=2), views=2)
    for change in ({"epochs": 3}, {"batch_size": 4}, {"seed": 5}, {"depth": 3}):
        assert differ(learned(usual), learned(replace(usual, **change))), change
    assert differ(learned(usual), learned(changed(usual, views=1)))


def test_depth_zero_generates_everything(tmp_path: Path) -> None:
    result = run(replace(HN, depth=0), tmp_path, tasks=2)
    assert (result.depth, result.label, result.parameters["trunk"]) == ("full", "HN-F", 0)
    assert not (tmp_path / "trunks").exists()
    strategy = strategy_of(replace(HN, depth=0), tiny(2), torch.nn.Sequential())
    assert isinstance(strategy, PartialHypernet)
    assert result.hypernetwork_parameters == sum(p.numel() for p in strategy.hyper.parameters())


# --- interrupted, continued, reused, replaced --------------------------------------------------------------------


def interrupt_in(experience: int) -> Progress:
    def progress(done: int, total: int, text: str) -> None:
        if text.startswith(f"experience {experience}/"):
            raise KeyboardInterrupt

    return progress


@pytest.mark.slow
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_interrupted_run_continues_to_the_same_bits(strategy: str, tmp_path: Path) -> None:
    config = with_depth(strategy)
    whole = run(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", progress=interrupt_in(3))
    assert not (tmp_path / "parts" / config.run_name / FILE_NAME).exists()
    said: list[str] = []
    run(config, tmp_path / "parts", existing="reuse", progress=lambda done, total, text: said.append(text))
    if strategy != "joint":  # which learns everything at once
        assert all(text.startswith("experience 3/3") for text in said)
    continued = RunFile.read(tmp_path / "parts" / config.run_name / FILE_NAME)
    assert continued.accuracy == whole.accuracy
    assert_same(state(config, tmp_path / "whole"), state(config, tmp_path / "parts"))
    assert len(continued.seconds_per_experience) == 3


@pytest.mark.slow
def test_kept_optimizer_moments_survive_an_interruption(tmp_path: Path) -> None:
    config = replace(HN, options=dict(SHORT, optimizer_state="kept"))
    run(config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path / "parts", progress=interrupt_in(2))
    run(config, tmp_path / "parts", existing="reuse")
    assert_same(state(config, tmp_path / "whole"), state(config, tmp_path / "parts"))


def test_what_exists_is_neither_overwritten_nor_mixed_up(tmp_path: Path) -> None:
    config = with_depth("naive")
    first = run(config, tmp_path, tasks=1)
    file = tmp_path / config.run_name / FILE_NAME
    before = file.read_bytes()
    with pytest.raises(
        ConfigError, match=r"run directory .*: required a directory that does not exist yet; found an exist"
    ):
        run(config, tmp_path, tasks=1)
    said: list[str] = []
    progress: Progress = lambda done, total, text: said.append(text)  # noqa: E731
    assert run(config, tmp_path, existing="reuse", progress=progress, tasks=1).accuracy == first.accuracy
    assert said == []
    with pytest.raises(
        ConfigError, match="required a run with the same options, to reuse it; found one with other opt"
    ):
        run(replace(config, batch_size=4), tmp_path, existing="reuse", tasks=1)
    assert file.read_bytes() == before
    run(config, tmp_path, existing="replace", progress=progress, tasks=1)
    assert said
    assert file.read_bytes() != before  # another time of day


def test_a_run_that_lacks_a_newer_switch_is_reused(tmp_path: Path) -> None:
    config = with_depth("separate")
    first = run(config, tmp_path, tasks=1)
    options = tmp_path / config.run_name / OPTIONS
    content = json.loads(options.read_text())
    del content["method"]["reference_steps"], content["method"]["views"], content["digest"]
    options.write_text(json.dumps(content))
    other = replace(config, options=dict(SHORT, penalty_weight=7.0))  # which does not concern separate tails
    for same in (config, other):
        assert run(same, tmp_path, existing="reuse", tasks=1) == first


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            '{"stream": "ti',
            "options of a run, .*config.json: required those that hypertail writes, .*; found others",
        ),
        ("[3]", r"found others \(options of a run: .* found list.*\). Restore the file, or delete the run directory"),
        ('{"stream": "tiny", "strategy": "naive", "flavour": 3}', "unknown option of a run 'flavour'"),
    ],
)
def test_options_that_cannot_be_read_are_no_run_to_reuse(text: str, message: str, tmp_path: Path) -> None:
    config = with_depth("naive")
    (tmp_path / config.run_name).mkdir()
    (tmp_path / config.run_name / OPTIONS).write_text(text)
    with pytest.raises(ConfigError, match=message):
        run(config, tmp_path, existing="reuse", tasks=1)


def test_a_stream_that_fails_leaves_no_directory(tmp_path: Path) -> None:
    def stream() -> Stream:
        return tiny(3).first(9)

    with pytest.raises(ConfigError, match="number of experiences of stream 'tiny': required 1 to 3; found 9"):
        run_in(tmp_path, HN, stream=stream)
    assert list(tmp_path.iterdir()) == []


TOO_NARROW = replace(HN, options=dict(SHORT, head_width=1))


def test_a_strategy_that_cannot_be_built_leaves_no_directory(tmp_path: Path) -> None:
    with pytest.raises(HypertailError, match="classes"):
        run(TOO_NARROW, tmp_path)
    assert not (tmp_path / HN.run_name).exists()


def test_a_strategy_that_cannot_be_built_does_not_replace_a_finished_run(tmp_path: Path) -> None:
    first = run(HN, tmp_path)
    with pytest.raises(HypertailError, match="classes"):
        run(TOO_NARROW, tmp_path, existing="replace")
    assert RunFile.read(tmp_path / HN.run_name / FILE_NAME).started == first.started


def test_a_loss_that_explodes_is_an_error_and_the_finished_experiences_stay(tmp_path: Path) -> None:
    config = replace(HN, options=dict(SHORT, penalty_weight=1e38, lr=1e3, hyper_lr=1e3, curvature=False))
    with pytest.raises(HypertailError, match=r"required (a finite loss|finite numbers)"):
        run(config, tmp_path)
    assert not (tmp_path / config.run_name / FILE_NAME).exists()


def test_infinite_options_do_not_reach_a_run() -> None:
    with pytest.raises(ConfigError, match="option --lr"):
        replace(HN, options=dict(SHORT, lr=math.inf))


def test_recorded_cosines_are_in_the_file(tmp_path: Path) -> None:
    recorded = run(replace(HN, options=dict(SHORT, record_cosine=True)), tmp_path).extra["diagnostics"]["cosine"]
    assert recorded
    assert all(-1 <= value <= 1 for value in recorded)
    assert "diagnostics" in RunFile.read(tmp_path / HN.run_name / FILE_NAME).extra


# --- files that are damaged, directories that are in use ---------------------------------------------------------


@pytest.mark.parametrize("place", [-1, 30])
def test_a_damaged_trunk_is_named_and_can_be_trained_again(place: int, tmp_path: Path) -> None:
    """case 16: a flipped bit in the tensors of a shared trunk, or in its header."""
    first = run(HN, tmp_path, tasks=1)
    (trunk,) = (tmp_path / "trunks").iterdir()
    content = bytearray(trunk.read_bytes())
    content[place] ^= 4
    trunk.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        run(HN, tmp_path, existing="replace", tasks=1)
    assert str(trunk) in error.value.problem
    assert error.value.hint == "Delete that file to train the trunk again: nothing else is lost with it."
    assert RunFile.read(tmp_path / HN.run_name / FILE_NAME) == first
    trunk.unlink()
    assert run(HN, tmp_path, existing="replace", tasks=1).accuracy == first.accuracy


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    """case 16: an interrupted run does not go on from another model."""
    config = with_depth("naive")
    with pytest.raises(KeyboardInterrupt):
        run(config, tmp_path, progress=interrupt_in(2))
    path = tmp_path / config.run_name / "checkpoint.safetensors"
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"checkpoint .*checkpoint\.safetensors is damaged"):
        run(config, tmp_path, existing="reuse")


@pytest.mark.parametrize("what", ["trunk", "config.json", "checkpoint.safetensors", "run.json"])
def test_a_full_disk_is_one_error_and_the_run_goes_on_later(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """case 18: at each file that a run writes; what was finished stays, and no temporary is left."""
    whole = run(HN, tmp_path / "whole")
    replace_, written = os.replace, 0

    def full(source: Path, target: Path) -> None:
        nonlocal written
        if Path(target).name.startswith(what):
            written += 1
            if what != "checkpoint.safetensors" or written == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        replace_(source, target)

    def no_link(source: Path, target: Path) -> None:
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "replace", full)
    monkeypatch.setattr(os, "link", no_link)
    with pytest.raises((HypertailError, OSError), match="No space left on device"):
        run(HN, tmp_path / "parts")
    monkeypatch.undo()
    left = {path.name for path in (tmp_path / "parts").rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith(".")]
    assert ("checkpoint.safetensors" in left) == (what in ("checkpoint.safetensors", "run.json"))
    assert run(HN, tmp_path / "parts", existing="reuse").accuracy == whole.accuracy


@pytest.mark.parametrize("existing", ["error", "reuse", "replace"])
def test_a_directory_that_another_process_works_in(existing: Existing, tmp_path: Path) -> None:
    """case 22: refused before anything is loaded, built or removed."""
    config = with_depth("naive")
    run(config, tmp_path, tasks=1)
    directory = tmp_path / config.run_name
    before = {path: path.read_bytes() for path in directory.iterdir()}
    with claimed(directory), pytest.raises(ConfigError, match=f"found process {os.getpid()} on .* working in it"):
        run_in(tmp_path, config, stream=lambda: pytest.fail("loaded"), existing=existing)
    assert {path: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("existing", ["error", "reuse", "replace"])
@pytest.mark.parametrize("left", [(), (".lock", ".config.json.0a1b.part", ".checkpoint.safetensors.ab12")], ids=len)
def test_a_run_killed_before_its_options_were_written(
    existing: Existing, left: tuple[str, ...], tmp_path: Path
) -> None:
    """case 26: the same command does it, whichever way."""
    config = with_depth("naive")
    (tmp_path / config.run_name).mkdir()
    for name in left:
        (tmp_path / config.run_name / name).write_bytes(b"half")
    run(config, tmp_path, existing=existing, tasks=1)
    names = {path.name for path in (tmp_path / config.run_name).iterdir()}
    assert names == {OPTIONS, FILE_NAME, "checkpoint.safetensors"}


def test_replacing_removes_nothing_that_no_run_made(tmp_path: Path) -> None:
    """case 26: a directory that happens to have the name of a run's."""
    config = with_depth("naive")
    (tmp_path / config.run_name).mkdir()
    (tmp_path / config.run_name / "thesis.tex").write_text("precious")
    with pytest.raises(ConfigError, match=r"required files of a run and nothing else, .*; found 'thesis.tex'"):
        run(config, tmp_path, existing="replace", tasks=1)
    assert (tmp_path / config.run_name / "thesis.tex").read_text() == "precious"
    assert len(list((tmp_path / config.run_name).iterdir())) == 1


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 500 + "1" + "}" * 500,
        "[" * 100_000,
        f'{{"seed": {"9" * 400}}}',
        '{"validation": NaN}',
        '{"validation": 1e999}',
        '{"seed": 1, "seed": 2}',
        '{"stream": "digits", "strategy": 3}',
        '{"stream": ["digits"], "strategy": "naive", "method": []}',
        '{"stream": "digits", "strategy": "naive", "epochs": "ten", "seed": {}}',
    ],
    ids=range(9),
)
def test_options_made_to_do_harm(text: str, tmp_path: Path) -> None:
    """case 20: refused with the file, as any damage is."""
    path = tmp_path / OPTIONS
    path.write_text(text)
    with pytest.raises(ConfigError, match=rf"options of a run, {path}: required those that hypertail writes"):
        read_options(path)
