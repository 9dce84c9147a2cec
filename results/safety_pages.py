"""The table of safety/README.md, made of the JSON files in safety/."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from page_parts import table

SAFETY = Path(__file__).resolve().parent / "safety"
CALLS = {
    "each-call-of-run.json": "a run",
    "each-call-of-resume.json": "the resume of a run",
    "each-call-of-banks.json": "bank commands, when it was found",
    "each-call-of-banks-again.json": "bank commands, after it was mended",
}
WAYS = ("ENOSPC once", "EIO once", "EROFS from there on", "SIGKILL", "SIGKILL in the middle of a write")


def trials() -> str:
    """Trials by way and what was wrong, then kills and damaged files."""
    body = []
    for name, what in CALLS.items():
        if not (SAFETY / name).is_file():
            continue
        found = json.loads((SAFETY / name).read_text(encoding="utf-8"))
        counts = Counter[str]()
        for key, count in found["tried"].items():
            counts[next(way for way in reversed(WAYS) if key.endswith(way))] += count
        body.append([what, *(f"{counts[way]:,}" if counts[way] else "" for way in WAYS), f"{len(found['wrong']):,}"])
    text = table(("calls that fail, one trial each", *WAYS, "wrong"), body)
    kills = json.loads((SAFETY / "random-kills.json").read_text(encoding="utf-8"))
    text += (
        f"\nKills at random moments: {kills['runs']['kills']:,} of runs ({kills['runs']['runs that ended']} runs of "
        f"{len(kills['strategies'])} strategies came to their end) and "
        f"{kills['banks']['kills']} of bank commands; wrong: "
        f"{len(kills['wrong'])}.\n"
    )
    if (SAFETY / "resume-of-presets.json").is_file():
        resumed = json.loads((SAFETY / "resume-of-presets.json").read_text(encoding="utf-8"))
        text += (
            f"\nStopped within an epoch of experience 1, 2, 3 and resumed: {sum(resumed['tried'].values()):,} stops of "
            f"{len(resumed['tried'])} pairs of preset and strategy; wrong: {len(resumed['wrong'])}.\n"
        )
    if (SAFETY / "fuzz.json").is_file():
        fuzz = json.loads((SAFETY / "fuzz.json").read_text(encoding="utf-8"))
        kinds = Counter[str]()
        for key, count in fuzz["tried"].items():
            kinds[key.rpartition(", ")[2]] += count
        told = ", ".join(f"{words} {count:,}" for words, count in sorted(kinds.items()))
        text += f"\nDamaged files: {fuzz['inputs']:,} ({told}); wrong: {len(fuzz['wrong'])}.\n"
    return text


BLOCKS = {"trials": trials}
