"""From which checkpoints a run goes on, and how a stream that grew is learned on."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hypertail.errors import CheckpointError, ConfigError, TrainingError
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.strategies import Strategy
from hypertail.strategies.naive import NaiveLesson
from hypertail.streams import Examples, Experience, Stream
from hypertail.streams.noise import Solarize
from hypertail.streams.transforms import Compose, Step, ToFloat
from hypertail.training import resume, within
from hypertail.training.clock import Clock
from hypertail.training.features.cache import FeatureCache
from hypertail.training.interval import Interval
from hypertail.training.result import Result
from hypertail.training.resume import check_same_run, digest_of, enlarged, explained
from hypertail.training.within import unfinished_of
from support.asserts import assert_same_run
from support.tiny import CONTINUAL, InterruptedRunError, Name, StopAfter, build, tiny_stream, train

STREAM = tiny_stream(3, (2, 3, 2), validation=True)
LONGER = tiny_stream(5, (2, 3, 2, 2, 3), validation=True)


def with_first(stream: Stream, **changes: Any) -> Stream:
    first, *others = stream.experiences
    return replace(stream, experiences=(replace(first, **changes), *others))


def other_pixels(experience: Experience) -> Examples:
    images = experience.train.images.clone()
    images[0, 0, 0, 0] += 1
    return Examples(images, experience.train.labels)


def other_labels(experience: Experience) -> Examples:
    labels = experience.train.labels.clone()
    labels[[0, -1]] = labels[[-1, 0]]
    return Examples(experience.train.images, labels)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoint of a run with the usual options of `train`."""
    path = tmp_path_factory.mktemp("learned") / "checkpoint.safetensors"
    train(build("naive", classes=3), STREAM, checkpoint=path, cache=FeatureCache(seed=0))
    return path


