"""A folder of class folders as a dataset."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from hypertail.errors import DataError
from hypertail.streams.names import printable, shown
from hypertail.streams.report import LeftOut, plural
from hypertail.streams.sources.cache import cached, fingerprint
from hypertail.streams.sources.decode import Pictures, decode_files, finished
from hypertail.streams.sources.labelled import LabelledImages, described
from hypertail.streams.sources.layout import Layout, check_nesting, find_layout
from hypertail.streams.sources.scan import Tally, images_below, loose_files, subfolders
from hypertail.streams.sources.unreadable import OnBadImage, Unreadable
from hypertail.streams.stream import Examples

ClassFiles = dict[str, list[Path]]


def image_folder(
    path: str | Path,
    *,
    image_size: int = 32,
    cache: bool = False,
    name: str | None = None,
    on_bad_image: OnBadImage = "error",
) -> LabelledImages:
    """Read a folder of class folders, `PATH/<class>/**/<image>`.

    If PATH holds a folder for training (`train`, `Training`, `train_set`, ...), perhaps with one for testing or
    validation, those hold the class folders; otherwise the dataset has no test set of its own. The report says which
    were taken. Classes are numbered in the order of their names. Within a class images are ordered by a digest of
    their files, so that neither names nor places of files decide anything. Images become RGB squares of `image_size`
    pixels a side (`read_images`); those of more than 8 bits are scaled by one rule for the whole folder
    (`sources.depth`). Files that Pillow does not read by their suffix, hidden files and folders are left
    out; the report counts them.

    Args:
        path: the folder.
        image_size: pixels a side.
        cache: keep the decoded images on disk (`hypertail.streams.sources.cache`).
        name: of the dataset, for class order and splits as well; by default that of the folder, which they do not
            follow then.
        on_bad_image: what to do with a file that cannot be read: end with an `error`, or `skip` and list it.

    Raises:
        DataError: no such folder, fewer than two classes, a class without images, a test class that is not in
            the training data, folders whose meaning is not clear, or an unreadable image.
    """
    found = scan_folder(path)
    place = found.root.resolve()
    title = name or printable(place.name) or shown(place)
    train, test, notices = found.train, found.test, found.notices

    def read() -> LabelledImages:
        return _read(title, found.root, train, test, image_size, Unreadable(on_bad_image))

    files = [file for part in (train, test or {}) for group in part.values() for file in group]
    key: tuple[object, ...] = (
        "folder",
        fingerprint(found.root, files),
        str(found.layout.train),
        str(found.layout.test),
        image_size,
    )
    key = key if on_bad_image == "error" else (*key, on_bad_image)
    images = cached(title, key, read) if cache else read()
    # the files left out may change while the images do not: that part is never taken from the cache
    report = images.report
    if report is not None:
        skipped = tuple(item for item in report.left_out if "skipped" in item.reason)
        report = replace(report, left_out=(*found.left_out, *skipped), notices=(*notices, *report.notices))
    return replace(images, report=report, seed_name=name or "folder")


@dataclass(frozen=True)
class FolderFiles:
    """The image files of a folder of class folders.

    Attributes:
        root: the folder.
        layout: where training and test data lie in it.
        train, test: files by the name of their class folder; `test` is None without a folder for it.
        left_out: what is not read, and why.
        notices: what a reader should know.
    """

    root: Path
    layout: Layout
    train: ClassFiles
    test: ClassFiles | None
    left_out: tuple[LeftOut, ...]
    notices: tuple[str, ...]


def scan_folder(path: str | Path, *, least_classes: int = 2) -> FolderFiles:
    """Find the images of a folder without reading them.

    Args:
        path: the folder.
        least_classes: that its training data must have.

    Raises:
        DataError: as `image_folder`, unreadable images apart.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise DataError(
            f"image folder '{shown(root)}'",
            required="a folder of class folders",
            found="a file" if root.exists() else "nothing there",
            hint="Check the path.",
        )
    tally = Tally(root)
    layout = find_layout(root, tally, least_classes=least_classes)
    train = _class_files(layout.train, tally, least_classes=least_classes)
    notices = layout.notices + check_nesting(layout.train, train)
    test = _class_files(layout.test, tally, known=train) if layout.test else None
    if layout.train != root:
        loose_files(root, tally)
    return FolderFiles(root, layout, train, test, tally.left_out(), notices + _renamed(train))


