"""Every call that writes, in a run and in its resume, fails or kills the process: old or new, and the same bits after.

python results/safety/each_call_of_runs.py run|resume [--out OUT.json] [--ways WAY ...] [--stride N]
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path

from runs import NAME, begin, contents, resume, wrong_after_fault, wrong_in_the_end
from trials import arguments, preload, trial, with_faults, write


def main(half: str, out: str, ways: list[str], stride: int) -> None:
    """Try every call in every way."""
    library = with_faults()
    preload()
    started, folder = time.time(), Path(tempfile.mkdtemp())
    whole, stopped = folder / "whole", folder / "stopped"
    assert trial(begin(whole), whole).code == 0
    expected = contents(whole / NAME)
    # a run killed in the middle, which the second half of the trials resumes
    seconds, number = 1.0, 0
    while half == "resume" and not (stopped / NAME / "checkpoint.unfinished.safetensors").is_file():
        shutil.rmtree(stopped, ignore_errors=True)
        trial(begin(stopped), stopped, kill_after=seconds)
        seconds, number = seconds + 0.03, number + 1
        assert number < 200
    tried, wrong, calls = Counter[str](), list[str](), dict[str, Counter[str]]()
    for what, base, work in (("run", None, begin), ("resume", stopped, resume)):
        for way in ways if what == half else ():
            for at in itertools.count(1, stride):
                place = folder / "trial"
                shutil.rmtree(place, ignore_errors=True)
                if base is not None:
                    shutil.copytree(base, place)
                killed = "KILL" in way
                outcome = trial(work(place), place, at=at, way=way, library=library)
                where = f"{what}, {way}, call {at}"
                if outcome.code == 0 and outcome.calls < at:
                    calls.setdefault(what, Counter(outcome.names))
                    break
                faults = wrong_after_fault(outcome, place / NAME, killed=killed)
                after = trial(resume(place), place)
                faults += wrong_in_the_end(after, place / NAME, expected)
                wrong += [f"{where}: {fault}" for fault in faults]
                for fault in faults:
                    print(f"{where}: {fault}\n{outcome.text[-600:]}", flush=True)
                tried[f"{what}, {way}"] += 1
            write(out, {"tried": dict(tried), "wrong": wrong, "calls": calls, "seconds": round(time.time() - started)})
            print(what, way, tried[f"{what}, {way}"], f"{time.time() - started:.0f} s", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    given = arguments("each-call-of-runs.json", halves=("run", "resume"))
    main(given.half, given.out, given.ways, given.stride)
