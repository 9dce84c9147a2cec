"""Read a file of a bank, and tell one that is lost from one that cannot be read just then."""

from __future__ import annotations

from pathlib import Path

from hypertail.errors import CheckpointError


class DamagedError(CheckpointError):
    """A file of a bank that is missing or damaged: another generation may be whole."""


def content_of(place: Path) -> bytes:
    """All bytes of a file.

    Raises:
        DamagedError: it is missing, or no file of the bank's own.
        CheckpointError: it is there and cannot be read, which may pass.
    """
    try:
        if place.is_symlink():
            raise damaged(place, "a link")
        return place.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise damaged(place, error.strerror or str(error)) from error
    except OSError as error:
        raise CheckpointError(
            f"cannot read file {place} of the bank",
            required="a disk that can be read, and leave to read there",
            found=error.strerror or str(error),
            hint="Try again: nothing was changed. If it stays so, copy the bank without this file and open the copy.",
        ) from error


def damaged(place: Path, found: str) -> DamagedError:
    """The error for a file that is not as it was written."""
    return DamagedError(
        f"file {place} of the bank",
        required="the bytes that were written",
        found=found,
        hint="hypertail verify --bank BANK says what still works; hypertail rollback goes to an earlier generation.",
    )


def check_no_link(place: Path) -> None:
    """Refuse a part of a bank that leads elsewhere: what is written to it would change the files of others.

    Raises:
        CheckpointError: it is a link.
    """
    if place.is_symlink():
        raise CheckpointError(
            f"bank '{place.parent}'",
            required="files and folders of its own",
            found=f"a link, {place.name}",
            hint="Copy what the link leads to in its place.",
        )
