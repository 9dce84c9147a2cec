"""The partial hypernetwork: its options, and how they make a strategy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import nn
from tyro.conf import arg

from hypertail.errors import ConfigError, check_range
from hypertail.hyper import Curvature, Hypernetwork, LookAhead
from hypertail.hyper.heads import CodeName, Vectors
from hypertail.hyper.hypernetwork import Initialisation, NewEmbedding
from hypertail.hyper.lookahead import Combine
from hypertail.hyper.penalty import Reduction
from hypertail.nets.models import Cut
from hypertail.nets.resnet import Norm
from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.options import OptionGroup, Options
from hypertail.recipes.recipe import Parts, Recipe, around, begins_pretrained, check_trunk, frozen_trunk_idle
from hypertail.recipes.shared import FirstExperience, FrozenTrunk, Heads, Optimiser, ShortTasks, TailStart
from hypertail.seeds import seeded
from hypertail.strategies import OutputPenalty, Pace, PartialHypernet, Strategy
from hypertail.strategies.partial_hypernet import ChannelVectors, PenaltyForm, VirtualStepName
from hypertail.strategies.tuned import ClassifierOf, tail_defaults


@dataclass(frozen=True)
class Generator(OptionGroup):
    """The hypernetwork, and what each task keeps for itself."""

    heading: ClassVar[str] = "hypernetwork"

    hyper_lr: float | None = None
    """Learning rate of the hypernetwork (beta in Eq. 6); None: 3e-3, above a pretrained tail 3e-4."""
    task_lr: float | None = 1e-2
    """Learning rate of what belongs to one task alone, tables and adapters; None: that of the hypernetwork."""
    norm: Norm = "batch"
    """Normalisation in a generated tail: batch (statistics kept per task), or instance (no statistics)."""
    embedding: Annotated[int, arg(metavar="N")] = 32
    """Size of the task embedding."""
    mlp: Annotated[tuple[int, int], arg(metavar="N N")] = (50, 32)
    """Sizes of the hypernetwork's two hidden layers."""
    rank: Annotated[int, arg(metavar="N")] = 36
    """Size d of the vector of each output channel in channel-wise heads."""
    code: CodeName = "additive"
    """How channel-wise heads join task and channel: additive (as published) or product."""
    vectors: Vectors = "orthogonal"
    """The vectors e_r of channel-wise heads start as orthogonal columns, or gaussian from N(0, 1)."""
    channel_vectors: ChannelVectors = "fixed"
    """The vectors e_r of channel-wise heads: learned throughout, or fixed after e_1."""
    adapter_rank: Annotated[int | None, arg(metavar="N")] = None
    """Rank of each task's adapters of generated matrices (0: none); None: 16 for one block, 8 for more."""
    classifier_rank: Annotated[int | None, arg(metavar="N")] = None
    """Rank of each task's adapter of the classifier (0: none); None: 2 for a lone classifier, else 0."""
    classifier: ClassifierOf | None = None
    """The classifier weight of a task is generated, or its own; None: own above a pretrained tail, else generated."""
    init: Initialisation = "he"
    """Initial scale of generated weights: he (variance 2 / fan-in) or library (torch's defaults)."""
    new_embedding: NewEmbedding = "fresh"
    """Embedding of a new task: fresh from N(0, 1), or copied from the previous task."""
    per_sample: bool = False
    """Generate one weight set for every sample, as the authors' code does (needs norm instance)."""

    def __post_init__(self) -> None:
        for name in ("embedding", "rank"):
            check_range(f"--{name}", getattr(self, name), 1)
        for size in self.mlp:
            check_range("--mlp", size, 1)
        check_range("--adapter-rank", self.adapter_rank, 0)
        check_range("--classifier-rank", self.classifier_rank, 0)
        check_range("--hyper-lr", self.hyper_lr, 0, above=True)
        check_range("--task-lr", self.task_lr, 0, above=True)
        if self.per_sample and self.norm != "instance":
            raise ConfigError(
                "one weight set per sample",
                required="norm instance, which keeps no statistics",
                found=f"norm {self.norm}",
                hint="Use --norm instance or --no-per-sample.",
            )


