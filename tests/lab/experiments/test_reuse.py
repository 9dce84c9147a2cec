"""What decides an outcome is recorded when a run begins, and a run that is reused keeps to it."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from hypertail.cli import main
from hypertail.errors import CheckpointError, ConfigError
from hypertail.lab.experiments.begun import Begun, read_begun
from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.directories import CHECKPOINT, OPTIONS
from hypertail.lab.experiments.place import DataPlace, Place, is_relative, stream_of
from hypertail.lab.experiments.precisions import Precisions, precisions_of
from hypertail.lab.experiments.run import execute
from hypertail.lab.records.datarecord import DataRecord
from hypertail.lab.records.runfile import FILE_NAME, RunFile
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.storage.seal import sealed
from hypertail.streams import Stream
from support.runs import Calls, run_in
from support.tiny import tiny_stream

SHORT = dict(trunk_epochs=1)
CONFIG = RunConfig("tiny", "separate", 3, epochs=1, batch_size=8, options=SHORT)
STREAM = tiny_stream(2, per_class=6, size=16)


def run(out: Path, config: RunConfig = CONFIG, **options: Any) -> RunFile:
    usual: dict[str, Any] = {"stream": lambda: STREAM, "cache_bytes": 1 << 24}
    return run_in(out, config, **usual | options)


def stop_in_the_second(done: int, total: int, text: str) -> None:
    if text.startswith("experience 2/"):
        raise KeyboardInterrupt


def begin(out: Path, config: RunConfig = CONFIG, **options: Any) -> Path:
    """Interrupt a run in its second experience; gives its directory."""
    with pytest.raises(KeyboardInterrupt):
        run(out, config, progress=stop_in_the_second, **options)
    return out / config.run_name


def content(directory: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((directory / OPTIONS).read_text())
    return found


# --- precision ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_busy_machine_changes_nothing(tmp_path: Path) -> None:
    """case 1: with `auto`, beside another thread that keeps the processor busy, the same bits."""
    quiet = run(tmp_path / "quiet")
    until, stop = time.monotonic() + 60, threading.Event()

    def spin() -> None:
        while not stop.is_set() and time.monotonic() < until:
            sum(range(1000))

    busy = threading.Thread(target=spin)
    busy.start()
    try:
        begin(tmp_path / "busy")
        again = run(tmp_path / "busy", existing="reuse")
    finally:
        stop.set()
        busy.join()
    assert again.accuracy == quiet.accuracy
    one, other = (load_checkpoint(tmp_path / name / CONFIG.run_name / CHECKPOINT)[0] for name in ("quiet", "busy"))
    assert all(torch.equal(one[name].nan_to_num(-1), other[name].nan_to_num(-1)) for name in one)


def test_the_precision_is_recorded_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 1: on another machine, whose rule says otherwise, a run goes on as it began."""
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: Precisions("mixed", "full"))
    whole = run(tmp_path / "whole")
    directory = begin(tmp_path / "parts")
    assert (content(directory)["precision"], content(directory)["precision_of_trunk"]) == ("mixed", "full")
    monkeypatch.setattr("hypertail.lab.experiments.run.precisions_of", lambda *_: Precisions("full", "full"))
    resumed = run(tmp_path / "parts", existing="reuse")
    assert resumed.accuracy == whole.accuracy
    assert (resumed.extra["precision"], resumed.extra["precision_of_features"]) == ("mixed", "full")
    assert run(tmp_path / "parts", existing="reuse") == resumed


@pytest.mark.parametrize("finished", [False, True])
def test_another_precision_is_another_run(finished: bool, tmp_path: Path) -> None:
    """case 1: what was asked for is not what is there."""
    if finished:
        run(tmp_path, speed="full")
    else:
        begin(tmp_path, speed="full")
    with pytest.raises(ConfigError) as error:
        run(tmp_path, existing="reuse", speed="mixed")
    assert str(error.value) == (
        f"run directory {tmp_path / CONFIG.run_name}: required a run in mixed precision, as --speed mixed says, to "
        "reuse it; found one in full precision. Leave --speed out to go on as it began, or delete the run directory "
        "to start again."
    )
    assert run(tmp_path, existing="reuse", speed="full").extra["precision"] == "full"
    assert run(tmp_path, existing="replace", speed="mixed").extra["precision"] == "mixed"


