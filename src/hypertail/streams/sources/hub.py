"""Hub datasets, from a local root laid out like the hub or by download."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hypertail.errors import ConfigError, DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.cache import cached, fingerprint
from hypertail.streams.sources.columns import SplitImages, Wanted, find_columns, join_splits, read_split
from hypertail.streams.sources.decode import quiet
from hypertail.streams.sources.folders import image_folder
from hypertail.streams.sources.labelled import LabelledImages, described
from hypertail.streams.sources.scan import is_image_name
from hypertail.streams.sources.splits import find_splits
from hypertail.streams.sources.unreadable import OnBadImage

TESTS = ("test", "validation", "valid", "val")
TABLES = (".parquet", ".arrow", ".csv", ".tsv", ".json", ".jsonl", ".tar", ".zip", ".gz", ".h5")
PROBE_SECONDS = 10.0


@dataclass(frozen=True)
class HubSource:
    """What to read of a hub dataset.

    Attributes:
        repo: `owner/name` on the hub.
        config: configuration; None takes the only one, or the one called `default`.
        image, label: columns; None finds them by their names and feature types.
        test: split that holds the test set; None takes `test`, `validation`, `valid`, `val` or the like.
        pad: black frame in pixels around every image before it is resized.
        strict: the columns must be there; otherwise others are found in their place.
    """

    repo: str
    config: str | None = None
    image: str | None = None
    label: str | None = None
    test: str | None = None
    pad: int = 0
    strict: bool = False

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", self.repo, re.ASCII):
            raise ConfigError(
                f"hub dataset '{self.repo}'",
                required="OWNER/NAME of letters, digits, '-', '_' and '.'",
                found=f"'{self.repo}'",
                hint="Copy the id from the dataset's page on the hub, such as 'uoft-cs/cifar100'.",
            )


def hub_dataset(
    source: HubSource,
    *,
    image_size: int,
    data: str | Path | None = None,
    cache: bool | None = None,
    on_bad_image: OnBadImage = "error",
) -> LabelledImages:
    """Read a hub dataset as RGB squares of `image_size` pixels a side.

    It is read from `<data>/<owner>/<name>` if that folder exists (`data` defaults to `$HYPERTAIL_DATA`), and
    otherwise downloaded. The root is only read, never written. Classes without a training image are dropped.
    A local folder that holds image files and no tables is read as `image_folder` reads it.

    Args:
        source: what to read.
        image_size: pixels a side.
        data: root folder of local datasets.
        cache: keep the decoded images on disk; None does so for a download alone. Delete the file in the cache
            to see a newer upload (`hypertail cache`).
        on_bad_image: what to do with an image that cannot be read: end with an `error`, or `skip` and list it.

    Raises:
        DataError: not found and not downloadable, no usable column or split, or an unreadable image.
    """
    root = data_root(data)
    folder = root / source.repo if root else None
    local = folder if folder is not None and folder.is_dir() else None
    keep = local is None if cache is None else cache
    files = sorted(_files(local)) if local else []
    if local and source == HubSource(source.repo) and _image_files_only(files):
        return image_folder(local, image_size=image_size, cache=keep, name=source.repo, on_bad_image=on_bad_image)

    def read() -> LabelledImages:
        return _read(source, local, root, image_size, on_bad_image)

    if not keep:
        return read()
    origin = fingerprint(local, files) if local else "hub"
    key = (source, origin, image_size) if on_bad_image == "error" else (source, origin, image_size, on_bad_image)
    return cached(source.repo, key, read)


def data_root(data: str | Path | None) -> Path | None:
    """The folder of local datasets: `data`, else `$HYPERTAIL_DATA`, else None.

    Raises:
        DataError: the folder does not exist.
    """
    given = data if data is not None else os.environ.get("HYPERTAIL_DATA") or None
    if given is None:
        return None
    root = Path(given).expanduser()
    if not root.is_dir():
        raise DataError(
            f"data folder '{shown(root)}'",
            required="an existing folder laid out <folder>/<owner>/<name>, like the hub",
            found="a file" if root.exists() else "nothing there",
            hint="Check --data or HYPERTAIL_DATA.",
        )
    return root


def _files(folder: Path) -> Iterator[Path]:
    for file in folder.rglob("*"):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(folder).parts):
            yield file


def _image_files_only(files: list[Path]) -> bool:
    """Images, and papers about them; tables of any kind are for the `datasets` library to understand."""
    if not any(is_image_name(file.name) for file in files):
        return False
    readme = [file for file in files if file.name == "README.md"]  # may say which file belongs to which split
    return not any(file.suffix.lower() in TABLES for file in files) and not any(map(_has_header, readme))


def _has_header(readme: Path) -> bool:
    return readme.is_file() and readme.read_bytes().startswith(b"---")


def _read(
    source: HubSource, local: Path | None, root: Path | None, image_size: int, on_bad_image: OnBadImage
) -> LabelledImages:
    with _silenced(), quiet():
        splits = _open(source, local, root)
        train, test, notice = _choose_splits(source, list(splits), local)
        wanted = Wanted(source.image, source.label, source.strict)
        columns = find_columns(source.repo, splits[train].features, wanted)

        def read(name: str) -> SplitImages:
            options: Any = {"image_size": image_size, "pad": source.pad, "on_bad_image": on_bad_image}
            return read_split(source.repo, name, splits[name], columns, **options)

        parts = [read(name) for name in (train, test) if name]
        images, notices = join_splits(source.repo, parts[0], parts[1] if test else None, image_size)
    place = f"hub:{source.repo}, " + ("downloaded" if local is None else f"in {shown(local.resolve())}")
    images = described(images, place, (notice, columns.notice, *notices))
    assert images.report is not None
    skipped = tuple(item for part in parts for item in part.left_out)
    return replace(images, report=replace(images.report, left_out=skipped))


def _open(source: HubSource, local: Path | None, root: Path | None) -> Mapping[str, Any]:
    """The dataset's splits, by name."""
    import datasets

    if local is None:
        _check_reachable(source.repo, root)
    place = str(local.resolve()) if local else source.repo
    try:
        config = _config(source, datasets.get_dataset_config_names(place))
        if local is None:
            splits: Mapping[str, Any] = datasets.load_dataset(place, config)
        else:  # streaming reads the files in place; of the cache it wants a lock file
            with tempfile.TemporaryDirectory() as scratch:
                splits = datasets.load_dataset(place, config, streaming=True, cache_dir=scratch)
    except DataError:
        raise
    except Exception as cause:  # whatever the readers and the network raise
        found = f"{type(cause).__name__}: {cause}"
        if local is None:
            raise _unreachable(source.repo, root, found) from cause
        raise DataError(
            f"dataset folder '{shown(local)}'",
            required="a folder that Hugging Face datasets can load",
            found=shown(found),
            hint="Copy the dataset again, or remove the folder to have it downloaded.",
        ) from cause
    return splits


