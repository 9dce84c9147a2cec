"""200 small tasks in one bank: what the 200th costs beside the second, and what serving costs.

    RESNET56=cifar10-resnet56.safetensors python results/bank/many_tasks.py --data DATA --work WORK \
        --out results/bank/many-tasks.json

A task is three classes of CIFAR-100, drawn by its number, with 10 images each and one class's images of test data.
"""

from __future__ import annotations

import argparse
import io
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from pyarrow import parquet
from resnet_cifar import MEAN, STD, resnet56

import hypertail as ht
from hypertail.environment import hardware, versions

TASKS = 200


def read(folder: Path, split: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Images uint8 (n, 3, 32, 32) and fine labels of CIFAR-100."""
    images, labels = [], []
    for file in sorted((folder / "data").glob(f"{split}-*.parquet")):
        for row in parquet.read_table(file).to_pylist():
            image = next(value for value in row.values() if isinstance(value, dict))
            images.append(np.asarray(Image.open(io.BytesIO(image["bytes"])).convert("RGB")))
            labels.append(row["fine_label"])
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2), torch.tensor(labels)


def learn(bank: ht.Bank, number: int, images: torch.Tensor, labels: torch.Tensor) -> dict[str, float]:
    """Learn a task, and say what it cost."""
    random = torch.Generator().manual_seed(number)
    classes = torch.randperm(100, generator=random)[:3]
    rows = [
        (labels == label).nonzero().flatten()[torch.randperm(500, generator=random)[:10]] for label in classes.tolist()
    ]
    given = torch.tensor([0, 1, 2]).repeat_interleave(10)
    started = time.perf_counter()
    learned = bank.learn(f"task-{number}", (images[torch.cat(rows)], given), epochs=5, seed=number)
    return {
        "seconds": time.perf_counter() - started,
        "bytes": learned.nbytes,
        "identical": sum(check.standing == "identical" for check in learned.certificate.checks)
        if learned.certificate
        else 0,
        "resident_kB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        "open_files": len(list(Path("/proc/self/fd").iterdir())),
    }


OPENED = """
import json, sys, time
import torch
torch.set_num_threads(1)
from resnet_cifar import resnet56
import hypertail as ht
model = resnet56()
image = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
started = time.perf_counter()
bank = ht.Bank.open(sys.argv[1], model=model)
opened = time.perf_counter()
bank.predict(image, task="task-7")
answered = time.perf_counter()
names = list(bank.tasks)
one, other = names[3], names[150]
bank.predict(image, task=one), bank.predict(image, task=other)
def median(steps):
    found = []
    for name in steps:
        start = time.perf_counter()
        bank.predict(image, task=name)
        found.append(time.perf_counter() - start)
    return sorted(found)[len(found) // 2]
stay, switch = median([one] * 60), median([one, other] * 30)
fresh = median([name for name in names if name not in (one, other)])
start = time.perf_counter()
bank.predict(image)
inferred_first = time.perf_counter() - start
start = time.perf_counter()
bank.predict(image)
inferred = time.perf_counter() - start
start = time.perf_counter()
bank.verify()
print(json.dumps({
    "seconds_to_open": opened - started,
    "seconds_from_opening_to_the_first_answer": answered - started,
    "seconds_an_answer_of_the_same_task_as_before": stay,
    "seconds_an_answer_of_another_task_in_memory": switch,
    "seconds_an_answer_of_a_task_not_in_memory": fresh,
    "seconds_the_first_answer_without_task": inferred_first,
    "seconds_an_answer_without_task": inferred,
    "seconds_to_verify": time.perf_counter() - start,
}))
"""


def main() -> None:
    """Learn, then serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("data", "work", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = read(given.data / "uoft-cs" / "cifar100", "train")
    tests, _ = read(given.data / "uoft-cs" / "cifar100", "test")
    pixels = ht.Preprocessing(size=32, mean=MEAN, std=STD)
    bank = ht.Bank.create(given.work, model=resnet56(), cut="layer3", preprocessing=pixels)
    rows, first = [], torch.empty(0)
    for number in range(TASKS):
        rows.append(learn(bank, number, images, labels))
        if number == 0:
            first = bank._contents.server.logits("task-0", tests[:500]).clone()
        if number % 20 == 0:
            print(number, rows[-1], flush=True)
    last = bank._contents.server.logits("task-0", tests[:500])
    opened = subprocess.run([sys.executable, "-c", OPENED, str(given.work)], capture_output=True, text=True, check=True)
    around = {name: statistics.median(row["seconds"] for row in part)
              for name, part in (("2nd to 6th", rows[1:6]), ("196th to 200th", rows[-5:]))}  # fmt: skip
    results = {
        "tasks": TASKS,
        "seconds_to_learn": around,
        "bytes_a_task": {"2nd": rows[1]["bytes"], "200th": rows[-1]["bytes"]},
        "bytes_in_all": bank.summary().nbytes,
        "resident_kB": {name: rows[at]["resident_kB"] for name, at in (("2nd", 1), ("100th", 99), ("200th", -1))},
        "open_files": {"2nd": rows[1]["open_files"], "200th": rows[-1]["open_files"]},
        "logits_of_task_1_on_500_test_images_equal": bool(torch.equal(first, last)),
        "earlier_tasks_identical_after_the_last": rows[-1]["identical"],
        "serving": json.loads(opened.stdout),
        "command": "python results/bank/many_tasks.py --data DATA --work WORK --out results/bank/many-tasks.json",
        "versions": versions(),
        "hardware": hardware(torch.device("cpu")),
    }
    given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
