"""Ten tasks of an engineer, each learned in a process of its own from a folder that is deleted afterwards.

    RESNET56=cifar10-resnet56.safetensors python results/bank/ten_tasks.py --tasks TASKS --work WORK \
        --out results/bank/ten-tasks.json --methods head adapter hypernet separate auto

A finished task is not learned again: the script goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

HERE = Path(__file__).parent
TASKS = (
    *("aquatic-mammals", "food-containers", "traffic-signs", "household-devices", "bears-and-cats"),
    *("large-scenes", "fashion", "people", "trees", "vehicles"),
)
STRANGERS = ("strange-numbers", "strange-flowers", "strange-insects")


def bank_at(path: Path, *, create: bool = False) -> object:
    """The bank, with the engineer's model."""
    sys.path.insert(0, str(HERE))
    from resnet_cifar import MEAN, STD, resnet56

    import hypertail as ht

    if create:
        pixels = ht.Preprocessing(size=32, mean=MEAN, std=STD)
        return ht.Bank.create(path, model=resnet56(), cut="layer3", preprocessing=pixels)
    return ht.Bank.open(path, model=resnet56())


def learn(place: Path, name: str, folder: Path, method: str, seed: int) -> None:
    """One process: learn a task, and print what came of it as JSON."""
    torch.set_num_threads(1)
    bank = bank_at(place, create=not place.exists())
    kind, _, rank = method.partition("-")
    options = {"rank": int(rank)} if rank else None
    learned = bank.learn(name, folder / "train", method=kind, options=options, seed=seed)
    certificate = learned.certificate
    checks = () if certificate is None else certificate.checks
    print(
        json.dumps(
            {
                "task": name,
                "method": learned.method,
                "verdict": learned.verdict,
                "images": learned.images,
                "held_out": learned.held_out_accuracy,
                "accuracy_then": bank.evaluate(name, folder / "test"),
                "bytes": learned.nbytes,
                "seconds": learned.seconds,
                "certificate": None if certificate is None else str(certificate),
                "identical": sum(check.standing == "identical" for check in checks),
                "earlier": len(checks),
                "answers_changed": sum(check.answers_changed for check in checks),
            }
        )
    )


def end(place: Path, tasks: Path) -> dict[str, object]:
    """What the bank can do once all tasks are learned."""
    torch.set_num_threads(1)
    started = time.perf_counter()
    bank = bank_at(place)
    found: dict[str, object] = {"seconds_to_open": time.perf_counter() - started}
    tests = {name: tasks / name / "test" for name in TASKS}
    accuracy, without, right_task, strange, entropy = {}, {}, {}, {}, {}
    for name, folder in tests.items():
        accuracy[name] = bank.evaluate(name, folder)
        answers = [(p, path.name) for path in sorted(folder.iterdir()) for p in bank.predict(path)]
        right_task[name] = sum(p.nearest[0] == name for p, _ in answers) / len(answers)
        without[name] = sum(p.nearest == (name, label) for p, label in answers) / len(answers)
    for name in (*TASKS, *STRANGERS):
        strange[name], entropy[name] = scores(bank, tasks / name / "test")
    certificate = bank.certify()
    found |= {
        "accuracy": accuracy,
        "accuracy_without_task": without,
        "right_task": right_task,
        "auroc_unknown": {s: auroc(strange, s) for s in STRANGERS},
        "auroc_unknown_by_entropy": {s: auroc(entropy, s) for s in STRANGERS},
        "known_kept": {
            name: sum(p.known for p in bank.predict(tasks / name / "test")) / len(strange[name])
            for name in (*TASKS, *STRANGERS)
        },
        "summary": bank.summary().to_json(),
        "certificate": certificate.to_json(),
        "digest_verified": bank.verify().passed,
    }
    return found


def scores(bank: object, folder: Path) -> tuple[list[float], list[float]]:
    """Strangeness of images, and the lowest entropy of any tail."""
    from hypertail.bank.images.opening import pixel_batches
    from hypertail.bank.inference import Descriptor

    server, backbone = bank._contents.server, bank.backbone
    strange, entropy = [], []
    with torch.no_grad():
        for pixels, _ in pixel_batches(folder, backbone.preprocessing):
            features = backbone.features(pixels)
            strange += server.inference.strangeness(Descriptor(backbone)(features)).tolist()
            every = []
            for name in server.names:
                tail = server.tail(name)
                shares = torch.softmax(tail.logits(backbone, features) / tail.temperature, dim=1)
                every.append(-(shares * shares.clamp_min(1e-9).log()).sum(1))
            entropy += torch.stack(every).amin(0).tolist()
    return strange, entropy


def auroc(values: dict[str, list[float]], stranger: str) -> float:
    """How well strangers are told from what was learned."""
    from sklearn.metrics import roc_auc_score

    known = [value for name in TASKS for value in values[name]]
    return float(roc_auc_score([0] * len(known) + [1] * len(values[stranger]), known + values[stranger]))


def main() -> None:
    """Run the methods."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--methods", nargs="+", default=["head", "adapter", "hypernet", "separate"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--one", nargs=4, metavar=("BANK", "NAME", "METHOD", "SEED"))
    given = parser.parse_args()
    if given.one:
        place, name, method, seed = given.one
        learn(Path(place), name, given.tasks, method, int(seed))
        return
    results = json.loads(given.out.read_text()) if given.out.exists() else {"runs": {}}
    for seed in given.seeds:
        for method in given.methods:
            run = results["runs"].setdefault(f"{method}/{seed}", {"learned": []})
            place = given.work / f"{method}-{seed}"
            if not run["learned"]:
                shutil.rmtree(place, ignore_errors=True)
            for name in TASKS[len(run["learned"]) :]:
                copy = given.work / "inbox"
                shutil.rmtree(copy, ignore_errors=True)
                shutil.copytree(given.tasks / name, copy)
                command = [sys.executable, __file__, "--tasks", str(copy), "--one", str(place), name, method, str(seed)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                shutil.rmtree(copy)
                if done.returncode:
                    sys.exit(done.stderr)
                run["learned"].append(json.loads(done.stdout.splitlines()[-1]))
                print(method, seed, run["learned"][-1], flush=True)
                save(given.out, results)
            if "end" not in run:
                run["end"] = end(place, given.tasks)
                save(given.out, results)


def save(path: Path, results: dict[str, object]) -> None:
    """Write the results with what they were measured on."""
    from hypertail.environment import hardware, versions

    results["versions"], results["hardware"] = versions(), hardware(torch.device("cpu"))
    results["command"] = "python results/bank/ten_tasks.py --tasks TASKS --work WORK --out results/bank/ten-tasks.json"
    path.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
