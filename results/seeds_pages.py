"""`tables/three-seeds.md`, made of the runs in three-seeds/: means, spreads and paired differences."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from page_parts import number, size, spread, table

from hypertail.lab.records.runfile import RunFile
from hypertail.lab.reports.paired import trained_again
from hypertail.lab.reports.places import devices_of

HERE = Path(__file__).resolve().parent / "three-seeds"
Run = dict[str, Any]
BEFORE = ", preset `cosine-trunk`"
STREAMS = {
    "split-cifar100": "Split-CIFAR100, 20 experiences of 5 classes, 10 epochs",
    "split-cifar100-cosine-trunk": "The same" + BEFORE,
    "split-tinyimagenet": "Split-TinyImageNet, 20 experiences of 10 classes, 32 pixels, 120 images a class, 10 epochs"
    + BEFORE,
    "noisy-cifar100-clean": "CIFAR-100, 4 experiences of 5 classes, 10 epochs (Table 1, clean)" + BEFORE,
    "noisy-cifar100": "The same, later experiences with noise (Table 1, noisy)" + BEFORE,
}
SHOWN = "split-cifar100-cosine-trunk"
"""What the first page shows."""
UNTOUCHED = ("joint", "naive", "hn-f")
"""Without a trunk that is trained alone: the same run under both presets."""
FEW = {
    "few-images": (
        "pretrained CIFAR-10 ResNet-20 cut at `layer3`",
        "`hypertail reproduce fewshot --weights cifar10-resnet20.safetensors`",
        ("HN-2", "Adapter-2"),
    ),
    "few-images-e1": (
        "trunk trained on as many images of e_1" + BEFORE,
        "`hypertail reproduce fewshot --preset cosine-trunk`",
        ("HN-3", "Adapter-3"),
    ),
}
"""Folder -> backbone, command, and which two methods are compared."""
REFERENCES = ("HN-2", "HN-3")
TRUNKS_FROM_ELSEWHERE = {("HN-3", 0)}
"""Label and seed of runs on a CPU whose trunk had been trained on the H200, before runs recorded their trunks."""
H200: Run = {"hardware": {"device": "cuda", "gpu": "NVIDIA H200"}, "versions": {"torch": "2.11.0"}}
_INFERRED = {"class_means": "CIL %", "confidence": "by confidence", "combined": "by both"}


def _runs(folder: str) -> list[Run]:
    paths = sorted(HERE.glob(f"{folder}/*/run.json"))
    if folder.endswith("-cosine-trunk"):
        now = folder.removesuffix("-cosine-trunk")
        paths += [path for name in UNTOUCHED for path in sorted(HERE.glob(f"{now}/*-{name}-*/run.json"))]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths]


def _name(run: Run) -> str:
    """The label, with what tells variants of one strategy apart."""
    method, label = run["config"]["method"], str(run["label"])
    if label.startswith("Separate") and run["depth"] < 4 and method.get("tail_start") == "fresh":
        return f"{label}, afresh"
    return f"{label}, rank {method['task_rank']}" if label.startswith("Adapter") else label


def _by_name(runs: Sequence[Run]) -> dict[str, dict[int, Run]]:
    """Name -> seed -> its run."""
    found: dict[str, dict[int, Run]] = {}
    for run in runs:
        found.setdefault(_name(run), {})[int(run["seed"])] = run
    return found


def _aca(run: Run) -> float:
    return 100 * float(run["metrics"]["aca"])


def difference(one: Mapping[int, Run], other: Mapping[int, Run]) -> str:
    """Mean and deviation of the differences of ACA seed by seed; in brackets where they are within two deviations.

    With † where the trunk of a seed was trained twice, by the rule of `hypertail compare`.
    """
    shared = sorted(one.keys() & other.keys())
    gaps = [_aca(one[seed]) - _aca(other[seed]) for seed in shared]
    if not gaps:
        return ""
    text = number(mean(gaps)) + (f" ± {stdev(gaps):.1f}" if len(gaps) > 1 else "")
    text = text if len(gaps) > 1 and abs(mean(gaps)) > 2 * stdev(gaps) else f"({text})"
    again = any(trained_again(_as_trained(one[seed]), _as_trained(other[seed])) for seed in shared)
    return f"{text} †" if again else text


def _as_trained(run: Run) -> RunFile:
    """The run, with the hardware on which its trunk was trained."""
    elsewhere = not run.get("trunk") and (run["label"], run["seed"]) in TRUNKS_FROM_ELSEWHERE
    return RunFile.from_json({**run, **H200} if elsewhere else run)


def _changed(run: Run) -> float | None:
    """Percent of the answers for earlier tasks that are others at the end; None where it was not recorded."""
    earlier = run.get("answers_changed", [])[:-1]
    return 100 * mean(earlier) if earlier and None not in earlier else None


def _where(runs: Mapping[int, Run]) -> str:
    return devices_of(map(RunFile.from_json, runs.values()))


def _stream(folder: str) -> str:
    found = _by_name(_runs(folder))
    references = [name for name in REFERENCES if name in found]
    body = []
    for name in sorted(found, key=lambda name: -mean(map(_aca, found[name].values()))):
        runs = found[name]
        forgotten = [
            100 * run["metrics"]["forgetting"] for run in runs.values() if run["metrics"]["forgetting"] is not None
        ]
        untold = [run.get("class_incremental") or {} for run in runs.values()]
        kept = next(iter(runs.values()))
        body.append(
            [
                name,
                spread([_aca(run) for run in runs.values()]),
                *(difference(found[each], runs) if name != each else "" for each in references),
                spread(forgotten) if name != "Joint" else "",
                spread([share for run in runs.values() if (share := _changed(run)) is not None]),
                *(spread([100 * each[by]["accuracy"] for each in untold if by in each]) for by in _INFERRED),
                "all data" if name == "Joint" else size(kept["bytes_kept"] / len(kept["tasks"])),
                str(len(runs)),
                _where(runs),
            ]
        )
    ahead = (f"{each} is ahead by" for each in references)
    head = ("", "ACA %", *ahead, "forgetting", "answers changed %", *_INFERRED.values(), "bytes a task", "n", "on")
    return table(head, body)


WORDS = {
    "Naive": "naive training",
    "LR-3": "latent replay, LR-3 (stores features of old images)",
    "LwF-3": "learning without forgetting, LwF-3",
    "HN-2": "HN-2",
    "HN-3": "HN-3",
    "HN-4": "HN-4",
    "Adapter-2, rank 8": "an adapter per task, nothing shared, depth 2",
    "Adapter-3, rank 8": "the same, depth 3",
    "Head-4": "a linear head per task",
    "LDA-4": "class means and one covariance, LDA-4",
    "Separate-2": "one stored tail per task, depth 2",
    "Separate-3": "the same, depth 3",
    "Separate-4": "the same, depth 4",
    "Joint": "all tasks at once",
}


def main_table(paper: Mapping[str, Mapping[str, str]]) -> str:
    """The rows that README shows.

    Args:
        paper: label -> what the paper prints, in columns that end in `paper`.
    """
    found = _by_name(_runs(SHOWN))
    body = []
    for name, words in WORDS.items():
        if name not in found:
            continue
        runs = list(found[name].values())
        printed = paper.get(name, {})
        body.append(
            [
                words,
                spread([_aca(run) for run in runs]),
                number(printed.get("ACA % paper")),
                "" if name == "Joint" else spread([100 * run["metrics"]["forgetting"] for run in runs]),
                number(printed.get("forgetting % paper")),
                "all data" if name == "Joint" else size(runs[0]["bytes_kept"] / len(runs[0]["tasks"])),
                str(len(runs)),
            ]
        )
    return table(("", "ACA %", "paper", "forgetting, points", "paper", "bytes a task", "n"), body)


ALL = 500
"""Images of a class of CIFAR-100."""


def _few(folder: str, pair: tuple[str, str]) -> str:
    found: dict[str, dict[int, dict[int, Run]]] = {}
    for run in _runs(folder):
        count = run["config"]["images_per_class"] or ALL
        found.setdefault(str(run["label"]), {}).setdefault(count, {})[run["seed"]] = run
    numbers = sorted({count for by_count in found.values() for count in by_count})
    seeds = {count: max(len(by_count.get(count, {})) for by_count in found.values()) for count in numbers}
    body = []
    for label in sorted(found, key=lambda label: -mean(_aca(run) for run in found[label][numbers[0]].values())):
        cells = [_of_seeds(found[label].get(count, {}), seeds[count]) for count in numbers]
        body.append([label, *cells])
    one, other = pair
    if set(pair) <= found.keys():
        gaps = []
        for count in numbers:
            ours, theirs = found[one].get(count, {}), found[other].get(count, {})
            shared = len(ours.keys() & theirs.keys())
            gaps.append(difference(ours, theirs) + f" (n = {shared})" * (0 < shared < seeds[count]))
        body.append([f"*{one} is ahead of {other} by*", *gaps])
    head = ("", *(f"{count} images a class (n = {seeds[count]})" for count in numbers))
    return table(head, body)


def _of_seeds(runs: Mapping[int, Run], most: int) -> str:
    """Mean and deviation of ACA, with n where there are fewer seeds than the heading says."""
    text = spread([_aca(run) for run in runs.values()])
    return f"{text} (n = {len(runs)})" if 0 < len(runs) < most else text


def three_seeds(note: str) -> str:
    """The page."""
    text = (
        "# Three seeds\n\n" + note + "\n"
        "Test data, preset `tuned` or, where it says so, `cosine-trunk`, which is `tuned` before trunks learned at a "
        "constant rate and for twice as long;\nmean ± sample standard deviation over n seeds.\n\n"
        "- *Ahead by*: paired differences, same seed and data; in brackets where they are within two standard "
        "deviations of the differences,\n  or one seed. Without † of the same trunk, where both have a frozen one; "
        "with it the trunk of a seed was trained again, on other hardware\n  or with another torch, which alone moved "
        "Adapter-3 by a point.\n"
        "- *Answers changed*: the share of test images of earlier tasks with another answer at the end than right "
        "after their task, where it\n  was recorded: gains and losses cancel in forgetting, not here.\n"
        "- *CIL*: the task is not told. Its tail answers, and the task is that of the nearest class mean of trunk "
        "features; or of the surest\n  tail (*by confidence*); or of both together (*by both*, of newer runs).\n\n"
        "Runs, with hardware and versions: [three-seeds](../three-seeds).\n"
    )
    for folder, title in STREAMS.items():
        if _runs(folder):
            text += f"\n## {title}\n\n{_stream(folder)}"
    for folder, (backbone, command, pair) in FEW.items():
        if _runs(folder):
            text += (
                f"\n## Few images a class, {backbone}, Split-CIFAR100\n\n"
                f"{command}: 40 epochs (100 images: 20, 500: 10), ACA %.\n\n{_few(folder, pair)}"
            )
    return text
