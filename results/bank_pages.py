"""The tables of bank/README.md, made of the JSON files in bank/."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from page_parts import number, percent, size, table

BANK = Path(__file__).resolve().parent / "bank"
METHODS = {
    "head": "`head`",
    "adapter-2": "`adapter`, rank 2",
    "adapter-4": "`adapter`, rank 4",
    "adapter-8": "`adapter`, rank 8 (the default)",
    "adapter-16": "`adapter`, rank 16",
    "hypernet": "`hypernet`, sealed",
    "separate": "`separate`",
    "auto": "`auto`",
}
BASELINES = {
    "probe": "linear probe on the last stage",
    "probe-3-stages": "linear probe on all three stages",
    "lora-without-norms-4": "LoRA of rank 4 alone",
    "lora-2": "LoRA of rank 2, own norm layers",
    "lora-4": "LoRA of rank 4, own norm layers",
    "lora-8": "LoRA of rank 8, own norm layers",
    "lora-4-of-90": "LoRA of rank 4, from 90 % of the images",
    "lora-8-of-90": "LoRA of rank 8, from 90 % of the images",
    "full": "full fine-tuning",
}
FLOAT, HALF = 4, 2


def content(name: str) -> dict[str, Any]:
    """A JSON file of the folder."""
    found: dict[str, Any] = json.loads((BANK / name).read_text(encoding="utf-8"))
    return found


def runs(method: str) -> list[dict[str, Any]]:
    """The banks that learned all tasks by a method, one for each seed."""
    return [content(f"runs/{path.name}") for path in sorted((BANK / "runs").glob(f"{method}-[0-9].json"))]


def tasks() -> list[str]:
    """Their names, in the order of learning."""
    return [task["task"] for task in runs("adapter-8")[0]["learned"]]


def rows_of(method: str) -> dict[str, dict[str, dict[str, Any]]]:
    """Of a baseline: seed -> task -> what was measured; seeds that learned all tasks."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted((BANK / "runs").glob(f"base-{method}-[0-9].json")):
        for key, row in content(f"runs/{path.name}")["rows"].items():
            _, seed, task = key.split("/")
            found.setdefault(seed, {})[task] = row
    return {seed: row for seed, row in found.items() if len(row) == len(tasks())}


def spread(values: Iterable[float], digits: int = 1) -> str:
    """Mean ± standard deviation, in percent; the mean alone of one value."""
    shown = [100 * value for value in values]
    text = number(mean(shown), digits)
    return text if len(shown) == 1 else f"{text} ± {number(stdev(shown), digits)}"


def seconds_of(rows: Iterable[dict[str, Any]]) -> str:
    """Seconds a task on each machine, as far as tasks were learned there."""
    by: dict[str, list[float]] = {}
    for row in rows:
        by.setdefault(row["machine"], []).append(row["seconds"])
    return ", ".join(f"{number(mean(values), 0)} ({machine})" for machine, values in sorted(by.items()))


def methods() -> str:
    """Accuracy, bytes and seconds of each method, baselines below."""
    body = []
    for method, words in METHODS.items():
        banks = runs(method)
        if not banks:
            continue
        then = [mean(task["accuracy_then"] for task in bank["learned"]) for bank in banks]
        ended = [bank["end"] for bank in banks if bank["end"]]
        after = spread(mean(end["accuracy"].values()) for end in ended) if ended else ""
        answering = mean(task["answering"] for task in ended[0]["summary"]["tasks"]) if ended else None
        shared = sum(ended[0]["summary"]["shared"].values()) if ended else 0
        stored = mean(task["bytes"] for task in banks[0]["learned"])
        earlier = sum(task["earlier"] for bank in banks for task in bank["learned"])
        identical = sum(task["identical"] for bank in banks for task in bank["learned"])
        seconds = seconds_of(task for bank in banks for task in bank["learned"])
        kept = "" if answering is None else size(answering) + (f" + {size(shared)} shared" if shared else "")
        body.append(
            [words, str(len(banks)), spread(then), after, kept, size(stored), seconds, f"{identical} of {earlier}"]
        )
    for method, words in BASELINES.items():
        seeds = rows_of(method)
        if not seeds:
            continue
        then = [mean(row["accuracy"] for row in seed.values()) for seed in seeds.values()]
        first = next(iter(seeds.values())).values()
        numbers = mean(row["bytes"] for row in first) / FLOAT
        seconds = seconds_of(row for seed in seeds.values() for row in seed.values())
        body.append([f"{words} †", str(len(seeds)), spread(then), "", size(HALF * numbers), "", seconds, ""])
    head = ["", "seeds", "accuracy after learning, %", "at the end, %", "bytes a task answers with", "file of a task"]
    return table([*head, "seconds a task (machine)", "checks of earlier tasks identical"], body)


