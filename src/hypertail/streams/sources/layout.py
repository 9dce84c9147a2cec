"""Where in a user's folder the classes lie: in it, or in folders for training and testing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from hypertail.errors import DataError
from hypertail.streams.names import printable, shown
from hypertail.streams.sources.scan import Tally, images_below, is_image_name, subfolders
from hypertail.streams.sources.splits import find_splits, split_of

# Folders of images to predict, beside training and test data.
EXTRAS = frozenset("pred predict prediction predictions unlabeled unlabelled extra unsup".split())  # noqa: SIM905


@dataclass(frozen=True)
class Layout:
    """Where the class folders of the training and the test data lie, and what to say of that."""

    train: Path
    test: Path | None
    notices: tuple[str, ...] = ()


def find_layout(root: Path, tally: Tally, *, least_classes: int = 2) -> Layout:
    """Tell class folders from folders for training, testing and validation, in all usual spellings.

    A validation folder is test data where there is no test folder, and is left out where there is one. Images in
    what is left out are counted in `tally`.

    Args:
        root: the folder.
        tally: of what is not read.
        least_classes: where one is enough, a lonely `train` without folders in it is a class, such as that of a
            vehicle.

    Raises:
        DataError: it cannot be told which they are.
    """
    folders = {folder.name: folder for folder in subfolders(root)}
    found = find_splits(folders)
    if found.train is None:
        _refuse_without_training(root, folders)
        return Layout(root, None)
    train = folders[found.train]
    second = [name for name in found.unused if (split := split_of(name)) and split.kind == "train"]
    if second:
        raise _unclear(root, "one training folder", f"{shown(train.name)} and {shown(second[0])}")
    others = [folders[name] for name in found.others]
    if least_classes == 1 and len(folders) == 1 and not subfolders(train):
        return Layout(root, None)
    if found.test is None and others:
        if _own_images(train) or not subfolders(train):
            return Layout(root, None)  # a class called `train`
        if not all(folder.name.casefold() in EXTRAS for folder in others):
            raise _unclear(
                root,
                "class folders, or folders for training and testing",
                f"'{shown(train.name)}' with folders in it, beside {_listed(others)}",
            )
    notices = [f"training images are those in {printable(train.name)}/"]
    if found.test is not None:
        kind = split_of(found.test)
        instead = " (there is no test folder)" if kind and kind.kind == "validation" else ""
        notices = [f"{notices[0]}, test images those in {printable(found.test)}/{instead}"]
    for name in found.unused:
        reason = f"in {printable(name)}/, since test images are those in {printable(found.test or '')}/"
        tally.add(reason, *images_below(folders[name], Tally(root)))
    for folder in others:
        tally.add(f"in {printable(folder.name)}/, which is no split", *images_below(folder, Tally(root)))
    left = [folders[name] for name in found.unused] + others
    if left:
        notices.append(f"left out as a whole: {_listed(left)}")
    test = None if found.test is None else _inner(folders[found.test])
    return Layout(_inner(train), test, tuple(notices))


def check_nesting(folder: Path, classes: Mapping[str, list[Path]]) -> tuple[str, ...]:
    """See whether sub-folders of the class folders look like the true classes, or like splits.

    Args:
        folder: that holds the class folders.
        classes: name of each class folder -> its image files.

    Returns:
        a sentence where there are sub-folders in several class folders.

    Raises:
        DataError: all class folders hold the same two or more sub-folders and no image of their own, or one holds
            folders for training and testing.
    """
    inner: dict[str, frozenset[str]] = {}
    own: dict[str, bool] = {}
    for name, files in classes.items():
        parts = [file.relative_to(folder / name).parts for file in files]
        inner[name] = frozenset(part[0] for part in parts if len(part) > 1)
        own[name] = any(len(part) == 1 for part in parts)
        if find_splits(sorted(inner[name])).both and not own[name]:
            raise DataError(
                f"class folder '{shown(folder / name)}'",
                required="images of one class, for training",
                found=f"folders for training and testing in it: {', '.join(map(printable, sorted(inner[name])))}",
                hint="Put them the other way round: train/CLASS/ and test/CLASS/.",
            )
    shared = frozenset.intersection(*inner.values()) if inner else frozenset()
    names = ", ".join(printable(name) for name in sorted(shared)[:5]) + (", ..." if len(shared) > 5 else "")
    if len(classes) > 1 and len(shared) > 1 and not any(own.values()) and len(set(inner.values())) == 1:
        raise DataError(
            f"image folder '{shown(folder)}'",
            required="class folders with the images of one class each",
            found=f"the same sub-folders ({names}) in all of {', '.join(map(printable, classes))}",
            hint="If these are the classes, name the folders above them train and test, or point to one of them; "
            "if they are not, give at least one class an image outside them.",
        )
    nested = sum(bool(parts) for parts in inner.values())
    return (f"images in sub-folders of {nested} class folders belong to those classes",) if nested else ()


def _refuse_without_training(root: Path, folders: Mapping[str, Path]) -> None:
    kinds = [name for name in folders if (split := split_of(name)) is not None and split.plain]
    classes = {name for name in folders if name not in kinds}
    if len(kinds) > 1 and not classes:
        raise _unclear(root, "class folders, or a training folder", f"only {', '.join(map(shown, sorted(kinds)))}")
    for name in kinds:
        inside = {folder.name for folder in subfolders(folders[name])}
        if len(inside & classes) > 1:
            raise _unclear(
                root,
                "training and test folders side by side",
                f"'{shown(name)}' beside class folders that it holds again",
            )


def _inner(folder: Path) -> Path:
    """`seg_train/seg_train` for `seg_train`, as some archives unpack."""
    inside = subfolders(folder)
    if len(inside) == 1 and not _own_images(folder) and subfolders(inside[0]):
        outer, inner = split_of(folder.name), split_of(inside[0].name)
        if outer and inner and outer.kind == inner.kind:
            return inside[0]
    return folder


def _own_images(folder: Path) -> bool:
    return any(is_image_name(file.name) and not file.is_dir() for file in folder.iterdir())


def _listed(folders: list[Path]) -> str:
    return ", ".join(f"{printable(folder.name)}/" for folder in folders)


def _unclear(root: Path, required: str, found: str) -> DataError:
    return DataError(
        f"image folder '{shown(root)}'",
        required=required,
        found=found,
        hint="Lay it out as PATH/CLASS/IMAGE, or PATH/train/CLASS/IMAGE and PATH/test/CLASS/IMAGE; move other folders "
        "elsewhere, and give a class another name than train or test.",
    )
