"""Encoded images in memory: the bytes of a file, or a file that is open."""

from __future__ import annotations

import io
from typing import Any

from hypertail.bank.images.held import crop_share
from hypertail.bank.preprocessing import Preprocessing
from hypertail.errors import DataError
from hypertail.streams.names import shown
from hypertail.streams.sources.decode import Decoded, decode


def is_encoded(image: object) -> bool:
    """Whether it holds the bytes of an image file: `bytes` and their like, or what is read like a file."""
    return isinstance(image, bytes | bytearray | memoryview) or callable(getattr(image, "read", None))


def of_encoded(image: Any, preprocessing: Preprocessing) -> Decoded:
    """The image, as that of a file with the same bytes. A file is read from where it stands, and left there, open.

    Raises:
        DataError: it is no readable image.
    """
    content = bytes(image) if isinstance(image, bytes | bytearray | memoryview) else _read(image)
    return decode(
        content,
        preprocessing.size,
        lambda: f"image of {len(content):,} bytes",
        "Give all bytes of an image file, or its path.",
        crop_share=crop_share(preprocessing),
    )


def _seekable(file: Any) -> bool:
    return bool(getattr(file, "seekable", lambda: False)()) and hasattr(file, "tell")


def _read(file: Any) -> bytes:
    name = getattr(file, "name", None)
    what = f"open file '{shown(name)}'" if isinstance(name, str) else "open file"
    if isinstance(file, io.TextIOBase):
        hint = "Open it with open(path, 'rb'), or give its path."
        raise DataError(what, required="a binary file", found="a text file", hint=hint)
    try:
        start = file.tell() if _seekable(file) else None
        content = file.read()
        if start is not None:  # images are read twice where the first folder also decides the model
            file.seek(start)
    except (OSError, ValueError) as cause:  # one that is closed, say
        found = shown(f"{type(cause).__name__}: {cause}")
        raise DataError(what, required="a file that can be read", found=found, hint="Give its path.") from cause
    if not isinstance(content, bytes | bytearray | memoryview):
        found = f"{type(content).__name__} read from it"
        raise DataError(what, required="a binary file", found=found, hint="Open it with open(path, 'rb').")
    if not content:
        hint = "Go back to its start: file.seek(0)."
        raise DataError(what, required="an image from where it stands", found="its end", hint=hint)
    return bytes(content)
