"""The benchmark: seconds per step against the authors' algorithm and against bare PyTorch loops, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text

from hypertail.environment import choose_device, use_threads
from hypertail.errors import ConfigError, TrainingError
from hypertail.lab.benchmark.memory import PeakMemory, peak_memory
from hypertail.lab.benchmark.modes import FULL_OF, MODELS, MODES, Model, modes_of, named_models
from hypertail.lab.benchmark.profile import profile_step
from hypertail.lab.benchmark.report import Measured, facts, write_json
from hypertail.lab.benchmark.subjects import Subject, bare_epoch, build_at, build_subject, random_stream
from hypertail.lab.benchmark.tables import print_measured
from hypertail.lab.benchmark.timing import Timing, interleaved
from hypertail.lab.experiments.precisions import precisions_of
from hypertail.lab.experiments.run import strategy_of
from hypertail.recipes.catalogue import label_for
from hypertail.strategies import Strategy
from hypertail.training.precision import Precision
from hypertail.training.trainer import Trainer

MEMORY_MODELS = ("HN-F", "HN-3", "LR-3", "Naive")
"""Peak memory needs a process per mode and model, so that it is measured for these only (or the first asked for)."""


@dataclass(frozen=True)
class Sizes:
    """How much is measured, and on what.

    Attributes:
        tasks: experiences; steps are timed at the last.
        batch: images of a step.
        train, test: images of an experience (whole epochs, evaluation).
        task_counts: numbers of tasks that the step is timed at.
        by_tasks_depth: depth of the hypernetwork that it is timed with.
        rounds: turns of each mode; with a time `budget` in seconds for a model, of which three rounds are always made.
        slice_seconds: length of a turn.
        epochs: epochs of the trainer and of the bare loop.
        evaluations: how often all tasks are evaluated.
        memory: which modes have their peak memory measured.
    """

    tasks: int = 20
    batch: int = 64
    train: int = 2500
    test: int = 500
    task_counts: tuple[int, ...] = (2, 20, 200, 1000)
    by_tasks_depth: int = 3
    rounds: int = 15
    slice_seconds: float = 0.5
    budget: float = 90.0
    epochs: int = 5
    evaluations: int = 3
    memory: tuple[str, ...] = ("floor", "tuned", "printed", "released")


FULL = Sizes()
QUICK = Sizes(train=128, test=20, rounds=2, slice_seconds=0.02, budget=5.0, epochs=1, evaluations=1, memory=("tuned",))


def bench(
    console: Console,
    *,
    models: Sequence[str] = MODELS,
    repeats: int | None = None,
    threads: int | None = None,
    device: str = "cpu",
    quick: bool = False,
    profile: str | None = None,
    json_file: Path | None = None,
    sizes: Sizes | None = None,
    line: str = "",
) -> dict[str, Any]:
    """Measure, print tables and return (and write) what JSON holds; benchmarks/README.md says how it is measured.

    Args:
        console: where it is printed.
        models: hn-f, hn-1 .. hn-4, lr-0 .. lr-4, naive.
        repeats: rounds in which each mode has its turn; None: 15 (2 with `quick`).
        threads: CPU threads; None for torch's choice.
        device: cpu, cuda or auto.
        quick: few repeats on small data, to see that it works; the figures mean little.
        profile: also show where a tuned step of this model spends its time.
        json_file: written if given.
        sizes: in place of those that `quick` chooses.
        line: the command, recorded with the figures.

    Raises:
        ConfigError: an unknown model or device, or less than one repeat.
        TrainingError: a step that was timed gave no finite loss.
    """
    chosen = named_models(models)
    profiled = named_models([profile]) if profile is not None else {}
    if repeats is not None and repeats < 1:
        raise ConfigError("repeats", required="1 or more", found=str(repeats), hint="Leave --repeats out, or give 3.")
    use_threads(threads)
    place = choose_device(device)
    plan = sizes or (QUICK if quick else FULL)
    if repeats is not None:
        plan = replace(plan, rounds=repeats)
    started = time.perf_counter()
    by_tasks_model = label_for("hn", plan.by_tasks_depth or "full")
    with console.status("precision"):
        concerned = {**chosen, **profiled, by_tasks_model: ("hn", plan.by_tasks_depth)}
        precision = {label: chosen_precision(model, plan, place) for label, model in concerned.items()}
    seconds: dict[str, dict[str, Timing]] = {mode: {} for mode in MODES}
    evaluation: dict[str, Timing] = {}
    for label, model in chosen.items():
        with console.status(f"steps of {label}"):
            modes = modes_of(model, precision[label])
            subjects = {mode: _subject(mode, model, plan, place, precision[label]) for mode in modes}
            timings = time_subjects(label, subjects, plan)
        if precision[label] == "full":
            timings |= {full: timings[mode] for mode, full in FULL_OF.items() if mode in timings}
        for mode, timing in timings.items():
            seconds[mode][label] = timing
        with console.status(f"evaluation with {label}"):
            strategy = subjects["tuned"].strategy
            assert strategy is not None
            evaluation[label] = _evaluation(strategy, plan, place)
    with console.status("the step against the number of tasks"):
        by_tasks = _by_tasks(plan, place, precision[by_tasks_model])
    with console.status("whole epochs of naive"):
        epochs = naive_epochs(plan, place)
    with console.status("peak memory"):
        memory = _memory(chosen, precision, plan) if place.type == "cpu" else {}
    profiles = []
    for label, model in profiled.items():
        with console.status(f"profile of {label}"):
            subject = _subject("tuned", model, plan, place, precision[label])
            profiles.append(profile_step(subject.step, label, precision[label], place))
    measured = Measured(
        seconds={mode: own for mode, own in seconds.items() if own},
        precision=precision,
        by_tasks=by_tasks,
        by_tasks_model=by_tasks_model,
        epochs=epochs,
        memory=memory,
        evaluation=evaluation,
        steps_per_epoch=-(-plan.train // plan.batch),
        settings=asdict(plan) | {"quick": quick, "models": list(chosen)},
        took=time.perf_counter() - started,
        profile=next(iter(profiles), None),
    )
    content = facts(measured, place, line)
    print_measured(measured, content, console)
    if json_file is not None:
        write_json(content, json_file)
        console.print(Text(f"written: {json_file}"), soft_wrap=True)
    return content


def chosen_precision(model: Model, plan: Sizes, device: torch.device) -> Precision:
    """What `--speed auto` chooses for a run of the model, on this machine and now."""
    stream = random_stream(1, train=plan.batch, test=plan.test)
    return precisions_of(MODES["tuned"].config(model, plan.batch), stream, "auto", device).steps


def _subject(mode: str, model: Model, plan: Sizes, device: torch.device, precision: Precision) -> Subject:
    return build_subject(mode, model, tasks=plan.tasks, batch=plan.batch, device=device, precision=precision)


def time_subjects(what: str, subjects: dict[str, Subject], plan: Sizes) -> dict[str, Timing]:
    """Time subjects side by side, then see that what they computed is still finite.

    Raises:
        TrainingError: it is not.
    """
    timings = interleaved(
        {name: subject.step for name, subject in subjects.items()},
        rounds=plan.rounds,
        slice_seconds=plan.slice_seconds,
        budget=plan.budget,
    )
    for name, subject in subjects.items():
        last = subject.step()
        if not bool(last.isfinite().all()):
            raise TrainingError(
                f"benchmark of {what}, {name}",
                required="finite numbers after the timed steps",
                found="infinity or NaN",
                hint="They make timings meaningless; take fewer --repeats.",
            )
    return timings


def _by_tasks(plan: Sizes, device: torch.device, precision: Precision) -> dict[int, Timing]:
    subjects = {
        str(count): build_at(count, plan.by_tasks_depth, batch=plan.batch, device=device, precision=precision)
        for count in plan.task_counts
    }
    timings = time_subjects("the step against the number of tasks", subjects, plan)
    return {int(name): timing for name, timing in timings.items()}


def _evaluation(strategy: Strategy, plan: Sizes, device: torch.device) -> Timing:
    """Seconds to evaluate all tasks on test inputs that are in the cache, as after every experience of a run."""
    stream = random_stream(plan.tasks, train=plan.batch, test=plan.test)
    trainer = Trainer(stream, strategy, epochs=1, batch_size=plan.batch, device=device)
    trainer.cache.set_trunk(strategy.frozen_trunk)
    evaluate: Callable[[], object] = lambda: trainer.evaluate(plan.tasks - 1)  # noqa: E731
    evaluate()
    return interleaved({"evaluation": evaluate}, rounds=plan.evaluations, slice_seconds=0.0, budget=plan.budget)[
        "evaluation"
    ]


def naive_epochs(plan: Sizes, device: torch.device) -> dict[str, Timing]:
    """Epochs of the trainer with the naive strategy, and of a hand-written loop that augments the same way.

    The hand-written epochs run where the trainer reports its progress, between two of its own, so that the two take
    turns. The first epoch of each warms up. Both in float32.
    """
    stream = random_stream(1, plan.train, plan.test)
    strategy = strategy_of(MODES["tuned"].config(("naive", None), plan.batch), stream, None, device)
    bare = bare_epoch(stream, plan.batch, device)
    samples: dict[str, list[float]] = {"trainer": [], "bare": []}
    began = time.perf_counter()

    def between(done: int, total: int, text: str) -> None:
        nonlocal began
        ended = time.perf_counter()
        samples["trainer"].append(ended - began)
        bare(len(samples["bare"]))
        began = time.perf_counter()
        samples["bare"].append(began - ended)

    Trainer(stream, strategy, epochs=plan.epochs + 1, batch_size=plan.batch, device=device, progress=between).run()
    return {name: Timing.of(own[1:]) for name, own in samples.items()}


def _memory(chosen: dict[str, Model], precision: dict[str, Precision], plan: Sizes) -> dict[str, dict[str, PeakMemory]]:
    labels = [label for label in chosen if label in MEMORY_MODELS] or list(chosen)[:1]
    return {
        mode: {
            label: peak_memory(mode, chosen[label], tasks=plan.tasks, batch=plan.batch, precision=precision[label])
            for label in labels
        }
        for mode in plan.memory
    }
