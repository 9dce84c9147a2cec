"""The tests' own shape checking: without it, an annotation that lies would pass unseen."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import pytest
import torch
from jaxtyping import Float, TypeCheckError, jaxtyped
from torch import Tensor

from support.shape_checks import check_shapes


@jaxtyped(typechecker=check_shapes)
def product(x: Float[Tensor, "a b"], y: Float[Tensor, "b c"], note: int = 0) -> Float[Tensor, "a c"]:
    return x @ y if note == 0 else x


@jaxtyped(typechecker=check_shapes)
def first(tensors: Mapping[str, Float[Tensor, " n"]]) -> Tensor:
    return next(iter(tensors.values()))


class Fluent:
    @jaxtyped(typechecker=check_shapes)
    def same(self) -> Self:
        return self


def test_right_shapes_pass_and_other_annotations_are_left_alone() -> None:
    assert product(torch.ones(2, 3), torch.ones(3, 4), note=False).shape == (2, 4)
    assert first({"a": torch.ones(3)}).shape == (3,)
    assert isinstance(Fluent().same(), Fluent)


def test_wrong_argument_is_caught() -> None:
    with pytest.raises(TypeCheckError, match="parameters"):
        product(torch.ones(2, 3), torch.ones(4, 4))
    with pytest.raises(TypeCheckError, match="parameters"):
        first({"a": torch.ones(3, 1)})


def test_wrong_result_is_caught() -> None:
    with pytest.raises(TypeCheckError, match="return value"):
        product(torch.ones(2, 3), torch.ones(3, 4), note=1)


@pytest.mark.usefixtures("unchecked_shapes")
def test_checking_can_be_turned_off() -> None:
    assert product(torch.ones(2, 3), torch.ones(4, 4), note=1).shape == (2, 3)


def test_the_package_is_imported_with_checks() -> None:
    module = importlib.import_module("hypertail.seeds")
    assert Path(module.__file__ or "").parts[-3:-1] == ("src", "hypertail")
    assert module.derive.__wrapped__ is not None
    assert sys.modules["hypertail.seeds"] is module
