"""The directory of a bank: old or new whatever happens, every bit accounted for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hypertail.bank.store import Store, TaskRef, verify
from hypertail.bank.store.layout import KEPT
from hypertail.errors import CheckpointError, ConfigError
from support.commands import ENVIRONMENT
from support.errors import refused

NAMES = ("a", "b", "c", "d")


def put(store: Store, name: str, value: float) -> None:
    with store.change() as change:
        file = change.put(f"task-{name}", {"x": torch.full((8,), value)}, {"name": name})
        number = change.manifest.next_id
        change.commit("learn", task=name, tasks=(*change.manifest.tasks, TaskRef(number, name, file)))


def filled(place: Path, count: int = 3) -> Store:
    store = Store.create(place, {"made": "for a test"})
    for number in range(count):
        put(store, NAMES[number], float(number))
    return store


def contents(store: Store) -> dict[str, float]:
    return {task.name: float(store.load(task.file)[0]["x"][0]) for task in store.manifest.tasks}


def test_what_was_put_comes_back(tmp_path: Path) -> None:
    filled(tmp_path / "bank")
    store = Store.open(tmp_path / "bank")
    assert contents(store) == {"a": 0.0, "b": 1.0, "c": 2.0}
    assert store.manifest.facts == {"made": "for a test"}
    assert store.manifest.generation == 3
    assert [entry.event for entry in store.history()] == ["create", "learn", "learn", "learn"]
    report = verify(store)
    assert report.passed
    assert report.works == ("a", "b", "c")
    assert report.files == 4 + 3


def test_a_change_that_is_not_committed_leaves_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with store.change() as change:
        change.put("task-x", {"x": torch.zeros(2)}, {})
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


def test_a_reader_of_an_old_generation_is_not_disturbed(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    reader = Store.open(tmp_path / "bank")
    with store.change() as change:
        change.commit("forget", task="a", tasks=change.manifest.tasks[1:])
    assert contents(reader) == {"a": 0.0, "b": 1.0, "c": 2.0}
    reader.refresh()
    assert list(contents(reader)) == ["b", "c"]


def test_rollback_makes_a_new_generation(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    assert store.rollback(1).generation == 4
    assert list(contents(store)) == ["a"]
    store.rollback(3)
    assert list(contents(store)) == ["a", "b", "c"]
    assert store.manifest.next_id == 3
    with refused(ConfigError, problem="generation 9", required="0 to 5"):
        store.rollback(9)


def test_what_is_erased_is_gone_for_good(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    file = store.manifest.tasks[0].file
    with store.change() as change:
        change.commit("forget", task="a", tasks=change.manifest.tasks[1:], erase=[file])
    assert not (store.path / file.name).exists()
    with refused(ConfigError, found="a, forgotten"):
        store.rollback(2)
    assert verify(Store.open(store.path)).passed


def test_old_generations_and_their_files_go(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank", 1)
    for number in range(KEPT + 5):
        with store.change() as change:
            file = change.put("task-0", {"x": torch.full((8,), float(number))}, {})
            change.commit("extend", task="a", tasks=(TaskRef(0, "a", file),))
    assert len(store.generations()) == KEPT
    assert len(list((store.path / "files").iterdir())) == KEPT
    assert verify(store).passed
    assert len(store.history()) == KEPT + 7


def test_files_of_others_stay(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    notes = [store.path / "notes.txt", store.path / "files" / "mine.safetensors", store.path / "files" / ".x.part"]
    for note in notes:
        note.write_text("mine")
    left = store.path / "files" / "task-z-0123456789ab.safetensors"
    left.write_bytes(b"of a process that was killed")
    half = store.path / "files" / ".task-z.01234567.part"
    half.write_bytes(b"half")
    put(store, "d", 3.0)
    assert all(note.exists() for note in notes)
    assert not left.exists()
    assert not half.exists()
    assert set(verify(store).unknown) == {"notes.txt", "files/mine.safetensors", "files/.x.part"}


@pytest.mark.fuzz
def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    for file in sorted(path for path in store.path.rglob("*") if path.is_file() and path.name != "lock"):
        whole = file.read_bytes()
        for place in {0, len(whole) // 3, len(whole) // 2, len(whole) - 1}:
            damaged = bytearray(whole)
            damaged[place] ^= 4
            file.write_bytes(bytes(damaged))
            assert file.name in found_in(store.path), place
        file.write_bytes(whole)
    assert verify(Store.open(store.path)).passed


def found_in(place: Path) -> str:
    """What opening and verifying a bank say of it."""
    try:
        opened = Store.open(place)
    except CheckpointError as error:
        return str(error)
    report = verify(opened)
    assert not report.passed
    return " ".join((*opened.notices, *(problem.file for problem in report.problems)))


def test_a_damaged_file_concerns_its_task_alone(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    file = store.path / store.manifest.tasks[1].file.name
    file.write_bytes(file.read_bytes()[:-1])
    report = verify(store)
    assert [problem.concerns for problem in report.problems] == [("b",)]
    assert report.works == ("a", "c")
    assert contents_of(store, "a") == 0.0
    with refused(CheckpointError, problem=file.name, hint="verify"):
        contents_of(store, "b")
    file.unlink()
    assert "No such file" in verify(store).problems[0].what


def contents_of(store: Store, name: str) -> float:
    return float(store.load(next(task.file for task in store.manifest.tasks if task.name == name))[0]["x"][0])


@pytest.mark.parametrize("which", ["bank.json", "generations/000003.json"])
def test_the_last_whole_generation_is_opened_with_a_notice(which: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    newest = store.path / store.manifest.tasks[2].file.name
    (store.path / which).write_text("{}")
    again = Store.open(store.path)
    assert again.manifest.generation == (3 if which == "bank.json" else 2)
    assert which in again.notices[0]
    put(again, "d", 9.0)
    assert Store.open(store.path).notices == []
    assert newest.exists(), "the damaged manifest may be mended, and it alone names this file"


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    pointer = json.loads((store.path / "bank.json").read_text())
    (store.path / "bank.json").write_text(json.dumps({**pointer, "version": 2}))
    with refused(CheckpointError, problem="too new", found="2", hint="Upgrade"):
        Store.open(store.path)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "files/../../x", "files/a.safetensors", "lock"])
def test_a_manifest_cannot_name_other_files(name: str, tmp_path: Path) -> None:
    from hypertail.bank.store.manifest import manifest_of

    store = filled(tmp_path / "bank", 1)
    value = json.loads(store.manifest.to_text())
    value["tasks"][0]["file"]["name"] = name
    with refused(CheckpointError, found="file name"):
        manifest_of(json.dumps(value), "x")


def test_links_are_refused(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    (store.path / "files").rename(tmp_path / "elsewhere")
    (store.path / "files").symlink_to(tmp_path / "elsewhere")
    with refused(CheckpointError, found="files"):
        Store.open(store.path)


def test_no_bank_there(tmp_path: Path) -> None:
    with refused(ConfigError, problem="no bank", found="nothing there"):
        Store.open(tmp_path / "x")
    (tmp_path / "x").mkdir()
    with refused(ConfigError, problem="no bank", found="another directory"):
        Store.open(tmp_path / "x")
    (tmp_path / "x" / "photo.jpg").touch()
    with refused(ConfigError, required="nothing is yet", found="other files"):
        Store.create(tmp_path / "x", {})


@pytest.mark.parametrize(
    "left", ["", "lock", "generations", "files/", "generations/000000.json", ".bank.json.01234567.part"]
)
def test_a_bank_whose_making_was_killed_is_made_anew(left: str, tmp_path: Path) -> None:
    place = tmp_path / "bank"
    for name in ("generations", "files") if left.startswith((".", "generations/", "files")) else ("",):
        (place / name).mkdir(parents=True)
    if left.endswith(("json", "part", "lock")):
        (place / left).write_text("half")
    filled(place, 1)
    assert contents(Store.open(place)) == {"a": 0.0}
    assert not list(place.rglob("*.part"))


@pytest.mark.parametrize("other", ["generations/000001.json", "files/mine.safetensors", "generations", "x.part"])
def test_other_files_are_no_bank_whose_making_was_killed(other: str, tmp_path: Path) -> None:
    file = tmp_path / "bank" / other
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    with refused(ConfigError, required="nothing is yet", found="other files"):
        Store.create(tmp_path / "bank", {})
    assert file.read_text() == "mine"


WRITER = """
import sys, time
from pathlib import Path
from hypertail.bank.store import Store
with Store.open(Path(sys.argv[1])).change() as change:
    print("holding", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.crash
def test_one_writer_at_a_time_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    command = [sys.executable, "-c", WRITER, str(store.path)]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "holding\n"
        with refused(ConfigError, problem="being changed", found=str(writer.pid)), store.change(wait=0.2):
            pass
        assert contents(Store.open(store.path)) == {"a": 0.0, "b": 1.0, "c": 2.0}
        writer.kill()
        writer.wait()
    put(store, "d", 3.0)
    assert list(contents(store)) == ["a", "b", "c", "d"]


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from hypertail.bank.store import Store, TaskRef
at, failing, count = int(sys.argv[2]), sys.argv[3], 0
def counted(name):
    real = getattr(os, name)
    def call(*args, **kwargs):
        global count
        count += 1
        if count == at:
            if failing == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(int(failing), os.strerror(int(failing)))
        return real(*args, **kwargs)
    setattr(os, name, call)
store = Store.open(Path(sys.argv[1]))
for name in ("open", "replace", "unlink", "fsync", "link", "rename", "remove"):
    counted(name)
try:
    with store.change() as change:
        file = change.put("task-9", {"x": torch.full((8,), 9.0)}, {})
        old = change.manifest.tasks[0].file
        change.commit("extend", tasks=(TaskRef(0, "a", file), *change.manifest.tasks[1:]), erase=[old])
except Exception as error:
    print("failed", error)
print("calls", count)
"""


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("failing", ["kill", "28", "5"])
def test_old_or_new_after_any_operation(failing: str, tmp_path: Path) -> None:
    """SIGKILL, a full disk and an I/O error, at one call after the other."""
    import shutil

    filled(tmp_path / "made")
    outcomes = set()
    for at in range(1, 40, 3 if failing == "kill" else 2):
        place = tmp_path / f"{at}"
        shutil.copytree(tmp_path / "made", place)
        command = [sys.executable, "-c", KILLED, str(place), str(at), failing]
        done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=120)
        store = Store.open(place)
        found = contents(store)
        assert found in ({"a": 0.0, "b": 1.0, "c": 2.0}, {"a": 9.0, "b": 1.0, "c": 2.0}), done.stderr
        assert not verify(store).problems or not verify(store).problems[0].concerns
        put(store, "d", 3.0)
        assert contents(Store.open(place)) == {**found, "d": 3.0}
        assert not list(place.rglob("*.part"))
        outcomes.add(found["a"])
        if "calls" in done.stdout and int(done.stdout.split("calls")[1]) < at:
            break
    assert outcomes == {0.0, 9.0}


def test_a_directory_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "bank")

    def refuse(*_: object, **__: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises((OSError, CheckpointError)):
        put(store, "d", 1.0)
    monkeypatch.undo()
    assert list(contents(Store.open(store.path))) == ["a", "b", "c"]


@pytest.mark.skipif(os.name == "nt", reason="a system without fsync of folders")
def test_names_are_on_the_disk_before_the_pointer_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "new" / "bank"
    done: list[str] = []
    handles: dict[int, Path] = {}
    really: dict[str, Any] = {name: getattr(os, name) for name in ("open", "replace", "fsync")}

    def opened(path: str | Path, *args: int, **options: int) -> int:
        handle: int = really["open"](path, *args, **options)
        handles[handle] = Path(path)
        return handle

    def replaced(source: str | Path, target: str | Path) -> None:
        really["replace"](source, target)
        done.append(f"name {Path(target).relative_to(tmp_path)}")

    def synced(handle: int) -> None:
        really["fsync"](handle)
        if handles[handle].is_dir():
            done.append(f"sync {handles[handle].relative_to(tmp_path)}")

    for name, call in (("open", opened), ("replace", replaced), ("fsync", synced)):
        monkeypatch.setattr(os, name, call)
    store = Store.create(root, {})
    made = done[: done.index("name new/bank/generations/000000.json")]
    assert {"sync .", "sync new", "sync new/bank"} <= {*made}
    done.clear()
    put(store, "a", 1.0)
    steps = [
        f"name new/bank/{store.manifest.tasks[0].file.name}",
        "sync new/bank/files",
        "name new/bank/generations/000001.json",
        "sync new/bank/generations",
        "name new/bank/bank.json",
        "sync new/bank",
    ]
    assert [step for step in done if not step.endswith(".part")][-6:] == steps
