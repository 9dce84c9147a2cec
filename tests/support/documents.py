"""The repository's pages, read the way their readers do: links to follow, code to run, commands to type."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("docs", "benchmarks", "examples", "notebook", "results")

LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)|\b(?:src|href)=\"([^\"]+)\"")
REFERENCE = re.compile(r"^ {0,3}\[[^]^]+\]:\s+<?(\S+?)>?(?:\s+\"[^\"]*\")?\s*$", re.MULTILINE)
FENCE = re.compile(r"^( *)(```+|~~~+) *([\w+-]*)[^\n]*\n(.*?)^ *\2 *$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!--\s*not run:\s*(.*?)\s*-->\s*\Z", re.DOTALL)
INDENTED = re.compile(r"(?<=\n\n)(?: {4}[^\n]*\n|\n(?= {4}))+")
PROMPT = re.compile(r"(?:\$ )?(?:\w+=\S+ )*(?:\S*/)?(?:python3? -m )?hypertail(?= |$)")


class Block(NamedTuple):
    """Code in a page.

    Attributes:
        line: number of its first line.
        language: as the page calls it; empty where it does not.
        text: without the indentation that all its lines share.
        not_run: why it is not for running; empty where it is.
    """

    line: int
    language: str
    text: str
    not_run: str


def all_pages() -> list[Path]:
    """Every page of the repository."""
    return sorted([*ROOT.glob("*.md"), *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md"))])


def guides() -> list[Path]:
    """The pages that tell a user what to type: README and everything in docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(text: str) -> list[Block]:
    """The code of a page, fenced or indented by four spaces, in reading order."""
    found = []
    for match in FENCE.finditer(text):
        reason = NOT_RUN.search(text[: match.start()])
        code = textwrap.dedent(match.group(4))
        found.append(Block(_line(text, match.start(4)), match.group(3), code, reason.group(1) if reason else ""))
    # the same number of lines without the fenced ones, so that what is left keeps its place
    rest = FENCE.sub(lambda match: "x" * 3 + "\n" * match.group().count("\n"), text)
    for match in INDENTED.finditer(rest):
        reason = NOT_RUN.search(rest[: match.start()])
        code = textwrap.dedent(match.group())
        found.append(Block(_line(rest, match.start()), "", code, reason.group(1) if reason else ""))
    return sorted(found)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def script(text: str) -> str:
    """The Python code of a page that is for running, every line where it stands in the page."""
    lines: list[str] = []
    for block in blocks(text):
        if block.language == "python" and not block.not_run:
            lines += [""] * (block.line - 1 - len(lines)) + block.text.splitlines()
    return "\n".join(lines)


def commands(text: str) -> Iterator[tuple[int, list[str]]]:
    """(line number, arguments) of each `hypertail ...` of a page, in a block or, with arguments, in the running text.

    A synopsis such as `hypertail run STREAM [STREAM ...] [--seeds N]` counts with all its options.
    """
    for block in blocks(text):
        if block.language in ("", "bash", "sh", "shell", "console", "text") and not block.not_run:
            yield from _typed(block.text, block.line)
    for match in re.finditer(r"(?<!`)`([^`]+)`(?!`)", _without_blocks(text)):
        words = " ".join(match.group(1).split())
        if not re.search(r"[|…]|\.\.\.", words):
            yield from _typed(words, _line(text, match.start()))


def _typed(code: str, first: int) -> Iterator[tuple[int, list[str]]]:
    number, line = first, ""
    for offset, part in enumerate(code.splitlines()):
        number = number if line else first + offset
        line += part.removesuffix("\\")
        if part.endswith("\\"):
            continue
        # a line may hold several commands, joined by && or ;
        for command in _commands_of(line):
            start = PROMPT.match(command)
            if start:
                yield number, _arguments(command[start.end() :])
        line = ""


def _commands_of(line: str) -> list[str]:
    return [part.strip() for part in re.split(r"\s(?:&&|\|\|?|;|>>?)\s|;\s", line)]


def _arguments(text: str) -> list[str]:
    words = shlex.split(text, comments=True)
    return [word for word in (word.strip("[]") for word in words) if word not in ("...", "…", "")]


def _without_blocks(text: str) -> str:
    """A page of as many characters, in which blocks are blank."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group())

    return INDENTED.sub(blank, FENCE.sub(blank, text))


def prose(text: str) -> str:
    """Markdown without its fenced blocks and inline code."""
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The fragments that a page's headings can be linked by."""
    text = FENCE.sub("", text)
    found: set[str] = set()
    seen: Counter[str] = Counter()
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text, flags=re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found | set(re.findall(r"<\w+ [^>]*\b(?:id|name)=\"([^\"]+)\"", text))


def broken_links(page: Path) -> Iterator[str]:
    """What is wrong with each relative link of `page` that leads nowhere."""
    text = prose(page.read_text(encoding="utf-8"))
    for match in [*LINK.finditer(text), *REFERENCE.finditer(text)]:
        link = next(group for group in match.groups() if group)
        if re.match(r"[a-z][a-z0-9+.-]*:", link):
            continue
        name, _, fragment = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists():
            yield f"'{link}' leads to no file"
        elif fragment and target.suffix == ".md" and fragment not in anchors(target.read_text(encoding="utf-8")):
            yield f"'{link}' leads to no heading"
