"""One task of a bank as an export takes it, and as a plain module."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import skip_init

from hypertail.bank.backbone import Backbone
from hypertail.environment import own_version

FORMAT, VERSION = "hypertail-task", 1


@dataclass(frozen=True, eq=False)
class Served:
    """What answers for a task.

    Attributes:
        name: of the task.
        classes: names, in the order of the outputs.
        backbone: of the bank.
        tensors: parameters and buffers of the body that this task has, by name; others are the body's own.
        head_weight: (classes, width).
        head_bias: (classes,).
        temperature: logits divided by it give calibrated probabilities.
        deep_images: black and white of the images of more than 8 bits that it learned from, as JSON; none without.
    """

    name: str
    classes: tuple[str, ...]
    backbone: Backbone
    tensors: Mapping[str, Tensor]
    head_weight: Tensor
    head_bias: Tensor
    temperature: float
    deep_images: Mapping[str, Any] = field(default_factory=dict)

    def facts(self) -> dict[str, Any]:
        """What a user of the model must know, as JSON can hold it."""
        size = self.backbone.preprocessing.size
        return {
            "format": FORMAT,
            "version": VERSION,
            "task": self.name,
            "classes": list(self.classes),
            "input": {"name": "images", "shape": ["batch", 3, size, size], "type": "float32"},
            "input_is": "red, green and blue from 0 to 1, of the size given; normalised inside the model",
            "output": {"name": "logits", "shape": ["batch", len(self.classes)], "type": "float32"},
            "output_is": "softmax gives calibrated probabilities",
            "preprocessing": self.backbone.preprocessing.to_json(),
            "software": f"hypertail {own_version()}",
            **({"deep_images": dict(self.deep_images)} if self.deep_images else {}),
        }


class TaskModel(nn.Module):
    """Images from 0 to 1 -> logits of one task, their temperature taken off. A plain module with copies of all tensors.

    Args:
        served: the task.
    """

    mean: Tensor
    std: Tensor

    @torch.no_grad()
    def __init__(self, served: Served) -> None:
        super().__init__()
        preprocessing = served.backbone.preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))
        self.trunk = copy.deepcopy(served.backbone.trunk).cpu()
        self.body = copy.deepcopy(served.backbone.body).cpu()
        for name, value in (*self.body.named_parameters(), *self.body.named_buffers()):
            if name in served.tensors:
                value.copy_(served.tensors[name])
        self.head = skip_init(nn.Linear, served.head_weight.shape[1], served.head_weight.shape[0])  # draws nothing
        self.head.weight.copy_(served.head_weight / served.temperature)
        self.head.bias.copy_(served.head_bias / served.temperature)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, classes) of float images (n, 3, s, s) from 0 to 1."""
        logits: Tensor = self.head(self.body(self.trunk((images - self.mean) / self.std)))
        return logits


class SharedModel(nn.Module):
    """Images and the tensors of a task -> logits: one graph for all tasks of a bank.

    Args:
        backbone: of the bank.
        names: of the tensors of the body that differ between tasks.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, names: tuple[str, ...]) -> None:
        super().__init__()
        preprocessing = backbone.preprocessing
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))
        self.trunk, self.body = copy.deepcopy(backbone.trunk).cpu(), copy.deepcopy(backbone.body).cpu()
        self.names = names
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor, *tensors: Tensor) -> Tensor:
        """Logits (n, most classes of a task).

        Args:
            images: (n, 3, s, s) from 0 to 1.
            tensors: those of `names`, then weight and bias of the head, padded to the most classes of a task.
        """
        *values, weight, bias = tensors
        features = self.trunk((images - self.mean) / self.std)
        given = dict(zip(self.names, values, strict=True))
        vectors = functional_call(self.body, given, (features,), tie_weights=False)
        return nn.functional.linear(vectors, weight, bias)
