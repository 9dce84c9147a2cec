"""Files that survive a crash: written whole or not at all, checked when they are read."""

from hypertail.storage.atomic import write_bytes, write_text, write_with
from hypertail.storage.checkpoint import DamagedCheckpointError, load_checkpoint, save_checkpoint
from hypertail.storage.jsonfile import JsonError, parse_json, read_json

__all__ = [
    "DamagedCheckpointError",
    "JsonError",
    "load_checkpoint",
    "parse_json",
    "read_json",
    "save_checkpoint",
    "write_bytes",
    "write_text",
    "write_with",
]
