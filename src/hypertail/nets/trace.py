"""Cut a model with a forward method of its own at a named module, by symbolic tracing (torch.fx)."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from hypertail.errors import ConfigError

PAIR = (
    "Give a trunk and a tail of your own, any two modules, instead: Bank.create(path, model=trunk, tail=tail), or "
    "check_cut(model, trunk, tail, probe) to compare them with the model."
)

_DROPOUTS = {F.dropout: nn.Dropout, F.dropout2d: nn.Dropout2d, F.alpha_dropout: nn.AlphaDropout}


class _Tracer(fx.Tracer):
    """Traces through the user's own modules, and through torch's where the cut lies inside one."""

    def __init__(self, cut: str) -> None:
        super().__init__()
        self.cut = cut

    def is_leaf_module(self, module: nn.Module, path: str) -> bool:
        """Whether a module stays a call."""
        return super().is_leaf_module(module, path) and not self.cut.startswith(f"{path}.")


def traced(model: nn.Module, cut: str = "") -> fx.Graph:
    """The graph of a model in evaluation mode.

    Raises:
        ConfigError: it cannot be traced, or its output is not one tensor.
    """
    modes = [(part, part.training) for part in model.modules()]
    model.eval()
    try:
        graph = _Tracer(cut).trace(model)
    except Exception as error:  # whatever the user's code does with what stands for a tensor
        raise ConfigError(
            f"cannot trace the {type(model).__name__}",
            required="a forward method whose steps do not depend on the values of its input",
            found=f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:200]}",
            hint=PAIR,
        ) from error
    finally:
        for part, was in modes:
            part.training = was
    if not isinstance(_output(graph).args[0], fx.Node):
        raise ConfigError(
            f"output of the {type(model).__name__}",
            required="one tensor",
            found=type(_output(graph).args[0]).__name__,
            hint="Wrap the model in a module that returns its logits alone, or its pooled features.",
        )
    if sum(node.op == "placeholder" for node in graph.nodes) != 1:
        names = [str(node.target) for node in graph.nodes if node.op == "placeholder"]
        required = [name for name in names[1:]]
        for node in [node for node in graph.nodes if node.op == "placeholder"][1:]:
            if node.users:
                raise ConfigError(
                    f"inputs of the {type(model).__name__}",
                    required="one tensor, the images",
                    found=f"others as well: {', '.join(required)}",
                    hint="Wrap the model in a module whose forward takes the images alone.",
                )
            graph.erase_node(node)
    return graph


def split(model: nn.Module, cut: str) -> tuple[fx.GraphModule, fx.GraphModule]:
    """`(trunk, tail)`: all that runs before the first step inside the module `cut`, and the rest.

    Both keep the full names of parameters and share them with the model. The tail leaves its input as it is.

    Raises:
        ConfigError: no such module, it never runs or runs first, or anything but one tensor crosses the cut.
    """
    _check_name(model, cut)
    graph = traced(model, cut)
    nodes = list(graph.nodes)
    start = next((place for place, node in enumerate(nodes) if _inside(node, cut)), None)
    if start is None:
        raise ConfigError(
            f"module '{cut}' to cut at",
            required="a module that forward runs",
            found="one that it never calls",
            hint=f"Modules that work: {_listed(_names(model, traced(model)))}.",
        )
    crossing = _crossing(nodes, start)
    if len(crossing) != 1 or crossing[0].op == "placeholder":
        what = ", ".join(f"{node.name} ({_place(node)})" for node in crossing) or "nothing"
        raise ConfigError(
            f"cut at '{cut}'",
            required="one tensor that crosses the cut, made by what lies before it",
            found=f"{len(crossing)}: {what}" if len(crossing) != 1 else f"the model's own input, {what}",
            hint=f"Cut elsewhere; modules that work: {_listed(_names(model, traced(model)))}. {PAIR}",
        )
    trunk = _half(model, nodes[:start], None, crossing[0])
    tail = _half(model, nodes[start:], crossing[0], None, nodes[:start])
    return trunk, tail


def cut_names(model: nn.Module) -> list[str]:
    """The modules at which a model can be cut, in the order in which they run.

    Raises:
        ConfigError: it cannot be traced.
    """
    return _names(model, traced(model))


def _names(model: nn.Module, graph: fx.Graph) -> list[str]:
    nodes = list(graph.nodes)
    first: dict[str, int] = {}
    for place, node in enumerate(nodes):
        for path in _paths(node):
            first.setdefault(path, place)
    found = []
    starts: set[int] = set()
    for path, start in first.items():
        crossing = _crossing(nodes, start)
        # a module that begins where one around it does cuts at the same place
        if path and start not in starts and len(crossing) == 1 and crossing[0].op != "placeholder":
            before, after = _parameters(model, nodes[:start]), _parameters(model, nodes[start:])
            if before and after and not before & after:
                starts.add(start)
                found.append(path)
    return found


def _check_name(model: nn.Module, cut: str) -> None:
    names = [name for name, _ in model.named_modules() if name]
    if cut not in names:
        near = difflib.get_close_matches(cut, names, n=1, cutoff=0.4)
        top = [name for name, _ in model.named_children()]
        raise ConfigError(
            f"no module '{cut}' to cut at",
            required=f"the name of a module, such as {_listed(top)}",
            found=f"'{cut}'",
            hint=f"Did you mean '{near[0]}'?" if near else "Name one of them, or one inside them: layer3.0.",
        )


def _output(graph: fx.Graph) -> fx.Node:
    found: fx.Node = next(node for node in graph.nodes if node.op == "output")
    return found


def _paths(node: fx.Node) -> list[str]:
    """The modules that a step belongs to, from the outside in."""
    stack = [str(path) for path in node.meta.get("nn_module_stack", {})]
    if node.op == "call_module" and str(node.target) not in stack:
        stack.append(str(node.target))
    return stack


def _inside(node: fx.Node, path: str) -> bool:
    return any(part == path or part.startswith(f"{path}.") for part in _paths(node))


def _place(node: fx.Node) -> str:
    paths = _paths(node)
    return f"in '{paths[-1]}'" if paths and paths[-1] else "in the model's forward"


def _crossing(nodes: list[fx.Node], start: int) -> list[fx.Node]:
    """What is made before a place and used after it; parameters and constants can be read on both sides."""
    before = set(nodes[:start])
    found: dict[fx.Node, None] = {}
    for node in nodes[start:]:
        for value in node.all_input_nodes:
            if value in before and value.op != "get_attr":
                found[value] = None
    return list(found)


def _parameters(model: nn.Module, nodes: Iterable[fx.Node]) -> set[int]:
    found: set[int] = set()
    for node in nodes:
        if node.op == "call_module":
            found |= {id(value) for value in model.get_submodule(str(node.target)).parameters()}
        elif node.op == "get_attr":
            value = _attribute(model, str(node.target))
            found |= {id(value)} if isinstance(value, nn.Parameter) else set()
    return found


def _attribute(model: nn.Module, path: str) -> object:
    value: object = model
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _half(
    model: nn.Module,
    nodes: list[fx.Node],
    entrance: fx.Node | None,
    exit_: fx.Node | None,
    earlier: list[fx.Node] | None = None,
) -> fx.GraphModule:
    """The steps `nodes` as a module: from `entrance` on, or up to `exit_`."""
    graph = fx.Graph()
    made: dict[fx.Node, fx.Node] = {}
    if entrance is not None:
        made[entrance] = graph.placeholder("features")
        if any(_works_in_place(model, user, entrance) for user in entrance.users if user in set(nodes)):
            made[entrance] = graph.call_function(torch.clone, (made[entrance],))
        needed = {value for node in nodes for value in node.all_input_nodes}
        for node in earlier or ():
            if node.op == "get_attr" and node in needed:
                made[node] = graph.node_copy(node)
    extra: dict[str, nn.Module] = {}
    for node in nodes:
        made[node] = _copied(graph, node, made, extra)
    if exit_ is not None:
        graph.output(made[exit_])
    # names of modules that are added must be found in the model for as long as the graph is made a module of
    for name, module in extra.items():
        model.add_module(name, module)
    try:
        half = fx.GraphModule(model, graph, class_name="Trunk" if entrance is None else "Tail")
    finally:
        for name in extra:
            delattr(model, name)
    half.graph.eliminate_dead_code()
    half.delete_all_unused_submodules()
    half.recompile()
    half.meta.clear()
    return half.eval()


def _copied(graph: fx.Graph, node: fx.Node, made: dict[fx.Node, fx.Node], extra: dict[str, nn.Module]) -> fx.Node:
    """A step in another graph; functional dropout becomes a module, since its mode was traced as a constant."""
    if node.op == "call_function" and node.target in _DROPOUTS:
        share = node.args[1] if len(node.args) > 1 else node.kwargs.get("p", 0.5)
        name = f"traced_dropout_{node.name}"
        extra[name] = _DROPOUTS[node.target](float(share))  # type: ignore[arg-type]
        value = node.args[0] if node.args else node.kwargs["input"]
        return graph.call_module(name, (made[value],))  # type: ignore[index]
    if node.op == "call_function" and node.target in (F.batch_norm, F.instance_norm):
        raise ConfigError(
            f"step '{node.name}' of the model",
            required="normalisation by a module",
            found="a function, whose mode cannot follow train() and eval() in a traced model",
            hint=f"Use nn.BatchNorm2d, say. {PAIR}",
        )
    return graph.node_copy(node, lambda value: made[value])


def _works_in_place(model: nn.Module, node: fx.Node, value: fx.Node) -> bool:
    """Whether a step may change its input."""
    if node.op == "call_module":
        module = model.get_submodule(str(node.target))
        return any(getattr(part, "inplace", False) for part in module.modules())
    if node.op == "call_method":
        name = str(node.target)
        views = ("view", "reshape", "flatten", "permute", "transpose", "movedim", "squeeze", "unsqueeze", "chunk")
        return (name.endswith("_") and not name.endswith("__")) or name in (*views, "split", "unbind", "expand")
    if node.op == "call_function":
        in_place = (operator.iadd, operator.isub, operator.imul, operator.itruediv, operator.setitem)
        target: Any = node.target
        name = getattr(target, "__name__", "")
        return bool(node.kwargs.get("inplace", False)) or target in in_place or name in (
            "flatten", "reshape", "getitem", "permute", "transpose", "chunk", "split"
        ) or name.endswith("_")  # fmt: skip
    return False


def _listed(names: list[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "") if names else "none"
