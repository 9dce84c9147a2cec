"""Numbers and tables as the generated pages write them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean, stdev

MINUS = "−"


def number(value: float | str | None, digits: int = 1) -> str:
    """Rounded, with a minus sign; nothing for nothing."""
    if value is None or value == "":
        return ""
    text = f"{float(value):,.{digits}f}"
    if float(text.replace(",", "")) == 0:
        text = text.removeprefix("-")
    return text.replace("-", MINUS)


def percent(value: float | None) -> str:
    """A share of 1 in percent."""
    return "" if value is None else number(100 * value)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Mean ± sample standard deviation; the value alone where there is one, nothing of none."""
    if not values:
        return ""
    return number(mean(values), digits) + (f" ± {stdev(values):.{digits}f}" if len(values) > 1 else "")


def size(count: float | str) -> str:
    """Bytes in kB or MB (powers of ten), three digits."""
    value = float(count)
    unit, factor = ("MB", 1e6) if value >= 999_500 else ("kB", 1e3)
    scaled = value / factor
    return f"{scaled:.{max(0, 2 - len(str(int(scaled))) + 1)}f} {unit}"


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Markdown: the first column to the left, the others to the right."""
    lines = [head, [":--", *["--:"] * (len(head) - 1)], *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
