"""Modules as ONNX files, without places of the machine that made them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hypertail.errors import MissingExtraError
from hypertail.storage.atomic import write_bytes


def write_onnx(path: Path, module: nn.Module, inputs: tuple[Tensor, ...], names: Sequence[str]) -> None:
    """Write a module whose first input has any number of rows; its output is `logits`.

    Args:
        path: of the file.
        module: in evaluation mode.
        inputs: examples, made for the purpose.
        names: of the inputs.

    Raises:
        MissingExtraError: onnx or onnxscript is not installed.
        OSError: it cannot be written.
    """
    _check_installed()
    batch = torch.export.Dim("batch", min=1)
    shapes: Any = ({0: batch}, *([{}] * (len(inputs) - 1)))
    if len(inputs) > 1:
        # a module with *args takes the others as one input
        shapes = ({0: batch}, tuple({} for _ in inputs[1:]))
    with _quiet():
        program = torch.onnx.export(
            module,
            inputs,
            input_names=list(names),
            output_names=["logits"],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
            optimize=True,
        )
    assert program is not None
    proto = program.model_proto
    strip(proto)
    write_bytes(path, proto.SerializeToString())


def strip(proto: Any) -> None:
    """Take out of a model what names places of the machine or lines of code."""
    proto.doc_string = ""
    del proto.metadata_props[:]
    graphs = [proto.graph, *proto.functions]
    for graph in graphs:
        graph.doc_string = ""
        if hasattr(graph, "metadata_props"):
            del graph.metadata_props[:]
        for node in graph.node:
            node.doc_string = ""
            del node.metadata_props[:]
        for field in ("input", "output", "value_info", "initializer"):
            for value in getattr(graph, field, ()):
                if hasattr(value, "metadata_props"):
                    del value.metadata_props[:]
                if hasattr(value, "doc_string"):
                    value.doc_string = ""


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own warnings and notes are not shown inside the block: a user can act on none of them."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    before = [(each, each.level) for each in loggers]
    for each in loggers:
        each.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for each, level in before:
            each.setLevel(level)


def _check_installed() -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            "export as ONNX",
            required="the packages onnx and onnxscript",
            found=str(error),
            hint="pip install 'hypertail[export]'",
        ) from error