@pytest.mark.slow
@pytest.mark.parametrize("finished", [False, True])
def test_a_run_of_an_older_version_keeps_its_precision(finished: bool, tmp_path: Path) -> None:
    """case 1: its config.json has the options alone, its checkpoint nothing of the data."""
    whole = run(tmp_path / "whole", speed="mixed")
    if finished:
        directory = tmp_path / "whole" / CONFIG.run_name
        (directory / CHECKPOINT).unlink()
    else:
        directory = begin(tmp_path / "parts", speed="mixed")
        tensors, facts = load_checkpoint(directory / CHECKPOINT)
        known = ("stream", "experiences", "strategy", "learned", "precision", "precision_of_features", "seconds")
        known += ("seconds_per_experience", "bytes_per_experience", "losses", "curves")
        save_checkpoint(directory / CHECKPOINT, tensors, {name: facts[name] for name in known})
    (directory / OPTIONS).write_text(json.dumps(CONFIG.to_json()))
    assert read_begun(directory) == Begun(CONFIG, Precisions("mixed", "mixed"))
    again = run(directory.parent, existing="reuse")
    assert again.accuracy == whole.accuracy
    assert again.extra["precision"] == again.extra["precision_of_features"] == "mixed"
    if not finished:
        assert again.data is None  # nobody knows what its first experience was
    with pytest.raises(ConfigError, match="found one in mixed precision"):
        run(directory.parent, existing="reuse", speed="full")


@pytest.mark.slow
def test_one_weight_set_per_sample_is_full(tmp_path: Path) -> None:
    config = replace(CONFIG, strategy="hn", options=dict(SHORT, per_sample=True, norm="instance"))
    assert precisions_of(config, STREAM, "mixed", torch.device("cpu")) == Precisions("full", "full")
    begin(tmp_path, config, speed="mixed")
    assert run(tmp_path, config, existing="reuse", speed="mixed").extra["precision"] == "full"


@pytest.mark.parametrize("change", [{"precision": "half"}, {"threads": "two"}, {"data": {}}, {"data": {"digest": 1}}])
def test_a_damaged_record_is_named(change: dict[str, Any], tmp_path: Path) -> None:
    directory = begin(tmp_path)
    (directory / OPTIONS).write_text(json.dumps(content(directory) | change))
    with pytest.raises(ConfigError, match=r"options of a run, .*config\.json: required those that hypertail writes"):
        run(tmp_path, existing="reuse")


# --- threads -----------------------------------------------------------------------------------------------------


def test_another_number_of_threads_is_told(tmp_path: Path) -> None:
    """case 39: not refused, since only the last digits may differ; and told once, to whom it concerns."""
    directory = begin(tmp_path)
    threads = torch.get_num_threads()
    assert content(directory)["threads"] == threads
    (directory / OPTIONS).write_text(json.dumps(sealed(content(directory) | {"threads": threads + 3})))
    told: list[str] = []
    result = run(tmp_path, existing="reuse", on_notice=told.append)
    assert told == [
        f"this run began with {threads + 3} CPU threads and goes on with {threads}: results may differ in the last "
        "digits from those of an uninterrupted run."
    ]
    assert result.hardware["threads"] == threads
    run(tmp_path, existing="reuse", on_notice=told.append)
    assert len(told) == 1


def test_the_library_leaves_the_number_of_threads_alone(tmp_path: Path) -> None:
    """case 39: who embeds it decides."""
    before = torch.get_num_threads()
    run(tmp_path)
    assert torch.get_num_threads() == before


# --- data --------------------------------------------------------------------------------------------------------


def photos(root: Path, counts: dict[str, int]) -> Path:
    for number, (name, count) in enumerate(counts.items()):
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(count):
            shade = (40 * number + 10, 200 - 3 * index, 5 * index % 256)
            Image.new("RGB", (16, 16), shade).save(folder / f"{index}.png")
    return root


