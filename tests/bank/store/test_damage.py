"""A bank from elsewhere touches no file but its own, and a file that cannot be read costs no other."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch

from hypertail.bank.store import Store, TaskRef, in_effect, verify
from hypertail.bank.store.layout import KEPT
from hypertail.bank.store.manifest import Entry, digest_of
from hypertail.errors import CheckpointError, ConfigError
from support.errors import refused


def put(store: Store, name: str, value: float) -> None:
    with store.change() as change:
        number = change.manifest.next_id
        file = change.put(f"task-{number}", {"x": torch.full((8,), value)}, {"name": name})
        change.commit("learn", task=name, tasks=(*change.manifest.tasks, TaskRef(number, name, file)))


def filled(place: Path) -> Store:
    store = Store.create(place, {"made": "for a test"})
    for value, name in enumerate(("a", "b", "c")):
        put(store, name, float(value))
    return store


def names(store: Store) -> list[str]:
    return [task.name for task in store.manifest.tasks]


def rewritten(store: Store, **values: object) -> None:
    """Give the current manifest other values, with digests that are right."""
    text = json.dumps({**json.loads(store.manifest.to_text()), **values})
    digest = digest_of(text.encode())
    store.place_of(store.manifest.generation).write_text(f"{digest}\n{text}")
    pointer = json.loads((store.path / "bank.json").read_text())
    (store.path / "bank.json").write_text(json.dumps({**pointer, "manifest": digest}))


@pytest.mark.parametrize("absolute", [False, True])
def test_a_manifest_erases_no_file_of_others(absolute: bool, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    rewritten(store, erased=[str(victim) if absolute else "../victim.txt"])
    with refused(CheckpointError, found="file name that no bank gives"):
        put(Store.open(store.path), "d", 3.0)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "bank.json"])
def test_nothing_is_written_through_a_link(name: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    victim = tmp_path / "victim.txt"
    victim.write_text("mine" if name == "lock" else (store.path / name).read_text())
    before = victim.read_text()
    (store.path / name).unlink()
    (store.path / name).symlink_to(victim)
    with refused(CheckpointError, found=f"a link, {name}"):
        Store.open(store.path)
    if name == "lock":
        with refused(CheckpointError, found="a link, lock"):
            put(store, "d", 3.0)
    assert victim.read_text() == before


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="a system without O_NOFOLLOW")
def test_a_link_that_is_made_meanwhile_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = filled(tmp_path / "bank")
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    (store.path / "lock").unlink()
    (store.path / "lock").symlink_to(victim)
    monkeypatch.setattr("hypertail.bank.store.lock.check_no_link", lambda path: None)
    with pytest.raises(OSError, match="symbolic links"):
        put(store, "d", 3.0)
    assert victim.read_text() == "mine"


@pytest.mark.parametrize("name", ["lock", "generations/000000.json"])
def test_a_new_bank_is_not_made_over_links(name: str, tmp_path: Path) -> None:
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    link = tmp_path / "bank" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(victim)
    with refused(ConfigError, required="nothing is yet", found="other files"):
        Store.create(tmp_path / "bank", {})
    assert victim.read_text() == "mine"


def test_files_that_are_links_are_damaged(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    file = store.path / store.manifest.tasks[0].file.name
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    assert [(problem.what, problem.concerns) for problem in verify(store).problems] == [("a link", ("a",))]
    with refused(CheckpointError, found="a link"):
        store.load(store.manifest.tasks[0].file)


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize("name", ["000003.json", "bank.json"])
def test_a_file_that_cannot_be_read_just_then_costs_nothing(
    name: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = filled(tmp_path / "bank")
    before = sorted(path.name for path in store.path.rglob("*"))
    real = Path.read_bytes

    def read_bytes(self: Path) -> bytes:
        if self.name == name:
            raise OSError(code, os.strerror(code))
        return real(self)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    with refused(CheckpointError, problem=name, found=os.strerror(code), hint="Try again"):
        Store.open(store.path)
    with refused(CheckpointError, problem=name), store.change():
        pass
    monkeypatch.undo()
    assert sorted(path.name for path in store.path.rglob("*")) == before
    assert names(Store.open(store.path)) == ["a", "b", "c"]


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_after_damage_the_newest_task_can_be_brought_back(damage: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    place, file = store.place_of(3), store.path / store.manifest.tasks[2].file.name
    whole = place.read_bytes()
    if damage == "flipped":
        place.write_bytes(whole[:-9] + bytes([whole[-9] ^ 4]) + whole[-8:])
    else:
        place.unlink()
    again = Store.open(store.path)
    assert names(again) == ["a", "b"]
    put(again, "d", 9.0)
    put(Store.open(store.path), "e", 9.0)
    assert names(Store.open(store.path)) == ["a", "b", "d", "e"]
    assert file.exists()
    assert [task.id for task in Store.open(store.path).manifest.tasks] == [0, 1, 3, 4], "the id of c is its own"
    place.write_bytes(whole)  # from a copy, say
    last = Store.open(store.path)
    assert last.generations() == [0, 1, 2, 3, 4, 5]
    last.rollback(3)
    assert names(last) == ["a", "b", "c"]
    assert [entry.task for entry in last.history()] == [None, "a", "b", "c", "d", "e", None]
    assert [entry.task for entry in in_effect(last.history())] == [None, "a", "b", "c"]
    assert verify(last).passed


def test_a_manifest_with_a_flipped_name_deletes_no_file(tmp_path: Path) -> None:
    """Its JSON is right, and so is the form of the name: only its digest tells."""
    store = filled(tmp_path / "bank")
    file = store.manifest.tasks[0].file
    with store.change() as change:
        change.commit("forget", task="a", tasks=change.manifest.tasks[1:])
    for number in (1, 2, 3):
        place = store.place_of(number)
        other = file.name.replace(file.digest[:12], "0" * 12)
        place.write_text(place.read_text().replace(file.name, other))
    put(store, "d", 3.0)
    assert (store.path / file.name).exists()


def test_damage_is_left_behind_with_its_generation(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    file = store.path / store.manifest.tasks[2].file.name
    store.place_of(3).write_text("{}")
    store = Store.open(store.path)
    for _ in range(KEPT + 1):
        with store.change() as change:
            change.commit("rename")
    assert 3 not in store.generations()
    assert not file.exists()
    assert verify(store).passed


def test_a_reader_is_told_that_the_bank_has_changed(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    reader = Store.open(store.path)
    file = store.manifest.tasks[0].file
    with store.change() as change:
        change.commit("forget", task="a", tasks=change.manifest.tasks[1:], erase=[file])
    with refused(CheckpointError, problem="changed meanwhile", required="generation 3", found="generation 4"):
        reader.load(file)
    reader.refresh()
    assert names(reader) == ["b", "c"]
    (store.path / reader.manifest.tasks[0].file.name).unlink()
    with refused(CheckpointError, required="bytes that were written", hint="verify"):
        reader.load(reader.manifest.tasks[0].file)


def test_a_bank_begins_with_its_files(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "bank", {}, {"backbone": {"x": torch.ones(3)}})
    again = Store.open(tmp_path / "bank")
    assert again.manifest.generation == 0
    assert torch.equal(again.load(again.manifest.shared["backbone"])[0]["x"], torch.ones(3))
    assert store.manifest == again.manifest
    assert verify(again).passed


@pytest.mark.parametrize("failing", ["000000.json", "bank.json", "files"])
def test_a_making_that_fails_can_be_repeated(failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, tensors = tmp_path / "bank", {"backbone": {"x": torch.ones(3)}}
    real = os.replace

    def full(source: str, target: str) -> None:
        if failing in (Path(target).name, Path(target).parent.name):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises((OSError, CheckpointError)):
        Store.create(place, {}, tensors)
    monkeypatch.undo()
    with refused(ConfigError, problem="no bank"):
        Store.open(place)
    Store.create(place, {}, tensors)
    assert list(Store.open(place).manifest.shared) == ["backbone"]


def test_a_rollback_keeps_the_file_of_the_model(tmp_path: Path) -> None:
    """Older versions wrote it in a commit of its own, so that generation 0 had none."""
    facts = {"backbone": {"stored": True, "digest": "abc"}}
    store = Store.create(tmp_path / "bank", facts)
    with store.change() as change:
        change.commit("backbone", shared={"backbone": change.put("backbone", {"x": torch.ones(3)}, {})})
    put(store, "a", 0.0)
    ref = store.manifest.shared["backbone"]
    assert store.rollback(0).shared == {"backbone": ref}
    # as an older version left it
    with store.change() as change:
        change.commit("rollback", shared={})
    assert store.rollback(4).shared == {"backbone": ref}


def test_entries_in_effect() -> None:
    def log(*events: str | int) -> list[Entry]:
        return [
            Entry(number, "", "rollback", None, {"to": event})
            if isinstance(event, int)
            else Entry(number, "", event, None, {})
            for number, event in enumerate(events)
        ]

    def found(*events: str | int) -> list[str]:
        return [entry.event for entry in in_effect(log(*events))]

    assert found() == []
    assert found("create", "learn") == ["create", "learn"]
    assert found("create", "learn", 0) == ["create"]
    assert found("create", "a", "b", 1, "c") == ["create", "a", "c"]
    assert found("create", "a", 0, "b", 1) == ["create", "a"], "what was undone is back"
    assert found("create", "a", 0, "b", 2, "c") == ["create", "c"], "to a rollback"
    assert in_effect([Entry(0, "", "create", None, {}), Entry(1, "", "rollback", None, {})]) == []


def forget(store: Store, name: str) -> str:
    """The name of the file that is erased."""
    with store.change() as change:
        gone = next(task for task in change.manifest.tasks if task.name == name)
        tasks = [task for task in change.manifest.tasks if task is not gone]
        change.commit("forget", task=name, entry_facts={"id": gone.id}, tasks=tasks, erase=[gone.file])
    return gone.file.name


@pytest.mark.parametrize("back", [1, 2])
def test_an_older_pointer_loses_no_generation(back: int, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    pointer = json.loads((store.path / "bank.json").read_text())
    seal = store.digest_on_disk(back)
    (store.path / "bank.json").write_text(json.dumps({**pointer, "generation": back, "manifest": seal}))
    again = Store.open(store.path)
    assert names(again) == ["a", "b", "c"]
    assert f"names generation {back}, and generation 3 is whole" in again.notices[0]
    assert verify(again).passed == (back == 2), "by one it is older, too, where a process was killed"
    with again.change():
        assert json.loads((store.path / "bank.json").read_text())["generation"] == 3
    put(again, "d", 3.0)
    last = Store.open(store.path)
    assert (names(last), last.notices, last.generations()) == (["a", "b", "c", "d"], [], [0, 1, 2, 3, 4])
    assert verify(last).passed


def test_an_older_pointer_brings_back_nothing_that_was_forgotten(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    pointer = (store.path / "bank.json").read_text()
    kept = store.path / store.manifest.tasks[0].file.name
    content = kept.read_bytes()
    file = forget(store, "a")
    (store.path / "bank.json").write_text(pointer)
    kept.write_bytes(content)  # as a backup of all brings it
    again = Store.open(store.path)
    assert names(again) == ["b", "c"]
    assert [problem.file for problem in verify(again).problems] == [file]
    put(again, "d", 3.0)
    assert not kept.exists()
    assert verify(again).passed


def test_a_generation_that_is_being_made_does_not_count_yet(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    older = json.dumps(
        {**json.loads((store.path / "bank.json").read_text()), "generation": 2, "manifest": store.digest_on_disk(2)}
    )
    with store.change():
        (store.path / "bank.json").write_text(older)
        reader = Store.open(store.path)
    assert (names(reader), reader.notices) == (["a", "b"], [])


def test_a_damaged_generation_above_the_pointer_stays(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    store.place_of(4).write_text("damaged")
    again = Store.open(store.path)
    assert (names(again), "000004.json of the bank is damaged" in again.notices[0]) == (["a", "b", "c"], True)
    put(again, "d", 3.0)
    assert store.place_of(4).read_text() == "damaged"
    assert again.manifest.generation == 5


@pytest.mark.parametrize("forgotten", ["a", "b"])
def test_a_damaged_forgetting_costs_no_other_task(forgotten: str, tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    file = forget(store, forgotten)
    place = store.place_of(4)
    whole = place.read_bytes()
    place.write_bytes(whole[:90] + bytes([whole[90] ^ 4]) + whole[91:])
    again = Store.open(store.path)
    assert again.manifest.generation == 3
    assert names(again) == [name for name in "abc" if name != forgotten]
    assert f"left out, as a later generation had forgotten them: {forgotten}" in again.notices
    assert again.manifest.erased == (file,)
    put(again, "d", 3.0)
    with refused(ConfigError, found="forgotten since"):
        again.rollback(3)


def test_a_file_that_is_lost_otherwise_is_damage(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    put(store, "d", 3.0)
    store.place_of(4).write_text("damaged")
    (store.path / store.manifest.tasks[0].file.name).unlink()
    again = Store.open(store.path)
    assert names(again) == ["a", "b", "c"]
    assert ("a",) in [problem.concerns for problem in verify(again).problems]


def test_a_missing_pointer_is_damage(tmp_path: Path) -> None:
    store = filled(tmp_path / "bank")
    (store.path / "bank.json").unlink()
    again = Store.open(store.path)
    assert names(again) == ["a", "b", "c"]
    assert "bank.json of the bank is missing; generation 3 was opened" in again.notices[0]
    with refused(ConfigError, found="a bank"):
        Store.create(store.path, {})
    put(again, "d", 3.0)
    assert Store.open(store.path).notices == []
    assert names(Store.open(store.path)) == ["a", "b", "c", "d"]
