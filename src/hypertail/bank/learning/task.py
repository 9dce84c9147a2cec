"""From the images of a task to all that a bank keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from hypertail.bank.backbone import Backbone
from hypertail.bank.certificate.probes import probe_images
from hypertail.bank.images.features import Features
from hypertail.bank.images.task_images import TaskImages
from hypertail.bank.inference import Descriptor, TaskInference, threshold_of
from hypertail.bank.learning.calibration import temperature_of
from hypertail.bank.learning.lesson import Schedule, embeddings, learn_tail
from hypertail.bank.methods.method import Method
from hypertail.bank.record import TaskRecord
from hypertail.errors import check_choice, check_range
from hypertail.nets.compact import flattened, fold_statistics, foldable, round_to_half
from hypertail.nets.moments import Moments, packed, unpacked
from hypertail.nets.task_tail import TaskTail
from hypertail.seeds import derive, generator, seeded
from hypertail.streams.sources.unreadable import OnBadImage
from hypertail.training.loop import Progress, silent

Augment = Literal["none", "crop", "crop-flip"]
MOST_HELD_OUT = 0.9
"""Share of images that may be held out at most: the rest is learned."""


@dataclass(frozen=True)
class Lessons:
    """How tasks of a bank are learned.

    Attributes:
        schedule: epochs and batches.
        views: augmented views of each image, of which features are kept while a task is learned.
        augment: what a view is: the image itself (`none`), a random `crop`, or a crop that may be mirrored.
        hold_out: share of each class held out for calibration where no validation data is given.
        seed: of all that is random.
        keep_probes: so many held-out images, drawn evenly of all classes, have their trunk features kept, for
            certificates; 0 for none, which is the default, since features say something about single images.
        memory_bytes: for features while a task is learned; more goes to unnamed temporary files.
        on_bad_image: what to do with an image that cannot be read.

    Raises:
        ConfigError: a number out of its range, or an unknown word.
    """

    schedule: Schedule = Schedule()  # noqa: RUF009 -- immutable
    views: int = 4
    augment: Augment = "crop"
    hold_out: float = 0.1
    seed: int = 0
    keep_probes: int = 0
    memory_bytes: int = 2 << 30
    on_bad_image: OnBadImage = "error"

    def __post_init__(self) -> None:
        check_range("views", self.views, 1)
        check_range("hold_out", self.hold_out, 0, MOST_HELD_OUT)
        check_range("keep_probes", self.keep_probes, 0)
        check_choice("augmentation", self.augment, get_args(Augment))
        check_choice("way with a bad image", self.on_bad_image, get_args(OnBadImage))

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        schedule = self.schedule
        return {
            "epochs": schedule.epochs,
            "batch_size": schedule.batch_size,
            "views": self.views,
            "augment": self.augment,
            "hold_out": self.hold_out,
            "seed": self.seed,
            "on_bad_image": self.on_bad_image,
        }


@dataclass(frozen=True, eq=False)
class Material:
    """Training and held-out data of a task, as features of the trunk.

    Attributes:
        name: of the task.
        classes: names.
        train: features of the training images, view by view.
        labels: of the training images, on the device of the features.
        held: features of held-out images, or None where there are none.
        held_labels: of them.
    """

    name: str
    classes: tuple[str, ...]
    train: Features
    labels: Tensor
    held: Tensor | None
    held_labels: Tensor

    @classmethod
    def of(
        cls, name: str, backbone: Backbone, train: TaskImages, held: TaskImages | None, lessons: Lessons, device: str
    ) -> Material:
        """The features of images, computed when they are asked for."""
        features = Features(
            backbone,
            train,
            views=lessons.views,
            augment=lessons.augment,
            seed=derive(lessons.seed, "views", name),
            device=device,
            memory_bytes=lessons.memory_bytes,
        )
        if held is None or not len(held):
            return cls(name, train.classes, features, train.labels.to(device), None, train.labels[:0].to(device))
        plain = Features(
            backbone, held, views=1, augment="none", seed=0, device=device, memory_bytes=lessons.memory_bytes
        ).plain()
        return cls(name, train.classes, features, train.labels.to(device), plain, held.labels.to(device))


def learn_task(
    backbone: Backbone,
    method: Method,
    material: Material,
    lessons: Lessons,
    progress: Progress = silent,
    **options: Any,
) -> TaskTail:
    """Learn a tail, then fold its statistics and round it to what will be stored.

    Args:
        backbone: of the bank.
        method: how.
        material: from what.
        lessons: for how long.
        progress: shown to the user.
    """
    seed = derive(lessons.seed, "task", material.name)
    with seeded(seed, "begin"):
        tail = method.begin(backbone, len(material.classes), generator(seed, "begin"))
    tail.to(material.labels.device)
    learn_tail(
        tail,
        method,
        material.train,
        material.labels,
        schedule=lessons.schedule,
        seed=seed,
        penalty=method.penalty(),
        progress=progress,
    )
    method.settle()
    return settle(tail)


@torch.no_grad()
def settle(tail: TaskTail) -> TaskTail:
    """Bring a learned tail to the form in which it is stored."""
    tail.requires_grad_(False)
    vectors = tail.weights.stored()
    fold_statistics(foldable(tail.body, vectors), vectors, tail.statistics)
    round_to_half(tail)
    return tail


@torch.no_grad()
def held_out_logits(tail: TaskTail, material: Material) -> Tensor:
    """Logits of the held-out images, (n, classes)."""
    if material.held is None:
        return material.held_labels.new_zeros(0, len(material.classes), dtype=torch.float32)
    return torch.cat([tail(part) for part in material.held.split(256)])


def accuracy_of(logits: Tensor, labels: Tensor) -> float | None:
    """Share of right answers; None of no images."""
    return float((logits.argmax(1) == labels).float().mean()) if len(labels) else None


@torch.no_grad()
def record_of(
    tail: TaskTail,
    method: Method,
    material: Material,
    backbone: Backbone,
    earlier: Mapping[str, Moments],
    lessons: Lessons,
    facts: Mapping[str, Any],
) -> TaskRecord:
    """All that is kept of a task that was learned.

    Args:
        tail: settled.
        method: how it was learned.
        material: from what.
        backbone: of the bank.
        earlier: moments of the other tasks of the bank, among which the task's images are to find it.
        lessons: what to keep.
        facts: of the log.
    """
    descriptor, plain = Descriptor(backbone), material.train.plain()
    vectors, labels = descriptor(plain).cpu(), material.labels.cpu()
    # as it will come back from the file
    moments = unpacked(packed(Moments.of(vectors, labels, len(material.classes))))
    logits = held_out_logits(tail, material).cpu()
    held_labels = material.held_labels.cpu()
    hidden = hidden_moments(embeddings(tail, plain).cpu(), labels, len(material.classes))
    if material.held is not None:
        hidden["variances"] *= unseen_spread(hidden, embeddings(tail, material.held).cpu(), held_labels)
    calibration = {"temperature": temperature_of(logits, held_labels)}
    calibration |= _inference(material, descriptor, {**earlier, material.name: moments})
    probes = {"logits": tail(backbone.features(_probes(backbone, plain))).cpu()}
    if lessons.keep_probes and material.held is not None:
        rows = evenly(held_labels, material.classes, lessons.keep_probes, lessons.seed)
        probes["features"] = material.held.cpu()[rows].contiguous()
        probes["answers"] = logits[rows]
    accuracy = accuracy_of(logits, held_labels)
    return TaskRecord(
        material.name,
        material.classes,
        method.name,
        method.settings(),
        flattened(tail.weights),
        flattened(tail.head),
        tuple(tail.head.sizes),
        own_statistics(tail),
        moments,
        hidden,
        probes,
        calibration,
        {**facts, "held_out_accuracy": accuracy, "held_out_images": len(held_labels)},
    )


def evenly(labels: Tensor, classes: Sequence[str], count: int, seed: int) -> Tensor:
    """Rows of at most `count` examples, of every class as many as there are, up to one.

    Args:
        labels: of all examples, in an order that follows from their content.
        classes: names; labels index them.
        count: of examples to take.
        seed: of which ones.
    """
    drawn: list[tuple[int, int]] = []
    for number, name in enumerate(classes):
        rows = (labels == number).nonzero()[:, 0]
        order = rows[torch.randperm(len(rows), generator=generator(seed, "probes", name))]
        drawn += enumerate(order.tolist())
    # the first of each class, then the second of each
    return torch.tensor([row for _, row in sorted(drawn)[:count]], dtype=torch.long)


def own_statistics(tail: TaskTail) -> dict[str, Tensor]:
    """The buffers of a settled tail that are neither those of the body nor folded."""
    body = dict(tail.body.named_buffers())
    folded = {name for layer in foldable(tail.body, tail.weights.stored()) for name in (layer.mean, layer.var)}
    return {
        name: value.cpu()
        for name, value in tail.statistics.items()
        if name not in folded and not name.endswith("num_batches_tracked") and not torch.equal(value, body[name])
    }


def hidden_moments(vectors: Tensor, labels: Tensor, classes: int) -> dict[str, Tensor]:
    """Mean and variance of each class, (classes, width)."""
    chosen: Sequence[Tensor] = [vectors[labels == number] for number in range(classes)]
    return {
        "means": torch.stack([each.mean(0) for each in chosen]),
        "variances": torch.stack([each.var(0, correction=0) for each in chosen]),
        "counts": torch.tensor([float(len(each)) for each in chosen]),
    }


def unseen_spread(hidden: Mapping[str, Tensor], vectors: Tensor, labels: Tensor) -> float:
    """How many times the variance around the class means is that of held-out examples, at least 1.

    A tail that was learned gathers the images that it learned from closer than others.

    Args:
        hidden: of the images that were learned from.
        vectors: of held-out images, (n, width).
        labels: their classes, (n,).
    """
    learned = hidden["variances"][labels].sum()
    unseen = (vectors - hidden["means"][labels]).square().sum()
    return max(1.0, float(unseen / learned)) if float(learned) > 0 else 1.0


def _probes(backbone: Backbone, like: Tensor) -> Tensor:
    return probe_images(backbone.preprocessing.size).to(like.device)


def _inference(material: Material, descriptor: Descriptor, moments: Mapping[str, Moments]) -> dict[str, float]:
    """The threshold of strangeness, and the temperature at which held-out images find their task most likely.

    Where it is the only task, they find it at any temperature.
    """
    if material.held is None:
        return {"task_temperature": 1.0} if len(moments) > 1 else {}
    inference = TaskInference(moments.items())
    vectors = descriptor(material.held).cpu()
    found = {"threshold": threshold_of(inference.strangeness(vectors))}
    if len(moments) > 1:
        own = torch.full((len(vectors),), len(inference.tasks) - 1)
        found["task_temperature"] = temperature_of(-0.5 * inference.distances(vectors), own)
    return found
