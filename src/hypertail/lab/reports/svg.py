"""Figures as `<svg>` elements of a page: in the colours of its theme, with ids of their own, and harmless."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, NoReturn
from xml.etree.ElementTree import ParseError, XMLParser

from hypertail.errors import DataError
from hypertail.lab.reports import figures
from hypertail.lab.reports.drawing import INK, RULE

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What matplotlib writes; anything else in a file that someone gave does not get into a page.
_SHAPES = _words("path rect circle ellipse line polygon polyline")
_TEXTS = _words("text tspan")
_ELEMENTS = _SHAPES | _TEXTS | _words("svg g defs use image clipPath pattern linearGradient radialGradient stop")
_DROPPED = _words("metadata style")
_PRESENTATION = _words(
    "fill fill-opacity fill-rule stroke stroke-width stroke-opacity stroke-linecap stroke-linejoin stroke-miterlimit "
    "stroke-dasharray stroke-dashoffset opacity font font-size font-family font-weight font-style font-stretch "
    "font-variant text-anchor dominant-baseline letter-spacing clip-path clip-rule stop-color stop-opacity "
    "image-rendering visibility vector-effect"
)
_ATTRIBUTES = _PRESENTATION | _words(
    "id style transform d points x y x1 y1 x2 y2 cx cy r rx ry fx fy dx dy rotate width height viewBox "
    "preserveAspectRatio offset clipPathUnits gradientUnits gradientTransform patternUnits patternTransform "
    "patternContentUnits textLength lengthAdjust href version"
)
_SVG, _XLINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}"
_MAX_DEPTH = 64

_VALUE = re.compile(r"[\w\s.,;%#'\"+\-()]*", re.ASCII)
_FUNCTION = re.compile(r"([\w-]*)\s*\(")
_FUNCTIONS = _words("rgb rgba translate scale rotate matrix skewX skewY")
_LOCAL = re.compile(r"url\(#([\w.:-]+)\)", re.ASCII)
_ID = re.compile(r"[\w.:-]+", re.ASCII)
_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/=\s]*", re.ASCII)
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def inline_svg(figure: Figure, prefix: str, description: str) -> str:
    """The figure as an `<svg>` element for HTML: themed, scalable, its ids made unique by `prefix`."""
    return themed(figures.to_svg(figure), prefix, description)


def themed(svg: str, prefix: str, description: str) -> str:
    """The text of an SVG file that `figures.to_svg` wrote, as an element for HTML.

    It is parsed and written anew from a list of elements and attributes that such files have.

    Raises:
        DataError: it holds what no such file does: scripts, say, or links to other places.
    """
    if "<svg" not in svg:
        _refuse("no picture")
    page = _Page(re.sub(r"[^A-Za-z0-9_-]", "-", prefix), description)
    parser = XMLParser(target=page)
    try:
        # what comes before the picture, a document type among it, is never parsed: there are no entities to expand
        parser.feed(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", svg[svg.index("<svg") :]))
        return str(parser.close())
    except ParseError as error:
        raise _foreign(f"text that is not well-formed XML ({error})") from error


class _Page:
    """Writes the elements of a picture, as the parser finds them, into a text for a page."""

    def __init__(self, prefix: str, description: str) -> None:
        self.prefix, self.description = prefix, description
        self.written: list[str] = []
        self.open: list[str] = []
        self.skipped = 0  # elements open within one that is left out
        self.begun = False  # the last tag still lacks its end: ">" or "/>"
        self.shapes: set[str] = set()
        self.used: set[str] = set()

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        _refuse("a document type within the picture")

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        name = tag.removeprefix(_SVG)
        if self.skipped or (name in _DROPPED and self.open):
            self.skipped += 1
            return
        if name not in _ELEMENTS or (name == "svg") is bool(self.open):
            _refuse(f"an element '{name[:60]}'")
        if len(self.open) >= _MAX_DEPTH:
            _refuse(f"elements more than {_MAX_DEPTH} deep")
        shown = {key: value for key, value in attributes.items() if (name, key) not in _LEFT_OUT}
        texts = [f'{key.removeprefix(_XLINK)}="{escape(self._value(name, key, shown[key]))}"' for key in shown]
        if name == "svg":
            texts += ['role="img"', f'aria-label="{escape(self.description)}"']
        self._end_tag()
        self.written.append(" ".join([f"<{name}", *(text for text in texts if text != 'transform=""')]))
        self.open.append(name)
        self.begun = True

    def end(self, tag: str) -> None:
        if self.skipped:
            self.skipped -= 1
            return
        name = self.open.pop()
        if self.begun and re.fullmatch(r'<g( id="[^"]*")?|<defs', self.written[-1]):
            self.written.pop()  # an empty group
        else:
            self.written.append("/>" if self.begun else f"</{name}>")
        self.begun = False

    def data(self, text: str) -> None:
        if not self.skipped and self.open and self.open[-1] in _TEXTS:
            self._end_tag()
            self.written.append(escape(text, quote=False))

    def close(self) -> str:
        # only shapes: what uses what uses what could keep a browser busy for ever
        if self.used - self.shapes:
            _refuse("an element 'use' of something that is no shape")
        return "".join(self.written)

    def _end_tag(self) -> None:
        if self.begun:
            self.written.append(">")
            self.begun = False

    def _value(self, name: str, key: str, value: str) -> str:
        """The value of an attribute in the colours and the font of the page, with its ids and two decimals."""
        attribute = key.removeprefix(_XLINK)
        if attribute not in _ATTRIBUTES or (attribute != key and attribute != "href"):
            _refuse(f"an attribute '{key[:60]}'")
        if attribute == "href":
            return self._link(name, value)
        if attribute == "id":
            if not _ID.fullmatch(value):
                _refuse(f"an id '{value[:60]}'")
            if name in _SHAPES:
                self.shapes.add(value)
            return f"{self.prefix}-{value}"
        if attribute == "style":
            return "; ".join(self._declaration(part) for part in value.split(";") if part.strip())
        if attribute == "transform" and value.startswith("rotate(-0 "):
            return ""
        return self._plain(attribute, value)

    def _link(self, name: str, value: str) -> str:
        if name == "use" and value.startswith("#") and _ID.fullmatch(value[1:]):
            self.used.add(value[1:])
            return f"#{self.prefix}-{value[1:]}"
        if not (name == "image" and _PNG.fullmatch(value)):
            _refuse(f"a link to {value[:60]}")
        return value

    def _declaration(self, text: str) -> str:
        name, colon, value = (part.strip() for part in text.partition(":"))
        if not colon or name not in _PRESENTATION:
            _refuse(f"a style '{text.strip()[:60]}'")
        return f"{name}: {'inherit' if name == 'font-family' else self._plain(name, value)}"

    def _plain(self, name: str, value: str) -> str:
        functions = _FUNCTION.findall(_LOCAL.sub("", value))
        if not _VALUE.fullmatch(value) or not _FUNCTIONS.issuperset(functions):
            _refuse(f"a value '{value[:60]}' of '{name}'")
        value = _LOCAL.sub(rf"url(#{self.prefix}-\1)", value)
        if "url" not in value:
            value = re.sub(r"(\d\.\d\d)\d+", r"\1", value)
        return value.replace(INK, "currentColor").replace(RULE, "var(--rule)")


_LEFT_OUT = frozenset({("svg", "width"), ("svg", "height"), ("svg", "version")})


def _refuse(found: str) -> NoReturn:
    raise _foreign(found)


def _foreign(found: str) -> DataError:
    return DataError(
        "picture for the report",
        required="an SVG that hypertail drew",
        found=found,
        hint="Draw it again with hypertail reproduce.",
    )
