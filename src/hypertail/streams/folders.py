"""A folder of class folders as a dataset."""

from __future__ import annotations

from pathlib import Path

import torch

from hypertail.errors import DataError
from hypertail.streams.cache import cached, fingerprint
from hypertail.streams.decode import read_images
from hypertail.streams.labelled import LabelledImages
from hypertail.streams.stream import Examples

SUFFIXES = frozenset(
    ".bmp .gif .jpeg .jpg .pbm .pgm .png .ppm .tif .tiff .webp".split()  # noqa: SIM905
)
TRAIN, TESTS = "train", ("test", "valid", "validation", "val")

ClassFiles = dict[str, list[Path]]


def image_folder(path: str | Path, *, image_size: int = 32) -> LabelledImages:
    """Read a folder of class folders, `PATH/<class>/**/<image>`.

    If PATH holds `train/`, perhaps `test/` (or `valid/`, `validation/`, `val/`, in that order of preference)
    and no other folder, those hold the class folders; otherwise the dataset has no test set of its own.
    Classes are numbered in the order of their names. Images become RGB squares of `image_size` pixels a
    side (`read_images`). Hidden files and files that are not images by their suffix are left out.

    Raises:
        DataError: no such folder, fewer than two classes, a class without images, a test class that is not in
            the training data, or an unreadable image.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"image folder '{root}'",
            required="a folder of class folders",
            found="a file" if root.exists() else "nothing there",
            mend="Check the path.",
        )
    train_folder, test_folder = _layout(root)
    train = _class_files(train_folder)
    test = _class_files(test_folder, known=tuple(train)) if test_folder else None
    files = [file for part in (train, test or {}) for group in part.values() for file in group]

    name = root.resolve().name

    def read() -> LabelledImages:
        classes = tuple(train)
        return LabelledImages(
            name,
            classes,
            _read(train, classes, image_size),
            _read(test, classes, image_size) if test is not None else None,
        )

    return cached(name, ("folder", fingerprint(root, files), image_size), read)


def _folders(path: Path) -> list[Path]:
    return sorted(child for child in path.iterdir() if child.is_dir() and not child.name.startswith("."))


def _layout(root: Path) -> tuple[Path, Path | None]:
    names = {folder.name for folder in _folders(root)}
    if TRAIN in names and names <= {TRAIN, *TESTS}:
        test = next((name for name in TESTS if name in names), None)
        return root / TRAIN, root / test if test else None
    return root, None


def _class_files(folder: Path, known: tuple[str, ...] | None = None) -> ClassFiles:
    files: ClassFiles = {}
    for child in _folders(folder):
        if known is not None and child.name not in known:
            raise DataError(
                f"test class folder '{child}'",
                required=f"a class of the training data ({', '.join(known)})",
                found=f"'{child.name}'",
                mend="Add training images of that class, or remove its test folder.",
            )
        files[child.name] = sorted(file for file in child.rglob("*") if _is_image(file, child))
        if not files[child.name]:
            raise DataError(
                f"class folder '{child}'",
                required=f"at least one image ({' '.join(sorted(SUFFIXES))})",
                found="none",
                mend="Add images to it, or delete the folder.",
            )
    if len(files) < 2 and known is None:
        loose = sum(_is_image(file, folder) for file in folder.iterdir())
        beside = f", with {loose} images beside them" if loose else ""
        raise DataError(
            f"image folder '{folder}'",
            required="at least two class folders with images in them",
            found=(", ".join(files) or "no class folder") + beside,
            mend="Put the images of each class into a folder of their own, named like the class.",
        )
    if not files:
        raise DataError(
            f"test folder '{folder}'",
            required="class folders named like those of the training data",
            found="no class folder",
            mend="Fill it, or delete it to have 20% of the training images held out instead.",
        )
    return files


def _is_image(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.suffix.lower() in SUFFIXES and file.is_file()


def _read(files: ClassFiles, classes: tuple[str, ...], image_size: int) -> Examples:
    paths = [path for group in files.values() for path in group]
    labels = [classes.index(name) for name, group in files.items() for _ in group]
    return Examples(read_images(paths, image_size), torch.tensor(labels, dtype=torch.int64))
