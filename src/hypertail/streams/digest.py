"""Digests of what datasets and experiences hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hypertail.streams.stream import Examples, Experience

SIZE = 16  # bytes


def content_digest(classes: tuple[str, ...], splits: Mapping[str, Examples]) -> str:
    """A hexadecimal digest of images, labels and class names.

    Neither the order of the images nor that of the classes counts, nor where any of them came from.

    Args:
        classes: class names; labels index them.
        splits: by name.
    """
    whole = hashlib.blake2b(digest_size=SIZE)
    for split, examples in sorted(splits.items()):
        groups: dict[str, list[bytes]] = {name: [] for name in classes}
        for label, image in zip(examples.labels.tolist(), examples.images.contiguous().numpy(), strict=True):
            groups[classes[label]].append(hashlib.blake2b(image.data, digest_size=SIZE).digest())
        for name, images in sorted(groups.items()):
            head = json.dumps([split, name, len(images), list(examples.images.shape[1:])])
            whole.update(head.encode() + b"\n" + b"".join(sorted(images)))
    return whole.hexdigest()


def experiences_digest(experiences: tuple[Experience, ...]) -> str:
    """A hexadecimal digest of the experiences in order: task ids, class names, and every split's images and labels.

    The order of images within a split counts, since batches are drawn by it; names and transforms do not.
    """
    whole = hashlib.blake2b(digest_size=SIZE)
    for experience in experiences:
        whole.update(json.dumps([experience.task, list(experience.classes)]).encode())
        parts = {"train": experience.train, "test": experience.test, "validation": experience.validation}
        for split, examples in parts.items():
            if examples is not None:
                whole.update(json.dumps([split, list(examples.images.shape)]).encode())
                for tensor in (examples.labels, examples.images):
                    whole.update(tensor.contiguous().numpy().data)
    return whole.hexdigest()
