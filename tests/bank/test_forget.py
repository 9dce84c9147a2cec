"""Forgetting: every file of a task goes, also of one that a rollback took out, and no file of another task."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import hypertail as ht
from hypertail.bank.contents import Contents
from hypertail.bank.founding import SLIM
from hypertail.bank.store import Change, Store, TaskRef, verify
from hypertail.bank.store.manifest import digest_of
from hypertail.bank.store.verify import UNDELETED
from hypertail.bank.upkeep import Upkeep
from hypertail.errors import CheckpointError, ConfigError
from support.banks import COLD, WARM, answers, new_bank, pictures, resnet
from support.errors import refused


def learn(bank: ht.Bank, name: str, seed: int = 0, **options: Any) -> None:
    bank.learn(name, pictures(WARM, 6, seed=seed), **{"epochs": 1, "method": "head", **options})


def owners(path: Path) -> list[int]:
    """The ids of the tasks that have files there."""
    return sorted(int(place.name.split("-")[1]) for place in path.glob("files/task-*"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bank of `alpha` and `other`, with `mistake` between them, which was rolled back."""
    bank = new_bank(tmp_path_factory.mktemp("made") / "bank")
    learn(bank, "alpha")
    learn(bank, "mistake", 1)
    bank.rollback(1)
    learn(bank, "other", 2)
    return bank.path


@pytest.fixture
def bank(made: Path, tmp_path: Path) -> ht.Bank:
    shutil.copytree(made, tmp_path / "bank")
    return ht.Bank.open(tmp_path / "bank", model=resnet())


def upkeep(path: Path) -> Upkeep:
    """As a command does it, without the model."""
    return Upkeep(Contents(Store.open(path), "cpu"))


def test_a_task_that_was_rolled_back_is_forgotten(bank: ht.Bank) -> None:
    assert bank.verify().earlier == ("mistake",)
    assert "in earlier generations alone: mistake" in "\n".join(bank.verify().lines())
    before = answers(bank, "other")
    forgotten = bank.forget("mistake")
    assert forgotten.exact
    assert forgotten.explanation == "Nothing that is left in the bank learned from it."
    assert owners(bank.path) == [0, 2]
    assert list(bank.tasks) == ["alpha", "other"]
    assert torch.equal(answers(bank, "other"), before)
    assert bank.certify().passed
    assert bank.verify().passed
    assert bank.verify().earlier == ()
    assert (bank.log()[-1].task, bank.log()[-1].facts) == ("mistake", {"id": 1, "exact": True})
    with refused(ConfigError, problem="generation 2", found="mistake, forgotten"):
        bank.rollback(2)
    bank.rollback(1)
    assert list(bank.tasks) == ["alpha"]
    with refused(ConfigError, hint="'alpha'"):
        bank.forget("alpah")


def test_no_file_is_left_that_no_rollback_reaches(bank: ht.Bank) -> None:
    forgotten = bank.forget("alpha")
    assert "With it went 'mistake'" in forgotten.explanation
    assert "of 'other', learned after it" in forgotten.explanation
    assert owners(bank.path) == [2]
    assert bank.verify().passed
    assert bank.verify().earlier == ()
    assert bank.certify().passed
    assert "in generation 5" in bank.forget("mistake").explanation
    learn(bank, "more", 3)
    assert owners(bank.path) == [2, 3]


def test_an_older_file_of_a_task_that_stays_goes_with_its_generation(bank: ht.Bank) -> None:
    bank.extend("other", pictures(("pale",), 6, seed=3))
    assert owners(bank.path) == [0, 1, 2, 2]
    bank.forget("alpha")
    assert owners(bank.path) == [2]
    with refused(ConfigError, problem="generation 4", found="one with alpha, forgotten"):
        bank.rollback(4)
    assert bank.certify().passed


def test_what_a_rollback_reaches_stays(bank: ht.Bank) -> None:
    bank.forget("other")
    assert owners(bank.path) == [0, 1]
    bank.rollback(2)
    assert list(bank.tasks) == ["alpha", "mistake"]
    assert bank.verify().passed


