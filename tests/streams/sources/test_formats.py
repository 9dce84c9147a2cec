"""Every kind of image that Pillow reads is read, and what is left out is counted (case 11)."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from PIL import Image, features

from hypertail.errors import DataError
from hypertail.streams import LeftOut, build_stream, experience_from_folder, read_images
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.formats import FOREIGN, readable, suffixes
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from support.errors import refused
from support.image_sources import noise_image, write_folder, write_split

COMMON = [".jfif", ".jpe", ".jpg", ".JPEG", ".png", ".webp", ".avif", ".tif", ".bmp", ".gif", ".ppm", ".tga", ".ico"]


def left_out(images: LabelledImages) -> dict[str, int]:
    assert images.report is not None
    return {item.reason: item.count for item in images.report.left_out}


@pytest.mark.parametrize("suffix", [*COMMON, ".jp2", ".dds", ".qoi", ".pcx", ".sgi", ".apng", ".mpo", ".Jfif"])
def test_case_11_what_pillow_reads_is_read(tmp_path: Path, suffix: str) -> None:
    """Case 11: by any of Pillow's suffixes, in any case."""
    lower = suffix.lower()
    if (lower == ".avif" and not features.check("avif")) or (lower == ".jp2" and not features.check("jpg_2000")):
        pytest.skip("this Pillow was built without it")
    write_folder(tmp_path, {"a": 1, "b": 1})
    noise_image(5).save(tmp_path / "a" / f"photo{suffix}", Image.registered_extensions()[lower])
    images = image_folder(tmp_path)
    assert images.train.labels.tolist() == [0, 0, 1]
    assert left_out(images) == {}


def test_case_11_what_is_left_out_is_counted_by_suffix(tmp_path: Path) -> None:
    """Case 11: of every kind, how many, why, and the first of them."""
    write_folder(tmp_path, {"a": 2, "b": 2})
    for number in range(4):
        (tmp_path / "a" / f"{number}.heix").write_bytes(b"")
    (tmp_path / "b" / "deep").mkdir()
    (tmp_path / "b" / "deep" / "notes.txt").write_text("")
    (tmp_path / "b" / "README").write_text("")
    (tmp_path / "b" / ".hidden.png").write_text("")
    (tmp_path / "__MACOSX" / "a").mkdir(parents=True)
    noise_image(7).save(tmp_path / "loose.png")
    (tmp_path / "labels.csv").write_text("")
    images = image_folder(tmp_path)
    unread = ", which Pillow does not read as an image"
    assert left_out(images) == {
        f".heix{unread}": 4,
        f".txt{unread}": 1,
        f".csv{unread}": 1,
        "without a suffix": 1,
        "hidden, or of the system": 1,
        "that are images outside every class folder": 1,
    }
    assert images.report is not None
    first = os.path.join("a", "0.heix"), os.path.join("a", "1.heix"), os.path.join("a", "2.heix")
    assert LeftOut(f".heix{unread}", 4, first) in images.report.left_out
    (line,) = [line for line in images.report.lines() if line.startswith("left out: ")]
    assert f"4 files .heix{unread} ({', '.join(first)}, ...)" in line
    assert images.classes == ("a", "b")


def test_case_11_counts_are_not_those_of_the_cache(tmp_path: Path) -> None:
    """Case 11: files left out are counted anew where the images come from the cache."""
    write_folder(tmp_path, {"a": 2, "b": 2})
    build_stream(f"folder:{tmp_path}", cache=True)
    (tmp_path / "a" / "new.heix").write_bytes(b"")
    (report,) = build_stream(f"folder:{tmp_path}", cache=True).reports
    assert [item.count for item in report.left_out] == [1]


def test_case_11_brothers(tmp_path: Path) -> None:
    """Case 11: in `experience_from_folder` and in `hub:` folders of images."""
    for place in ("photos", "a/b/train"):
        write_folder(tmp_path / place, {"a": 4, "b": 4})
        noise_image(9).save(tmp_path / place / "a" / "more.jfif", "JPEG")
        (tmp_path / place / "a" / "x.doc").write_bytes(b"")
    experience = experience_from_folder(tmp_path / "photos")
    assert experience.report is not None
    assert experience.report.splits == {"train": {"a": 5, "b": 4}}
    assert len(experience.report.left_out) == 1
    hub = hub_dataset(HubSource("a/b"), image_size=16, data=tmp_path)
    assert (len(hub.train), len(left_out(hub))) == (9, 1)


def test_case_11_a_class_of_other_files_is_refused_with_their_number(tmp_path: Path) -> None:
    """Case 11: no class is empty for want of a reader without a word."""
    write_folder(tmp_path, {"a": 2, "b": 0})
    (tmp_path / "b" / "x.heix").write_bytes(b"")
    with refused(DataError, found=("none", "1 file .heix")):
        image_folder(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_and_broken_ones_are_named(tmp_path: Path) -> None:
    write_folder(tmp_path / "photos", {"a": 2, "b": 2})
    write_folder(tmp_path / "elsewhere", {"c": 3}, first=10)
    (tmp_path / "photos" / "a" / "more").symlink_to(tmp_path / "elsewhere" / "c")
    (tmp_path / "elsewhere" / "c" / "back").symlink_to(tmp_path / "photos" / "a")
    assert image_folder(tmp_path / "photos").train.labels.tolist() == [0] * 5 + [1] * 2
    (tmp_path / "photos" / "b" / "gone.png").symlink_to(tmp_path / "nothing.png")
    for cache in (False, True):
        with refused(DataError, problem="gone.png'", found="FileNotFoundError"):
            image_folder(tmp_path / "photos", cache=cache)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_left_out_and_does_not_block(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": 2, "b": 2})
    os.mkfifo(tmp_path / "a" / "pipe.png")
    assert left_out(image_folder(tmp_path)) == {"that are no ordinary files": 1}


def test_foreign_kinds_are_never_opened() -> None:
    assert not FOREIGN & set(readable())
    for suffix in (".pdf", ".eps", ".ps", ".mpg", ".wmf", ".emf", ".h5", ".txt"):
        assert suffix not in suffixes()
    assert {".jfif", ".jpe", ".png", ".tiff", ".webp", ".mpo"} <= suffixes()


@pytest.mark.parametrize("where", ["folder", "parquet"])
def test_postscript_under_another_name_starts_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """A file is opened by its content: PostScript called .png must not reach Ghostscript."""
    from PIL import EpsImagePlugin

    def started(*given: object, **options: object) -> None:
        pytest.fail("Ghostscript was started")

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", started)
    noise_image(1).save(tmp_path / "x.eps")
    content = (tmp_path / "x.eps").read_bytes()
    (tmp_path / "x.png").write_bytes(content)
    write_split(tmp_path, "a/b", "train", [content] * 2, ["x", "y"])
    read = {
        "folder": lambda: read_images([tmp_path / "x.png"], 16),
        "parquet": lambda: hub_dataset(HubSource("a/b"), image_size=16, data=tmp_path),
    }
    with refused(DataError, problem="image ", found="UnidentifiedImageError"):
        read[where]()
