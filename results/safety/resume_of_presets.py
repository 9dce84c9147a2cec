"""Every strategy and preset, stopped in the middle of an epoch of experience 1, 2 and 3 and resumed: the same bits.

python results/safety/resume_of_presets.py [OUT.json]

A stop saves what a kill leaves: the state within the epoch, written before the process ends.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from runs import contents
from trials import HERE, write

from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.experiments.listener import Listener
from hypertail.lab.experiments.place import Place
from hypertail.lab.experiments.run import execute
from hypertail.recipes.presets import PRESETS
from hypertail.streams import Stream
from support.runs import few_digits
from support.tiny import StopAfter

STRATEGIES = (
    *("naive", "ewc", "joint", "lwf-3", "lwf-f", "lr-3", "lr-f", "separate-3", "adapter-3", "head-4", "lda-4"),
    *("hn-1", "hn-2", "hn-3", "hn-4", "hn-f"),
)
PLACE = Place(threads=1)
OPTIONS = {"trunk_epochs": 2, "views": 2, "reference_steps": 4}


@lru_cache
def three_experiences() -> Stream:
    """Three batches an epoch in each."""
    return few_digits(3, 18)


class Counting(StopAfter):
    """Never stops; counts how often it was asked."""

    def __init__(self) -> None:
        super().__init__(10**9)

    @property
    def asked(self) -> int:
        """Times."""
        return 10**9 - self.left


def run(config: RunConfig, directory: Path, trunks: Path, stop: StopAfter) -> None:
    """Run, or go on."""
    listener = Listener()
    listener.stop = stop
    execute(config, directory, PLACE, existing="reuse", trunks=trunks, stream=three_experiences, listener=listener)


def tried(config: RunConfig, folder: Path, trunks: Path) -> dict[int, list[str]]:
    """The stop after which step -> what was not as in the run that nothing befell."""
    run(config, folder / "first", trunks, Counting())  # the trunk is there from now on
    counting = Counting()
    run(config, folder / "whole", trunks, counting)
    expected: dict[str, Any] = contents(folder / "whole")
    wrong = {}
    # three batches an epoch, two epochs, and a question after each experience: none of these steps ends an epoch
    for steps in (1, counting.asked // 2 + 1, counting.asked - 2):
        directory = folder / f"stopped-{steps}"
        try:
            run(config, directory, trunks, StopAfter(steps))
            wrong[steps] = ["was not stopped"]
        except KeyboardInterrupt:
            kept = [path.name for path in directory.iterdir() if ".unfinished." in path.name]
            run(config, directory, trunks, Counting())
            found = contents(directory)
            wrong[steps] = [f"another {name}" for name in expected if found.get(name) != expected[name]]
            wrong[steps] += [] if kept else ["stopped at the end of an epoch"]
    return wrong


def main(out: str) -> None:
    """All of them."""
    started, count, wrong = time.time(), Counter[str](), list[str]()
    trunks = Path(tempfile.mkdtemp())
    for preset in PRESETS:
        for strategy in STRATEGIES:
            base = RunConfig("digits", "naive", preset=preset, epochs=2, batch_size=6)
            (config,) = expand([strategy], [], [0], base, OPTIONS)
            with tempfile.TemporaryDirectory() as folder:
                for steps, faults in tried(config, Path(folder), trunks).items():
                    count[f"{preset}, {strategy}"] += 1
                    wrong += [f"{preset}, {strategy}, stopped after {steps}: {fault}" for fault in faults]
            print(preset, strategy, count[f"{preset}, {strategy}"], len(wrong), flush=True)
            write(out, {"tried": dict(count), "wrong": wrong, "seconds": round(time.time() - started)})
    shutil.rmtree(trunks)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else str(HERE / "resume-of-presets.json"))
