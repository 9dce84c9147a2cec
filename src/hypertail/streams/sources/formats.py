"""The kinds of image file that the installed Pillow reads by itself."""

from __future__ import annotations

import functools

# Not pictures, or left to programs outside Pillow: Ghostscript (EPS, PDF), Windows (WMF), scientific libraries.
FOREIGN = frozenset("BUFR EPS GRIB HDF5 IPTC MPEG PALM PDF WMF".split())  # noqa: SIM905

COMMON = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP")


@functools.cache
def suffixes() -> frozenset[str]:
    """The endings of names (lower case, with the dot) of files that are taken for images."""
    from PIL import Image

    known = Image.registered_extensions()  # loads all of Pillow's readers
    # MPO, of some cameras, is opened as JPEG
    return frozenset(
        end for end, kind in known.items() if kind not in FOREIGN and (kind in Image.OPEN or kind == "MPO")
    )


@functools.cache
def readable() -> tuple[str, ...]:
    """Pillow's names of the formats that a file may have, whatever its name says, common ones first.

    A file is opened by its content: PostScript in a file called .jpg would start Ghostscript if it were not for this.
    """
    from PIL import Image

    Image.init()
    rest = sorted(set(Image.OPEN) - FOREIGN - set(COMMON))
    return (*(kind for kind in COMMON if kind in Image.OPEN), *rest)
