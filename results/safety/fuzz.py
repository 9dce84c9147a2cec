"""Damaged files of every kind: never a traceback, never another content accepted, never a changed original.

python results/safety/fuzz.py [COUNT [OUT.json]]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from damage import Files
from trials import preload, write


def main(count: int, out: str) -> None:
    """Try so many."""
    preload()
    started, chance = time.time(), random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(folder))
        names, tried, wrong = list(files.readers), Counter[str](), list[str]()
        for number in range(count):
            name = names[number % len(names)]
            way, outcome = files.try_one(name, chance)
            tried[f"{name}, {outcome if not outcome.startswith('WRONG') else 'wrong'}"] += 1
            if outcome.startswith("WRONG"):
                wrong.append(f"{name}, {way}: {outcome}")
                print(wrong[-1], flush=True)
    kept = {name: tried[name] for name in sorted(tried)}
    write(out, {"inputs": count, "tried": kept, "wrong": wrong, "seconds": round(time.time() - started)})


if __name__ == "__main__":
    main(int((sys.argv[1:] or ["10000"])[0]), (sys.argv[2:] or ["fuzz.json"])[0])