@dataclass(frozen=True)
class Regularisation(OptionGroup):
    """What keeps the answers for earlier tasks: a penalty on generated weights, and one on their outputs."""

    heading: ClassVar[str] = "penalty on earlier tasks"

    penalty_weight: float | None = None
    """Lambda of the weight-space penalty (Eq. 7); None: 0.0015 (a lone classifier: 0.03)."""
    reduction: Reduction = "sum"
    """The penalty is a sum or a mean over earlier tasks."""
    penalty_form: PenaltyForm = "closed"
    """closed: flat in the number of tasks; direct: regenerates every earlier task at each step."""
    curvature: bool = True
    """Weigh the penalty by the curvature of earlier tasks' logits (Kronecker factors), not all weights alike."""
    damping: float | None = None
    """Share of its mean added to the diagonal of a curvature factor; None: 0.03 (a lone classifier: 0.3)."""
    output_weight: float = 0.3
    """Weight of the output regularisation on earlier tasks (0: none)."""
    output_tasks: Annotated[int, arg(metavar="N")] = 1
    """Earlier tasks drawn at each step for the output regularisation."""
    output_share: Annotated[float, arg(metavar="SHARE")] = 0.25
    """Part of the batch that the output regularisation uses."""

    def __post_init__(self) -> None:
        check_range("--penalty-weight", self.penalty_weight, 0)
        check_range("--damping", self.damping, 0)
        check_range("--output-weight", self.output_weight, 0)
        check_range("--output-tasks", self.output_tasks, 1)
        check_range("--output-share", self.output_share, 0, 1, above=True)
        if self.curvature and self.penalty_form == "direct":
            raise ConfigError(
                "penalty weighed by curvature",
                required="the closed form of the penalty",
                found="penalty-form direct",
                hint="Use --penalty-form closed or --no-curvature.",
            )


@dataclass(frozen=True)
class Steps(OptionGroup):
    """How the two gradients make a step."""

    heading: ClassVar[str] = "look-ahead"
    records: ClassVar[frozenset[str]] = frozenset({"record_cosine"})

    lookahead: LookAhead = "none"
    """No, first- or second-order look-ahead."""
    virtual_step: VirtualStepName = "optimizer"
    """The virtual step of the look-ahead: sgd at the learning rate, or the step the real optimizer would take."""
    combine: Combine = "mean"
    """The two gradients are joined by their mean or their sum."""
    record_cosine: bool = False
    """Keep the cosine between the two gradients at every step (Figure 12)."""


def generator_of(options: Options, tail: nn.Module, tasks: int, *, adds: bool = False) -> Hypernetwork:
    """A hypernetwork for `tail` with the sizes that the options, none of them left open, say.

    Args:
        options: of the run.
        tail: gives names, shapes and initial values.
        tasks: for so many there is room.
        adds: what is generated is added to the weights of `tail`.
    """
    sizes = options[Generator]
    return Hypernetwork.for_tail(
        tail,
        tasks,
        embedding=sizes.embedding,
        mlp=sizes.mlp,
        rank=sizes.rank,
        code=sizes.code,
        vectors=sizes.vectors,
        adapter_rank=sizes.adapter_rank or 0,
        classifier_rank=sizes.classifier_rank or 0,
        init=sizes.init,
        base=dict(tail.named_parameters()) if adds else {},
        own_classifier=sizes.classifier == "own",
    )


def _build(parts: Parts) -> Strategy:
    trunk, tail, cut = parts.at_cut()
    options, values = parts.options, parts.options.flat()
    generator, regularisation, steps = options[Generator], options[Regularisation], options[Steps]
    adds = begins_pretrained(options, cut)
    if adds:
        trunk, tail = parts.from_own_tail()
    with seeded(parts.seed, "hypernetwork"):
        hyper = generator_of(options, tail, len(parts.stream), adds=adds).to(parts.device)
    rates = {"trunk": options[Optimiser].lr}
    # nothing but the bias belongs to a task where a classifier is generated whole
    if generator.task_lr is not None and not (cut.is_classifier and not generator.classifier_rank):
        rates["task"] = generator.task_lr
    output = OutputPenalty(regularisation.output_weight, regularisation.output_tasks, regularisation.output_share)
    return PartialHypernet(
        trunk,
        tail,
        hyper,
        optimisation(options, generator.hyper_lr, rates),
        penalty_weight=values["penalty_weight"],
        pace=Pace(values["reference_steps"]),
        reduction=regularisation.reduction,
        penalty_form=regularisation.penalty_form,
        lookahead=steps.lookahead,
        virtual_step=steps.virtual_step,
        combine=steps.combine,
        new_embedding=generator.new_embedding,
        channel_vectors=generator.channel_vectors,
        output=output if regularisation.output_weight else None,
        curvature=Curvature(values["damping"]) if regularisation.curvature else None,
        per_sample=generator.per_sample,
        record_cosine=steps.record_cosine,
        seed=parts.seed,
    )


