"""The commands of a bank as a user types them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hypertail.bank import Bank
from hypertail.cli import main
from hypertail.cli.bank.learn import Learn, _check_decided
from hypertail.cli.bank.place import BankPlace
from hypertail.errors import ConfigError
from support.banks import COLD, SIZE, WARM, folder
from support.commands import hypertail, told
from support.errors import refused

MODEL = """
from support.banks import resnet


def network():
    return resnet()


def number():
    return 3
"""
OPTIONS = ["--cut", "layer2", "--image-size", str(SIZE), "--mean", "0.5", "0.5", "0.5", "--std", "0.25", "0.25", "0.25"]
QUICK = ["--epochs", "6"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a model of the user's own and images of two tasks, in which commands run."""
    (tmp_path / "mine.py").write_text(MODEL)
    folder(tmp_path / "warm", WARM, 12)
    folder(tmp_path / "cold" / "train", COLD, 12)
    folder(tmp_path / "cold" / "test", COLD, 8, seed=5)
    monkeypatch.chdir(tmp_path)
    return tmp_path


AT = ["--bank", "bank", "--model", "mine:network"]


def learn(*more: str) -> None:
    main(["learn", "warm", *AT, *OPTIONS, *QUICK, *more])


def test_a_bank_from_the_first_folder_to_an_export(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn()
    said = capsys.readouterr().out
    assert "warm: adapter, 33 images" in said
    assert " % of 3 held-out images right (" in said
    main(["learn", "cold", *AT, *OPTIONS, *QUICK, "--method", "head"])
    said = capsys.readouterr().out
    assert "1 of 1 tasks answer as they were learned" in said
    assert "16 images of test/: not learned from" in said
    main(["predict", "warm/red/000.png", "cold/test", *AT, "--json"])
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(answers) == 1 + 16
    assert set(answers[0]) == {"path", "task", "label", "probability", "known", "nearest"}
    assert answers[0]["path"] == "warm/red/000.png"
    assert answers[0]["nearest"] == {"task": "warm", "label": "red"}
    main(["predict", "warm/red/000.png", *AT, "--task", "warm"])
    assert "warm: red" in capsys.readouterr().out
    main(["tasks", *AT])
    assert "a replay buffer" in capsys.readouterr().out
    main(["tasks", *AT, "--json"])
    assert [task["name"] for task in json.loads(capsys.readouterr().out)["tasks"]] == ["warm", "cold"]
    main(["certify", *AT, "--test", "cold", "--out", "c.html", "c.json"])
    said = capsys.readouterr().out
    assert "cold: identical, 0 of 16 answers changed, " in said
    assert " % of 16 test images right" in said
    assert json.loads((place / "c.json").read_text())["passed"] is True
    assert "Do all tasks still answer" in (place / "c.html").read_text()
    main(["export", "warm", *AT, "--format", "safetensors"])
    assert (place / "warm.safetensors.json").exists()
    main(["rename", "warm", "hot", *AT])
    main(["extend", "hot", "cold/train", *AT])
    said = capsys.readouterr().out
    assert "hot: adapter" in said
    assert "accuracy not measured (" in said
    main(["forget", "cold", *AT])
    assert "Nothing that is left" in capsys.readouterr().out
    main(["log", "--bank", "bank"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2] for line in lines] == ["create", "learn", "learn", "rename", "extend", "forget"]
    main(["log", "--bank", "bank", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[1])["facts"]["method"] == "adapter"
    main(["rollback", "1", "--bank", "bank"])
    main(["verify", "--bank", "bank", "--json"])
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["passed"] is True


def test_without_the_model(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who has lost the weights can still list, rename and forget."""
    learn("--method", "head")
    main(["learn", "cold", *AT, "--method", "head", *QUICK])
    (place / "mine.py").unlink()
    capsys.readouterr()
    main(["tasks", "--bank", "bank"])
    said = " ".join(capsys.readouterr().out.split())
    assert "warm" in said
    assert "needs the model of the bank: Give it again" in said
    assert "by other means:" not in said
    main(["tasks", "--bank", "bank", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [task["name"] for task in found["tasks"]] == ["warm", "cold"]
    assert found["summary"]["alternatives"] == {}
    main(["rename", "cold", "icy things", "--bank", "bank"])
    main(["rollback", "1", "--bank", "bank"])
    assert (
        "generation 4, like 1: warm\n1 task that it does not have is still on disk: icy things; "
        "hypertail forget 'icy things' --bank bank deletes it for good\n" in capsys.readouterr().out
    )
    main(["verify", "--bank", "bank"])
    assert "in earlier generations alone: icy things" in capsys.readouterr().out
    main(["forget", "icy things", "--bank", "bank"])
    assert "icy things is forgotten. Nothing that is left" in capsys.readouterr().out
    assert len(list((place / "bank" / "files").iterdir())) == 1
    main(["rollback", "1", "--bank", "bank"])
    assert capsys.readouterr().out == "generation 6, like 1: warm\n"


def test_a_damaged_bank_ends_with_status_1(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn("--method", "head")
    (file,) = (place / "bank" / "files").iterdir()
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    with pytest.raises(SystemExit) as stop:
        main(["verify", "--bank", "bank"])
    assert stop.value.code == 1
    assert "(tasks: warm)" in capsys.readouterr().out
    told(capsys, "predict", "warm/red/000.png", *AT, problem=file.name, hint="hypertail verify")


def test_a_certificate_that_failed_is_told_from_none(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def status(*args: str) -> object:
        with pytest.raises(SystemExit) as stop:
            main(["certify", *args])
        return stop.value.code

    learn("--method", "head")
    assert status("--bank", "bnk") == 2
    assert status("--bank", "bank") == 2
    assert status(*AT, "--budget", "7") == 2
    assert status(*AT, "--test", "warm", "../x/warm") == 2
    assert "required one folder, named like the task; found warm and ../x/warm" in capsys.readouterr().err
    assert status(*AT, "--test", "nowhere") == 2
    assert status(*AT, "--out", "mine.py/c.json") == 2
    assert status(*AT, "--bugdet", "0") == 2
    capsys.readouterr()
    (file,) = (place / "bank" / "files").iterdir()
    file.write_bytes(file.read_bytes()[:-3] + b"abc")
    assert status(*AT) == 1
    assert "FAILED" in capsys.readouterr().out


def test_refusals(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told(capsys, "learn", "nowhere", *AT, *OPTIONS, found="nothing there")
    assert not (place / "bank").exists()
    told(capsys, "learn", "warm", "--bank", "bank", "--model", "mine:nothing", problem="--model", found="nothing")
    told(capsys, "learn", "warm", "--bank", "bank", "--model", "mine:number", required="torch.nn.Module", found="int")
    told(capsys, "learn", "warm", *AT, "--cut", "layr2", "--image-size", "12", hint="layer2")
    assert not (place / "bank").exists()
    learn("--method", "head")
    told(capsys, "learn", "cold", *AT, "--cut", "layer1", problem="--cut layer1", found="layer2 in the bank")
    told(capsys, "learn", "cold", *AT, "--cut", "auto", problem="--cut auto", found="layer2 in the bank")
    told(capsys, "learn", "cold", *AT, "--trunk", "slim-resnet18", problem="--trunk", found="given in the bank")
    told(capsys, "learn", "cold", *AT, "--mean", "0.5", "0.5", "0.4", problem="--mean 0.5 0.5 0.4", found="0.5 0.5 0.5")
    told(capsys, "learn", "cold", *AT, "--std", "1", "1", "1", problem="--std", found="0.25 0.25 0.25")
    told(capsys, "learn", "cold", *AT, "--image-size", "13", problem="--image-size 13", found=f"{SIZE} in the bank")
    told(capsys, "predict", "warm", *AT, "--task", "worm", hint="'warm'")
    told(capsys, "predict", "warm", "--bank", "bank", problem="model of this bank", hint="--model")
    told(capsys, "predict", "warm", "--bank", "bnk", problem="no bank", found="nothing there")
    told(capsys, "rollback", "7", "--bank", "bank", problem="generation 7")
    told(capsys, "learn", "warm", *AT, problem="'warm'", hint="extend")
    told(capsys, "consolidate", *AT, problem="nothing to consolidate")


def test_images_are_answered_in_batches_and_a_bad_one_is_skipped_where_told(
    place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    learn("--method", "head")
    calls: list[int] = []

    def predict(bank: Bank, images: list[Path], *args: Any, **more: Any) -> Any:
        calls.append(len(images))
        return whole(bank, images, *args, **more)

    whole = Bank.predict
    monkeypatch.setattr(Bank, "predict", predict)
    monkeypatch.setattr("hypertail.cli.bank.predict.BATCH", 5)
    (place / "warm" / "red" / "005.png").write_bytes(b"no image")
    images = ["warm/green", "warm/red/000.png", "warm/red/005.png", "warm/red/001.png", "warm/dark"]
    capsys.readouterr()
    main(["predict", *images, *AT, "--json", "--on-bad-image", "skip"])
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert calls == [5, 5, 5, 5, 5, 2]
    names = [f"{Path(row['path']).parent.name}/{Path(row['path']).name}" for row in rows]
    green, dark = [[f"{hue}/{12 * row + n:03d}.png" for n in range(12)] for row, hue in ((1, "green"), (2, "dark"))]
    assert names == [*green, "red/000.png", "red/005.png", "red/001.png", *dark]
    assert [row["path"] for row in rows if "error" in row] == ["warm/red/005.png"]
    assert "readable image" in rows[13]["error"]
    assert rows[13]["label"] is None
    assert rows[14]["nearest"]["label"] == "red"
    main(["predict", *images, *AT, "--on-bad-image", "skip"])
    assert "warm/red/005.png: not answered: image 'warm/red/005.png'" in capsys.readouterr().out
    before = told(capsys, "predict", *images, *AT, "--json", problem="warm/red/005.png").out
    assert len(before.splitlines()) == 13


def test_exports_say_what_is_in_their_way(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn("--method", "head")
    told(capsys, "export", "warm", *AT, "--format", "pt2", "--out", "a.onnx", found=".onnx", hint="--format onnx")
    assert not (place / "a.onnx").exists()
    told(capsys, "export", "warm", *AT, "--format", "pt2", "--out", "warm", found="a folder")
    main(["export", "warm", *AT, "--out", "a.safetensors"])
    assert json.loads((place / "a.safetensors.json").read_text())["format_of_file"] == "safetensors"
    told(capsys, "export", "warm", *AT, "--out", "a.safetensors", found="a file", hint="--replace")
    (place / "a.safetensors").write_bytes(b"old")
    main(["export", "warm", *AT, "--out", "a.safetensors", "--replace"])
    assert (place / "a.safetensors").stat().st_size > 100


def test_the_same_images_under_another_name_are_told(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    learn("--method", "head")
    assert "same images" not in capsys.readouterr().out
    learn("--method", "head", "--task", "again")
    out, err = capsys.readouterr()
    assert "learned from the same images as 'warm': unless told" in out
    assert "same images" not in err


def test_options_of_a_new_bank_may_be_given_again(tmp_path: Path) -> None:
    place = BankPlace(tmp_path / "bank")
    (tmp_path / "mini").mkdir()

    def check(trunk: str, cut: str | None, origin: dict[str, object], evidence: object = None) -> None:
        bank: Any = SimpleNamespace(origin={"preprocessing": None, **origin}, cut_evidence=evidence)
        _check_decided(Learn(tmp_path, place, trunk=trunk, cut=cut), bank)

    slim = {"source": "slim-resnet18", "cut": "block4"}
    check("slim-resnet18", "auto", slim)
    check("slim-resnet18", "block4", slim)
    check(
        f"transformers:{tmp_path / 'mini'}", "auto", {"source": "transformers:mini", "cut": "layers.1"}, {"tried": []}
    )
    with refused(ConfigError, problem="--cut auto", found="block3"):
        check("slim-resnet18", "auto", {**slim, "cut": "block3"})
    with refused(ConfigError, problem="--trunk timm:resnet50", found="slim-resnet18"):
        check("timm:resnet50", None, slim)


@pytest.mark.slow
def test_processes_of_their_own(place: Path) -> None:
    import os

    from support.commands import ENVIRONMENT

    paths = os.pathsep.join((ENVIRONMENT["PYTHONPATH"], str(Path(__file__).parents[1])))
    ENVIRONMENT["PYTHONPATH"], before = paths, ENVIRONMENT["PYTHONPATH"]
    try:
        done = hypertail("learn", "warm", *AT, *OPTIONS, *QUICK)
        assert done.returncode == 0, done.stderr
        done = hypertail("predict", "warm/green/012.png", *AT, "--json")
        assert json.loads(done.stdout)["label"] == "green"
    finally:
        ENVIRONMENT["PYTHONPATH"] = before
