"""The command line `hypertail`: a file per command, listed in `COMMANDS`."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
import sys
from collections.abc import Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, NoReturn

import tyro
from rich.console import Console
from rich.text import Text

from hypertail.cli import bench, cache, compare, info, quickstart, report, reproduce, resume, run, tune
from hypertail.cli.bank import (
    certify,
    consolidate,
    export,
    extend,
    forget,
    learn,
    log,
    predict,
    rename,
    rollback,
    tasks,
    verify,
)
from hypertail.cli.command import Command
from hypertail.cli.memory import is_out_of_memory, out_of_memory
from hypertail.cli.options import option_in
from hypertail.environment import own_version
from hypertail.errors import ConfigError, HypertailError
from hypertail.training.stop import Stop


def _unchanged(given: Sequence[str]) -> str:
    return "stopped; the bank is as it was"


COMMANDS: Mapping[str, Command[Any]] = {
    "run": Command(run.Run, run.execute, run.options, run.stopped),
    "resume": Command(resume.Resume, resume.execute, stopped=resume.stopped),
    "info": Command(info.Info, info.execute),
    "report": Command(report.Report, report.execute),
    "compare": Command(compare.Compare, compare.execute),
    "quickstart": Command(quickstart.Quickstart, quickstart.execute),
    "bench": Command(bench.Bench, bench.execute),
    "cache": Command(cache.Cache, cache.execute),
    "reproduce": Command(reproduce.Reproduce, reproduce.execute, stopped=reproduce.stopped),
    "tune": Command(tune.Tune, tune.execute, tune.options, tune.stopped),
    "learn": Command(learn.Learn, learn.execute, stopped=_unchanged),
    "predict": Command(predict.Predict, predict.execute),
    "extend": Command(extend.Extend, extend.execute, stopped=_unchanged),
    "tasks": Command(tasks.Tasks, tasks.execute),
    "certify": Command(certify.Certify, certify.execute, failure=2),
    "verify": Command(verify.Verify, verify.execute),
    "log": Command(log.Log, log.execute),
    "rollback": Command(rollback.Rollback, rollback.execute),
    "rename": Command(rename.Rename, rename.execute),
    "forget": Command(forget.Forget, forget.execute),
    "export": Command(export.Export, export.execute),
    "consolidate": Command(consolidate.Consolidate, consolidate.execute, stopped=_unchanged),
}
"""Name -> what it is. A new command is a file beside this one and a line here."""

DESCRIPTION = f"Continual learning with partial hypernetworks (hypertail {own_version()})."

_RENAMED = {"--residual-rank": "--adapter-rank"}
"""Option in earlier versions -> option of today."""

CONFIG = (tyro.conf.HelptextFromCommentsOff,)


def parse(args: Sequence[str]) -> Any:
    """The options of the command that `args` spell, an instance of its dataclass; leaves with a message if they do not.

    Raises:
        ConfigError: an unknown preset or strategy, an option of another strategy, or an option given twice.
    """
    args = [_renamed(text) for text in args]
    _refuse_repeated(args)
    kinds: list[Any] = []
    for name, command in COMMANDS.items():
        options = command.options if command.extended is None or args[:1] != [name] else command.extended(args)
        kinds.append(Annotated[options, tyro.conf.subcommand(name)])
    return tyro.cli(reduce(or_, kinds), args=list(args), prog="hypertail", description=DESCRIPTION, config=CONFIG)


def _renamed(text: str) -> str:
    name, equals, value = text.partition("=")
    return _RENAMED.get(option_in(text), name) + equals + value


def _refuse_repeated(args: Sequence[str]) -> None:
    # the parser would take the last one and forget the others
    spellings: dict[str, list[str]] = {}
    for text in args:
        if option := option_in(text):
            spellings.setdefault(option, []).append(text.partition("=")[0])
    for given in spellings.values():
        if len(set(given)) > 1:
            raise ConfigError(
                f"options {' and '.join(dict.fromkeys(given))}",
                required="one of them, or none",
                found="both",
                hint="Leave one of them out.",
            )
        if len(given) > 1:
            raise ConfigError(
                f"option {given[0]}",
                required="each option once",
                found=f"it is given {len(given)} times",
                hint=f"Give it once; an option for several values takes them together, as in {given[0]} A B.",
            )


def main(args: Sequence[str] | None = None) -> None:
    """The command `hypertail`; errors that users can mend are printed in one line, without a traceback."""
    given = list(sys.argv[1:] if args is None else args)
    if given == ["--version"]:
        print(f"hypertail {own_version()}")
        return
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="surrogateescape")  # names of files that are not UTF-8 are printed as they are
    console, complaints = Console(), Console(stderr=True)
    line = shlex.join(["hypertail", *given])
    options: Any = None
    status = max([1, *(command.failure for name, command in COMMANDS.items() if given[:1] == [name])])
    try:
        options = parse(given)
        (command,) = (command for command in COMMANDS.values() if isinstance(options, command.options))
        with Stop().listening():
            command.execute(options, console, line)
    except BrokenPipeError:
        # the reader (say `head`) closed the pipe: exit quietly
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(status)
    except HypertailError as error:
        _complain(complaints, error, status)
    except (OSError, MemoryError, RuntimeError, ImportError, SystemError) as error:
        if is_out_of_memory(error):
            error.__traceback__ = None  # which keeps what was in memory
            _complain(complaints, out_of_memory(error, options), status)
        if not isinstance(error, OSError):
            raise
        _complain(complaints, error, status)
    except KeyboardInterrupt as interrupt:
        known = [command.stopped(given) for name, command in COMMANDS.items() if given[:1] == [name]]
        complaints.print(Text(known[0] if known else "stopped"), soft_wrap=True)
        # as shells say that a signal ended a program
        sys.exit(128 + int(next(iter(interrupt.args), signal.SIGINT)))


def _complain(complaints: Console, error: Exception, status: int) -> NoReturn:
    # one line, also where a cause has several; names from a file may hold characters that command a terminal
    words = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(error))
    # Text: what users typed may hold square brackets, which are no markup
    complaints.print(Text.assemble(("error: ", "bold red"), words), soft_wrap=True)
    sys.exit(status)