def of_folder(root: Path) -> RunConfig:
    return replace(CONFIG, stream=f"folder:{root}", strategy="naive", depth=None, image_size=16)


@pytest.mark.parametrize("finished", [False, True])
def test_a_folder_that_changed_is_refused(finished: bool, tmp_path: Path) -> None:
    """cases 3 and 4: a class was added and an image removed between two commands."""
    root = photos(tmp_path / "photos", {"ant": 8, "bee": 8, "cat": 8, "dog": 8})
    config = of_folder(root)
    directory = tmp_path / "runs" / config.run_name
    options: dict[str, Any] = {"cache_bytes": 1 << 24}
    if finished:
        run_in(tmp_path / "runs", config, **options)
    else:
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "runs", config, progress=stop_in_the_second, **options)
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    photos(tmp_path / "photos", {"eel": 8})
    (root / "bee" / "0.png").unlink()
    with pytest.raises(ConfigError) as error:
        run_in(tmp_path / "runs", config, existing="reuse", **options)
    assert str(error.value) == (
        f"data of run directory {directory}: required the data that it began with, to reuse it; found 7 training "
        "images of class 'bee', before 8; a new class 'eel' (8 training images). Restore the data, or delete that "
        "directory to start again."
    )
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


@pytest.mark.parametrize("finished", [False, True])
def test_pixels_that_changed_are_refused(finished: bool, tmp_path: Path) -> None:
    """cases 3 and 4: where all counts stayed."""
    root = photos(tmp_path / "photos", {"ant": 8, "bee": 8, "cat": 8, "dog": 8})
    config, options = of_folder(root), {"cache_bytes": 1 << 24}
    progress = (lambda done, total, text: None) if finished else stop_in_the_second
    try:
        run_in(tmp_path / "runs", config, progress=progress, cache_bytes=1 << 24)
    except KeyboardInterrupt:
        assert not finished
    Image.new("RGB", (16, 16), (1, 2, 3)).save(root / "cat" / "3.png")
    with pytest.raises(ConfigError, match="found other contents: images, their labels or their order"):
        run_in(tmp_path / "runs", config, existing="reuse", cache_bytes=options["cache_bytes"])


def test_a_renamed_file_is_the_same_data(tmp_path: Path) -> None:
    """case 4: what is compared is what is learned."""
    root = photos(tmp_path / "photos", {"ant": 8, "bee": 8})
    config = of_folder(root)
    first = run_in(tmp_path / "runs", config, cache_bytes=1 << 24)
    (root / "ant" / "7.png").rename(root / "ant" / "8.png")
    assert run_in(tmp_path / "runs", config, existing="reuse", cache_bytes=1 << 24) == first


def test_what_was_read_is_recorded(tmp_path: Path) -> None:
    """case 3: in config.json from the start, in run.json at the end, with the digest in the checkpoint."""
    config = replace(CONFIG, stream="digits", strategy="naive", depth=None, image_size=8, experiences=2)
    directory = tmp_path / config.run_name
    result = run_in(tmp_path, config, cache_bytes=1 << 24)
    stream = stream_of(config)
    assert result.data == DataRecord(stream.digest, stream.reports)
    assert RunFile.read(directory / FILE_NAME).data == result.data
    place = Place(DataPlace(), "cpu", cache_bytes=1 << 24)
    begun = Begun(config, Precisions("full", "full"), torch.get_num_threads(), result.data, place)
    assert replace(read_begun(directory), place=place) == begun
    assert read_begun(directory).place == place
    facts = load_checkpoint(directory / CHECKPOINT)[1]
    assert [entry["classes"] for entry in facts["contents"]] == [2, 2]
    assert len({entry["digest"] for entry in facts["contents"]}) == 2


def test_nothing_is_said_of_runs_that_did_not_record_their_data(tmp_path: Path) -> None:
    first = run(tmp_path)
    directory = tmp_path / CONFIG.run_name
    for name in (OPTIONS, FILE_NAME):
        kept = json.loads((directory / name).read_text())
        del kept["data"]
        (directory / name).write_text(json.dumps(sealed(kept)))
    again = run(tmp_path, existing="reuse", stream=lambda: pytest.fail("loaded"))
    assert again == replace(first, data=None)


