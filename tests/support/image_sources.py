"""Small datasets on disk for the tests: hub-layout roots of parquet files, and folders of images."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import datasets
import numpy as np
from PIL import Image

Result = TypeVar("Result")
PARQUET = "data/{split}-00000-of-00001.parquet"


def noise_image(number: int, size: tuple[int, int] = (32, 32), mode: str = "RGB") -> Image.Image:
    """Random pixels that follow from `number`, so that every image can be told from every other."""
    shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, shape, dtype=np.uint8))


def png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def quietly(work: Callable[[], Result]) -> Result:
    """The result of `work`, without progress bars."""
    datasets.disable_progress_bars()
    try:
        return work()
    finally:
        datasets.enable_progress_bars()


def write_split(
    root: Path,
    repo: str,
    split: str,
    images: Sequence[bytes | None],
    labels: Sequence[object],
    *,
    columns: tuple[str, str] = ("image", "label"),
    label: object = None,
    file: str = PARQUET,
) -> Path:
    """One parquet file of encoded images; `label` is the feature of the label column (default: a Value)."""
    image_column, label_column = columns
    cells = [{"bytes": content, "path": None} for content in images]
    features = None
    if label is not None:
        features = datasets.Features({image_column: datasets.Image(), label_column: label})
    table = datasets.Dataset.from_dict({image_column: cells, label_column: list(labels)}, features=features)
    if label is None:
        table = table.cast_column(image_column, datasets.Image())
    path = root / repo / file.format(split=split)
    path.parent.mkdir(parents=True, exist_ok=True)
    quietly(lambda: table.to_parquet(path))
    return path


def write_classes(
    root: Path,
    repo: str,
    classes: int,
    *,
    train: int = 10,
    test: int = 2,
    columns: tuple[str, str] = ("image", "label"),
    test_split: str = "test",
    size: tuple[int, int] = (32, 32),
    mode: str = "RGB",
) -> None:
    """A dataset with `train` and `test` images of each class, every image different."""
    label = datasets.ClassLabel(names=[f"class {index}" for index in range(classes)])
    first = 0
    for split, count in (("train", train), (test_split, test)):
        labels = [index % classes for index in range(classes * count)]
        images = [png(noise_image(first + row, size, mode)) for row in range(len(labels))]
        write_split(root, repo, split, images, labels, columns=columns, label=label)
        first += len(labels)


def write_folder(root: Path, classes: dict[str, int], size: tuple[int, int] = (20, 14), first: int = 0) -> None:
    """Class folders with so many PNG images each."""
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            noise_image(first, size).save(root / name / f"{index:03}.png")
            first += 1
