"""Every call that writes, in each command that changes a bank, fails or kills the process: old or new, and usable.

python results/safety/each_call_of_banks.py [--out OUT.json] [--ways WAY ...] [--stride N]
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

from banks import OPERATIONS, again, make, state, wrong_after_fault, wrong_in_the_end
from trials import arguments, preload, trial, with_faults, write


def main(out: str, ways: list[str], stride: int) -> None:
    """Try every call in every way."""
    library = with_faults()
    preload()
    started, folder = time.time(), Path(tempfile.mkdtemp())
    made, place = folder / "made", folder / "trial"
    assert trial(partial(make, made), made).code == 0
    tried, wrong, calls = Counter[str](), list[str](), dict[str, Counter[str]]()
    for name, operation in OPERATIONS.items():
        base = None if name.startswith("create") else made
        fresh(place, base)
        old = state(place)
        clean = trial(partial(operation, place), place, library=library)
        assert clean.code == 0, clean.text
        new, calls[name] = state(place), Counter(clean.names)
        for way in ways:
            for at in itertools.count(1, stride):
                fresh(place, base)
                outcome = trial(partial(operation, place), place, at=at, way=way, library=library)
                if outcome.code == 0 and outcome.calls < at:
                    break
                faults = wrong_after_fault(outcome, place, old, new, killed="KILL" in way)
                faults += wrong_in_the_end(trial(again(place, operation, old), place), place, new)
                for fault in faults:
                    wrong.append(f"{name}, {way}, call {at}: {fault}")
                    print(f"{wrong[-1]}\n{outcome.text[-800:]}", flush=True)
                tried[f"{name}, {way}"] += 1
            print(name, way, tried[f"{name}, {way}"], f"{time.time() - started:.0f} s", flush=True)
    write(out, {"tried": dict(tried), "wrong": wrong, "calls": calls, "seconds": round(time.time() - started)})
    shutil.rmtree(folder)


def fresh(place: Path, base: Path | None) -> None:
    """The bank as it was before the command."""
    shutil.rmtree(place, ignore_errors=True)
    if base is not None:
        shutil.copytree(base, place)


if __name__ == "__main__":
    given = arguments("each-call-of-banks.json")
    main(given.out, given.ways, given.stride)
