"""`hypertail cache`: the decoded images kept on disk."""

from __future__ import annotations

from dataclasses import dataclass

import tyro
from rich.console import Console
from rich.text import Text

from hypertail.streams.names import shown
from hypertail.streams.report import plural
from hypertail.streams.sources.cache_files import clear_cache, list_cache


@dataclass(frozen=True)
class Cache:
    """List the decoded images that are kept on disk, or delete them."""

    clear: tyro.conf.FlagCreatePairsOff[bool] = False
    """Delete them; files of other programs stay. They are made anew when they are needed."""


def execute(command: Cache, console: Console, line: str) -> None:
    """List the cache, or clear it."""
    listing = list_cache()
    folder = shown(listing.folder)
    own = clear_cache() if command.clear else listing.own
    total = sum(file.nbytes for file in own)
    if command.clear:
        _say(console, f"{plural(len(own), 'file')} deleted, {total:,} bytes, in {folder}")
    elif not own:
        _say(console, f"no decoded images are kept in {folder}")
    else:
        _say(console, f"{folder}:")
        for file in own:
            _say(console, f"{shown(file.path.name)}  {file.nbytes:,} bytes  {file.when:%Y-%m-%d %H:%M}")
            _say(console, f"    {file.what}")
        them = "it" if len(own) == 1 else "them"
        _say(console, f"{plural(len(own), 'file')}, {total:,} bytes; `hypertail cache --clear` deletes {them}")
    if listing.others:
        _say(console, f"{plural(listing.others, 'other')} in {folder} not known to hypertail: left alone")


def _say(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