def _class_files(folder: Path, tally: Tally, known: ClassFiles | None = None, least_classes: int = 2) -> ClassFiles:
    """The image files of each class folder, by the folder's name."""
    files: ClassFiles = {}
    seen: dict[str, str] = {}
    classes = {printable(name) for name in known or ()}
    for child in subfolders(folder):
        title = printable(child.name)
        if known is not None and title not in classes:
            raise DataError(
                f"test class folder '{shown(child)}'",
                required=f"a class of the training data ({', '.join(sorted(classes))})",
                found=f"'{title}'",
                hint="Add training images of that class, or remove its test folder.",
            )
        if title in seen:
            raise DataError(
                f"class folder '{shown(child)}'",
                required="one folder for each class",
                found=f"two that are both called '{title}' once accents and bytes are written alike",
                hint="Give one of them another name, or put their images together.",
            )
        seen[title] = child.name
        files[child.name] = images_below(child, tally)
        if not files[child.name]:
            beside = Tally(child)
            images_below(child, beside)
            other = "".join(f"; {plural(item.count, 'file')} {item.reason}" for item in beside.left_out())
            raise DataError(
                f"class folder '{shown(child)}'",
                required="at least one image that Pillow reads (.jpg, .png, .webp and others)",
                found=f"none{other}",
                hint="Add images to it, or delete the folder.",
            )
    loose = loose_files(folder, tally)
    if len(files) < least_classes and known is None:
        raise _too_few(folder, [printable(name) for name in files], loose, least_classes)
    if not files:
        raise DataError(
            f"test folder '{shown(folder)}'",
            required="class folders named like those of the training data",
            found="no class folder",
            hint="Fill it, or delete it to have 20% of the training images held out instead.",
        )
    return files


def _too_few(folder: Path, names: list[str], loose: int, least: int) -> DataError:
    beside = f", with {loose} images beside them" if loose else ""
    hint = "Put the images of each class into a folder of their own, named like the class."
    for child in subfolders(folder):
        if len(subfolders(child)) > 1:
            hint = f"If the classes are the folders in it, give the path '{shown(child)}'."
    return DataError(
        f"image folder '{shown(folder)}'",
        required="a class folder with images in it" if least == 1 else "at least two class folders with images in them",
        found=(", ".join(names) or "no class folder") + beside,
        hint=hint,
    )


def _renamed(classes: ClassFiles) -> tuple[str, ...]:
    odd = [printable(name) for name in classes if not name.isprintable()]
    if not odd:
        return ()
    return (f"names of class folders that are no text are written with their bytes: {', '.join(odd)}",)


def _read(
    name: str, root: Path, train: ClassFiles, test: ClassFiles | None, image_size: int, unreadable: Unreadable
) -> LabelledImages:
    classes = tuple(sorted(printable(name) for name in train))
    parts = [_decoded(part, classes, image_size, unreadable) for part in (train, test) if part is not None]
    check_classes(root, classes, parts[0][1], unreadable)
    pixels, notices = finished([pictures for pictures, _ in parts], image_size)
    sets = [Examples(images, labels) for images, (_, labels) in zip(pixels, parts, strict=True)]
    images = LabelledImages(name, classes, sets[0], sets[1] if test is not None else None)
    images = described(images, shown(root.resolve()), notices)
    assert images.report is not None
    return replace(images, report=replace(images.report, left_out=unreadable.left_out()))


def check_classes(root: Path, classes: tuple[str, ...], labels: torch.Tensor, unreadable: Unreadable) -> None:
    """Refuse a class of which nothing is left.

    Raises:
        DataError: all its images were skipped.
    """
    left = set(labels.tolist())
    for number, name in enumerate(classes):
        if number not in left:
            raise DataError(
                f"class '{name}' of image folder '{shown(root)}'",
                required="at least one image that can be read",
                found=f"none; {len(unreadable.names)} files of the folder cannot be read, {unreadable.names[0]} first",
                hint="Replace or delete them.",
            )


def _decoded(
    files: ClassFiles, classes: tuple[str, ...], image_size: int, unreadable: Unreadable
) -> tuple[Pictures, torch.Tensor]:
    """The images of a split by class, then by the digest of their files, and their labels, int64 (n,)."""
    listed = [(classes.index(printable(name)), path) for name, group in files.items() for path in group]
    pictures, digests, kept = decode_files([path for _, path in listed], image_size, unreadable=unreadable)
    listed = [listed[row] for row in kept]
    order = sorted(range(len(listed)), key=lambda row: (listed[row][0], digests[row]))
    labels = torch.tensor([listed[row][0] for row in order], dtype=torch.int64)
    return Pictures([pictures.rows[row] for row in order]), labels
