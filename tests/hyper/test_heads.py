from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from hypertail.errors import ConfigError
from hypertail.hyper import ChannelHead, LinearHead, SeparableHead, TaskTable
from hypertail.hyper.heads import CodeName
from support import reference

CODES: tuple[CodeName, ...] = ("additive", "product")
HIDDEN = 5


def hidden(*lead: int) -> Tensor:
    return torch.randn(*lead, HIDDEN, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def channel_head(shape: tuple[int, ...], code: CodeName) -> ChannelHead:
    return ChannelHead(shape, HIDDEN, 4, code).double()


def all_heads() -> list[SeparableHead]:
    shapes = ((6, 3, 3, 3), (6, 3, 1, 1), (2, 3, 3, 2), (7, 4))
    heads: list[SeparableHead] = [channel_head(shape, code) for shape in shapes for code in CODES]
    return [*heads, LinearHead((3, 8), HIDDEN).double()]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("shape", [(6, 3, 3, 3), (4, 2, 1, 1), (2, 3, 3, 2), (7, 4)])
def test_channel_head_is_the_published_formula(shape: tuple[int, ...], code: CodeName) -> None:
    head = channel_head(shape, code)
    torch.testing.assert_close(head(hidden()), reference.channel_weight(head, hidden()), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", all_heads(), ids=lambda head: f"{type(head).__name__}{head.shape}")
def test_rows_are_the_matrix_times_a_separable_code(head: SeparableHead) -> None:
    u, t = head.row_basis()[:, head.row_index], head.task_basis(hidden(4))[:, head.task_index]
    rows = torch.stack([torch.stack([head.matrix() @ (u[r] * t[j]) for r in range(head.rows)]) for j in range(4)])
    torch.testing.assert_close(head.shape_rows(rows), head(hidden(4)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("head", all_heads(), ids=lambda head: f"{type(head).__name__}{head.shape}")
def test_the_first_column_of_a_basis_is_the_constant(head: SeparableHead) -> None:
    assert (head.row_basis()[:, 0] == 1).all()
    assert (head.task_basis(hidden(4))[:, 0] == 1).all()


@pytest.mark.parametrize("head", all_heads(), ids=lambda head: f"{type(head).__name__}{head.shape}")
def test_leading_task_dimensions_are_kept(head: SeparableHead) -> None:
    together = head(hidden(2, 3))
    assert together.shape[:2] == (2, 3)
    torch.testing.assert_close(together[1, 2], head(hidden(2, 3)[1, 2]))


@pytest.mark.parametrize(("rows", "rank"), [(12, 5), (5, 5), (4, 9)])
def test_orthogonal_vectors_have_the_mean_square_of_gaussian_ones(rows: int, rank: int) -> None:
    table = ChannelHead((rows, 3, 3, 3), HIDDEN, rank, vectors="orthogonal").table.detach().double()
    assert float(table.square().mean()) == pytest.approx(1, rel=1e-5)
    gram = table.T @ table if rank <= rows else table @ table.T
    torch.testing.assert_close(gram, max(rows, rank) * torch.eye(len(gram)).double(), rtol=1e-5, atol=1e-5)


def test_unknown_start_of_the_vectors() -> None:
    with pytest.raises(
        ConfigError, match=r"unknown channel vectors at the start 'ones': required one of gaussian, orthogonal; found"
    ):
        ChannelHead((4, 3, 3, 3), HIDDEN, 4, vectors="ones")  # type: ignore[arg-type]


def test_additive_tasks_differ_by_one_shift_and_product_tasks_do_not() -> None:
    for code, shared in (("additive", True), ("product", False)):
        head = channel_head((6, 3, 3, 3), code)
        change = head(hidden(2)[0]) - head(hidden(2)[1])
        assert bool((change - change[0]).abs().max() < 1e-12) is shared


def test_generated_filters_lie_channels_last_in_memory() -> None:
    weight = channel_head((6, 3, 3, 3), "product")(hidden())
    assert weight.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("code", CODES)
def test_size_of_a_channel_head(code: CodeName) -> None:
    head = ChannelHead((160, 80, 3, 3), 32, 8, code)
    modulation = 32 * 8 if code == "product" else 0
    assert sum(p.numel() for p in head.parameters()) == 8 * 160 + (32 + 8 + 1) * 80 * 9 + modulation


def test_linear_head_is_one_linear_layer() -> None:
    head = LinearHead((3, 8), HIDDEN).double()
    expected = (head.linear.weight @ hidden() + head.linear.bias).reshape(3, 8)
    torch.testing.assert_close(head(hidden()), expected, rtol=1e-12, atol=1e-12)
    assert sum(p.numel() for p in head.parameters()) == (HIDDEN + 1) * math.prod((3, 8))


def test_task_table_keeps_one_learned_row_per_task() -> None:
    table = TaskTable(torch.ones(4), 2).double()
    with torch.no_grad():
        table.rows[1].fill_(5)
    table.grow(4)
    table.grow(1)
    assert [row.tolist() for row in table.rows] == [[1.0] * 4, [5.0] * 4, [1.0] * 4, [1.0] * 4]
    assert all(row.dtype == torch.float64 and row.requires_grad for row in table.rows)
    (grad,) = torch.autograd.grad(table(1).sum(), table.rows[1])
    assert torch.equal(grad, torch.ones_like(grad))
