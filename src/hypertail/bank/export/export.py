"""Files that serve tasks without hypertail: one task as a plain model, or all of them as one graph."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, fx

from hypertail.bank.export.onnx import write_onnx
from hypertail.bank.export.served import Served, SharedModel, TaskModel
from hypertail.errors import ConfigError
from hypertail.storage.atomic import write_text, write_with

Format = Literal["pt2", "onnx", "safetensors"]


def export_task(served: Served, path: Path, format: Format | None = None, *, replace: bool = False) -> Path:
    """Write a task as a plain model, and beside it `NAME.json`, which says how to use it.

    The model takes images from 0 to 1, normalises them itself, and gives logits whose softmax is calibrated. No image
    and no place of this machine is in the files.

    Args:
        served: the task.
        path: of the model's file.
        format: `pt2` (torch.export), `onnx`, or `safetensors` (all tensors, for a program that has the architecture);
            by default from the suffix.
        replace: write over files that are there.

    Raises:
        ConfigError: an unknown format, a suffix of another one, or something that is there already.
        MissingExtraError: a package for ONNX is not installed.
        OSError: it cannot be written.
    """
    chosen = _format_of(path, format)
    _check_free(path, _beside(path), replace=replace)
    model, size = TaskModel(served), served.backbone.preprocessing.size
    example = torch.zeros(2, 3, size, size)
    if chosen == "onnx":
        write_onnx(path, model, (example,), ["images"])
    elif chosen == "pt2":
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
        strip(program)
        write_with(path, _saver(lambda part: torch.export.save(program, part)))
    else:
        from safetensors.torch import save_file

        tensors = {name: value.contiguous().clone() for name, value in model.state_dict().items()}
        write_with(path, lambda part: save_file(tensors, str(part)))
    facts = served.facts() | {"file": path.name, "format_of_file": chosen, "digest": digest_of(path)}
    if chosen == "safetensors":
        facts["backbone"] = {"source": served.backbone.source, "cut": served.backbone.cut}
    write_text(_beside(path), json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return path


def strip(program: torch.export.ExportedProgram) -> None:
    """Take out of a program what names files of the machine, lines of code or modules of the user's."""
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            for name in ("stack_trace", "nn_module_stack", "source_fn_stack", "from_node"):
                node.meta.pop(name, None)


