"""A module that many share, applied with tensors of one of them."""

from __future__ import annotations

import copy
import threading
from collections.abc import Mapping
from weakref import WeakKeyDictionary

from torch import Tensor, nn
from torch.func import functional_call

from hypertail.nets.mode import in_mode


class _OfThread(threading.local):
    def __init__(self) -> None:
        super().__init__()
        self.copies: WeakKeyDictionary[nn.Module, nn.Module] = WeakKeyDictionary()


_OF_THREAD = _OfThread()


def applied(module: nn.Module, tensors: Mapping[str, Tensor], inputs: Tensor, *, training: bool = False) -> Tensor:
    """`module(inputs)` with other tensors. The module never changes, not even while this runs.

    `functional_call` puts the tensors into the modules that it calls, and torch lets other threads run meanwhile.
    So it gets a copy that no other thread has.

    Args:
        module: what is shared.
        tensors: parameters and buffers by name; those that are not there are the module's own.
        inputs: of the module.
        training: in training mode, in which statistics among `tensors` are updated in place.
    """
    own = copy_of_thread(module)
    # its own as well: moving a module to another device replaces them
    every = {**dict(module.named_parameters()), **dict(module.named_buffers()), **tensors}
    with in_mode(training, own):
        return functional_call(own, every, (inputs,), tie_weights=False)  # type: ignore[no-any-return]


def copy_of_thread(module: nn.Module) -> nn.Module:
    """A copy of a module for this thread alone, made once; its parameters are those of the module itself."""
    copies = _OF_THREAD.copies
    if module not in copies:
        shared: dict[int, object] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
        copies[module] = copy.deepcopy(module, shared)
    return copies[module]
