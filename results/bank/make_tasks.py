"""Write ten small tasks as folders of images, and three sets of strangers, from local copies of public datasets.

    python results/bank/make_tasks.py --data DATA --out TASKS

Eight superclasses of CIFAR-100 (of unequal numbers of classes and images), seven traffic signs of GTSRB, six classes of
Fashion-MNIST; strangers: SVHN and two other superclasses. TASKS/NAME/train/CLASS/N.png, TASKS/NAME/test/CLASS/N.png.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pyarrow.parquet as parquet

COARSE = {
    # name: number of the superclass, classes, training images of each class
    "aquatic-mammals": (0, 5, 250),
    "food-containers": (3, 4, 100),
    "household-devices": (5, 5, 150),
    "bears-and-cats": (8, 3, 60),
    "large-scenes": (10, 5, 120),
    "people": (14, 5, 150),
    "trees": (17, 5, 100),
    "vehicles": (19, 5, 200),
}
STRANGE = {"strange-flowers": 2, "strange-insects": 7}
TEST = 100


def rows_of(folder: Path, split: str) -> list[dict[str, object]]:
    """All rows of a split."""
    files = sorted((folder / "data").glob(f"{split}-*.parquet"))
    return [row for file in files for row in parquet.read_table(file).to_pylist()]


def write(out: Path, task: str, part: str, name: str, rows: list[dict[str, object]], column: str) -> int:
    """Write images of a class."""
    folder = out / task / part / name
    folder.mkdir(parents=True, exist_ok=True)
    for number, row in enumerate(rows):
        (folder / f"{number:04d}.png").write_bytes(row[column]["bytes"])  # type: ignore[index]
    return len(rows)


def main() -> None:
    """Write everything and a table of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    table: dict[str, dict[str, int]] = {}

    cifar = given.data / "uoft-cs" / "cifar100"
    for part, split in (("train", "train"), ("test", "test")):
        rows = rows_of(cifar, split)
        for task, (coarse, classes, images) in COARSE.items():
            fine = sorted({row["fine_label"] for row in rows if row["coarse_label"] == coarse})[:classes]
            most = images if part == "train" else TEST
            count = 0
            for label in fine:
                chosen = [row for row in rows if row["fine_label"] == label][:most]
                count += write(given.out, task, part, f"class-{label}", chosen, "img")
            table.setdefault(task, {"classes": len(fine)})[part] = count
        if part == "test":
            for task, coarse in STRANGE.items():
                chosen = [row for row in rows if row["coarse_label"] == coarse]
                table[task] = {"test": write(given.out, task, "test", "any", chosen, "img")}

    for task, folder, count, images in (
        ("traffic-signs", given.data / "tanganke" / "gtsrb", 7, 100),
        ("fashion", given.data / "zalando-datasets" / "fashion_mnist", 6, 80),
    ):
        for part in ("train", "test"):
            rows, total = rows_of(folder, part), 0
            for label in range(count):
                chosen = [row for row in rows if row["label"] == label][: images if part == "train" else TEST]
                total += write(given.out, task, part, f"class-{label}", chosen, "image")
            table.setdefault(task, {"classes": count})[part] = total
    svhn = rows_of(given.data / "ufldl-stanford" / "svhn", "test")
    table["strange-numbers"] = {"test": write(given.out, "strange-numbers", "test", "any", svhn[:1000], "image")}
    (given.out / "tasks.json").write_text(json.dumps(table, indent=2))
    for task, counts in table.items():
        print(task, counts)


if __name__ == "__main__":
    main()
