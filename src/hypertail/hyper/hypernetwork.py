"""Hypernetwork: task id -> embedding -> MLP -> one head per tail parameter (section 2, appendix A)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict, TypeVar, Unpack, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from hypertail.errors import ConfigError, check_choice
from hypertail.hyper.heads import ChannelHead, CodeName, LinearHead, SeparableHead, TaskTable, Vectors
from hypertail.hyper.initial import initial_values, scale_to_he, start_from_base, table_start
from hypertail.nets.adapter import TaskAdapters
from hypertail.nets.classifier import classifier_of, parameter_at
from hypertail.nets.tensors import BufferDict

Initialisation = Literal["he", "library"]
NewEmbedding = Literal["fresh", "copied"]
T = TypeVar("T")


class HypernetworkOptions(TypedDict, total=False):
    """What `Hypernetwork.for_tail` hands on to the constructor."""

    embedding: int
    mlp: tuple[int, int]
    rank: int
    code: CodeName
    vectors: Vectors
    adapter_rank: int
    classifier_rank: int
    init: Initialisation
    own_classifier: bool


class Hypernetwork(nn.Module):
    """H_psi: generates the named parameters of a tail for each task.

    The head of a parameter follows from its shape: `TaskTable` for one dimension or none, `LinearHead` for the weight
    of the classifier, `ChannelHead` for every other tensor. `for_tail` reads all that follows from a tail. With a
    `base` W it generates what is added to that: theta_j = W + H(e_j) + R_j, H starting at zero.

    Args:
        shapes: name -> shape of each tail parameter, in the order of `tail.named_parameters()`.
        tasks: rows of the embedding and of the task tables (see `grow`).
        embedding: size of the task embedding.
        mlp: sizes of the two hidden layers.
        rank: size d of the vector of each output channel in channel-wise heads.
        code: how channel-wise heads join task and channel, see `ChannelHead`.
        vectors: how the vectors of output channels start, see `ChannelHead`.
        adapter_rank: rank of what each task adds to channel-wise heads for itself, see `TaskAdapters`; 0: nothing.
        classifier_rank: rank of what each task adds to the classifier weight for itself; 0: nothing.
        init: `he` scales every head so that the generated weights have He variance; `library` leaves torch's
            defaults (generated convolutions then have a standard deviation near 0.41).
        classifier: the name of the weight of the linear layer that gives the logits; None where there is no such layer.
        initial: what task tables start from, by the name of their parameter; zeros for names that are not there.
        base: weights that channel-wise heads add to, by name: those of a pretrained tail. They are copied and never
            learned, and are no parameters. Names without a channel-wise head are left out.
        own_classifier: each task has a classifier weight of its own, which starts at zero, and none is generated.

    Raises:
        ConfigError: no parameter to generate, a size below one, a classifier that is no matrix among `shapes`, or an
            initial value or a base of another shape.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, ...]],
        tasks: int,
        *,
        embedding: int = 32,
        mlp: tuple[int, int] = (50, 32),
        rank: int = 36,
        code: CodeName = "additive",
        vectors: Vectors = "orthogonal",
        adapter_rank: int = 0,
        classifier_rank: int = 0,
        init: Initialisation = "he",
        classifier: str | None = None,
        initial: Mapping[str, Tensor] | None = None,
        base: Mapping[str, Tensor] | None = None,
        own_classifier: bool = False,
    ) -> None:
        super().__init__()
        check_choice("initialisation", init, get_args(Initialisation))
        if not shapes:
            raise ConfigError(
                "hypernetwork without outputs",
                required="at least one tail parameter",
                found="an empty tail",
                hint="Choose a smaller depth, so that the tail keeps layers with parameters.",
            )
        if min(tasks, embedding, *mlp, rank, adapter_rank + 1, classifier_rank + 1) < 1:
            raise ConfigError(
                "size of the hypernetwork",
                required="tasks, embedding, mlp and rank of at least 1, the other ranks of at least 0",
                found=f"tasks={tasks}, embedding={embedding}, mlp={mlp}, rank={rank}, adapter_rank={adapter_rank}, "
                f"classifier_rank={classifier_rank}",
                hint="Give positive sizes.",
            )
        self.shapes = {name: tuple(shape) for name, shape in shapes.items()}
        if classifier is not None:
            matrices = [name for name, shape in self.shapes.items() if len(shape) == 2]
            check_choice("classifier weight", classifier, matrices)
        self.classifier = classifier
        self.embedding = nn.Parameter(torch.randn(tasks, embedding))
        self.mlp = nn.Sequential(nn.Linear(embedding, mlp[0]), nn.ReLU(), nn.Linear(mlp[0], mlp[1]), nn.ReLU())
        self.heads, self.tables, self.adapters = nn.ModuleDict(), nn.ModuleDict(), nn.ModuleDict()
        for name, shape in self.shapes.items():
            if len(shape) < 2 or (own_classifier and name == self.classifier):
                self.tables[_key(name)] = TaskTable(table_start(name, shape, initial or {}).to(self.embedding), tasks)
            elif name == self.classifier:
                self.heads[_key(name)] = LinearHead(shape, mlp[1])
                if classifier_rank:
                    self.adapters[_key(name)] = TaskAdapters(shape, tasks, classifier_rank)
            else:
                self.heads[_key(name)] = ChannelHead(shape, mlp[1], rank, code, vectors)
                if adapter_rank:
                    self.adapters[_key(name)] = TaskAdapters(shape, tasks, adapter_rank)
        if own_classifier and not self.heads:
            raise ConfigError(
                "hypernetwork without heads",
                required="a weight to generate",
                found="a classifier alone, each task's own",
                hint="Use own_classifier=False, or cut the model earlier.",
            )
        if init == "he":
            hidden = self.hidden(torch.arange(min(tasks, 32)))
            scale_to_he(self.separable_heads(), hidden, self.shapes, self.classifier)
        self.base = BufferDict(start_from_base(self.separable_heads(), self.shapes, base or {}))

    @classmethod
    def for_tail(
        cls,
        tail: nn.Module,
        tasks: int,
        *,
        classifier: str | None = None,
        base: Mapping[str, Tensor] | None = None,
        **options: Unpack[HypernetworkOptions],
    ) -> Hypernetwork:
        """A hypernetwork with the shapes, the initial values (`initial_values`) and the classifier of a tail.

        Args:
            tail: features -> logits.
            tasks: rows of the embedding and of the task tables.
            classifier: the name of the classifier's weight, where it is not that of the last `nn.Linear`.
            base: as the constructor takes it: the weights of `tail`, say, where it is pretrained.
            options: sizes, codes and initialisation, as the constructor takes them.

        Raises:
            ConfigError: as the constructor.
        """
        path = classifier_of(tail)
        if classifier is None and path is not None:
            classifier = parameter_at(path, "weight")
        shapes = {name: tuple(parameter.shape) for name, parameter in tail.named_parameters()}
        kept = {name: value for name, value in (base or {}).items() if name != classifier}
        initial = initial_values(tail, kept)
        return cls(shapes, tasks, classifier=classifier, initial=initial, base=kept, **options)

    @property
    def tasks(self) -> int:
        """Number of tasks there is room for."""
        return self.embedding.shape[0]

    def separable_heads(self) -> dict[str, SeparableHead]:
        """Parameter name -> its separable head."""
        return {_name(key): head for key, head in self.heads.items() if isinstance(head, SeparableHead)}

    def task_tables(self) -> dict[str, TaskTable]:
        """Parameter name -> its task table."""
        return {_name(key): table for key, table in self.tables.items() if isinstance(table, TaskTable)}

    def task_adapters(self) -> dict[str, TaskAdapters]:
        """Parameter name -> what tasks add to it; empty without adapters."""
        return {_name(key): part for key, part in self.adapters.items() if isinstance(part, TaskAdapters)}

    def hidden(self, tasks: Int[Tensor, "*tasks"]) -> Float[Tensor, "*tasks hidden"]:
        """h_j: the hidden units that feed the heads."""
        return self.mlp(F.embedding(tasks, self.embedding))  # type: ignore[no-any-return]

    def forward(self, task: int) -> dict[str, Tensor]:
        """The weights of one task, by parameter name."""
        return self.several([task])[0]

    def several(self, tasks: Sequence[int]) -> list[dict[str, Tensor]]:
        """The weights of several tasks; what heads share between tasks is computed once."""
        hidden = self.mlp(torch.stack([self.embedding[task] for task in tasks]))
        heads, tables, adapters = self.separable_heads(), self.task_tables(), self.task_adapters()
        generated, base = {name: head(hidden) for name, head in heads.items()}, dict(self.base.items())

        def weight(name: str, number: int, task: int) -> Tensor:
            if name in tables:
                row: Tensor = tables[name](task)
                return row.view(self.shapes[name])
            shared: Tensor = generated[name][number]
            if name in base:
                shared = base[name] + shared
            return shared + heads[name].shape_rows(adapters[name](task)) if name in adapters else shared

        return [{name: weight(name, *each) for name in self.shapes} for each in enumerate(tasks)]

    def per_sample(self, tasks: Int[Tensor, " batch"]) -> dict[str, Tensor]:
        """One weight set for every sample, shape (batch, *shape): what the authors' code does. Slow; a baseline."""
        hidden, numbers = self.hidden(tasks), tasks.tolist()
        heads = self.separable_heads()
        generated = {name: head(hidden) for name, head in heads.items()}
        for name, fixed in self.base.items():
            generated[name] = fixed + generated[name]
        for name, adapters in self.task_adapters().items():
            rows = torch.stack([adapters(task) for task in numbers])
            generated[name] = generated[name] + heads[name].shape_rows(rows)
        for name, table in self.task_tables().items():
            rows = torch.stack([table(task) for task in numbers])
            generated[name] = rows.view(len(tasks), *self.shapes[name])
        return {name: generated[name] for name in self.shapes}

    def groups(self, task: int, *, all_rows: bool = False) -> dict[str, dict[str, nn.Parameter]]:
        """The parameters that a step on `task` may move, in two groups: `shared`, and `task` for what it alone has.

        Args:
            task: the task being learned.
            all_rows: include the table rows of other tasks. Their gradient is zero, but the momentum of an
                optimizer whose state is kept across experiences still moves them.
        """
        groups: dict[str, dict[str, nn.Parameter]] = {"shared": {}, "task": {}}
        for name, parameter in self.named_parameters():
            part = name.partition(".")[0]
            if part not in ("tables", "adapters"):
                if parameter.requires_grad:
                    groups["shared"][name] = parameter
            elif name.endswith(f".{task}") or (part == "tables" and all_rows):
                # per-task parameters are stored in lists indexed by task
                groups["task"][name] = parameter
        return groups

    def trainable(self, task: int, *, all_rows: bool = False) -> dict[str, nn.Parameter]:
        """The parameters of both `groups` in one."""
        groups = self.groups(task, all_rows=all_rows)
        return {**groups["shared"], **groups["task"]}

    def fix_channel_vectors(self) -> None:
        """Stop learning the vectors e_r, for good: generated weights are then linear in what is left of a head."""
        for head in self.heads.values():
            if isinstance(head, ChannelHead):
                head.table.requires_grad_(False)

    def at(self, parameters: Mapping[str, Tensor], function: Callable[[Hypernetwork], T]) -> T:
        """`function(self)` with `parameters` standing in for the hypernetwork's own of the same names."""
        values = {f"hyper.{name}": value for name, value in parameters.items()}
        return functional_call(_Call(self), values, (function,), tie_weights=False)  # type: ignore[no-any-return]

    @torch.no_grad()
    def begin_task(
        self, task: int, embedding: NewEmbedding, generator: torch.Generator, previous: int | None = None
    ) -> None:
        """Start a new task: its adapters, and its embedding.

        Args:
            task: the new task.
            embedding: `fresh` from N(0, 1), or `copied` from the previous task.
            generator: draws what is random.
            previous: the task learned before; None for none.
        """
        check_choice("new embedding", embedding, get_args(NewEmbedding))
        if embedding == "copied":
            if previous is not None:
                self.embedding[task] = self.embedding[previous]
        else:
            fresh = torch.randn(self.embedding.shape[1], generator=generator)
            self.embedding[task] = fresh.to(self.embedding)
        for adapters in self.task_adapters().values():
            adapters.begin(task, generator)

    @torch.no_grad()
    def grow(self, tasks: int) -> None:
        """Make room for `tasks` tasks; what is generated for existing ones does not change."""
        missing = tasks - self.tasks
        if missing > 0:
            room = self.embedding.new_zeros(missing, self.embedding.shape[1])
            self.embedding = nn.Parameter(torch.cat((self.embedding, room)))
            for table in self.task_tables().values():
                table.grow(tasks)
            for adapters in self.task_adapters().values():
                adapters.grow(tasks)

    def _load_from_state_dict(self, state_dict: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        # adapters were called residuals once
        earlier = f"{prefix}residuals."
        for name in [name for name in state_dict if name.startswith(earlier)]:
            state_dict[f"{prefix}adapters.{name.removeprefix(earlier)}"] = state_dict.pop(name)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        # a `BufferDict` takes what there is
        _, _, missing, unexpected, _ = rest
        saved = {name.removeprefix(f"{prefix}base.") for name in state_dict if name.startswith(f"{prefix}base.")}
        missing += [f"{prefix}base.{name}" for name in self.base if name not in saved]
        unexpected += [f"{prefix}base.{name}" for name in saved if name not in self.base]


class _Call(nn.Module):
    def __init__(self, hyper: Hypernetwork) -> None:
        super().__init__()
        self.hyper = hyper

    def forward(self, function: Callable[[Hypernetwork], T]) -> T:
        return function(self.hyper)


def _key(name: str) -> str:
    # module names may not hold dots
    return name.replace(".", "/")


def _name(key: str) -> str:
    return key.replace("/", ".")
