"""Features that several runs of one process need: strategies and depths of a comparison, trials of a search."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable

from torch import Tensor, nn

from hypertail.nets.tensors import nbytes
from hypertail.streams import Experience


class SharedFeatures:
    """Trunk features, each computed by the first run that needs them, up to a number of bytes.

    The key is a digest of trunk, images, transform and seed, so different runs never share features. Where room is
    short, features of trunks that are no longer used go first.

    Args:
        limit_bytes: memory for kept features.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._kept: dict[str, dict[str, tuple[Tensor, float]]] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes kept now."""
        return nbytes(inputs for features in self._kept.values() for inputs, _ in features.values())

    def get(self, trunk: str, key: str, compute: Callable[[], Tensor]) -> tuple[Tensor, float]:
        """The features `key` of a trunk, and the seconds saved: those that computing them took, 0 if that was now.

        Args:
            trunk: digest of the trunk.
            key: what else they follow from.
            compute: makes them.
        """
        features = self._kept.setdefault(trunk, {})
        if key in features:
            return features[key]
        started = time.perf_counter()
        inputs = compute()
        seconds = time.perf_counter() - started
        for other in [other for other in self._kept if other != trunk]:
            if self.used_bytes + inputs.nbytes > self.limit_bytes:
                del self._kept[other]
        if self.used_bytes + inputs.nbytes <= self.limit_bytes:
            features[key] = (inputs, seconds)
        return inputs, 0.0


def digest_of_trunk(trunk: nn.Module) -> str:
    """Follows from structure, parameters and statistics."""
    digest = hashlib.blake2b(repr(trunk).encode(), digest_size=16)
    for name, tensor in trunk.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def digest_of_images(experience: Experience, split: str) -> str:
    """Follows from the images of a split and what is done to them."""
    examples = experience.examples(split)
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((experience.task, experience.train_transform, experience.test_transform)).encode())
    digest.update(repr(examples.images.shape).encode())
    digest.update(examples.images.contiguous().numpy().tobytes())
    return digest.hexdigest()
