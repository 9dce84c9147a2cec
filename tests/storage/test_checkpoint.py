"""Checkpoints: exact, written whole, and refused where a single bit is wrong."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from hypertail.errors import CheckpointError
from hypertail.storage import atomic
from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from support.asserts import assert_same_tensors
from support.errors import refused


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


OLD = Path(__file__).resolve().parents[1] / "formats" / "checkpoint-1.safetensors"
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


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 18: one error that names the file; the last good state stays, and no temporary."""
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)

    def crash(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def half(part: Path, content: bytes) -> None:
        part.write_bytes(content[: len(content) // 2])
        crash()

    if moment == "write":
        monkeypatch.setattr(atomic, "_write_all", half)
    else:
        monkeypatch.setattr(os, moment, crash)
    with refused(CheckpointError, problem=str(path), found="No space left on device"):
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
    with refused(CheckpointError, problem=str(path), found="nothing there", hint="path"):
        load_checkpoint(path)


@pytest.mark.parametrize("damage", ["cut", "empty", "noise", "header"])
def test_damaged(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)
    whole = path.read_bytes()
    header = whole[:8] + b"x" * (len(whole) - 8)
    path.write_bytes({"cut": whole[:-30], "empty": b"", "noise": bytes(range(200)), "header": header}[damage])
    with refused(CheckpointError, problem=str(path), required="safetensors", hint=("damaged", "older copy")):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "header",
    [
        None,
        {"format": "pt"},
        {"format": "hypertail-checkpoint"},
        {"format": "hypertail-checkpoint", "version": "x"},
        {"format": "hypertail-checkpoint", "version": "0"},
        {"format": "hypertail-checkpoint", "version": "²"},
        {"format": "hypertail-checkpoint", "version": "9" * 5000},
    ],
    ids=str,
)
def test_foreign(header: dict[str, str] | None, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"x": torch.ones(1)}, path, metadata=header)
    found = "None" if header is None else header["format"]
    with refused(CheckpointError, problem=str(path), required="hypertail-checkpoint", found=found):
        load_checkpoint(path)


@pytest.mark.parametrize(
    "facts",
    [None, "{half", "[1]", "[" * 100_000, '{"a": ' * 500 + "1" + "}" * 500, f'{{"a": {"9" * 400}}}', '{"a": NaN}'],
    ids=["none", "half", "list", "open", "deep", "digits", "nan"],
)
def test_lost_facts(facts: str | None, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    header = {"format": "hypertail-checkpoint", "version": "1"} | ({} if facts is None else {"facts": facts})
    save_file({"x": torch.ones(1)}, path, metadata=header)
    with refused(CheckpointError, problem=(str(path), "facts")):
        load_checkpoint(path)


def test_newer(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    header = {"format": "hypertail-checkpoint", "version": "3", "facts": json.dumps({})}
    save_file({"x": torch.ones(1)}, path, metadata=header)
    with refused(CheckpointError, problem=str(path), required="2", found="3", hint="pip install -U hypertail"):
        load_checkpoint(path)


@pytest.mark.slow
@pytest.mark.fuzz
def test_any_flipped_bit_is_found(tmp_path: Path) -> None:
    """case 16: every bit of a small file, in its tensors and in its header, one at a time."""
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, {"w": torch.tensor([[1.0, -2.0]]), "n": torch.tensor(3)}, {"learned": 2})
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in range(8):
            flipped = bytearray(whole)
            flipped[place] ^= 1 << bit
            path.write_bytes(flipped)
            with refused(CheckpointError, problem=str(path)):
                load_checkpoint(path)
    path.write_bytes(whole)
    assert load_checkpoint(path)[1] == {"learned": 2}


def test_a_flipped_bit_in_a_tensor_names_it(tmp_path: Path) -> None:
    """case 16: the message says which file and which tensor."""
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, tensors(), FACTS)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with refused(CheckpointError, problem=(str(path), "damaged"), found="another '"):
        load_checkpoint(path)


@pytest.mark.parametrize("drop", ["sums", "digest"])
def test_sums_cannot_be_left_out(drop: str, tmp_path: Path) -> None:
    """case 16: neither by the name of a header's entry, nor by calling the file an older one."""
    path = tmp_path / "run.safetensors"
    save_checkpoint(path, {"x": torch.ones(2)}, {})
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
    del header[drop]
    save_file({"x": torch.ones(2)}, path, metadata={**header, "version": "1"})
    with refused(CheckpointError, problem="damaged"):
        load_checkpoint(path)


def test_files_of_version_1_still_open() -> None:
    """case 16: written before files had sums."""
    loaded, facts = load_checkpoint(OLD)
    expected = {"weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7), "mask": torch.tensor([True, False])}
    assert_same_tensors(expected, loaded)
    assert facts == {"learned": 2, "seconds": {"training": 0.5}}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), Path("x")], ids=str)
def test_facts_that_json_cannot_hold(value: object, tmp_path: Path) -> None:
    """case 20: what the reader would refuse is refused when it is written."""
    with refused(CheckpointError, problem=("facts", str(tmp_path / "c")), required="JSON"):
        save_checkpoint(tmp_path / "c", {}, {"a": value})
    assert list(tmp_path.iterdir()) == []