def export_all(served: Sequence[Served], path: Path, *, replace: bool = False) -> Path:
    """Write all tasks as one ONNX graph whose tail weights are inputs: `graph.onnx`, `tasks.json`, and a small
    safetensors file for each task, whose tensors are fed beside the images.

    Tensors that are equal in all tasks are constants of the graph. Switching tasks is feeding other tensors: one
    session serves all of them. Heads are padded to the most classes of a task; `tasks.json` says how many count.

    Args:
        served: the tasks.
        path: of a folder.
        replace: write over files that are there.

    Raises:
        ConfigError: no task, or files that are there already.
        MissingExtraError: a package for ONNX is not installed.
        OSError: it cannot be written.
    """
    if not served:
        raise ConfigError("export of all tasks", required="a bank with tasks", found="none", hint="Learn one first.")
    if path.exists() and not path.is_dir():
        hint = "Give the name of a folder: --out FOLDER."
        raise ConfigError(f"export of all tasks to '{path}'", required="a folder", found="a file", hint=hint)
    _check_free(path / "graph.onnx", path / "tasks.json", replace=replace)
    path.mkdir(parents=True, exist_ok=True)
    backbone = served[0].backbone
    names = differing(served)
    most = max(len(each.classes) for each in served)
    model, size = SharedModel(backbone, names), backbone.preprocessing.size
    fed = {each.name: tensors_of(each, names, most) for each in served}
    inputs = input_names(names)
    example = fed[served[0].name]
    write_onnx(
        path / "graph.onnx", model, (torch.zeros(2, 3, size, size), *(example[name] for name in inputs)),
        ["images", *inputs],
    )  # fmt: skip
    listed = []
    from safetensors.torch import save_file

    for each in served:
        file = f"{slug(each.name)}.safetensors"
        tensors = fed[each.name]
        write_with(path / file, lambda part, tensors=tensors: save_file(tensors, str(part)))  # type: ignore[misc]
        said = {"task": each.name, "file": file, "classes": list(each.classes)}
        listed.append(said | ({"deep_images": dict(each.deep_images)} if each.deep_images else {}))
    facts = served[0].facts() | {"graph": "graph.onnx", "inputs": list(inputs), "most_classes": most, "tasks": listed}
    for of_one in ("task", "classes", "deep_images"):
        facts.pop(of_one, None)
    facts["output"]["shape"] = ["batch", most]
    facts["output_is"] = "of a task, the first as many as it has classes; their softmax gives calibrated probabilities"
    write_text(path / "tasks.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return path


def differing(served: Sequence[Served]) -> tuple[str, ...]:
    """The tensors of the body, by name, in which any two tasks differ."""
    body = served[0].backbone.body
    own = {**dict(body.named_parameters()), **dict(body.named_buffers())}
    found = []
    for name, value in own.items():
        values = [each.tensors.get(name, value) for each in served]
        if any(not torch.equal(other.cpu(), value.detach().cpu()) for other in values):
            found.append(name)
    return tuple(found)


def input_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the inputs beside the images, in order."""
    return (*names, "head.weight", "head.bias")


def tensors_of(served: Served, names: tuple[str, ...], most: int) -> dict[str, Tensor]:
    """What is fed for a task: tensors of the body, and the head with its temperature, padded to `most` classes."""
    body = served.backbone.body
    own = {**dict(body.named_parameters()), **dict(body.named_buffers())}
    tensors = {name: served.tensors.get(name, own[name]).detach().cpu().contiguous().clone() for name in names}
    count, width = served.head_weight.shape
    weight, bias = torch.zeros(most, width), torch.full((most,), -1e30)
    weight[:count] = served.head_weight.cpu() / served.temperature
    bias[:count] = served.head_bias.cpu() / served.temperature
    return {**tensors, "head.weight": weight, "head.bias": bias}


def slug(name: str) -> str:
    """A safe file name that no other task name has."""
    words = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]
    return f"{words or 'task'}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def digest_of(path: Path) -> str:
    """BLAKE2b of 128 bits of a file's bytes."""
    return hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()


def _format_of(path: Path, format: Format | None) -> Format:
    suffix, known = path.suffix.lstrip(".").lower(), get_args(Format)
    chosen = format or suffix
    if chosen not in known:
        raise ConfigError(
            "format of an export",
            required=f"one of {', '.join(known)}",
            found=f"'{chosen}'",
            hint="Give --format, or a file name that ends with one of them.",
        )
    if suffix in known and suffix != chosen:
        raise ConfigError(
            f"export to '{path}'",
            required=f"a name that does not end as another format than {chosen} does",
            found=f".{suffix}",
            hint=f"Give --format {suffix}, or a name that ends with .{chosen}.",
        )
    return chosen  # type: ignore[return-value]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _check_free(*paths: Path, replace: bool) -> None:
    for path in paths:
        if path.is_dir():
            raise ConfigError(
                f"export to '{path}'",
                required="the name of a file",
                found="a folder",
                hint=f"Give a file in it, such as {path / 'model.onnx'}.",
            )
        if path.exists() and not replace:
            raise ConfigError(
                f"export to '{path}'",
                required="a path where nothing is yet",
                found="a file",
                hint="Give --replace (in Python replace=True) to write over it, or another name.",
            )


def _saver(save: Callable[[str], Any]) -> Callable[[Path], None]:
    """`torch.export.save` looks at the suffix of the name it is given."""

    def write(part: Path) -> None:
        beside = part.with_name(f"{part.name}.pt2")
        try:
            save(str(beside))
            beside.replace(part)
        finally:
            beside.unlink(missing_ok=True)

    return write
