"""The methods by name, and the tail of a task made again from what was kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch

from hypertail.bank.backbone import Backbone
from hypertail.bank.methods.adapter import AdapterMethod
from hypertail.bank.methods.head import HeadMethod
from hypertail.bank.methods.hypernet import HypernetMethod
from hypertail.bank.methods.method import Method
from hypertail.bank.methods.separate import SeparateMethod
from hypertail.bank.record import TaskRecord
from hypertail.errors import CheckpointError, ConfigError, unknown_name
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.nets.compact import foldable, set_folded, unflatten
from hypertail.nets.task_head import TaskHead
from hypertail.nets.task_tail import TaskTail

METHODS: dict[str, type[Method]] = {
    method.name: method for method in (HeadMethod, AdapterMethod, HypernetMethod, SeparateMethod)
}
_OWN = ("hyper", "earlier")  # arguments that a bank gives, not its user
AUTO = "auto"
"""Not a method: tries several and keeps the cheapest that is good enough (`learning.choice`)."""


def method_names() -> dict[str, str]:
    """Name -> what it is, `auto` included."""
    words = {name: method.what for name, method in METHODS.items()}
    return words | {AUTO: "the cheapest of them whose held-out accuracy is within a tolerance of the best"}


def check_method(name: str, settings: Mapping[str, Any]) -> None:
    """Refuse a method, or options of it, that there are not.

    Raises:
        ConfigError: an unknown name or option, naming the nearest; a value of another kind; or options of `auto`, which
            takes none.
    """
    if name not in METHODS and name != AUTO:
        raise unknown_name("method of a bank", name, method_names())
    if name == AUTO and settings:
        raise ConfigError(
            "options of method 'auto'",
            required="none: it tries every method as it usually is",
            found=", ".join(settings),
            hint="Name the method that they belong to.",
        )
    parameters = {} if name == AUTO else signature(METHODS[name]).parameters
    known = {each: parameter for each, parameter in parameters.items() if each not in _OWN}
    for option, value in settings.items():
        if option not in known:
            raise unknown_name(f"option of method '{name}'", option, known)
        _check_value(name, option, value, known[option].annotation)


def _check_value(method: str, option: str, value: Any, kind: str) -> None:
    """Refuse a value that is not of the kind that the constructor of a method is annotated with."""
    if value is None and "None" in kind:
        return
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind.startswith("bool"):
        fits, required = isinstance(value, bool), "True or False"
    elif kind.startswith("int"):
        fits, required = number and isinstance(value, int) and value >= 0, "a whole number, 0 or more"
    else:
        fits, required = number and 0 < value < math.inf, "a number above 0"
    if not fits:
        raise ConfigError(
            f"option '{option}' of method '{method}'",
            required=required,
            found=repr(value)[:80],
            hint="Leave it out for the usual value.",
        )


def make_method(name: str, settings: Mapping[str, Any] | None = None, hyper: Hypernetwork | None = None) -> Method:
    """The method of that name.

    Args:
        name: one of `METHODS`.
        settings: arguments of its constructor other than the defaults.
        hyper: what the tasks of `hypernet` share; None to begin one.

    Raises:
        ConfigError: no such method; the message names the nearest.
    """
    if name not in METHODS:
        raise unknown_name("method of a bank", name, method_names())
    given = dict(settings or {})
    if name == HypernetMethod.name:
        given["hyper"] = hyper
    return METHODS[name](**given)


@torch.no_grad()
def tail_of(
    record: TaskRecord, backbone: Backbone, hyper: Hypernetwork | None = None, like: TaskTail | None = None
) -> TaskTail:
    """The tail of a task as it was learned.

    Args:
        record: of the task.
        backbone: of the bank.
        hyper: what tasks of method `hypernet` share.
        like: a tail of the same method and settings, whose parts are taken over; it is of no use afterwards.

    Raises:
        CheckpointError: tensors that are missing, foreign or of other shapes, or a hypernetwork that is missing.
    """
    if record.shares and hyper is None:
        raise _unfit(record, "the hypernetwork that its tasks share", "none")
    if like is None:
        method = make_method(record.method, record.settings, hyper)
        tail = method.begin(backbone, len(record.classes), torch.Generator())
    else:
        tail, begun = like, dict(backbone.body.named_buffers())
        for name, value in tail.statistics.items():
            value.copy_(begun[name])
    tail.head = TaskHead(backbone.width, record.blocks).to(next(tail.head.parameters()))
    for part, module, flat in (("weights", tail.weights, record.weights), ("head", tail.head, record.head)):
        try:
            unflatten(flat, module)
        except ValueError as error:
            raise _unfit(record, f"the numbers of its {part}", str(error)) from error
    for layer in foldable(backbone.body, tail.weights.stored()):
        set_folded(layer, tail.statistics)
    for name, value in record.statistics.items():
        if name not in tail.statistics or tail.statistics[name].shape != value.shape:
            raise _unfit(record, "statistics of the model's own layers", f"'{name}' of shape {tuple(value.shape)}")
        tail.statistics[name].copy_(value)
    return tail.requires_grad_(False)


def _unfit(record: TaskRecord, required: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"task '{record.name}'",
        required=required,
        found=found,
        hint="Check the bank (hypertail verify --bank BANK), and that the model is the one it was made with.",
    )
