"""Extend, rename, forget, roll back and export on a copy of the bank of ten tasks; what happens to all other tasks.

RESNET56=cifar10-resnet56.safetensors python results/bank/upkeep.py --bank WORK/adapter-8-0 --tasks TASKS \
        --work WORK/upkeep --out results/bank/upkeep.json --page results/bank/certificate.html
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import statistics
import time
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from PIL import Image
from resnet_cifar import resnet56
from safetensors.torch import load_file

import hypertail as ht
from hypertail.environment import hardware, versions


def digests(bank: ht.Bank) -> dict[str, list[str]]:
    """Of each task: the digests of the files that answer for it, and of its logits on 200 images of noise."""
    random = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (200, 3, 32, 32), generator=random, dtype=torch.uint8)
    found = {}
    for task in bank._contents.store.manifest.tasks:
        logits = bank._contents.server.logits(task.name, noise).contiguous()
        found[task.name] = [task.file.digest, hashlib.sha256(logits.numpy().tobytes()).hexdigest()]
    return found


def changed(before: dict[str, list[str]], after: dict[str, list[str]]) -> dict[str, list[str]]:
    """Tasks whose files or answers are other ones now, those that are gone, and those that are new."""
    both = before.keys() & after.keys()
    return {
        "changed": sorted(name for name in both if before[name] != after[name]),
        "gone": sorted(before.keys() - after.keys()),
        "new": sorted(after.keys() - before.keys()),
        "equal": sorted(name for name in both if before[name] == after[name]),
    }


def operations(bank: ht.Bank, tasks: Path, work: Path) -> dict[str, object]:
    """What each operation changes."""
    found: dict[str, object] = {}
    start = digests(bank)
    found["digests_at_the_start"] = start
    generation = bank.generation

    before = digests(bank)
    classes = sorted(path for path in (tasks / "trees" / "train").iterdir() if path.is_dir())
    more = work / "more-trees"
    shutil.copytree(classes[0], more / classes[0].name)
    shutil.copytree(sorted((tasks / "people" / "train").iterdir())[0], more / "a new class")
    started = time.perf_counter()
    bank.extend("trees", more)
    found["extend trees by images of a class and by a class"] = {
        **changed(before, digests(bank)),
        "seconds": time.perf_counter() - started,
        "classes": list(bank.tasks["trees"].classes),
        "accuracy_of_the_old_classes": bank.evaluate("trees", tasks / "trees" / "test"),
    }
    before = digests(bank)
    bank.rename("fashion", "clothes")
    after = digests(bank)
    found["rename fashion to clothes"] = {
        **changed(before, after),
        "answers_under_the_new_name_are_equal": before["fashion"][1] == after["clothes"][1],
    }
    before = digests(bank)
    forgotten = bank.forget("people")
    found["forget people"] = {**changed(before, digests(bank)), "exact": forgotten.exact, "says": forgotten.explanation}
    try:
        bank.rollback(generation)
        found["roll back beyond the forgotten"] = "done"
    except ht.HypertailError as error:
        found["roll back beyond the forgotten"] = str(error)
    now = bank.generation
    before = digests(bank)
    bank.learn("scratch", tasks / "bears-and-cats" / "train", method="head")
    bank.rollback(now)
    found["learn a task and roll back"] = changed(before, digests(bank))
    report = bank.verify()
    found["verify"] = list(report.lines())
    return found


def shares(logits: np.ndarray) -> np.ndarray:
    """Their softmax."""
    raised = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    return raised / raised.sum(1, keepdims=True)


def exports(bank: ht.Bank, tasks: Path, work: Path) -> dict[str, object]:
    """Exports held against the bank, on test images."""
    found: dict[str, object] = {}
    images, wanted = {}, {}
    for name in bank.tasks:
        files = sorted((tasks / name / "test").rglob("*.png"))[:100]
        pixels = np.stack([np.asarray(Image.open(file).convert("RGB").resize((32, 32), 2)) for file in files])
        images[name] = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
        wanted[name] = bank._contents.server.logits(name, images[name]).numpy()
    one = {}
    for name in bank.tasks:
        file = bank.export(name, work / f"{name}.onnx")
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        (logits,) = session.run(["logits"], {"images": (images[name] / 255).numpy()})
        one[name] = {
            "bytes": file.stat().st_size,
            "largest_difference": float(np.abs(logits - wanted[name]).max()),
            "largest_difference_of_a_probability": float(np.abs(shares(logits) - shares(wanted[name])).max()),
            "largest_logit": float(np.abs(wanted[name]).max()),
            "same_answers": bool((logits.argmax(1) == wanted[name].argmax(1)).all()),
        }
    found["one task a graph, onnxruntime"] = one
    place = bank.export_all(work / "all")
    said = json.loads((place / "tasks.json").read_text())
    session = onnxruntime.InferenceSession(str(place / "graph.onnx"), providers=["CPUExecutionProvider"])
    differences, switches = {}, []
    for each in said["tasks"]:
        tensors = load_file(place / each["file"])
        fed = {name: tensors[name].numpy() for name in said["inputs"]}
        (logits,) = session.run(["logits"], {"images": (images[each["task"]] / 255).numpy(), **fed})
        logits = logits[:, : len(each["classes"])]
        differences[each["task"]] = float(np.abs(logits - wanted[each["task"]]).max())
    first, second = ({name: load_file(place / each["file"])[name].numpy() for name in said["inputs"]}
                     for each in said["tasks"][:2])  # fmt: skip
    image = (images[said["tasks"][0]["task"]][:1] / 255).numpy()
    for fed in [first, second] * 20:
        started = time.perf_counter()
        session.run(["logits"], {"images": image, **fed})
        switches.append(time.perf_counter() - started)
    found["one graph for all tasks, onnxruntime"] = {
        "bytes_of_the_graph": (place / "graph.onnx").stat().st_size,
        "largest_difference": differences,
        "seconds_of_a_run_with_another_task_than_the_last": statistics.median(switches),
    }
    return found


def main() -> None:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bank", "tasks", "work", "out", "page"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    given = parser.parse_args()
    torch.set_num_threads(1)
    shutil.rmtree(given.work, ignore_errors=True)
    shutil.copytree(given.bank, given.work / "bank")
    bank = ht.Bank.open(given.work / "bank", model=resnet56())
    exported = exports(bank, given.tasks, given.work)
    certificate = bank.certify({name: given.tasks / name / "test" for name in bank.tasks})
    given.page.write_text(certificate.page(), encoding="utf-8")
    results = {
        "operations": operations(bank, given.tasks, given.work),
        "exports": exported,
        "command": "python results/bank/upkeep.py --bank WORK/adapter-8-0 --tasks TASKS --work WORK/upkeep "
        "--out results/bank/upkeep.json --page results/bank/certificate.html",
        "versions": versions(),
        "hardware": hardware(torch.device("cpu")),
    }
    given.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