def by_task() -> str:
    """Accuracy of each task at the end, mean of seeds after learning."""
    shown = [method for method in METHODS if runs(method)]
    others = [method for method in BASELINES if rows_of(method)]
    columns = [METHODS[method].partition(" (")[0] for method in shown] + [f"{BASELINES[each]} †" for each in others]
    body = []
    for place, task in enumerate(tasks()):
        row = [percent(mean(bank["learned"][place]["accuracy_then"] for bank in runs(method))) for method in shown]
        row += [percent(mean(seed[task]["accuracy"] for seed in rows_of(method).values())) for method in others]
        images = runs("adapter-8")[0]["learned"][place]["images"]
        classes = next(
            each["classes"] for each in runs("adapter-8")[0]["end"]["summary"]["tasks"] if each["name"] == task
        )
        body.append([f"{task} ({classes} classes, {images} images)", *row])
    return table(["", *columns], body)


def beside_lora() -> str:
    """Paired differences of each method to LoRA of each rank, over tasks and seeds that both have."""
    body = []
    for method in ("adapter-2", "adapter-8", "adapter-16", "hypernet", "separate"):
        banks = {bank["run"].rpartition("/")[2]: bank for bank in runs(method)}
        if not banks:
            continue
        cells = []
        for other_name in ("lora-2", "lora-4", "lora-8", "lora-4-of-90", "lora-8-of-90"):
            pairs = [
                mean(task["accuracy_then"] for task in banks[seed]["learned"])
                - mean(row["accuracy"] for row in other.values())
                for seed, other in rows_of(other_name).items()
                if seed in banks
            ]
            cells.append(f"{spread(pairs)} (n = {len(pairs)})" if pairs else "")
        body.append([METHODS[method], *cells])
    ranks = ["LoRA-2", "LoRA-4", "LoRA-8"]
    return table(["points above", *ranks, "LoRA-4, 90 % of images", "LoRA-8, 90 % of images"], body)


def inference() -> str:
    """Tasks found without being told, and strangers told from what was learned."""
    body = []
    for method in ("adapter-8", "hypernet", "separate", "head"):
        for bank in runs(method):
            end = bank["end"]
            if not end:
                continue
            told, untold = mean(end["accuracy"].values()), mean(end["accuracy_without_task"].values())
            body.append([METHODS[method], percent(told), percent(untold), percent(mean(end["right_task"].values()))])
    found = table(["seed 0", "accuracy, task given, %", "accuracy, task inferred, %", "right task, %"], body)
    end = runs("adapter-8")[0]["end"]
    strangers = []
    for name, value in end["auroc_unknown"].items():
        entropy, kept = end["auroc_unknown_by_entropy"][name], end["known_kept"][name]
        strangers.append([name, number(value, 2), number(entropy, 2), percent(1 - kept)])
    known = [end["known_kept"][name] for name in tasks()]
    note = f"\nOf the test images of the ten tasks, {percent(mean(known))} % are taken for known.\n"
    head = ["never learned", "AUROC of `unknown`", "AUROC of the tails' entropy", "called unknown, %"]
    return f"{found}\n{table(head, strangers)}{note}"


