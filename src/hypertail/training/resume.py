"""Whether a run may go on from a checkpoint: what the checkpoint says of the run that wrote it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from hypertail.errors import CheckpointError
from hypertail.streams import Experience, Stream
from hypertail.streams.digest import experiences_digest

_BEFORE: Mapping[str, Any] = {"precision": "full"}
"""Fact -> what was so before it was recorded. Others that a checkpoint lacks are not compared."""

_WORDS = {
    "batch_size": "batches of",
    "first_epochs": "epochs of the first experience",
    "precision_of_features": "precision of the features",
}

_DIGESTS: WeakKeyDictionary[Experience, str] = WeakKeyDictionary()
# experiences cannot be changed; the strategies of one comparison share them


def digest_of(experience: Experience) -> str:
    """A digest of images, labels and class names of an experience in all splits, counted once."""
    if experience not in _DIGESTS:
        _DIGESTS[experience] = experiences_digest((experience,))
    return _DIGESTS[experience]


def facts_of(stream: Stream) -> dict[str, Any]:
    """What a checkpoint records of the stream."""
    contents = [
        {
            "name": experience.name,
            "classes": len(experience.classes),
            "digest": digest_of(experience),
            "transforms": [_told(experience.train_transform), _told(experience.test_transform)],
        }
        for experience in stream
    ]
    return {"stream": stream.name, "experiences": len(stream), "contents": contents}


def _told(transform: object) -> str | None:
    """A transform in words, where those say all of it: a function tells no more than its address."""
    words = repr(transform)
    return words if is_dataclass(transform) and " at 0x" not in words else None


def check_same_run(path: Path, facts: Mapping[str, Any], own: Mapping[str, Any], *, may_grow: bool) -> None:
    """Find out whether a run may go on from a checkpoint.

    The stream may have more experiences than it had, behind those that it had. Of a checkpoint of an older version,
    which lacks some facts, the others are compared.

    Args:
        path: of the checkpoint.
        facts: in the checkpoint.
        own: of the run that is to go on, with those of `facts_of`.
        may_grow: False where the strategy learns all experiences at once.

    Raises:
        CheckpointError: it may not; the error names the difference.
    """
    known = {**_BEFORE, "precision_of_features": facts.get("precision", "full"), **facts}
    before, now = known.get("contents"), own["contents"]
    # names do not count where the data itself can be compared
    compared = [name for name in own if name not in ("stream", "experiences", "contents")]
    for name in compared if before is not None else ("stream", "experiences", *compared):
        if name in known and known[name] != own[name]:
            word = _WORDS.get(name, name)
            raise _another(path, f"{word} {known[name]}", f"{own[name]}")
    if before is None:
        return
    for task, old in enumerate(before):
        if task >= len(now):
            raise _another(path, f"{len(before)} experiences", f"{len(now)}")
        if old["classes"] != now[task]["classes"]:
            raise _another(path, f"{old['classes']} classes in experience {task + 1}", f"{now[task]['classes']}")
        if old["digest"] != now[task]["digest"]:
            raise _another(path, f"the images and labels that it had in experience {task + 1}", "others")
        for was, told in zip(old.get("transforms", ()), now[task]["transforms"], strict=False):
            if None not in (was, told) and was != told:
                raise _another(path, f"the transform {was} in experience {task + 1}", told)
    if len(now) > len(before) and not may_grow:
        raise _another(path, f"{len(before)} experiences, which are learned all at once", f"{len(now)}")


def enlarged(accuracy: Tensor, tasks: int) -> Tensor:
    """The accuracy matrix with room for `tasks` experiences, NaN where nothing was measured."""
    larger = torch.full((tasks, tasks), torch.nan, dtype=accuracy.dtype)
    larger[: len(accuracy), : len(accuracy)] = accuracy
    return larger


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Within it, a strategy that cannot take what a checkpoint holds ends in one clear error.

    Raises:
        CheckpointError: it cannot.
    """
    try:
        yield
    except (RuntimeError, KeyError) as error:
        if isinstance(error, RuntimeError) and "state_dict" not in str(error):
            raise  # out of memory, say
        raise CheckpointError(
            f"checkpoint {path}",
            required="the state of a strategy that was built like this one",
            found=f"another ({' '.join(str(error).split())[:200]})",
            hint="Build the strategy with the same arguments, or start again elsewhere.",
        ) from error


def _another(path: Path, required: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"checkpoint {path} belongs to another run",
        required=required,
        found=found,
        hint="Resume with the same stream, strategy and options, or start again elsewhere.",
    )
