"""What happens where an image cannot be read: an error, or it is skipped and listed."""

from __future__ import annotations

from typing import Literal, get_args

from hypertail.errors import ConfigError, DataError
from hypertail.streams.report import LeftOut

OnBadImage = Literal["error", "skip"]

LISTED = 1000
"""Skipped images that are listed by name; more are counted."""


class Unreadable:
    """Meets images that cannot be read.

    Args:
        policy: `error` to end with the first, `skip` to list them and go on. What the machine fails to read, for
            lack of memory or of a disk that answers, is always an error.

    Attributes:
        names: of those that were skipped.

    Raises:
        ConfigError: another policy.
    """

    def __init__(self, policy: OnBadImage = "error") -> None:
        if policy not in get_args(OnBadImage):
            raise ConfigError(
                "what to do with an image that cannot be read",
                required=" or ".join(get_args(OnBadImage)),
                found=str(policy)[:80],
                hint="Use --on-bad-image skip to go on without it.",
            )
        self.policy, self.names = policy, list[str]()

    def meet(self, error: DataError, name: str) -> None:
        """One more.

        Raises:
            DataError: `error`, where the policy is to end.
        """
        if self.policy == "error" or (isinstance(error.__cause__, OSError) and error.__cause__.errno is not None):
            raise error
        self.names.append(name)

    def left_out(self) -> tuple[LeftOut, ...]:
        """For a report."""
        if not self.names:
            return ()
        return (LeftOut("that cannot be read as images, skipped", len(self.names), tuple(self.names[:LISTED])),)
