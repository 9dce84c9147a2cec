"""Inputs of a strategy: augmented images, or trunk features of them computed once and kept."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hypertail.nets import Frozen, folded
from hypertail.nets.tensors import nbytes
from hypertail.seeds import generator
from hypertail.streams import Experience
from hypertail.training.features.shared import SharedFeatures, digest_of_images, digest_of_trunk
from hypertail.training.features.spill import Spill
from hypertail.training.precision import Precision, autocast

CHUNK_PIXELS = {"cpu": 1 << 16, "cuda": 1 << 21}
"""Pixels that go through the trunk together: on a CPU 64 images of 32x32, whose activations stay in its cache."""


def warn(text: str) -> None:
    """Show a notice as a Python warning."""
    warnings.warn(text, RuntimeWarning, stacklevel=2)


class _View(NamedTuple):
    """Which inputs: `kind` is the number of a training view, or the name of a test split."""

    task: int
    kind: int | str


class FeatureCache:
    """Serves the inputs of one run, view by view.

    A *view* is one random augmentation of all training images of an experience. With `views` fewer than the epochs,
    views are used in turn and their trunk features are kept; with as many, each epoch computes its own. Test inputs
    have a single view, which is kept for the whole run. Kept tensors stay in memory up to `cache_bytes`, then go to
    `disk`; what fits neither is computed again when needed. Where they are stored affects speed only: on a CPU inputs
    are equal bit for bit.

    Args:
        seed: of the run; augmentation follows from (seed, task, view).
        device: where inputs are needed.
        views: distinct augmentations per experience; None for a new one each epoch.
        cache_bytes: memory for kept inputs.
        disk: takes what exceeds it; None to compute that again.
        precision: of the frozen trunk for training views; `mixed` rounds them to two or three digits (they are float32
            all the same). What is measured or kept, `test` and `plain`, is always computed at full precision.
        shared: features that other runs of this process may have computed; None to share nothing.
        on_notice: told once when inputs go to disk, and once when some are not kept; by default a Python warning.
    """

    def __init__(
        self,
        *,
        seed: int,
        device: torch.device | str = "cpu",
        views: int | None = None,
        cache_bytes: int = 4 << 30,
        disk: Spill | None = Spill(),  # noqa: B008 -- it has no state
        precision: Precision = "full",
        shared: SharedFeatures | None = None,
        on_notice: Callable[[str], None] = warn,
    ) -> None:
        self.seed, self.device, self.views = seed, torch.device(device), views
        self.cache_bytes, self.disk, self.on_notice = cache_bytes, disk, on_notice
        self.precision: Precision = precision
        self.shared, self.saved_seconds = shared, 0.0
        self._memory: dict[_View, Tensor] = {}
        self._spilled: dict[_View, Tensor] = {}
        self._told: set[str] = set()
        self._trunk: nn.Module | None = None
        self._applied: nn.Module | None = None
        self._digest = ""

    @property
    def used_bytes(self) -> int:
        """Bytes kept in memory now."""
        return nbytes(self._memory.values())

    @property
    def spilled_bytes(self) -> int:
        """Bytes kept on disk now."""
        return nbytes(self._spilled.values())

    def set_trunk(self, trunk: nn.Module | None) -> None:
        """Use `trunk` from now on (None: inputs are images); what an earlier trunk made is dropped.

        Its normalisation is folded into its convolutions here, once, so that all features come from the same numbers.
        """
        if trunk is not self._trunk:
            self._memory.clear()
            self._spilled.clear()
            self._trunk = trunk
            self._applied = None if trunk is None or is_identity(trunk) else folded(trunk)
            if self.shared is not None and self._applied is not None:
                self._digest = digest_of_trunk(self._applied)

    def train(self, experience: Experience, epoch: int) -> Tensor:
        """All training inputs of an experience for one epoch, rows in the order of `experience.train`.

        The layout is (n, h, w, channels) behind a (n, channels, h, w) view, so that batches are channels-last.
        """
        if self.views is None or self._trunk is None:
            return self._train_view(experience, epoch)
        view = epoch % self.views
        for kept in (self._memory, self._spilled):
            for old in [old for old in kept if isinstance(old.kind, int) and old.task != experience.task]:
                del kept[old]
        return self._kept(_View(experience.task, view), lambda: self._train_view(experience, view))

    def _train_view(self, experience: Experience, view: int) -> Tensor:
        def compute() -> Tensor:
            random = generator(self.seed, "augment", experience.task, view)
            images = experience.train_transform(experience.train.images.to(self.device), random)
            return self._through(images, self.precision)

        # with a new view each epoch there is too much to keep
        return compute() if self.views is None else self._together(experience, "train", view, compute)

    def plain(self, experience: Experience) -> Tensor:
        """All training inputs of an experience without augmentation."""

        def compute() -> Tensor:
            random = generator(self.seed, "plain", experience.task)
            return self._through(experience.test_transform(experience.train.images.to(self.device), random))

        return self._together(experience, "train", "plain", compute)

    def test(self, experience: Experience, split: str = "test") -> Tensor:
        """All test (or validation) inputs of an experience."""
        examples = experience.examples(split)

        def compute() -> Tensor:
            random = generator(self.seed, "test", experience.task)
            return self._through(experience.test_transform(examples.images.to(self.device), random))

        return self._kept(_View(experience.task, split), lambda: self._together(experience, split, "test", compute))

    def _together(self, experience: Experience, split: str, kind: int | str, compute: Callable[[], Tensor]) -> Tensor:
        """Inputs that an earlier run of this process may have computed; the seconds saved so are counted."""
        if self.shared is None or self._applied is None:
            return compute()
        precision = self.precision if isinstance(kind, int) else "full"
        key = f"{digest_of_images(experience, split)}/{self.seed}/{kind}/{precision}/{self.device}"
        inputs, saved = self.shared.get(self._digest, key, compute)
        self.saved_seconds += saved
        return inputs

    def _kept(self, view: _View, compute: Callable[[], Tensor]) -> Tensor:
        """The inputs of `view` from where they lie, else as `compute` gives them, kept if there is room."""
        if view in self._memory:
            return self._memory[view]
        if view in self._spilled:
            return self._spilled[view].to(self.device)
        inputs = compute()
        if self.used_bytes + inputs.nbytes <= self.cache_bytes:
            self._memory[view] = inputs
        elif self.disk is not None and (spilled := self.disk.keep(inputs)) is not None:
            self._spilled[view] = spilled
            self._tell(
                "spilled",
                f"inputs beyond the cache of {_mib(self.cache_bytes)} are kept in memory-mapped temporary files in "
                f"{self.disk.folder}; a larger cache (--cache-bytes) or fewer views (--views) would keep them in it.",
            )
        else:
            where, hint = f"in the cache of {_mib(self.cache_bytes)}", "a larger cache (--cache-bytes)"
            if self.disk is not None:
                where += f" or on the disk of {self.disk.folder}"
                hint += ", a TMPDIR with more room"
            self._tell(
                "not kept",
                f"{_mib(inputs.nbytes)} of inputs do not fit {where} and are computed again each time; "
                f"{hint} or fewer views (--views) would keep them.",
            )
        return inputs

    def _tell(self, topic: str, text: str) -> None:
        if topic not in self._told:
            self._told.add(topic)
            self.on_notice(text)

    @torch.no_grad()
    def _through(self, images: Tensor, precision: Precision = "full") -> Tensor:
        if self._applied is not None:
            # chunks of a size that follows from the shape of images alone, so that features can be computed again
            chunk = max(1, CHUNK_PIXELS.get(self.device.type, 1 << 21) // (images.shape[-2] * images.shape[-1]))
            parts = (part.contiguous(memory_format=torch.channels_last) for part in images.split(chunk))
            with autocast(precision, self.device):
                images = torch.cat([self._applied(part).to(part.dtype) for part in parts])
        if images.dim() != 4:
            return images
        return images.movedim(1, -1).contiguous().movedim(-1, 1)


def _mib(count: int) -> str:
    return f"{count / 2**20:.0f} MiB"


def is_identity(trunk: nn.Module) -> bool:
    """Whether a trunk is empty, as at depth 0."""
    inner = trunk.module if isinstance(trunk, Frozen) else trunk
    return isinstance(inner, nn.Sequential) and len(inner) == 0


def take(inputs: Tensor, index: Tensor) -> Tensor:
    """Rows of `inputs`, keeping its channels-last layout."""
    if inputs.dim() != 4:
        return inputs[index]
    return inputs.movedim(1, -1)[index].movedim(-1, 1)