def test_every_image_counts_and_is_digested_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 3: two strategies on one stream."""
    counted: list[int] = []
    from hypertail.streams import stream as module

    digest = module.experiences_digest
    monkeypatch.setattr(module, "experiences_digest", lambda given: (counted.append(len(given)), digest(given))[1])
    stream = tiny_stream(2, per_class=6, size=16, seed=8)
    for strategy in ("separate", "lr"):
        run(tmp_path, replace(CONFIG, strategy=strategy), stream=lambda: stream)
        run(tmp_path, replace(CONFIG, strategy=strategy), stream=lambda: stream, existing="reuse")
    assert counted == [2]


def report_changes(before: dict[str, int], now: dict[str, int]) -> str:
    from hypertail.streams.report import DatasetReport

    one, other = (DataRecord(d, (DatasetReport("x", "y", {"train": c}),)) for d, c in (("1", before), ("2", now)))
    with pytest.raises(ConfigError) as error:
        one.refuse_other(other, "run")
    return error.value.found


def test_what_changed_is_listed_up_to_a_point() -> None:
    """cases 3 and 4: a hundred differences are no better than four."""
    assert report_changes({"a": 3, "b": 1}, {"a": 3}) == "no class 'b' any more (1 training image)"
    many = {f"c{number}": 2 for number in range(9)}
    found = report_changes({}, many)
    assert found.count("a new class") == 4
    assert found.endswith("; and 5 more")
    assert report_changes({"a": 1}, {"a": 1}) == "other contents: images, their labels or their order"


# --- where data is -----------------------------------------------------------------------------------------------


def test_a_place_says_what_the_command_line_says() -> None:
    assert DataPlace().arguments() == []
    place = DataPlace(Path("my data"), False, "photo", "kind")
    assert place.arguments() == [
        *("--data", "my data", "--image-column", "photo", "--label-column", "kind", "--no-cache")
    ]
    assert DataPlace(cache=True).arguments() == ["--cache"]


def stopped_and_resumed(folder: Path, elsewhere: Path, config: RunConfig, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Begin a run in one working directory and resume it in another; gives the run directory."""
    elsewhere.mkdir()
    monkeypatch.chdir(folder)
    out = elsewhere / "runs"
    run_in(elsewhere / "whole", config, cache_bytes=1 << 24)
    whole = RunFile.read(elsewhere / "whole" / config.run_name / FILE_NAME)
    with pytest.raises(KeyboardInterrupt):
        run_in(out, config, progress=stop_in_the_second, cache_bytes=1 << 24)
    directory = out / config.run_name
    assert read_begun(directory).config.identity() == config.identity()
    monkeypatch.chdir(elsewhere)
    main(["resume", str(directory)])
    again = RunFile.read(directory / FILE_NAME)
    assert again.matrix.tobytes() == whole.matrix.tobytes()
    assert (again.config, again.stream) == (whole.config, whole.stream)
    return directory


def test_a_folder_is_found_from_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos(tmp_path / "photos", {"ant": 8, "bee": 8, "cat": 8, "dog": 8})
    config = of_folder(Path("photos"))
    directory = stopped_and_resumed(tmp_path, tmp_path / "elsewhere", config, monkeypatch)
    assert content(directory)["stream"] == "folder:photos"
    assert content(directory)["place"]["base"] == str(tmp_path)


def test_a_folder_that_moved_with_its_runs_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, now = tmp_path / "before", tmp_path / "now"
    photos(before / "photos", {"ant": 8, "bee": 8, "cat": 8, "dog": 8})
    config = of_folder(Path("photos"))
    monkeypatch.chdir(before)
    with pytest.raises(KeyboardInterrupt):
        run_in(before / "runs", config, progress=stop_in_the_second, cache_bytes=1 << 24)
    before.rename(now)
    monkeypatch.chdir(now)
    main(["resume", "runs"])
    assert (now / "runs" / config.run_name / FILE_NAME).is_file()


