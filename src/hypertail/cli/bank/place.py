"""Which bank, with which model, on which device: what all commands of a bank are told."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text
from torch import nn
from tyro.conf import arg

from hypertail.bank import Bank
from hypertail.bank.contents import Contents
from hypertail.bank.store import Store
from hypertail.environment import choose_device, use_threads
from hypertail.errors import ConfigError
from hypertail.lab.experiments.progress import RunProgress


@dataclass(frozen=True)
class BankPlace:
    """The bank and its model."""

    bank: Annotated[Path, arg(metavar="BANK")]
    """Directory of the bank."""
    model: Annotated[str | None, arg(metavar="MODULE:FUNCTION", help_behavior_hint="(default: kept in the bank)")] = (
        None
    )
    """A model of your own: a Python function without arguments that returns it, or its trunk and tail. It is run."""
    device: Annotated[str, arg(metavar="DEVICE")] = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N."""
    threads: Annotated[int, arg(metavar="N")] = 1
    """CPU threads; answers of different numbers differ in the last digits."""

    def modules(self) -> tuple[nn.Module | None, nn.Module | None]:
        """The model, and its tail where the function gave two parts.

        Raises:
            ConfigError: there is no such function, or it gives something else.
        """
        return (None, None) if self.model is None else modules_of(self.model)

    def settle(self) -> str:
        """Use the threads, and find the device."""
        use_threads(self.threads)
        return str(choose_device(self.device))

    def open(self, console: Console) -> Bank:
        """The bank, which must be there."""
        device = self.settle()
        model, tail = self.modules()
        bank = Bank.open(self.bank, model=model, tail=tail, device=device)
        return _noticed(bank, console)

    def open_without_model(self, console: Console) -> Bank:
        """The bank, for what needs no model: it is looked at only where it is given."""
        if self.model is not None:
            return self.open(console)
        return _noticed(Bank(Contents(Store.open(self.bank), self.settle())), console)


def _noticed(bank: Bank, console: Console) -> Bank:
    for notice in bank.notices:
        say(console, notice)
    return bank


def modules_of(text: str) -> tuple[nn.Module, nn.Module | None]:
    """What the function `MODULE:FUNCTION` returns: a module, or a trunk and a tail.

    Raises:
        ConfigError: it cannot be found or called, or returns something else.
    """
    name, _, function = text.partition(":")
    try:
        if os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())
        made: Any = getattr(importlib.import_module(name), function)()
    except Exception as error:  # whatever the user's code raises
        raise ConfigError(
            f"option --model {text}",
            required="MODULE:FUNCTION, a function without arguments in a module that Python finds from here",
            found=f"{type(error).__name__}: {error}",
            hint="Run the command in the folder of MODULE.py, or install the module.",
        ) from error
    parts = made if isinstance(made, tuple) else (made, None)
    if len(parts) != 2 or not isinstance(parts[0], nn.Module) or not isinstance(parts[1], nn.Module | None):
        raise ConfigError(
            f"option --model {text}",
            required="a function that returns a torch.nn.Module, or two: trunk and tail",
            found=type(made).__name__,
            hint="Return the model itself.",
        )
    return parts[0], parts[1]


@contextmanager
def progress_on(console: Console, title: str) -> Iterator[RunProgress]:
    """A bar with the time left."""
    with RunProgress(console) as progress:
        progress.start(title)
        yield progress


def say(console: Console, text: str) -> None:
    """Print a line as it is."""
    console.print(Text(text), soft_wrap=True)
