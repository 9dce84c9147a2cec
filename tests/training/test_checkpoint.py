from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from asserts import assert_same_tensors
from hypertail.errors import CheckpointError
from hypertail.training import checkpoint
from hypertail.training.checkpoint import load_checkpoint, save_checkpoint


def tensors() -> dict[str, torch.Tensor]:
    base = torch.arange(24.0)
    return {
        "a.weight": base.view(1, 2, 3, 4),
        "channels-last": base.view(1, 2, 3, 4).to(memory_format=torch.channels_last),
        "view": base[::2],
        "same memory": base,
        "scalar": torch.tensor(3),
        "flags": torch.tensor([True, False]),
        "double": torch.tensor([1 / 3, torch.nan], dtype=torch.float64),
        "empty": torch.empty(0, 3),
    }


FACTS = {"learned": 2, "seconds": {"training": 0.1}, "curves": [], "none": None, "text": "é"}


def test_tensors_and_facts_come_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)
    loaded, facts = load_checkpoint(path)
    assert_same_tensors(tensors(), loaded)
    assert facts == FACTS


def test_tensors_that_require_gradients_can_be_saved(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "c", {"p": torch.nn.Parameter(torch.ones(2))}, {})
    loaded, _ = load_checkpoint(tmp_path / "c")
    assert not loaded["p"].requires_grad


@pytest.mark.parametrize("moment", ["save_file", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)

    def crash(*args: object, **options: object) -> None:
        if moment == "save_file":
            Path(str(args[1])).write_bytes(b"half a fi")
        raise OSError("no space left on device")

    if moment == "save_file":
        monkeypatch.setattr(checkpoint, "save_file", crash)
    else:
        monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="no space left"):
        save_checkpoint(path, {"other": torch.zeros(2)}, {})
    monkeypatch.undo()
    loaded, facts = load_checkpoint(path)
    assert_same_tensors(tensors(), loaded)
    assert facts == FACTS
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"], "a partial file was left behind"


def test_writing_again_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)
    save_checkpoint(path, {"x": torch.ones(1)}, {"n": 1})
    loaded, facts = load_checkpoint(path)
    assert list(loaded) == ["x"]
    assert facts == {"n": 1}


def test_a_checkpoint_is_as_readable_as_any_file_of_the_user(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    save_checkpoint(tmp_path / "c", {"x": torch.ones(1)}, {})
    assert (tmp_path / "c").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("kind", ["nothing", "folder"])
def test_missing(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    if kind == "folder":
        path.mkdir()
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"no checkpoint {path}: required a file written by save_checkpoint; found nothing there. Check the path."
    )


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "header"])
def test_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)
    whole = path.read_bytes()
    header = whole[:8] + b"x" * (len(whole) - 8)
    path.write_bytes({"cut": whole[:-30], "empty": b"", "noise": bytes(range(200)), "header": header}[damage])
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert caught.value.problem == f"cannot read checkpoint {path}"
    assert caught.value.required == "a whole safetensors file"
    assert caught.value.mend == "The file is damaged; use an older copy or start again."


@pytest.mark.parametrize(
    "header",
    [
        None,
        {"format": "pt"},
        {"format": "hypertail-checkpoint"},
        {"format": "hypertail-checkpoint", "version": "x"},
    ],
    ids=str,
)
def test_foreign(header: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.ones(1)}, path, metadata=header)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    found = None if header is None else header["format"]
    assert str(caught.value) == (
        f"{path} is not a hypertail checkpoint: required format hypertail-checkpoint; found {found}. Check the path."
    )


@pytest.mark.parametrize("facts", [None, "{half"])
def test_lost_facts(facts: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    header = {"format": "hypertail-checkpoint", "version": "1"} | ({} if facts is None else {"facts": facts})
    save_file({"x": torch.ones(1)}, path, metadata=header)
    with pytest.raises(CheckpointError, match=r"run\.safetensors"):
        load_checkpoint(path)


def test_newer(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    header = {"format": "hypertail-checkpoint", "version": "2", "facts": json.dumps({})}
    save_file({"x": torch.ones(1)}, path, metadata=header)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    assert str(caught.value) == (
        f"checkpoint {path} is too new: required version 1 or older; found 2. "
        "Upgrade hypertail: pip install -U hypertail."
    )
