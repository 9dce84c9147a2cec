"""Every kind of layer above the cut, by every method; what fits none is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hypertail.bank import Bank
from support.banks import COLD, PIXELS, WARM, pictures


class EveryLayer(nn.Module):
    """Depthwise, grouped and one-dimensional convolutions, three norms, an embedding, attention, a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, 2, 1)
        self.depthwise, self.grouped = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.group_norm, self.batch_norm = nn.GroupNorm(2, 8), nn.BatchNorm2d(8)
        self.line, self.layer_norm, self.places = nn.Conv1d(8, 8, 3, padding=1), nn.LayerNorm(8), nn.Embedding(36, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, dropout=0.1)
        self.scale, self.head = nn.Parameter(torch.ones(1, 1, 8)), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu_(self.stem(x))
        x = torch.relu(self.batch_norm(self.group_norm(self.grouped(self.depthwise(x)))))
        x = self.line(x.flatten(2)).transpose(1, 2)
        x = self.layer_norm(x) + self.places(torch.arange(36))
        return self.head((self.block(x) * self.scale).mean(1))


def every_layer() -> EveryLayer:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return EveryLayer().eval()


@pytest.mark.parametrize("method", ["head", "adapter", "hypernet", "separate"])
def test_every_layer_has_a_part_for_a_task(method: str, tmp_path: Path) -> None:
    bank = Bank.create(tmp_path / "bank", model=every_layer(), cut="depthwise", preprocessing=PIXELS)
    images = torch.randint(0, 256, (5, 3, PIXELS.size, PIXELS.size), dtype=torch.uint8)
    first = bank.learn("warm", pictures(WARM, 12), method=method, epochs=3)
    before = bank._contents.server.logits("warm", images)
    second = bank.learn("cold", pictures(COLD, 12), method=method, epochs=3)
    assert second.certificate is not None
    assert second.certificate.passed
    assert torch.equal(before, bank._contents.server.logits("warm", images))
    tensors = dict(bank._contents.server.tail("warm").tensors)
    changed = {
        name for name, value in bank.backbone.body.named_parameters()
        if name in tensors and not torch.equal(tensors[name], value)
    }  # fmt: skip
    weights = {name for name, value in bank.backbone.body.named_parameters() if value.dim() > 1}
    told = "kept as the model has them, since no adapter fits their layers: "
    if method in ("adapter", "hypernet"):
        (notice,) = [text for text in first.notices if text.startswith(told)]
        alone = set(notice.removeprefix(told).split(", "))
        assert len(alone) == 1
        assert weights - alone <= changed
        assert not alone & changed
    else:
        assert not any(text.startswith(told) for text in first.notices)
        assert weights <= changed if method == "separate" else not changed