def test_only_a_relative_folder_has_a_base(tmp_path: Path) -> None:
    assert "base" not in content(begin(tmp_path))["place"]
    assert [is_relative(name) for name in ("folder:x", "folder:/x", "folder:~/x", "pair:a,b", "hub:a/b")] == [
        *(True, False, False, False, False),
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_names_that_are_not_utf8_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / os.fsdecode(b"f\xf6lder")
    photos(folder / os.fsdecode(b"ph\xf6tos"), {"ant": 8, "bee": 8, "cat": 8, "dog": 8})
    config = of_folder(Path(os.fsdecode(b"ph\xf6tos")))
    directory = stopped_and_resumed(folder, tmp_path / "elsewhere", config, monkeypatch)
    place = replace(
        Place(DataPlace(folder, base=folder), "cpu", cache_bytes=1 << 24, command=f"hypertail run {config.stream}"),
        weights=folder / "w.safetensors",
    )
    replace(read_begun(directory), place=place).write(directory)
    found = read_begun(directory)
    assert found.config == config
    assert found.place == replace(place, command="hypertail run folder:ph?tos")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no names that are not UTF-8")
def test_a_run_directory_that_is_not_utf8_is_refused_before_anything_is_learned(tmp_path: Path) -> None:
    """What is saved there could not be read again."""
    out = tmp_path / os.fsdecode(b"r\xfcns")
    with pytest.raises(ConfigError, match="required a path in UTF-8"):
        run(out, stream=lambda: pytest.fail("loaded"))
    assert not out.exists()


def test_trunks_are_found_where_the_run_began(tmp_path: Path) -> None:
    """As those of a search, which lie elsewhere; also if all of it moved."""
    place = Place(cache_bytes=1 << 24)
    listener = Calls(stop_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        execute(
            CONFIG,
            tmp_path / "a" / "trial" / "run",
            place,
            trunks=tmp_path / "a" / "trunks",
            stream=lambda: STREAM,
            listener=listener,
        )
    (tmp_path / "a").rename(tmp_path / "b")
    directory = tmp_path / "b" / "trial" / "run"
    assert content(directory)["place"]["trunks"] == str(Path("..", "..", "trunks"))
    (trunk,) = (tmp_path / "b" / "trunks").iterdir()
    before = trunk.stat().st_mtime_ns
    execute(CONFIG, directory, place, existing="reuse", stream=lambda: STREAM)
    assert (directory / FILE_NAME).is_file()
    assert trunk.stat().st_mtime_ns == before
    assert not (directory.parent / "trunks").exists()
    assert read_begun(directory).trunks_of(directory).resolve() == trunk.parent.resolve()


def test_trunks_of_older_runs_lie_beside_them(tmp_path: Path) -> None:
    assert Begun(CONFIG).trunks_of(tmp_path / "run") == tmp_path / "trunks"


def test_a_place_reaches_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}

    def build(name: str, **options: Any) -> Stream:
        given.update(options)
        return STREAM

    monkeypatch.setattr("hypertail.lab.experiments.place.build_stream", build)
    config = replace(CONFIG, images_per_class=7, validation=0.2, experiences=3, augment="crop")
    stream_of(config, DataPlace(Path("x"), True, "photo", "kind"))
    assert (given["data"], given["cache"], given["image_column"], given["label_column"]) == (
        *(Path("x"), True, "photo", "kind"),
    )
    assert [given[name] for name in ("images_per_class", "validation", "experiences", "augment")] == [7, 0.2, 3, "crop"]


def test_trainer_and_lab_agree_on_what_a_run_is(tmp_path: Path) -> None:
    """case 6: a run directory whose checkpoint is of another run, by a copy of files, is not continued."""
    directory = begin(tmp_path / "one")
    other = begin(tmp_path / "other", replace(CONFIG, seed=1))
    (directory / CHECKPOINT).write_bytes((other / CHECKPOINT).read_bytes())
    with pytest.raises(CheckpointError, match="belongs to another run: required seed 1; found 0"):
        run(tmp_path / "one", existing="reuse")