def test_all_tasks_of_a_name_go_and_none_that_has_another_now(bank: ht.Bank) -> None:
    bank.rename("alpha", "first")
    learn(bank, "alpha", 4)
    learn(bank, "mistake", 5)
    before = answers(bank, "first")
    forgotten = bank.forget("mistake")
    assert forgotten.explanation.startswith("2 tasks had that name, and all of them are gone. Nothing")
    assert bank.log()[-1].facts == {"id": 4, "exact": True, "also": [1]}
    assert owners(bank.path) == [0, 2, 3]
    bank.forget("alpha")
    assert list(bank.tasks) == ["first", "other"], "a task that is called otherwise now is another one"
    assert torch.equal(answers(bank, "first"), before)


def test_a_task_goes_under_any_name_that_it_had_before_the_rollback(bank: ht.Bank) -> None:
    bank.rollback(2)
    bank.rename("mistake", "error")
    bank.rollback(4)
    assert bank.verify().earlier == ("error",)
    assert owners(bank.path) == [0, 1, 2]
    bank.forget("mistake")
    assert owners(bank.path) == [0, 2]


def test_what_a_rolled_back_task_taught_goes_with_it(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank")
    learn(bank, "alpha", method="hypernet")
    learn(bank, "mistake", 1, method="hypernet", options={"sealed": False}, budget=1.0)
    bank.rollback(1)
    assert len(list(bank.path.glob("files/hypernet-*"))) == 2
    before = answers(bank, "alpha")
    assert bank.forget("mistake").exact
    assert len(list(bank.path.glob("files/hypernet-*"))) == 1
    assert torch.equal(answers(bank, "alpha"), before)
    forgotten = bank.forget("alpha")
    assert not forgotten.exact
    assert "hypernetwork" in bank.forget("alpha").explanation + forgotten.explanation


@pytest.mark.parametrize("back", [True, False])
def test_the_model_that_a_task_trained_goes_where_a_rollback_left_it(back: bool, tmp_path: Path) -> None:
    store = Store.create(tmp_path / "bank", {"founding": {}})
    with store.change() as change:
        model = change.put("backbone", {"x": torch.ones(3)}, {})
        task = TaskRef(0, "alpha", change.put("task-0", {"x": torch.ones(3)}, {}))
        said = {"source": SLIM, "founder": 0, "digest": "1", "stored": True}
        facts, entry = {"backbone": said}, {"id": 0, "method": "head"}
        change.commit("learn", task="alpha", entry_facts=entry, tasks=[task], shared={"backbone": model}, facts=facts)
    if back:
        store.rollback(0)
    assert upkeep(store.path).forget("alpha").exact == back
    assert [place.name for place in store.path.glob("files/*")] == ([] if back else [model.name[6:]])
    store.refresh()
    assert verify(store).passed


def test_what_the_next_generation_has_is_not_erased(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "bank", {})
    with store.change() as change:
        file = change.put("hypernet", {"x": torch.ones(3)}, {})
        change.commit("learn", shared={"hypernet": file})
    with store.change() as change:
        change.commit("forget", erase=[file])
    assert (store.path / file.name).exists()
    rewritten(store.path, 2, lambda value: value.update(erased=[file.name]))
    (store.path / "bank.json").write_text((store.path / "bank.json").read_text().replace(store.digest, digest(store)))
    again = Store.open(store.path)
    assert again.manifest.erased == (file.name,)
    with again.change():
        pass
    assert (store.path / file.name).exists()
    (store.path / file.name).unlink()
    assert not verify(again).passed


def digest(store: Store) -> str:
    """Of the newest manifest, as it says itself."""
    return store.place_of(store.generations()[-1]).read_text().partition("\n")[0]


def test_a_generation_of_which_something_shared_is_gone_is_refused(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "bank", {})
    with store.change() as change:
        file = change.put("hypernet", {"x": torch.ones(3)}, {})
        change.commit("learn", shared={"hypernet": file})
    with store.change() as change:
        change.commit("forget", shared={}, erase=[file])
    assert not (store.path / file.name).exists()
    with refused(ConfigError, problem="generation 1", found="what tasks shared"):
        store.rollback(1)


class KilledError(BaseException):
    """Stands for the end of the process."""


def test_it_may_be_cut_off_anywhere_and_given_again(made: Path, tmp_path: Path) -> None:
    outcomes = set()
    for at in range(1, 100):
        place, count, patch = tmp_path / str(at), 0, pytest.MonkeyPatch()
        shutil.copytree(made, place)

        def counted(name: str, patch: pytest.MonkeyPatch = patch, at: int = at) -> None:
            real = getattr(os, name)

            def call(*args: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == at:
                    raise KilledError
                return real(*args, **options)

            patch.setattr(os, name, call)

        done = False
        with patch.context() as inside:
            inside.setattr(Change, "close", lambda change: None)
            for name in ("replace", "unlink", "fsync"):
                counted(name)
            try:
                upkeep(place).forget("alpha")
                done = True
            except KilledError:
                pass
            finally:
                patch.undo()
        assert {problem.what for problem in verify(Store.open(place)).problems} <= {UNDELETED}
        there = [task.name for task in Store.open(place).manifest.tasks]
        assert there in (["alpha", "other"], ["other"])
        outcomes.add(tuple(there))
        assert upkeep(place).forget("alpha").exact
        assert owners(place) == [2]
        assert verify(Store.open(place)).passed
        assert not list(place.rglob("*.part"))
        if done:
            break
    assert done
    assert len(outcomes) == 2


def rewritten(path: Path, number: int, change: Any) -> None:
    """Give a generation other values, with a digest that is right."""
    place = path / "generations" / f"{number:06d}.json"
    value = json.loads(place.read_text().partition("\n")[2])
    change(value)
    text = json.dumps(value)
    place.write_text(f"{digest_of(text.encode())}\n{text}")


def test_an_old_manifest_of_others_deletes_no_file_of_a_task_that_stays(bank: ht.Bank) -> None:
    alpha = bank._contents.ref("alpha").file.name
    rewritten(bank.path, 2, lambda value: value["tasks"][1]["file"].update(name=alpha))
    bank.forget("mistake")
    assert owners(bank.path) == [0, 2]
    assert bank.certify().passed


@pytest.mark.parametrize("name", ["../../victim", "/victim", "files/../../victim"])
def test_an_old_manifest_that_leads_elsewhere_deletes_nothing(name: str, bank: ht.Bank) -> None:
    victim = bank.path.parent / "victim"
    victim.write_text("mine")
    rewritten(bank.path, 2, lambda value: value["tasks"][1]["file"].update(name=name))
    with refused(CheckpointError, found="file name that no bank gives"):
        bank.forget("mistake")
    assert victim.read_text() == "mine"
    assert owners(bank.path) == [0, 1, 2]


def test_beside_a_damaged_generation_only_files_of_the_task_go(bank: ht.Bank) -> None:
    (bank.path / "generations" / "000003.json").write_text("damaged")
    assert bank.verify().earlier == ("mistake",)
    bank.forget("alpha")
    assert owners(bank.path) == [1, 2], "the damaged one may be mended"
    bank.forget("mistake")
    assert owners(bank.path) == [2]


def test_the_log_knows_a_name_that_no_whole_generation_has(bank: ht.Bank) -> None:
    (bank.path / "generations" / "000002.json").write_text("damaged")
    assert bank.forget("mistake").exact
    assert owners(bank.path) == [0, 2]


def test_a_file_that_cannot_be_deleted_is_said(bank: ht.Bank, monkeypatch: pytest.MonkeyPatch) -> None:
    file, real = bank._contents.ref("other").file.name, os.unlink

    def unlink(place: str | Path, **options: Any) -> None:
        if Path(place).name == Path(file).name:
            raise PermissionError(13, "Permission denied")
        real(place, **options)

    monkeypatch.setattr(os, "unlink", unlink)
    for _ in range(2):
        with refused(CheckpointError, found=f"{file} still there (Permission denied)", hint="forget again"):
            bank.forget("other")
        assert list(bank.tasks) == ["alpha"]
        report = bank.verify()
        assert [(problem.file, problem.what) for problem in report.problems] == [(file, UNDELETED)]
        assert f"  {file}: forgotten, and still on disk" in "\n".join(report.lines())
    monkeypatch.undo()
    assert "no file of it is left" in bank.forget("other").explanation
    assert owners(bank.path) == [0, 1]
    assert bank.verify().passed


def test_forgetting_says_that_its_images_chose_where_the_model_is_cut(tmp_path: Path) -> None:
    bank = new_bank(tmp_path / "bank", cut="auto")
    bank.learn("warm", pictures(WARM, 8), epochs=1, method="head")
    bank.learn("cold", pictures(COLD, 8), epochs=1, method="head")
    assert "Where the model is cut" not in bank.forget("cold").explanation
    assert "Where the model is cut was chosen by accuracies on images of it" in bank.forget("warm").explanation