def _defaults(options: Options, cut: Cut | None) -> dict[str, Any]:
    if cut is None:
        return {}
    usual = tail_defaults(cut.tail, pretrained=begins_pretrained(options, cut))
    return {
        "hyper_lr": usual.hyper_lr,
        "classifier": usual.classifier,
        "penalty_weight": usual.penalty_weight,
        "damping": usual.damping,
        "adapter_rank": usual.adapter_rank,
        "classifier_rank": usual.classifier_rank,
        "reference_steps": usual.reference_steps,
    }


def _idle(options: Options, cut: Cut | None) -> set[str]:
    idle = frozen_trunk_idle(options, cut)
    if options[Steps].lookahead == "none":
        idle.add("virtual_step")
    if not options[Regularisation].curvature:
        idle.add("damping")
    if options[Generator].classifier == "own":
        idle.add("classifier_rank")
        if begins_pretrained(options, cut):  # every head begins at zero
            idle.add("init")
    if options[Regularisation].output_weight == 0:
        idle |= {"output_tasks", "output_share"}
    if cut is not None and cut.is_classifier:  # no channel-wise head, no adapter of one
        idle |= {"rank", "adapter_rank", "code", "vectors", "channel_vectors"}
    return idle


def _check(options: Options, cut: Cut | None, pixels: int | None) -> None:
    check_trunk(options, cut, pixels)
    if options[Generator].norm == "instance" and pixels is not None and pixels < 9:
        raise ConfigError(
            "image size under instance normalisation",
            required="9 pixels a side or more, so that more than one pixel is left in the last block",
            found=str(pixels),
            hint="Use a larger --image-size, or --norm batch.",
        )


def _space(options: Options) -> dict[str, tuple[Any, ...]]:
    generator, weight = options[Generator], options[Regularisation].penalty_weight
    rate = generator.hyper_lr
    sizes = sorted({max(1, generator.embedding // 2), generator.embedding, 2 * generator.embedding})
    space: dict[str, tuple[Any, ...]] = {} if rate is None else {"hyper_lr": around(rate, 3)}
    if weight is not None:
        space["penalty_weight"] = around(weight, 5)
    return {**space, "embedding": tuple(sizes)}


_PRINTED: dict[str, Any] = {
    "hyper_lr": 1e-3,
    "classifier": "generated",
    "task_lr": None,
    "rank": 32,
    "vectors": "gaussian",
    "channel_vectors": "learned",
    "adapter_rank": 0,
    "classifier_rank": 0,
    "init": "library",
    "penalty_weight": 0.5,
    "curvature": False,
    "output_weight": 0.0,
    "lookahead": "first",
    "virtual_step": "sgd",
}
_RELEASED: dict[str, Any] = {
    **_PRINTED,
    "norm": "instance",
    "new_embedding": "copied",
    "per_sample": True,
    "reduction": "mean",
    "penalty_form": "direct",
    "combine": "sum",
}

RECIPE = Recipe(
    name="hn",
    label="HN",
    what=(
        "partial hypernetwork: the first k blocks are frozen, and a hypernetwork generates the weights of the rest for "
        "each experience; no old data is kept. HN-F generates everything."
    ),
    order=3,
    colours=("#6f5fd0", "#5372d6", "#2f83d0", "#1c8cb2", "#16918b"),
    groups=(Optimiser, FirstExperience, FrozenTrunk, TailStart, Heads, ShortTasks, Generator, Regularisation, Steps),
    build=_build,
    has_depth=True,
    full=True,
    norm_follows="norm",
    short=(
        "hypernet",
        "hypernetwork",
        "partial-hypernet",
        "partial-hypernetwork",
        "full-hypernet",
        "full-hypernetwork",
    ),
    presets={"printed": _PRINTED, "released": _RELEASED},
    defaults=_defaults,
    idle=_idle,
    check=_check,
    space=_space,
)
