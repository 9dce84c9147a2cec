"""A linear head that can grow by classes without changing what it gave for those it had."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import skip_init


class TaskHead(nn.Module):
    """Linear outputs in blocks: the classes that a task began with, then those of each time it grew.

    A block is a product of its own. One wider product could round the outputs of earlier classes in another way.

    Args:
        width: numbers it is given for an example.
        blocks: classes of each block, or of the only one.
    """

    def __init__(self, width: int, blocks: int | Sequence[int]) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList()
        for classes in (blocks,) if isinstance(blocks, int) else blocks:
            self.grow(classes)

    @property
    def classes(self) -> int:
        """Number of outputs."""
        return sum(self.sizes)

    @property
    def sizes(self) -> list[int]:
        """Classes of each block."""
        return [block.out_features for block in self.blocks if isinstance(block, nn.Linear)]

    def grow(self, classes: int) -> nn.Linear:
        """Append a block of zeros, which is returned."""
        block: nn.Linear = skip_init(nn.Linear, self.width, classes)  # draws nothing
        nn.init.zeros_(block.weight)
        nn.init.zeros_(block.bias)
        if len(self.blocks):
            block.to(next(self.blocks.parameters()))
        self.blocks.append(block)
        return block

    def forward(self, vectors: Float[Tensor, "n width"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return torch.cat([block(vectors) for block in self.blocks], dim=1)

    @torch.no_grad()
    def joined(self) -> nn.Linear:
        """One linear layer with copies of all blocks."""
        layer: nn.Linear = skip_init(nn.Linear, self.width, self.classes).to(next(self.parameters()))
        parts = [block for block in self.blocks if isinstance(block, nn.Linear)]
        layer.weight.copy_(torch.cat([block.weight for block in parts]))
        layer.bias.copy_(torch.cat([block.bias for block in parts]))
        return layer
