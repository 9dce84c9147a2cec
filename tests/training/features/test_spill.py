from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hypertail.training.features.spill import Spill

NOISE = torch.randn(4, 6, 5, 3, generator=torch.Generator().manual_seed(0))
TENSORS = {
    "contiguous": NOISE,
    "channels-last": NOISE.contiguous(memory_format=torch.channels_last),
    "one channel": NOISE[:, :1].contiguous(memory_format=torch.channels_last),
    "flat": NOISE.flatten(1),
    "part": NOISE[2:],
    "with gaps": NOISE[:, ::2],
    "with overlaps": NOISE[:, :1].expand(4, 3, 5, 3),
    "bfloat16": NOISE.bfloat16(),
    "uint8": (NOISE * 9).to(torch.uint8),
    "learning": NOISE.clone().requires_grad_(),
    "empty": NOISE[:0],
}


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_a_spilled_tensor_has_the_same_values_and_layout(tensor: Tensor, tmp_path: Path) -> None:
    kept = Spill(tmp_path, reserve_bytes=0).keep(tensor)
    assert kept is not None
    assert kept.dtype == tensor.dtype
    assert torch.equal(kept, tensor)
    assert kept.stride() == tensor.detach().clone().stride()
    assert not kept.requires_grad


def test_a_spilled_tensor_is_a_copy_that_outlives_the_spill(tmp_path: Path) -> None:
    tensor = NOISE.clone()
    kept = Spill(tmp_path, reserve_bytes=0).keep(tensor)
    tensor.zero_()
    assert kept is not None
    assert torch.equal(kept, NOISE)


def test_files_are_not_seen_by_others(tmp_path: Path) -> None:
    kept = Spill(tmp_path, reserve_bytes=0).keep(NOISE)
    assert kept is not None
    assert list(tmp_path.iterdir()) == []


def test_a_killed_process_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, pathlib, torch\n"
        "from hypertail.training.features.spill import Spill\n"
        "kept = Spill(pathlib.Path(sys.argv[1]), reserve_bytes=0).keep(torch.ones(1000))\n"
        "print(float(kept.sum()), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    source = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(source)!r})\n{code}", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.split() == ["1000.0"], done.stderr
    assert done.returncode != 0
    assert list(tmp_path.iterdir()) == []


def test_room_is_given_back_with_the_tensor(tmp_path: Path) -> None:
    """Mapped memory of this process, as the system lists it."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("no /proc here")
    kept = Spill(tmp_path, reserve_bytes=0).keep(NOISE)
    assert str(tmp_path) in maps.read_text()
    del kept
    assert str(tmp_path) not in maps.read_text()


def test_nothing_is_kept_where_the_reserve_would_be_touched(tmp_path: Path) -> None:
    assert Spill(tmp_path, reserve_bytes=1 << 60).keep(NOISE) is None


def test_nothing_is_kept_where_nothing_can_be_written(tmp_path: Path) -> None:
    assert Spill(tmp_path / "missing", reserve_bytes=0).keep(NOISE) is None


def test_nothing_is_kept_where_the_disk_fills_up_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *error: object) -> None:
            pass

        def write(self, content: memoryview) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **options: Full())
    assert Spill(tmp_path, reserve_bytes=0).keep(NOISE) is None


def test_files_go_where_tmpdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)  # forget what it found at first use
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert Spill().folder == tmp_path
    assert Spill(Path("elsewhere")).folder == Path("elsewhere")


OPEN = Path("/proc/self/fd")


@pytest.mark.skipif(not OPEN.exists(), reason="no /proc here")
def test_kept_tensors_are_no_open_files(tmp_path: Path) -> None:
    """case 37: a system allows some hundred open files, and a run may keep thousands of tensors."""
    spill = Spill(tmp_path, reserve_bytes=0)
    before = len(list(OPEN.iterdir()))
    kept = [spill.keep(NOISE + number) for number in range(200)]
    assert len(list(OPEN.iterdir())) == before
    for number, tensor in enumerate(kept):
        assert tensor is not None
        assert torch.equal(tensor, NOISE + number)


@pytest.mark.parametrize("tensor", TENSORS.values(), ids=TENSORS)
def test_where_open_files_have_no_names(tensor: Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """case 37: the way that is left on Windows keeps the same values."""
    monkeypatch.setattr(os.path, "exists", lambda path: False)
    kept = Spill(tmp_path, reserve_bytes=0).keep(tensor)
    assert kept is not None
    assert torch.equal(kept, tensor)
