"""Where to cut a model for the task at hand: a quick transfer probe on the first folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypertail.bank.founding import Founding
from hypertail.bank.images.opening import hold_out
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.learning.lesson import Schedule
from hypertail.bank.learning.task import Lessons, Material, accuracy_of, held_out_logits, learn_task
from hypertail.bank.methods.adapter import AdapterMethod
from hypertail.bank.preprocessing import Preprocessing
from hypertail.bank.sources import candidate_cuts
from hypertail.nets.tensors import count_parameters
from hypertail.seeds import derive
from hypertail.streams.sources.labelled import shuffled
from hypertail.training.loop import Progress, silent

IMAGES, STEPS, SHARE = 600, 150, 0.3
"""Images and steps that each cut is tried with, and the share of images to measure on."""

MOST = 6
"""Cuts that are tried."""


def propose_cut(
    founding: Founding,
    opened: Callable[[Preprocessing], tuple[TaskImages, TaskImages | None]],
    lessons: Lessons,
    device: str,
    progress: Progress = silent,
) -> tuple[str, dict[str, Any]]:
    """The latest cut whose held-out accuracy is within two standard errors of the best: what is frozen costs nothing.

    At every cut the task is learned for a few steps by adapters.

    Args:
        founding: what the user wants; its cut is to be found.
        opened: as for `found_backbone`; the cuts are measured on a share of what is learned from.
        lessons: of the bank.
        device: where it computes.
        progress: shown to the user.

    Returns:
        The name of the module, and the evidence as JSON can hold it: a row for each cut that was tried.
    """
    cuts = candidate_cuts(founding.source, founding.model)[-MOST:]
    rows: list[dict[str, Any]] = []
    for number, cut in enumerate(cuts):
        started = time.perf_counter()
        backbone = replace(founding, cut=cut).backbone()
        backbone.trunk.to(device)
        backbone.body.to(device)
        images = _some(opened(backbone.preprocessing)[0], lessons.seed)
        train, held = hold_out(images, SHARE, lessons.seed)
        quick = replace(lessons, schedule=Schedule(None, 32, STEPS), views=1, keep_probes=0)
        material = Material.of("cut", backbone, train, held, quick, device)
        tail = learn_task(backbone, AdapterMethod(), material, _short(quick, len(train)))
        accuracy = accuracy_of(held_out_logits(tail, material), material.held_labels) or 0.0
        material.train.close()
        rows.append(
            {
                "cut": cut,
                "accuracy": accuracy,
                "images": len(material.held_labels),
                "frozen_parameters": count_parameters(backbone.trunk),
                "parameters_above": count_parameters(backbone.body),
                "seconds": time.perf_counter() - started,
            }
        )
        progress(number + 1, len(cuts), f"cut at {cut}: {100 * accuracy:.1f} % of held-out images right")
    best = max(row["accuracy"] for row in rows)
    error = (best * (1 - best) / max(1, rows[0]["images"])) ** 0.5
    good = [row for row in rows if row["accuracy"] >= best - 2 * error]
    return str(good[-1]["cut"]), {"tried": rows, "chosen": good[-1]["cut"], "standard_error": error}


def _short(lessons: Lessons, images: int) -> Lessons:
    epochs = max(1, round(STEPS * 32 / images))
    return replace(lessons, schedule=Schedule(epochs, 32))


def _some(images: TaskImages, seed: int) -> TaskImages:
    if len(images) <= IMAGES:
        return images
    return images.subset(sorted(shuffled(len(images), derive(seed, "cut"))[:IMAGES]))
