"""From a finished run to what its `run.json` holds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import torch

from hypertail.environment import hardware, versions
from hypertail.lab.experiments.begun import Begun
from hypertail.lab.experiments.trunks import TrainedTrunk
from hypertail.lab.records.runfile import Curve, RunFile, TaskInfo, accuracy_rows
from hypertail.strategies import PartialHypernet, Strategy
from hypertail.streams import Stream
from hypertail.training.class_incremental import Inference
from hypertail.training.result import Result


def run_file(
    begun: Begun,
    stream: Stream,
    strategy: Strategy,
    result: Result,
    class_incremental: Inference,
    trained: TrainedTrunk | None,
    device: torch.device,
    command: str,
    started: datetime,
) -> RunFile:
    """The record of a run.

    Args:
        begun: its options and what was decided when it began, the precisions included.
        stream: what was learned.
        strategy: what learned it.
        result: what was measured.
        class_incremental: what was measured without telling tasks; empty where nothing was.
        trained: the trunk that was trained alone or read from a file; None where there is none.
        device: where it was trained.
        command: the command that made it.
        started: when.
    """
    config = begun.config
    parts = strategy.memory()
    extra: dict[str, Any] = {}
    if begun.precisions is not None:
        extra = {"precision": begun.precisions.steps, "precision_of_features": begun.precisions.trunk}
    if result.recorded:
        extra["diagnostics"] = result.recorded
    if trained is not None:
        extra["trunk"] = trained.digest
    phases = {"trunk": 0.0 if trained is None else trained.seconds, **result.seconds}
    hypernetwork = tail = trunk = None
    if isinstance(strategy, PartialHypernet):
        hypernetwork = sum(parameter.numel() for parameter in strategy.hyper.parameters())
        tail = sum(parameter.numel() for parameter in strategy.net.tail.parameters())
        trunk = sum(parameter.numel() for parameter in strategy.trunk.module.parameters())
    parameters = {} if tail is None or trunk is None else {"trunk": trunk, "tail": tail}
    return RunFile(
        stream=config.stream,
        strategy=config.strategy,
        depth=config.depth_name,
        label=config.label,
        preset=config.preset,
        seed=config.seed,
        epochs=config.epochs,
        config=config.settled().to_json(),
        tasks=tuple(
            TaskInfo(experience.name, experience.classes, len(experience.train), len(experience.test))
            for experience in stream
        ),
        accuracy=accuracy_rows(np.asarray(result.accuracy)),
        seconds=sum(phases.values()),
        seconds_by_phase=phases,
        seconds_per_experience=tuple(result.seconds_per_experience),
        bytes_kept=sum(parts.values()),
        bytes_kept_parts=parts,
        bytes_per_experience=tuple(result.bytes_per_experience),
        hypernetwork_parameters=hypernetwork,
        parameters=parameters,
        curves=tuple(Curve(c["task"], c["epoch"], tuple(c["accuracy"])) for c in result.curves),
        versions=versions(),
        hardware=hardware(device),
        command=command,
        started=started.isoformat(timespec="seconds"),
        data=begun.data,
        class_incremental=class_incremental or None,
        answers_changed=tuple(result.changed),
        extra=extra,
    )
