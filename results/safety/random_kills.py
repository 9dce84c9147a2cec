"""Kills at random moments: of short runs, resumed and killed again until they end, and of commands that change a bank.

python results/safety/random_kills.py [RUNS BANKS] [OUT.json]
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

import banks
import runs
from trials import preload, trial, write

STRATEGIES = ("hn-3", "hn-4", "lr-3", "adapter-3", "separate-3", "naive", "ewc", "joint", "lda-3", "head-3", "lwf-3")


def kills_of_runs(count: int, folder: Path, chance: random.Random) -> tuple[Counter[str], list[str]]:
    """Run, kill, resume, kill, ... until a run ends by itself, which is then held against one that was never killed."""
    done, wrong = Counter[str](), list[str]()
    expected, seconds = {}, {}
    for strategy in STRATEGIES:
        place, started = folder / strategy, time.time()
        outcome = trial(runs.begin(place, "--strategy", strategy), place)
        assert outcome.code == 0, outcome.text
        seconds[strategy] = time.time() - started
        expected[strategy] = runs.contents(next(place.glob("digits-*")))
    while done["kills"] < count:
        strategy, place = STRATEGIES[done["runs that ended"] % len(STRATEGIES)], folder / "trial"
        shutil.rmtree(place, ignore_errors=True)
        name = next((folder / strategy).glob("digits-*")).name
        for attempt in range(200):
            # at first early, later later, so that each comes to an end
            moment = chance.uniform(0, seconds[strategy] * (0.5 + 0.2 * attempt))
            begin = not (place / name / "config.json").is_file()
            work = runs.begin(place, "--strategy", strategy) if begin else partial(runs.resume_run, place / name)
            outcome = trial(work, place, kill_after=moment)
            if outcome.code == 0:
                break
            assert outcome.code == -9, outcome.text
            done["kills"] += 1
            faults = runs.wrong_after_fault(outcome, place / name, killed=True)
            wrong += [f"{strategy}, kill {attempt + 1} after {moment:.3f} s: {fault}" for fault in faults]
        last = trial(partial(runs.resume_run, place / name), place)
        faults = runs.wrong_in_the_end(last, place / name, expected[strategy])
        wrong += [f"{strategy}, after {attempt} kills: {fault}" for fault in faults]
        done["runs that ended"] += 1
        print(dict(done), strategy, attempt, wrong[-1:], flush=True)
    return done, wrong


def kills_of_banks(count: int, folder: Path, chance: random.Random) -> tuple[Counter[str], list[str]]:
    """A command is killed; the bank is as it was or as it should be, and the command can be given again."""
    done, wrong = Counter[str](), list[str]()
    made, place = folder / "made", folder / "bank"
    assert trial(partial(banks.make, made), made).code == 0
    old, new, seconds = {}, {}, {}
    for name, operation in banks.OPERATIONS.items():
        _fresh(place, None if name.startswith("create") else made)
        old[name], started = banks.state(place), time.time()
        assert trial(partial(operation, place), place).code == 0
        new[name], seconds[name] = banks.state(place), time.time() - started
    names = list(banks.OPERATIONS)
    while done["kills"] < count:
        name = names[done["kills"] % len(names)]
        _fresh(place, None if name.startswith("create") else made)
        moment, operation = chance.uniform(0, seconds[name]), banks.OPERATIONS[name]
        outcome = trial(partial(operation, place), place, kill_after=moment)
        if outcome.code == 0:
            continue  # it was quicker
        done["kills"] += 1
        faults = banks.wrong_after_fault(outcome, place, old[name], new[name], killed=True)
        done["found the new state"] += banks.state(place) == new[name]
        after = trial(banks.again(place, operation, old[name]), place)
        faults += banks.wrong_in_the_end(after, place, new[name])
        wrong += [f"{name}, killed after {moment:.3f} s: {fault}" for fault in faults]
        print(dict(done), name, wrong[-1:], flush=True)
    return done, wrong


def _fresh(place: Path, base: Path | None) -> None:
    shutil.rmtree(place, ignore_errors=True)
    if base is not None:
        shutil.copytree(base, place)


def main(count_of_runs: int, count_of_banks: int, out: str) -> None:
    """Kill so many."""
    preload()
    started, folder, chance = time.time(), Path(tempfile.mkdtemp()), random.Random(0)
    of_runs, wrong_runs = kills_of_runs(count_of_runs, folder, chance)
    of_banks, wrong_banks = kills_of_banks(count_of_banks, folder, chance)
    found = {"runs": dict(of_runs), "banks": dict(of_banks), "wrong": [*wrong_runs, *wrong_banks]}
    write(out, {**found, "strategies": STRATEGIES, "seconds": round(time.time() - started)})
    shutil.rmtree(folder)


if __name__ == "__main__":
    given = sys.argv[1:]
    main(int((given or ["1000"])[0]), int(given[1]) if len(given) > 1 else 200, (given[2:] or ["random-kills.json"])[0])
