"""`hypertail cache` lists and clears the decoded images, and nothing else (case 27)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hypertail.cli import main
from hypertail.streams import build_stream
from support.image_sources import write_folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HYPERTAIL_CACHE", str(tmp_path / "cache"))
    write_folder(tmp_path / "photos", {"a": 5, "b": 5})
    build_stream(f"folder:{tmp_path / 'photos'}", cache=True)
    return tmp_path / "cache"


def output(capsys: pytest.CaptureFixture[str], *args: str) -> str:
    main(["cache", *args])
    return capsys.readouterr().out


def put_foreign_files(cache: Path) -> list[Path]:
    """Files that look a little like ours."""
    save_file({"train.images": torch.zeros(3)}, cache / f"weights-{'0' * 24}.safetensors")
    save_file({"x": torch.zeros(3)}, cache / "other.safetensors", metadata={"hypertail": "no JSON"})
    save_file({"x": torch.zeros(3)}, cache / "list.safetensors", metadata={"hypertail": "[1]"})
    (cache / "notes.txt").write_text("mine")
    (cache / ".notes.txt.0a1b2c3d.part").write_text("mine, too")
    (cache / "short.safetensors").write_bytes(b"abc")
    (cache / "none.safetensors").write_bytes(b"")
    (cache / "huge.safetensors").write_bytes(b"\xff" * 64)
    (cache / "folder.safetensors").mkdir()
    return sorted(cache.iterdir())


def test_case_27_lists_what_is_kept(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 27: file, what it is, bytes and when."""
    monkeypatch.setenv("COLUMNS", "40")  # long lines are not cut
    (file,) = cache.iterdir()
    os.utime(file, (1.7e9, 1.7e9))
    text = output(capsys)
    assert text.startswith(f"{cache}:\n{file.name}  {file.stat().st_size:,} bytes  2023-11-1")
    assert f"\n    photos, 2 classes, from {cache.parent / 'photos'}\n" in text
    assert text.endswith(f"1 file, {file.stat().st_size:,} bytes; `hypertail cache --clear` deletes it\n")
    assert file.exists()


def test_case_27_clears_its_own_files_alone(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Case 27: own files go, whatever their names and state; files of others stay."""
    (own,) = cache.iterdir()
    content = own.read_bytes()
    foreign = [path for path in put_foreign_files(cache) if path != own]
    mine = [own, cache / "renamed.safetensors", cache / ".photos.00112233.part", cache / ".x.aabbccdd.part"]
    mine[1].write_bytes(content)
    mine[2].write_bytes(content[: len(content) // 2])
    mine[3].write_bytes(b"")
    (cache / "link.safetensors").symlink_to(own)
    text = output(capsys)
    assert "(unfinished)" in text
    assert "10 others in" in text
    text = output(capsys, "--clear")
    assert text.startswith("4 files deleted, ")
    assert text.endswith(f"10 others in {cache} not known to hypertail: left alone\n")
    assert not any(path.exists() for path in mine)
    assert sorted(path for path in cache.iterdir() if not path.is_symlink()) == foreign


def test_case_27_files_of_earlier_versions(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Case 27: what was kept before there was a choice can be cleared, too."""
    old = cache / f"shots-{'0' * 24}.safetensors"
    note = '{"classes": ["a", "b"], "sums": {"train.images": 1}}'
    save_file({"train.images": torch.zeros(3)}, old, metadata={"hypertail": note})
    assert "\n    shots, 2 classes\n" in output(capsys)
    output(capsys, "--clear")
    assert not list(cache.iterdir())


def test_nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("HYPERTAIL_CACHE", str(tmp_path / "none"))
    assert output(capsys) == f"no decoded images are kept in {tmp_path / 'none'}\n"
    assert output(capsys, "--clear") == f"0 files deleted, 0 bytes, in {tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()
