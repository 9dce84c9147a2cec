"""Run the trials of a search in several processes that share one Optuna study through a file."""

from __future__ import annotations

import io
import multiprocessing
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path

from rich.console import Console

from hypertail.errors import HypertailError, TrainingError
from hypertail.lab.experiments.batch import Runner
from hypertail.lab.experiments.place import Place
from hypertail.lab.experiments.precisions import Precisions
from hypertail.lab.tuning.plan import Search
from hypertail.lab.tuning.running import TrialListener, TrialRunner

JOURNAL = "optuna.jsonl"
"""The study that processes share, beside the record; it is made anew from the run directories by every search."""


@dataclass(frozen=True)
class Work:
    """What every process is told.

    Attributes:
        search: what is searched.
        experiences: of the stream.
        out: folder of the record; the trials lie in `trials` below.
        place: where and how runs are executed.
        precisions: of earlier trials.
    """

    search: Search
    experiences: int
    out: Path
    place: Place
    precisions: Precisions | None


class _Lines(io.StringIO):
    """A file that sends each line to another process."""

    def __init__(self, sender: Connection) -> None:
        super().__init__()
        self._sender, self._rest = sender, ""

    def write(self, text: str) -> int:
        """Send the lines that are complete."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._sender.send(("line", line))
        return len(text)


def run_in_processes(work: Work, count: int, on_line: Callable[[str], None], on_trial: Callable[[], None]) -> None:
    """Run what the study in `JOURNAL` asks for in `count` processes.

    Args:
        work: what each is told.
        count: of processes.
        on_line: shows what they print.
        on_trial: told of every trial that is done.

    Raises:
        HypertailError: what ended one of them, after the others were stopped; or one was killed, after they finished.
    """
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    processes, receivers = [], []
    killed = []
    try:
        for number in range(count):
            receiver, sender = context.Pipe(duplex=False)
            process = context.Process(target=_work, args=(work, sender), name=f"tune-{number + 1}", daemon=True)
            process.start()
            sender.close()  # so that its end is seen
            processes.append(process)
            receivers.append(receiver)
        left = list(receivers)
        while left:
            heard = wait(left)
            for receiver in [one for one in left if one in heard]:
                try:
                    kind, *rest = receiver.recv()
                except (EOFError, OSError):
                    left.remove(receiver)
                    process = processes[receivers.index(receiver)]
                    process.join()
                    if process.exitcode:
                        killed.append(f"process {process.pid} ended with code {process.exitcode}")
                    continue
                if kind == "error":
                    problem, required, found, hint = rest
                    raise HypertailError(problem, required=required, found=found, hint=hint)
                if kind == "line":
                    on_line(rest[0])
                else:
                    on_trial()
    finally:
        for process in processes:
            if process.is_alive():
                process.terminate()
            process.join()
        for receiver in receivers:
            receiver.close()
    if killed:
        raise TrainingError(
            "processes of the search",
            required="each to run until no trial is left",
            found="; ".join(killed),
            hint="The same command goes on with the trials that they left.",
        )


def _work(work: Work, sender: Connection) -> None:
    """What a process does: ask, run, tell, until there is nothing left to ask for."""
    from hypertail.lab.tuning.search import AskAndTell

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it ends it
    console = Console(file=_Lines(sender), width=1000, color_system=None, force_terminal=False)
    listener = TrialListener(console, alone=False)
    with suppress(BrokenPipeError, KeyboardInterrupt):  # what was learned is saved
        try:
            study = AskAndTell(work.search, work.experiences, work.out / JOURNAL)
            runner = Runner(work.place, listener)
            trials = TrialRunner(work.search, work.experiences, work.out / "trials", runner, listener, work.precisions)
            with listener.stop.listening():
                while (proposal := study.ask()) is not None:
                    trials.run(study, proposal)
                    sender.send(("trial",))
        except HypertailError as error:
            sender.send(("error", error.problem, error.required, error.found, error.hint))
        finally:
            sender.close()
