"""Is there anything to see in a dataset's images?"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from hypertail.streams.stream import Examples

SAMPLE = 1000  # images looked at
DARK = 24  # of 255: nothing brighter can be made out
FLAT = 6  # levels between an image's darkest and brightest parts


def brightness_notices(parts: Sequence[Examples]) -> tuple[str, ...]:
    """A sentence where most images are nearly black, or nearly of one colour; else nothing.

    Looks at up to `SAMPLE` images spread over each part, and in each at all but its extreme 0.5 % of values, so that
    a stuck pixel does not hide a black image.
    """
    dark: list[bool] = []
    flat: list[bool] = []
    for part in parts:
        rows = torch.arange(0, len(part), max(1, len(part) // SAMPLE))
        values = part.images[rows].flatten(1)
        spare = values.shape[1] // 200
        ordered = values.sort(dim=1).values.to(torch.int16)
        low, high = ordered[:, spare], ordered[:, -1 - spare]
        dark += (high <= DARK).tolist()
        flat += (high - low <= FLAT).tolist()
    if not dark:
        return ()
    for found, what in ((dark, f"nearly black, with nothing above {DARK} of 255"), (flat, "nearly of one colour")):
        if 2 * sum(found) > len(found):
            return (f"{sum(found) / len(found):.0%} of the images looked at are {what}: check how they were written",)
    return ()
