"""Move tensors to unnamed, memory-mapped temporary files, which no crash can leave behind."""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

RESERVE = 1 << 30
"""Bytes of the disk that spilling leaves free for others."""


class Spill:
    """Moves tensors into memory-mapped temporary files.

    A file has no name from the moment it exists (on Windows: is deleted as it is closed), and its room is given back
    once no tensor refers to it: on `del`, at the end of the process, and where that is killed. It is not open while it
    is mapped (on Windows: it is), so that however many tensors are kept, the system's limit of open files is far.

    Args:
        folder: where files go; None for the system's temporary folder, which `TMPDIR` names. Where that folder lies in
            memory itself, as /tmp does on some systems, nothing is gained: name one on a disk.
        reserve_bytes: what must stay free on that disk.
    """

    def __init__(self, folder: Path | None = None, *, reserve_bytes: int = RESERVE) -> None:
        self._folder, self.reserve_bytes = folder, reserve_bytes

    @property
    def folder(self) -> Path:
        """Where files go."""
        if self._folder is not None:
            return self._folder
        try:
            return Path(tempfile.gettempdir())
        except FileNotFoundError:  # no folder can be written to: `keep` will find out
            return Path.cwd()

    def keep(self, tensor: Tensor) -> Tensor | None:
        """A tensor on the CPU with the values, shape and strides of `tensor`, backed by a file.

        None where the disk lacks room, or cannot be written to.
        """
        dense = tensor.detach().cpu()
        strides = torch.empty_like(dense, device="meta").stride()
        if dense.stride() != strides:  # a view with gaps or overlaps: its storage is not its content
            dense = dense.clone()
        size = dense.numel() * dense.element_size()
        if size == 0:
            return dense
        content = dense.as_strided((dense.numel(),), (1,))
        try:
            if shutil.disk_usage(self.folder).free - size < self.reserve_bytes:
                return None
            with tempfile.TemporaryFile(dir=self.folder) as file:
                # written before it is mapped: a full disk is an error here, and would be a crash there
                file.write(content.view(torch.uint8).numpy().data)
                file.flush()
                mapped = _mapped(file, dense.numel(), dense.dtype)
        except OSError:
            return None
        return mapped.as_strided(dense.shape, strides)


def _mapped(file: IO[bytes], count: int, dtype: torch.dtype) -> Tensor:
    """A tensor of `count` numbers backed by an open file, which may be closed."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        name = f"{folder}/{file.fileno()}"
        # Python's mmap would keep the file open for as long as it is mapped; torch does not
        if os.path.exists(name):
            try:
                return torch.from_file(name, shared=True, size=count, dtype=dtype)
            except RuntimeError as error:
                raise OSError(str(error)) from error
    return torch.frombuffer(mmap.mmap(file.fileno(), 0), dtype=dtype)
