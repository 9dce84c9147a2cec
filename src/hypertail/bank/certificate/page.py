"""A certificate as a page that explains itself."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

WORDS = {
    "identical": "unchanged to the bit",
    "rounding": "unchanged, but for rounding",
    "moved": "moved",
    "damaged": "damaged: a file that answers for it cannot be read",
}


def certificate_page(certificate: Mapping[str, Any]) -> str:
    """The HTML page of what `Certificate.to_json` gave; everything in it is escaped, and it allows no script."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    source = files("hypertail.bank.certificate").joinpath("page.html").read_text(encoding="utf-8")
    failed = sum(not check["passed"] for check in certificate["checks"])
    page: str = environment.from_string(source).render(c=certificate, words=WORDS, failed=failed)
    return page
