"""Inputs of a strategy: augmented images, or trunk features of them computed once and kept."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from hypertail.nets import Frozen
from hypertail.seeds import generator
from hypertail.streams import Experience

CHUNK = 250
"""Images that go through the trunk together. Fixed, so that cached and uncached features agree bit for bit."""


class FeatureCache:
    """Serves the inputs of one run, view by view.

    A *view* is one random augmentation of all training images of an experience. With `views` fewer than the epochs,
    views are used in turn and their trunk features are kept; with as many, each epoch computes its own. Test inputs
    have a single view, which is kept for the whole run. Kept tensors stay within `cache_bytes`; what does not fit is
    computed again when needed, which changes seconds and nothing else.

    Args:
        seed: of the run; augmentation follows from (seed, task, view).
        device: where inputs are needed.
        views: distinct augmentations per experience; None for a new one each epoch.
        cache_bytes: memory for kept inputs.
        on_notice: told once when something does not fit.
    """

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        views: int | None = None,
        cache_bytes: int = 4 << 30,
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.seed, self.device, self.views = seed, torch.device(device), views
        self.cache_bytes, self.on_notice = cache_bytes, on_notice
        self._views: dict[tuple[int, int], Tensor] = {}
        self._tests: dict[tuple[int, str], Tensor] = {}
        self._trunk: nn.Module | None = None

    @property
    def used_bytes(self) -> int:
        """Bytes kept now."""
        kept = [*self._views.values(), *self._tests.values()]
        return sum(tensor.numel() * tensor.element_size() for tensor in kept)

    def set_trunk(self, trunk: nn.Module | None) -> None:
        """Use `trunk` from now on (None: inputs are images); what an earlier trunk made is dropped."""
        if trunk is not self._trunk:
            self._views.clear()
            self._tests.clear()
            self._trunk = trunk

    def train(self, experience: Experience, epoch: int) -> Tensor:
        """All training inputs of an experience for one epoch, rows in the order of `experience.train`.

        The layout is (n, h, w, channels) behind a (n, channels, h, w) view, so that batches are channels-last.
        """
        if self.views is None or self._trunk is None:
            return self._train_view(experience, epoch)
        key = (experience.task, epoch % self.views)
        for old in [old for old in self._views if old[0] != experience.task]:
            del self._views[old]
        if key in self._views:
            return self._views[key]
        features = self._train_view(experience, key[1])
        if self._fits(features):
            self._views[key] = features
        return features

    def _train_view(self, experience: Experience, view: int) -> Tensor:
        random = generator(self.seed, "augment", experience.task, view)
        images = experience.train_transform(experience.train.images.to(self.device), random)
        return self._through(images)

    def plain(self, experience: Experience) -> Tensor:
        """All training inputs of an experience without augmentation."""
        random = generator(self.seed, "plain", experience.task)
        return self._through(experience.test_transform(experience.train.images.to(self.device), random))

    def test(self, experience: Experience, split: str = "test") -> Tensor:
        """All test (or validation) inputs of an experience."""
        key = (experience.task, split)
        if key in self._tests:
            return self._tests[key]
        examples = experience.test if split == "test" else experience.validation
        assert examples is not None
        random = generator(self.seed, "test", experience.task)
        inputs = self._through(experience.test_transform(examples.images.to(self.device), random))
        if self._fits(inputs):
            self._tests[key] = inputs
        return inputs

    def _fits(self, tensor: Tensor) -> bool:
        size = tensor.numel() * tensor.element_size()
        if self.used_bytes + size <= self.cache_bytes:
            return True
        self.on_notice(
            f"{size / 2**20:.0f} MiB of inputs do not fit the cache of {self.cache_bytes / 2**20:.0f} MiB and are "
            "computed again each time; a larger cache (--cache-bytes) or fewer views (--views) would keep them."
        )
        self.on_notice = lambda text: None
        return False

    @torch.no_grad()
    def _through(self, images: Tensor) -> Tensor:
        if self._trunk is not None and not is_identity(self._trunk):
            parts = images.split(CHUNK)
            parts = tuple(part.contiguous(memory_format=torch.channels_last) for part in parts)
            images = torch.cat([self._trunk(part) for part in parts])
        if images.dim() != 4:
            return images
        return images.movedim(1, -1).contiguous().movedim(-1, 1)


def is_identity(trunk: nn.Module) -> bool:
    """Whether a trunk is empty, as at depth 0."""
    inner = trunk.module if isinstance(trunk, Frozen) else trunk
    return isinstance(inner, nn.Sequential) and len(inner) == 0


def take(inputs: Tensor, index: Tensor) -> Tensor:
    """Rows of `inputs`, keeping its channels-last layout."""
    if inputs.dim() != 4:
        return inputs[index]
    return inputs.movedim(1, -1)[index].movedim(-1, 1)
