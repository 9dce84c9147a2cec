"""Which columns of a table are its images and labels (case 12), and which labels are classes (case 14)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from hypertail.errors import ConfigError, DataError
from hypertail.streams import build_stream
from hypertail.streams.sources.hub import HubSource, hub_dataset
from hypertail.streams.sources.labelled import LabelledImages
from support.errors import refused
from support.image_sources import noise_image, png, quietly, write_split

REPO = "someone/things"


def write_table(root: Path, columns: dict[str, Any], features: dict[str, Any] | None = None) -> None:
    path = root / REPO / "train.parquet"
    path.parent.mkdir(parents=True)
    table = datasets.Dataset.from_dict(columns, features=features and datasets.Features(features))
    quietly(lambda: table.to_parquet(path))


def cells(first: int) -> list[dict[str, Any]]:
    return [{"bytes": png(noise_image(first + row)), "path": None} for row in range(4)]


def write_images(root: Path, names: Sequence[str], label: str = "label") -> None:
    """A table with images 0.. in the first column, 10.. in the second and so on."""
    columns: dict[str, Any] = {name: cells(10 * number) for number, name in enumerate(names)}
    features: dict[str, Any] = {name: datasets.Image() for name in names}
    write_table(root, {**columns, label: ["x", "y"] * 2}, {**features, label: datasets.Value("string")})


def read(root: Path, **options: Any) -> LabelledImages:
    return hub_dataset(HubSource(REPO, **options), image_size=32, data=root)


def first_image(images: LabelledImages) -> int:
    """The number of the first image read."""
    pixels = images.train.images[0].permute(1, 2, 0).contiguous().numpy().tobytes()
    return next(number for number in range(100) if noise_image(number).tobytes() == pixels)


def notice(images: LabelledImages) -> str:
    assert images.report is not None
    return next(line for line in images.report.lines() if line.startswith("columns: "))


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["mask", "image"], "image"),
        (["mask", "img", "depth"], "img"),
        (["segmentation", "pixel_values"], "pixel_values"),
        (["thumbnail", "Photo"], "Photo"),
        (["mask", "scan"], "scan"),
        (["label_image", "scan", "depth_map"], "scan"),
        (["image", "img"], "image"),
        (["scan", "other"], "scan"),
    ],
)
def test_case_12_usual_names_first(tmp_path: Path, names: list[str], chosen: str) -> None:
    """Case 12: `mask`, `image`, `label` learns the images; the choice is said."""
    write_images(tmp_path, names)
    images = read(tmp_path)
    assert first_image(images) == 10 * names.index(chosen)
    others = ", ".join(f"'{name}'" for name in names if name != chosen)
    assert f"images from '{chosen}' (not " in notice(images)
    assert all(name in notice(images) for name in others.split(", "))
    assert notice(images).endswith("labels from 'label'")


def test_case_12_columns_can_be_chosen(tmp_path: Path) -> None:
    """Case 12: `build_stream(..., image_column=, label_column=)`."""
    write_images(tmp_path, ["image", "mask"], "kind")
    with refused(DataError, problem=f"'{REPO}'", hint=("image_column", "label_column")):
        build_stream(f"hub:{REPO}", data=tmp_path)
    stream = build_stream(f"hub:{REPO}", data=tmp_path, image_column="mask", label_column="kind")
    assert "columns: images from 'mask' (not 'image'), labels from 'kind'" in stream.reports[0].lines()
    other = build_stream(f"hub:{REPO}", data=tmp_path, label_column="kind")
    assert not torch.equal(stream[0].train.images, other[0].train.images)


@pytest.mark.parametrize(
    ("option", "value"), [("image_column", "kind"), ("image_column", "no"), ("label_column", "mask")]
)
def test_case_12_a_column_that_is_not_there_is_refused(tmp_path: Path, option: str, value: str) -> None:
    """Case 12: what is asked for is never replaced by another column."""
    write_images(tmp_path, ["image", "mask"])
    what = option.partition("_")[0]
    with refused(DataError, problem=(f"{what} column '{value}'", f"'{REPO}'")):
        build_stream(f"hub:{REPO}", data=tmp_path, **{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["digits", "folder:x", "split-cifar10", "pair:svhn,gtsrb"])
def test_case_12_columns_are_for_hub_datasets(name: str) -> None:
    """Case 12: an option without a meaning is refused."""
    with refused(ConfigError, problem=("image column", f"'{name}'"), required="hub:OWNER/NAME", found="'image'"):
        build_stream(name, image_column="image")


@pytest.mark.parametrize("kind", ["binary", "struct"])
def test_case_12_images_as_plain_bytes(tmp_path: Path, kind: str) -> None:
    """Case 12: tables of other programs hold files without saying that they are images."""
    contents = [png(noise_image(row)) for row in range(4)]
    image = contents if kind == "binary" else [{"bytes": content, "path": None} for content in contents]
    struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "image": pa.array(image, pa.binary() if kind == "binary" else struct),
        "label": pa.array([0, 1, 0, 1]),
    }
    (tmp_path / REPO).mkdir(parents=True)
    pq.write_table(pa.table(columns), tmp_path / REPO / "train.parquet")
    images = read(tmp_path)
    assert first_image(images) == 0
    assert images.classes == ("0", "1")


def labelled(
    root: Path, labels: Sequence[object], test: Sequence[object] | None = None, feature: object = None
) -> None:
    for first, split, values in ((0, "train", labels), (50, "test", test)):
        if values is not None:
            images = [png(noise_image(first + row)) for row in range(len(values))]
            write_split(root, REPO, split, images, values, label=feature)


def test_case_14_minus_one_and_plus_one(tmp_path: Path) -> None:
    """Case 14: numbers without names are classes, whatever they are; -1 is said to be one."""
    labelled(tmp_path, [-1, 1, 1, -1], [1, -1])
    images = read(tmp_path)
    assert images.classes == ("-1", "1")
    assert images.train.labels.tolist() == [0, 1, 1, 0]
    assert images.report is not None
    assert "label -1 in split 'train' is taken as a class" in images.report.lines()


def test_case_14_minus_one_of_a_class_label_has_no_label(tmp_path: Path) -> None:
    """Case 14: where classes have names, -1 is that of none."""
    labelled(tmp_path, [0, 1, -1, 0], feature=datasets.ClassLabel(names=["cat", "dog"]))
    with refused(DataError, problem=("labels", f"'{REPO}'"), found="1 images without"):
        read(tmp_path)


@pytest.mark.parametrize(("labels", "row"), [(["x", None, "y"], 1), (["x", "y", ""], 2), ([1, 2, None], 2)])
def test_case_14_missing_labels_are_told(tmp_path: Path, labels: list[object], row: int) -> None:
    """Case 14: brothers: nothing, and an empty text, are no class."""
    labelled(tmp_path, labels)
    with refused(DataError, found=("1 images without", f"row {row}")):
        read(tmp_path)


def test_case_14_hidden_test_labels_without_names(tmp_path: Path) -> None:
    """Case 14: a test split of -1 alone is no class that was learned."""
    labelled(tmp_path, [0, 1, 0], [-1, -1])
    with refused(DataError, problem="test split", required="training split", found=("1 others", "'-1'")):
        read(tmp_path)


def test_a_label_beyond_the_names_is_told(tmp_path: Path) -> None:
    labelled(tmp_path, [0, 1, 0, 1], feature=datasets.ClassLabel(names=["cat", "dog"]))
    path = next((tmp_path / REPO).rglob("*.parquet"))
    table = pq.read_table(path)
    changed = table.set_column(1, table.schema.field(1), pa.array([0, 1, 7, 1], table.schema.field(1).type))
    pq.write_table(changed, path)
    with refused(DataError, required=("0 to 1", "2 named classes"), found="7 in row 2"):
        read(tmp_path)