def _check_reachable(repo: str, root: Path | None) -> None:
    """Ask the hub once: load_dataset would retry for half a minute before it gave up."""
    import huggingface_hub

    if huggingface_hub.constants.HF_HUB_OFFLINE:
        return  # what Hugging Face has in its own cache still loads
    try:
        huggingface_hub.HfApi().dataset_info(repo, timeout=PROBE_SECONDS)
    except Exception as cause:  # network, access and existence errors share no base
        lines = str(cause).strip().splitlines() or [""]
        raise _unreachable(repo, root, f"{type(cause).__name__}: {lines[0]}") from cause


def _unreachable(repo: str, root: Path | None, found: str) -> DataError:
    looked = f"no folder '{shown(root / repo)}'" if root else "no data folder given"
    return DataError(
        f"dataset '{repo}'",
        required="a local copy or a download from huggingface.co",
        found=f"{looked}, and the download failed ({found})",
        hint=f"Pass --data DIR (or set HYPERTAIL_DATA=DIR) where DIR/{repo} holds the dataset, or connect to "
        "the network.",
    )


def _config(source: HubSource, available: list[str]) -> str:
    if source.config in available:
        return source.config
    if len(available) == 1:
        return available[0]
    if source.config is None and "default" in available:
        return "default"
    raise DataError(
        f"configuration of dataset '{source.repo}'",
        required=f"one of {', '.join(available)}",
        found=f"'{source.config}'" if source.config else "no choice",
        hint=f"Name one: hub:{source.repo}:{available[0]}",
    )


def _choose_splits(source: HubSource, names: list[str], local: Path | None) -> tuple[str, str | None, str]:
    """The training split, the test split if there is one, and what to say of them."""
    found = find_splits(names)
    train = "train" if "train" in names else found.train
    if source.test:
        test = source.test if source.test in names else None
    else:
        test = next((name for name in TESTS if name in names), found.test)
    if train is None or (source.test and test is None):
        raise DataError(
            f"splits of dataset '{source.repo}'",
            required=" and ".join(filter(None, ("train", source.test))),
            found=", ".join(names),
            hint="Name the files after their splits, such as data/train-00000-of-00001.parquet.",
        )
    if len(names) == 1 and local is not None:
        _refuse_one_split_of_two(source.repo, local)
    words = f"splits: training images from '{train}'" + (f", test images from '{test}'" if test else "")
    unused = [f"'{name}'" for name in names if name not in (train, test)]
    return train, test, words + (f"; not used: {', '.join(unused)}" if unused else "")


def _refuse_one_split_of_two(repo: str, local: Path) -> None:
    """`Train.parquet` and `Test.parquet` would be read as one training split: names must be in lower case."""
    if _has_header(local / "README.md"):
        return
    files = [file for file in _files(local) if file.suffix.lower() in TABLES or is_image_name(file.name)]
    names = {part for file in files for part in map(shown, (*file.relative_to(local).parts[:-1], file.stem))}
    found = find_splits(sorted(names))
    if found.both:
        raise DataError(
            f"splits of dataset '{repo}'",
            required="names that tell training from test data",
            found=f"one split, though there are names like '{found.train}' and '{found.test}'",
            hint="Call the files or folders train and test, in lower case.",
        )


@contextmanager
def _silenced() -> Iterator[None]:
    """No progress bars from the hub libraries inside the block."""
    import huggingface_hub.utils as hub
    from datasets import utils as local

    # both variables are None unless the user decided
    libraries = [
        module
        for module, decided in (
            (hub, os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS")),
            (local, os.environ.get("HF_DATASETS_DISABLE_PROGRESS_BARS")),
        )
        if decided is None and not module.are_progress_bars_disabled()
    ]
    for module in libraries:
        module.disable_progress_bars()
    try:
        yield
    finally:
        for module in libraries:
            module.enable_progress_bars()
