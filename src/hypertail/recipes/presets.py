"""The presets: `tuned`, the paper as `printed`, and the authors' `released` code."""

from __future__ import annotations

from hypertail.errors import unknown_name
from hypertail.recipes.method import Method

TUNED = Method()

PRINTED = Method(
    schedule="constant",
    trunk_training="with-tail",
    trunk_epochs=None,
    trunk_rotations=False,
    classifier_lr=None,
    standardise=False,
    init="library",
    virtual_step="sgd",
    penalty_weight=0.5,
    reduction="sum",
    combine="mean",
    output_weight=0.0,
    embedding=32,
    mlp=(50, 32),
    rank=32,
    adapter_rank=0,
    classifier_rank=0,
    reference_steps=1,
    code="additive",
    vectors="gaussian",
    channel_vectors="learned",
    lookahead="first",
    hyper_lr=None,
    task_lr=None,
    curvature=False,
    ewc_weight=1.0,
)

RELEASED = Method(
    schedule="constant",
    trunk_training="with-tail",
    trunk_epochs=None,
    trunk_rotations=False,
    classifier_lr=None,
    trunk_statistics="batch",
    standardise=False,
    norm="instance",
    head_width=10,
    init="library",
    new_embedding="copied",
    virtual_step="sgd",
    penalty_weight=0.5,
    reduction="mean",
    penalty_form="direct",
    combine="sum",
    output_weight=0.0,
    embedding=32,
    mlp=(50, 32),
    rank=32,
    adapter_rank=0,
    classifier_rank=0,
    reference_steps=1,
    code="additive",
    vectors="gaussian",
    channel_vectors="learned",
    lookahead="first",
    hyper_lr=None,
    task_lr=None,
    curvature=False,
    ewc_weight=1.0,
    per_sample=True,
)

PRESETS: dict[str, Method] = {"tuned": TUNED, "printed": PRINTED, "released": RELEASED}
"""By name. Only the switches that concern a strategy matter to it."""


def preset(name: str) -> Method:
    """The preset `name`.

    Raises:
        ConfigError: there is none of that name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]
