"""All that a bank keeps of one task, as one file of tensors and facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.nets.compact import halved, halved_means
from hypertail.nets.moments import Moments, packed, unpacked
from hypertail.nets.tensors import nbytes
from hypertail.streams.sources.depth import Rule, scaling_from_json

PARTS = ("tail", "statistics", "moments", "hidden", "probes")


@dataclass(frozen=True, eq=False)
class TaskRecord:
    """One task. No image is in it, and nothing that is of a single image unless `probes.features` were asked for.

    Attributes:
        name: as the user calls it.
        classes: names, in the order of the head's outputs.
        method: `head`, `adapter`, `hypernet` or `separate`.
        settings: of the method, to make the same tail again.
        weights: what the task owns of the body: the parameters of its `TailWeights`, one after another.
        head: those of its `TaskHead`.
        blocks: classes of each block of the head.
        statistics: of normalisation, by name, where they could not be folded into weights.
        moments: of the vectors by which an image finds its task (`Descriptor`).
        hidden: means and variances (classes, width) of what the head is given, by which the task can be extended.
        probes: `logits` of synthetic probes when the task was learned, by which a certificate compares; and `features`
            of the trunk of some held-out images, only where the user asked for it.
        calibration: `temperature` of the logits, `threshold` of strangeness, `task_temperature` of distances
            (not of a task that was learned alone).
        facts: what was learned when, from what; as JSON can hold it.
    """

    name: str
    classes: tuple[str, ...]
    method: str
    settings: dict[str, Any]
    weights: Tensor
    head: Tensor
    blocks: tuple[int, ...]
    statistics: dict[str, Tensor]
    moments: Moments
    hidden: dict[str, Tensor]
    probes: dict[str, Tensor]
    calibration: dict[str, float]
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def shares(self) -> bool:
        """Whether it answers with the hypernetwork that tasks share."""
        return self.method == "hypernet"

    @property
    def scaling(self) -> dict[bool, Rule]:
        """How images of more than 8 bits were scaled; empty where there were none, and in older files."""
        return scaling_from_json(self.facts.get("scaling", {}))

    @property
    def held_out(self) -> tuple[float | None, int]:
        """Accuracy on held-out images, None where there is none, and of how many images it is."""
        return self.facts.get("held_out_accuracy"), int(self.facts.get("held_out_images", 0))

    @property
    def answering(self) -> int:
        """Bytes that the task answers with, as they are stored."""
        return nbytes((halved(self.weights), halved(self.head), *self.statistics.values()))

    def to_file(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and facts as a store keeps them: what learned in half precision, to which it was rounded."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "tail": {"weights": halved(self.weights), "head": halved(self.head)},
            "statistics": self.statistics,
            "moments": packed(self.moments),
            "hidden": _packed_hidden(self.hidden),
            "probes": self.probes,
        }
        tensors = {f"{part}.{name}": value.cpu() for part, of in parts.items() for name, value in of.items()}
        facts = {
            "name": self.name,
            "classes": list(self.classes),
            "method": self.method,
            "blocks": list(self.blocks),
            "settings": self.settings,
            "calibration": self.calibration,
            "facts": self.facts,
        }
        return tensors, facts

    @classmethod
    def from_file(cls, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> TaskRecord:
        """What `to_file` gave.

        Raises:
            CheckpointError: it did not.
        """
        parts: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        try:
            for joined, value in tensors.items():
                part, _, name = joined.partition(".")
                parts[part][name] = value.float() if value.dtype == torch.float16 else value
            scaling_from_json(facts["facts"].get("scaling", {}))
            return cls(
                str(facts["name"]),
                tuple(str(name) for name in facts["classes"]),
                str(facts["method"]),
                dict(facts["settings"]),
                parts["tail"]["weights"],
                parts["tail"]["head"],
                tuple(int(count) for count in facts["blocks"]),
                parts["statistics"],
                unpacked(parts["moments"]),
                parts["hidden"],
                parts["probes"],
                {str(name): float(value) for name, value in facts["calibration"].items()},
                dict(facts["facts"]),
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
            raise CheckpointError(
                "file of a task",
                required="the tensors and facts of a task",
                found=f"{type(error).__name__}: {error}",
                hint="Check the bank: hypertail verify --bank BANK.",
            ) from error


def _packed_hidden(hidden: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Means and variances in half precision, means only where that suffices; half has no odd number above 2048."""
    packed = {name: value if name == "counts" else halved(value) for name, value in hidden.items()}
    if "means" in hidden and "variances" in hidden:
        packed["means"] = halved_means(hidden["means"], hidden["variances"].clamp_min(0).sqrt())
    return packed
