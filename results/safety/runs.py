"""A short run, what is right of it, and what is left of it after a fault."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from trials import Outcome

OPTIONS = ("digits", "--experiences", "2", "--image-size", "8", "--epochs", "1")
OPTIONS += ("--images-per-class", "10", "--speed", "full", "--checkpoint-every", "0.02s")
NAME = "digits-hn-3-tuned-e1-seed0"
_OF_TIME = ("seconds", "started", "command", "hardware", "digest")


def begin(out: Path, *strategy: str) -> Callable[[], None]:
    """The command that begins the run."""

    def work() -> None:
        from hypertail.cli import main

        chosen = strategy or ("--strategy", "hn-3")
        first = () if "joint" in chosen else ("--trunk-epochs", "1")  # which learns everything at once
        main(["run", *OPTIONS, *chosen, *first, "--out", str(out)])

    return work


def resume(out: Path) -> Callable[[], None]:
    """What a user does next: resume what is there, or begin again where nothing is."""

    def work() -> None:
        if (out / NAME / "config.json").is_file():
            resume_run(out / NAME)
        else:
            begin(out)()

    return work


def resume_run(directory: Path) -> None:
    """`hypertail resume` of a run directory."""
    from hypertail.cli import main

    main(["resume", str(directory)])


def wrong_after_fault(outcome: Outcome, directory: Path, *, killed: bool) -> list[str]:
    """What should not be, once a call failed or the process was killed: files that are neither old nor new."""
    from hypertail.errors import HypertailError
    from hypertail.storage.checkpoint import load_checkpoint

    wrong = []
    if not killed:
        wrong += [f"ended with {outcome.code}"] if outcome.code not in (0, 1) else []
        wrong += ["a traceback"] if "Traceback" in outcome.text else []
        wrong += ["no error told"] if outcome.code == 1 and "error: " not in outcome.text else []
    for path in directory.parent.rglob("*") if directory.parent.exists() else ():
        try:
            if path.suffix == ".safetensors":
                load_checkpoint(path)
            elif path.suffix == ".json":
                json.loads(path.read_text())
        except (HypertailError, ValueError) as error:
            wrong.append(f"{path.name}: {error}")
    return wrong


def wrong_in_the_end(outcome: Outcome, directory: Path, expected: dict[str, Any]) -> list[str]:
    """What should not be, once it was resumed: other bits than those of the run that nothing befell."""
    if outcome.code != 0:
        return [f"resume ended with {outcome.code}: {outcome.text[-300:]}"]
    found = contents(directory)
    wrong = [f"another {name}" for name in expected if found.get(name) != expected[name]]
    return wrong + [f"left over: {path.name}" for path in directory.parent.rglob(".*")]


def contents(directory: Path) -> dict[str, Any]:
    """Everything of a finished run that does not tell of time: results, and digests of all tensors."""
    import torch

    from hypertail.storage.checkpoint import load_checkpoint

    run = json.loads((directory / "run.json").read_text())
    found: dict[str, Any] = {"results": {name: run[name] for name in sorted(run) if not name.startswith(_OF_TIME)}}
    for path in sorted(directory.glob("*.safetensors")):
        tensors, _ = load_checkpoint(path)
        found[path.name] = {
            key: value.reshape(-1).view(torch.uint8).numpy().tobytes().hex() for key, value in sorted(tensors.items())
        }
    found["files"] = sorted(path.name for path in directory.iterdir())
    return found
