"""What a reader should know of a task that was just learned."""

from __future__ import annotations

from collections.abc import Collection

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.learning.choice import Candidate
from hypertail.bank.store import Manifest, in_effect
from hypertail.errors import warn
from hypertail.streams.report import plural

SAME_IMAGES = "learned from the same images as"
"""So begins the warning of `same_images`."""


def same_images(manifest: Manifest, number: int, digest: str) -> tuple[str, ...]:
    """A notice that names the other tasks which learned from the very images of task `number`; warns of it, too."""
    same = {entry.facts.get("id") for entry in in_effect(manifest.log) if entry.facts.get("data") == digest}
    names = [f"'{task.name}'" for task in manifest.tasks if task.id in same and task.id != number]
    if not names:
        return ()
    words = f"{SAME_IMAGES} {', '.join(names)}: unless told, which of them an image belongs to is a coin toss"
    warn(words, UserWarning)
    return (words,)


def new_classes(found: Collection[str], known: Collection[str]) -> tuple[str, ...]:
    """A notice that names the classes which are new to a task, and old ones that are written nearly alike."""
    fresh = [name for name in found if name not in known]
    if not fresh:
        return ()
    words = f"{plural(len(fresh), 'new class', 'new classes')}: {', '.join(fresh)}"
    alike = {name: [each for each in known if each.casefold() == name.casefold()] for name in fresh}
    doubts = [f"{name} like {', '.join(same)}" for name, same in alike.items() if same]
    return (f"{words}; written nearly alike: {'; '.join(doubts)}" if doubts else words,)


def left_alone(candidate: Candidate, backbone: Backbone) -> tuple[str, ...]:
    """A notice that names the parameters of the body that the method has no part for."""
    if not candidate.method.learns_body:
        return ()
    with torch.no_grad():
        own = candidate.tail.weights()
    names = [name for name, _ in backbone.body.named_parameters() if name not in own]
    if not names:
        return ()
    return (f"kept as the model has them, since no adapter fits their layers: {', '.join(names)}",)
