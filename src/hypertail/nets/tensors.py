"""Named tensors that are state but not parameters, and what can be said of many tensors at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, cast

import torch
from torch import Tensor, nn


class BufferDict(nn.Module, MutableMapping[str, Tensor]):
    """Tensors by name: they move with the module that holds them and are in its state dict.

    Unlike buffers, names may hold dots, and come and go. Loading takes whatever names the state has, as copies. They
    have the device, the type and the layout in memory of the tensors of the same names and shapes that were there (sums
    over another layout round in another way); others are as in the state.

    Args:
        tensors: to begin with; they are not copied.
    """

    # a module is itself alone, whatever it holds
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __init__(self, tensors: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.update(tensors or {})

    def __getitem__(self, name: str) -> Tensor:
        return cast(Tensor, self._buffers[name])

    def __setitem__(self, name: str, tensor: Tensor) -> None:
        self._buffers[name] = tensor  # register_buffer refuses dots

    def __delitem__(self, name: str) -> None:
        del self._buffers[name]

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self) -> Iterator[str]:
        return iter(self._buffers)

    def extra_repr(self) -> str:
        """How many tensors, as printed."""
        return f"{len(self)} tensors"

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
        saved = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        before = dict(self._buffers)
        self.clear()
        self.update({name: _copy(value, before.get(name)) for name, value in saved.items()})


def _copy(value: Tensor, before: Tensor | None) -> Tensor:
    if before is None or before.shape != value.shape:
        return value.detach().clone()
    return torch.empty_like(before).copy_(value)


class BuffersOfTasks(nn.Module):
    """A `BufferDict` for each task, by its id."""

    def __getitem__(self, task: int) -> BufferDict:
        return cast(BufferDict, self._modules[str(task)])

    def __setitem__(self, task: int, tensors: Mapping[str, Tensor]) -> None:
        self.add_module(str(task), BufferDict(tensors))

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[int]:
        return map(int, self._modules)

    def __contains__(self, task: int) -> bool:
        return str(task) in self._modules

    def clear(self) -> None:
        """Forget all tasks."""
        self._modules.clear()


def nbytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def count_parameters(module: nn.Module) -> int:
    """How many numbers the parameters of a module hold."""
    return sum(parameter.numel() for parameter in module.parameters())


def all_finite(tensors: Iterable[Tensor]) -> bool:
    """Whether no number is infinite or NaN, with one wait for each device; False also where a sum is too large."""
    sums: dict[torch.device, list[Tensor]] = {}
    for tensor in tensors:
        # one infinity or NaN makes the sum one
        sums.setdefault(tensor.device, []).append(tensor.sum(dtype=torch.float32))
    return all(bool(torch.stack(of_device).isfinite().all()) for of_device in sums.values())
