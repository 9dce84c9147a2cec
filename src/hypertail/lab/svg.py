"""Figures as `<svg>` elements of a page: in the colours of its theme, with ids of their own, and harmless."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from hypertail.errors import DataError
from hypertail.lab import figures
from hypertail.lab.drawing import INK, RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What matplotlib writes; anything else in a file that someone gave does not get into a page.
_TAGS = {"svg", "g", "defs", "path", "rect", "circle", "use", "image", "text", "tspan", "clipPath"}
_TAGS |= {"linearGradient", "radialGradient", "stop", "line", "polygon", "polyline", "pattern"}


def inline_svg(figure: Figure, prefix: str, description: str) -> str:
    """The figure as an `<svg>` element for HTML: themed, scalable, its ids made unique by `prefix`."""
    return themed(figures.to_svg(figure), prefix, description)


def themed(svg: str, prefix: str, description: str) -> str:
    """The text of an SVG file that `figures.to_svg` wrote, as an element for HTML.

    Raises:
        DataError: it holds what no such file does: scripts, say, or links to other places.
    """
    from markupsafe import escape

    if "<svg" not in svg:
        raise _foreign("no picture")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<g id=\"[^\"]*\"/>", "", svg, flags=re.DOTALL)
    # Only inside tags: a name that someone gave is shown as it is.
    svg = re.sub(r"<[^>]+>", lambda tag: _tag(tag.group(), prefix), svg)
    end = svg.index(">")
    head = re.sub(r"\s(width|height|version)=\"[^\"]*\"", "", svg[:end])
    return f'{head} role="img" aria-label="{escape(description)}"{svg[end:]}'


def _tag(tag: str, prefix: str) -> str:
    """One tag of a figure, with the colours of the page's theme, its font, and two decimals."""
    name = re.match(r"</?([A-Za-z]*)", tag)
    links = re.findall(r"href\s*=\s*[\"']?([^\"'>\s]*)", tag)
    bare = re.sub(r"data:image/png;base64,[A-Za-z0-9+/=\s]*", "", tag)
    if name is None or name.group(1) not in _TAGS or re.search(r"[\s\"'/]on\w+\s*=", bare):
        raise _foreign(f"{tag[:60]}")
    if any(not link.startswith(("#", "data:image/png;base64,")) for link in links):
        raise _foreign(f"a link to {links[0][:60]}")
    for pattern, replacement in (
        (r"\sxmlns(:\w+)?=\"[^\"]*\"", ""),
        (r"\sid=\"", rf"\g<0>{prefix}-"),
        (r"(url\(|href=\")#", rf"\g<1>#{prefix}-"),
        (r"font-family: [^;\"]+", "font-family: inherit"),
        (r"\stransform=\"rotate\(-0 [^)]*\)\"", ""),
        (r"(\d\.\d\d)\d+", r"\1"),
        (INK, "currentColor"),
        (RULE, "var(--rule)"),
    ):
        tag = re.sub(pattern, replacement, tag)
    return tag


def _foreign(found: str) -> DataError:
    return DataError(
        "picture for the report",
        required="an SVG that hypertail drew",
        found=found,
        mend="Draw it again with hypertail reproduce.",
    )