def many() -> str:
    """200 tasks."""
    said = content("many-tasks.json")
    serving, learn = said["serving"], said["seconds_to_learn"]
    first, last = learn.values()
    memory, equal = said["resident_kB"].values(), said["logits_of_task_1_on_500_test_images_equal"]

    def ms(key: str) -> str:
        return f"{number(1000 * serving[key], 1)} ms"

    body = [
        ["seconds to learn a task, 2nd to 6th", number(first, 2)],
        ["seconds to learn a task, 196th to 200th", f"{number(last, 2)} ({number(last / first, 2)} times)"],
        ["bytes of the 2nd and of the 200th task", ", ".join(map(size, said["bytes_a_task"].values()))],
        ["bytes of all tasks", size(said["bytes_in_all"])],
        ["largest resident memory by the 2nd, 100th, 200th", ", ".join(size(1000 * kb) for kb in memory)],
        ["open files at the 2nd and the 200th", ", ".join(str(count) for count in said["open_files"].values())],
        ["logits of task 1 on 500 images, equal to the bit", "yes" if equal else "no"],
        ["earlier tasks identical after the last", f"{said['earlier_tasks_identical_after_the_last']} of 199"],
        ["opening the bank", ms("seconds_to_open")],
        ["opening the bank and the first answer", ms("seconds_from_opening_to_the_first_answer")],
        ["an answer, task as before", ms("seconds_an_answer_of_the_same_task_as_before")],
        ["an answer, another task in memory", ms("seconds_an_answer_of_another_task_in_memory")],
        ["an answer, a task not in memory", ms("seconds_an_answer_of_a_task_not_in_memory")],
        ["an answer without a task", ms("seconds_an_answer_without_task")],
        ["`verify`, every byte", ms("seconds_to_verify")],
    ]  # fmt: skip
    return table(["200 tasks of 3 classes, 10 images each", ""], body)


def upkeep() -> str:
    """What operations change, and what exports differ by."""
    said = content("upkeep.json")
    body = []
    for name, row in said["operations"].items():
        if isinstance(row, dict) and "equal" in row:
            changed = ", ".join(row["changed"]) or "none"
            body.append([name, changed, str(len(row["equal"]))])
    first = table(
        ["operation on the bank of ten tasks", "tasks with other files or logits", "tasks equal to the bit"], body
    )
    one = said["exports"]["one task a graph, onnxruntime"]
    every = said["exports"]["one graph for all tasks, onnxruntime"]
    largest = max(row["largest_difference"] for row in one.values())
    shares = max(row["largest_difference_of_a_probability"] for row in one.values())
    shared, alone = max(every["largest_difference"].values()), mean(row["bytes"] for row in one.values())
    rows = [
        ["ten graphs, one for each task", f"{largest:.1e}", f"{shares:.1e}", size(alone)],
        ["one graph for all ten, tail weights as inputs", f"{shared:.1e}", "", size(every["bytes_of_the_graph"])],
    ]  # fmt: skip
    head = ["onnxruntime beside the bank, 100 test images a task", "largest difference of a logit"]
    logit = max(row["largest_logit"] for row in one.values())
    seconds = every["seconds_of_a_run_with_another_task_than_the_last"]
    note = (
        f"\nThe largest logit is {number(logit, 1)}; all answers are the same. A run of the one graph with another "
        f"task than the last: {number(1000 * seconds, 1)} ms.\n"
    )
    return f"{first}\n{table([*head, 'of a probability', 'bytes'], rows)}{note}"


def machines() -> str:
    """Which machine is which."""
    found: dict[str, str] = {}
    for bank in (bank for method in METHODS for bank in runs(method)):
        for letter, machine in bank["machines"].items():
            hardware = machine["hardware"]
            found[letter] = f"{hardware['cpu']}, {hardware['cores']} cores, torch {machine['versions']['torch']}"
    return (
        "; ".join(f"machine {letter}: {words}" for letter, words in sorted(found.items())) + "; one thread a process.\n"
    )


BLOCKS = {
    "methods": methods,
    "by-task": by_task,
    "beside-lora": beside_lora,
    "inference": inference,
    "many": many,
    "upkeep": upkeep,
    "machines": machines,
}