@pytest.mark.parametrize(
    ("options", "required", "found"),
    [
        ({"seed": 1}, "seed 0", "1"),
        ({"epochs": 3}, "epochs 2", "3"),
        ({"first_epochs": 4}, "epochs of the first experience 2", "4"),
        ({"batch_size": 4}, "batches of 8", "4"),
        ({"split": "validation"}, "split test", "validation"),
        ({"precision": "mixed"}, "precision full", "mixed"),
        ({"cache": FeatureCache(seed=0, precision="mixed")}, "precision of the features full", "mixed"),
        ({"cache": FeatureCache(seed=5)}, "seed of views 0", "5"),
        (
            {"stream": with_first(STREAM, classes=("class0", "class1", "class2"))},
            "2 classes in experience 1",
            "3",
        ),
        (
            {"stream": with_first(STREAM, train=other_pixels(STREAM[0]))},
            "the images and labels that it had in experience 1",
            "others",
        ),
        (
            {"stream": with_first(STREAM, train=other_labels(STREAM[0]))},
            "the images and labels that it had in experience 1",
            "others",
        ),
        (
            {"stream": with_first(STREAM, classes=("class1", "class0"))},
            "the images and labels that it had in experience 1",
            "others",
        ),
        ({"stream": tiny_stream(2, (2, 3), validation=True)}, "3 experiences", "2"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_another_run_is_refused_and_the_difference_named(
    options: dict[str, Any], required: str, found: str, learned: Path
) -> None:
    """case 6: all of it was accepted."""
    before = learned.read_bytes()
    stream = options.pop("stream", STREAM)
    given: dict[str, Any] = {"cache": FeatureCache(seed=0)} | options
    with pytest.raises(CheckpointError) as error:
        train(build("naive", classes=3), stream, checkpoint=learned, resume=True, **given)
    assert str(error.value) == (
        f"checkpoint {learned} belongs to another run: required {required}; found {found}. "
        "Resume with the same stream, strategy and options, or start again elsewhere."
    )
    assert learned.read_bytes() == before


def test_another_strategy_is_refused(learned: Path) -> None:
    """case 6: by its kind, or by what it cannot take."""
    with pytest.raises(CheckpointError, match="belongs to another run: required strategy Naive; found EWC"):
        train(build("ewc", classes=3), STREAM, checkpoint=learned, resume=True)
    with pytest.raises(CheckpointError, match="Build the strategy with the same arguments"):
        train(build("naive", net="mlp", classes=3), STREAM, checkpoint=learned, resume=True)


def test_a_strategy_of_your_own_that_cannot_take_the_state() -> None:
    """case 6: torch's own error is explained; others, such as that memory ran out, are not touched."""
    message = r"checkpoint x: required the state of a strategy that was built like"
    with pytest.raises(CheckpointError, match=message), explained(Path("x")):
        nn.Linear(2, 3).load_state_dict(nn.Linear(3, 3).state_dict())
    with pytest.raises(RuntimeError, match="out of memory"), explained(Path("x")):
        raise RuntimeError("out of memory")


def test_names_do_not_count(learned: Path) -> None:
    """case 6: the same images in a folder of another name are the same run."""
    names = tuple(replace(experience, name=f"other {experience.task}") for experience in STREAM)
    renamed = Stream("renamed", names, STREAM.image_shape)
    result = train(build("naive", classes=3), renamed, checkpoint=learned, resume=True)
    assert not result.accuracy[-1].isnan().any()


def test_views_count_where_there_is_a_trunk(tmp_path: Path) -> None:
    """case 6: they decide what is learned behind a frozen trunk, and nothing without one."""
    for name, refused in (("lr", True), ("naive", False)):
        path = tmp_path / name
        train(build(name, classes=3), STREAM, checkpoint=path, cache=FeatureCache(seed=0, views=1))  # type: ignore[arg-type]
        cache = FeatureCache(seed=0, views=2)
        if refused:
            with pytest.raises(CheckpointError, match="required views 1; found 2"):
                train(build(name, classes=3), STREAM, checkpoint=path, cache=cache, resume=True)  # type: ignore[arg-type]
        else:
            train(build(name, classes=3), STREAM, checkpoint=path, cache=cache, resume=True)  # type: ignore[arg-type]


OLD = ("stream", "experiences", "strategy", "learned", "seconds", "seconds_per_experience", "bytes_per_experience")
OLD += ("losses", "curves")


def told(stream: Stream, *steps: Step) -> Stream:
    """With transforms that say what they do."""
    changed = [replace(e, train_transform=Compose(steps), test_transform=Compose(steps)) for e in stream]
    return replace(stream, experiences=tuple(changed))


def test_images_seen_in_another_way_are_another_run(tmp_path: Path) -> None:
    """A trunk learned on solarized images went on with clean ones, without a word."""
    noisy, clean = told(STREAM, ToFloat(), Solarize(0.5)), told(STREAM, ToFloat())
    path, changed = tmp_path / "checkpoint.safetensors", tmp_path / "changed.safetensors"
    train(build("naive", classes=3), noisy, checkpoint=path, epochs=1)
    train(build("naive", classes=3), noisy, checkpoint=path, epochs=1, resume=True)
    with pytest.raises(CheckpointError) as error:
        train(build("naive", classes=3), clean, checkpoint=path, epochs=1, resume=True)
    assert error.value.required == f"the transform {noisy[0].train_transform} in experience 1"
    assert error.value.found == str(clean[0].train_transform)
    # what does not say what it does cannot be compared: functions, and checkpoints of earlier versions
    train(build("naive", classes=3), STREAM, checkpoint=path, epochs=1, resume=True)
    tensors, facts = load_checkpoint(path)
    for entry in facts["contents"]:
        del entry["transforms"]
    save_checkpoint(changed, tensors, facts)
    train(build("naive", classes=3), clean, checkpoint=changed, epochs=1, resume=True)


def test_an_older_checkpoint_resumes_where_its_facts_agree(learned: Path, tmp_path: Path) -> None:
    """case 6: it knows neither seed nor data."""
    tensors, facts = load_checkpoint(learned)
    path = tmp_path / "old.safetensors"
    save_checkpoint(path, tensors, {name: facts[name] for name in OLD})
    result = train(build("naive", classes=3), STREAM, checkpoint=path, resume=True, seed=4)
    assert torch.equal(result.accuracy.nan_to_num(-1), tensors["accuracy"].nan_to_num(-1))
    for stream, message in (
        (replace(STREAM, name="another"), "required stream tiny; found another"),
        (tiny_stream(4), "required experiences 3; found 4"),
    ):
        with pytest.raises(CheckpointError, match=message):
            train(build("naive", classes=3), stream, checkpoint=path, resume=True)
    with pytest.raises(CheckpointError, match="required precision full; found mixed"):
        train(build("naive", classes=3), STREAM, checkpoint=path, resume=True, precision="mixed")


# --- a stream that grew ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONTINUAL)
@pytest.mark.parametrize("stop_in", [None, 2])
def test_a_stream_that_grew_goes_on_to_the_same_bits(name: Name, stop_in: int | None, tmp_path: Path) -> None:
    """case 7: after three experiences, or in the third of them, two more arrive."""
    path = tmp_path / "checkpoint.safetensors"
    whole = build(name, classes=3, tasks=5)
    expected = train(whole, LONGER)
    try:
        train(build(name, classes=3, tasks=5), LONGER.first(3), checkpoint=path, stop_in=stop_in)
    except Exception:
        assert stop_in is not None
    torch.rand(7)
    grown = build(name, classes=3, tasks=5)
    result = train(grown, LONGER, checkpoint=path, resume=True)
    assert_same_run(expected, result, whole, grown)
    assert load_checkpoint(path)[1]["learned"] == 5
    again = build(name, classes=3, tasks=5)
    assert_same_run(result, train(again, LONGER, checkpoint=path, resume=True), grown, again)


@pytest.mark.parametrize("name", ["hn", "lr"])
def test_a_strategy_built_for_fewer_tasks_makes_room(name: Name, tmp_path: Path) -> None:
    """case 7: bit for bit what the same strategy learns of the longer stream at one go."""
    path = tmp_path / "checkpoint.safetensors"
    whole, grown = build(name, classes=3, tasks=3), build(name, classes=3, tasks=3)
    expected = train(whole, LONGER)
    first = train(build(name, classes=3, tasks=3), LONGER.first(3), checkpoint=path)
    result = train(grown, LONGER, checkpoint=path, resume=True)
    assert_same_run(expected, result, whole, grown)
    assert torch.equal(result.accuracy[:3, :3].nan_to_num(-1), first.accuracy.nan_to_num(-1))
    assert result.accuracy[:3, 3:].isnan().all()
    assert len(result.losses) == len(result.bytes_per_experience) == 5


def test_a_hypernetwork_built_for_other_tasks_is_refused(tmp_path: Path) -> None:
    """case 7: one that is built for five starts from other random numbers than one built for three."""
    path = tmp_path / "checkpoint.safetensors"
    train(build("hn", classes=3, tasks=3), LONGER.first(3), checkpoint=path)
    with pytest.raises(CheckpointError, match="Build the strategy with the same arguments"):
        train(build("hn", classes=3, tasks=5), LONGER, checkpoint=path, resume=True)


def test_what_is_learned_at_once_does_not_grow(tmp_path: Path) -> None:
    """case 7: a joint model would have to see everything again."""
    path = tmp_path / "checkpoint.safetensors"
    train(build("joint", classes=3), STREAM, checkpoint=path)
    with pytest.raises(CheckpointError, match="required 3 experiences, which are learned all at once; found 5"):
        train(build("joint", classes=3), LONGER, checkpoint=path, resume=True)


def test_a_stream_that_grew_in_front_is_another(tmp_path: Path) -> None:
    """case 7: old experiences must come first, unchanged."""
    path = tmp_path / "checkpoint.safetensors"
    train(build("naive", classes=3), LONGER.first(2), checkpoint=path)
    turned = tuple(replace(experience, task=task) for task, experience in enumerate(reversed(STREAM.experiences)))
    with pytest.raises(CheckpointError, match=re.escape("required the images and labels that it had in experience 1")):
        train(build("naive", classes=3), replace(STREAM, experiences=turned), checkpoint=path, resume=True)


def test_an_enlarged_matrix_keeps_what_was_measured() -> None:
    small = torch.tensor([[0.5, torch.nan], [0.25, 1.0]], dtype=torch.float64)
    large = enlarged(small, 3)
    assert torch.equal(large[:2, :2].nan_to_num(-1), small.nan_to_num(-1))
    assert large[2].isnan().all()
    assert large[:, 2].isnan().all()


# --- digests -----------------------------------------------------------------------------------------------------


def test_an_experience_is_digested_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """case 6: many checkpoints of many strategies cost one pass over the images."""
    first, again, other = tiny_stream(1)[0], tiny_stream(1)[0], tiny_stream(1, seed=1)[0]
    digest = digest_of(first)
    with monkeypatch.context() as patch:
        patch.setattr(resume, "experiences_digest", lambda given: pytest.fail("digested again"))
        assert digest_of(first) == digest
    assert digest_of(again) == digest
    assert digest_of(other) != digest


def test_facts_that_a_checkpoint_lacks_are_not_compared() -> None:
    own = {"stream": "a", "experiences": 1, "contents": [], "precision": "full", "seed": 3}
    check_same_run(Path("x"), {"stream": "a", "experiences": 1}, own, may_grow=True)
    with pytest.raises(CheckpointError, match="required seed 2; found 3"):
        check_same_run(Path("x"), {"stream": "a", "experiences": 1, "seed": 2}, own, may_grow=True)


@pytest.mark.parametrize("damage", ["flipped", "cut short"])
def test_a_damaged_state_within_an_experience_costs_that_experience_alone(damage: str, tmp_path: Path) -> None:
    stream, told = tiny_stream(3), list[str]()
    whole, path = build("adapter"), tmp_path / "run.safetensors"
    expected = train(whole, stream)
    with pytest.raises(KeyboardInterrupt):
        train(build("adapter"), stream, checkpoint=path, stop=StopAfter(10))
    unfinished = unfinished_of(path)
    content = bytearray(unfinished.read_bytes())
    content[-5] ^= 1
    unfinished.write_bytes(content if damage == "flipped" else content[:-40])
    second = build("adapter")
    resumed = train(second, stream, checkpoint=path, resume=True, notice=told.append)
    assert_same_run(expected, resumed, whole, second)
    assert len(told) == 1
    assert "goes on after its last finished experience" in told[0]


# --- what is saved on the way ------------------------------------------------------------------------------------


def saved_epochs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Of each saving within an experience."""
    seen: list[int] = []

    def note(path: Path, tensors: Any, facts: dict[str, Any]) -> None:
        seen.append(facts["epoch"])
        save_checkpoint(path, tensors, facts)

    monkeypatch.setattr(within, "save_checkpoint", note)
    return seen


def test_it_is_saved_every_so_many_epochs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = saved_epochs(monkeypatch)
    train(
        build("naive", classes=2),
        tiny_stream(1),
        epochs=5,
        checkpoint=tmp_path / "run",
        save_every=Interval(2, "epochs"),
    )
    assert seen == [2, 4]


def test_a_full_disk_on_the_way_is_told_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []

    def fail(path: Path, tensors: Any, facts: Any) -> None:
        raise CheckpointError(
            f"cannot write checkpoint {path}", required="room", found="No space left", hint="Free some."
        )

    monkeypatch.setattr(within, "save_checkpoint", fail)
    options: dict[str, Any] = {"checkpoint": tmp_path / "run", "notice": told.append}
    train(build("naive"), tiny_stream(1), epochs=3, save_every=Interval(1, "epochs"), **options)
    assert len(told) == 2
    assert "No space left" in told[0]
    assert "goes on" in told[0]
    with pytest.raises(CheckpointError, match="No space left"):
        train(build("naive"), tiny_stream(1), epochs=3, stop=StopAfter(2), **options)


def test_a_state_that_is_not_finite_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step is named, and the last good state stays."""
    stream, path = tiny_stream(1), tmp_path / "run.safetensors"
    steps, real = iter(range(100)), NaiveLesson.step

    def step(self: NaiveLesson, *args: Any) -> Any:
        return real(self, *args) * (float("nan") if next(steps) == 4 else 1.0)

    monkeypatch.setattr(NaiveLesson, "step", step)
    with pytest.raises(TrainingError, match=r"epoch 2, step 2: .*found nan.*last good state is kept in .*unfinished"):
        train(build("naive"), stream, epochs=4, checkpoint=path, save_every=Interval(1e-9, "s"))
    tensors, facts = load_checkpoint(unfinished_of(path))
    assert (facts["epoch"], len(tensors["losses"])) == (1, 1)
    assert all(tensor.isfinite().all() for name, tensor in tensors.items() if name != "accuracy")


def test_a_place_that_is_no_longer_the_runs_own_is_not_written_to(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ConfigError("run directory", required="its own", found="nothing", hint="Move it back.")

    with pytest.raises(ConfigError, match="Move it back"):
        train(build("naive"), tiny_stream(2), checkpoint=tmp_path / "run", may_save=refuse)
    assert not list(tmp_path.iterdir())


def test_a_damaged_checkpoint_costs_one_experience(tmp_path: Path) -> None:
    stream, told, path = tiny_stream(3), list[str](), tmp_path / "run.safetensors"
    whole, second = build("hn"), build("hn")
    expected = train(whole, stream, checkpoint=path)
    path.write_bytes(path.read_bytes()[:-40])
    resumed = train(second, stream, checkpoint=path, resume=True, notice=told.append)
    assert_same_run(expected, resumed, whole, second)
    assert "run.previous.safetensors" in told[0]


# --- what is recorded and timed on the way ------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 4, 6, 8, 11])
def test_cosines_from_before_a_stop_are_kept(steps: int, tmp_path: Path) -> None:
    """Stopped within the first, a later and the last experience, or after one."""

    def built() -> Strategy:
        return build("hn", classes=3, lookahead="first", record_cosine=True)

    path, whole, second = tmp_path / "checkpoint.safetensors", built(), built()
    expected = train(whole, STREAM)
    assert len(expected.recorded["cosine"]) > 4
    with pytest.raises(KeyboardInterrupt):
        train(built(), STREAM, checkpoint=path, stop=StopAfter(steps))
    result = train(second, STREAM, checkpoint=path, resume=True)
    assert_same_run(expected, result, whole, second)
    again = built()  # of a run that is whole, nothing is left to learn
    assert train(again, STREAM, checkpoint=path, resume=True).recorded == expected.recorded


def test_cosines_of_checkpoints_without_them_begin_where_the_run_goes_on(tmp_path: Path) -> None:
    """Earlier versions did not save them."""
    path = tmp_path / "checkpoint.safetensors"
    expected = train(build("hn", classes=3, lookahead="first", record_cosine=True), STREAM)
    with pytest.raises(InterruptedRunError):
        train(build("hn", classes=3, lookahead="first", record_cosine=True), STREAM, checkpoint=path, stop_in=2)
    tensors, facts = load_checkpoint(path)
    old = {name: value for name, value in tensors.items() if not name.startswith("recorded.")}
    assert len(old) == len(tensors) - 1
    save_checkpoint(path, old, facts)
    strategy = build("hn", classes=3, lookahead="first", record_cosine=True)
    last = train(strategy, STREAM, checkpoint=path, resume=True).recorded["cosine"]
    assert 0 < len(last) < len(expected.recorded["cosine"])
    assert last == expected.recorded["cosine"][-len(last) :]


def test_the_seconds_of_an_epoch_that_was_begun_are_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that a second passes on between two looks: what was stopped counts as much as what came after it."""
    ticks = itertools.count()
    monkeypatch.setattr("hypertail.training.clock.time.perf_counter", lambda: float(next(ticks)))
    path = tmp_path / "checkpoint.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train(build("naive", classes=3), STREAM, checkpoint=path, stop=StopAfter(2))
    saved = load_checkpoint(unfinished_of(path))[1]
    assert saved["seconds"]["training"] > 0
    assert sum(saved["seconds"].values()) <= saved["elapsed"]
    result = train(build("naive", classes=3), STREAM, checkpoint=path, resume=True)
    assert result.seconds["training"] > saved["seconds"]["training"]
    assert sum(result.seconds.values()) <= sum(result.seconds_per_experience)


def test_a_phase_counts_once_whenever_it_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([10.0, 12.0, 15.0, 20.0, 21.0])
    monkeypatch.setattr("hypertail.training.clock.time.perf_counter", lambda: next(times))
    saved = [0.0]
    clock = Clock(Result(torch.zeros(1, 1)), torch.device("cpu"), lambda: saved[0])
    with clock("training"):
        assert clock.so_far()["training"] == 2
        saved[0] = 100.0  # features that another run has computed
    assert clock.so_far() == clock.result.seconds == {"features": 0.0, "training": 105.0, "evaluation": 0.0}
    with clock("features"):
        pass
    assert clock.result.seconds == {"features": 1.0, "training": 105.0, "evaluation": 0.0}
