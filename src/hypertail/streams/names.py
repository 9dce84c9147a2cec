"""Names of files and folders as text that can be printed, compared and written to JSON."""

from __future__ import annotations

import unicodedata
from pathlib import Path

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})


def printable(name: str) -> str:
    r"""The name, composed (NFC), with `\xNN` for bytes that are not UTF-8 and escapes for control characters.

    An archive from another system may hold names in another encoding; which one cannot be known, so that nothing
    is guessed. A Mac spells accented letters in two characters, other systems in one: both give one name here.

    Example:
        >>> printable("caf\udce9")
        'caf\\xe9'
    """
    composed = unicodedata.normalize("NFC", name)
    return "".join(_escaped(letter) if unicodedata.category(letter) in _UNPRINTABLE else letter for letter in composed)


def shown(path: str | Path) -> str:
    """A path as messages and reports show it: as it is, but for what cannot be printed."""
    text = str(path)
    return (
        text
        if text.isprintable()
        else "".join(_escaped(letter) if unicodedata.category(letter) in _UNPRINTABLE else letter for letter in text)
    )


def _escaped(letter: str) -> str:
    code = ord(letter)
    if 0xDC80 <= code <= 0xDCFF:  # how Python carries a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
