"""When two runs are the same run: they agree in everything that matters to their strategy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_HYPERNETWORK = (
    *("hyper_lr", "task_lr", "norm", "embedding", "mlp", "rank", "adapter_rank", "code", "vectors"),
    *("classifier_rank", "channel_vectors", "init", "new_embedding"),
    *("penalty_weight", "reduction", "penalty_form", "lookahead", "virtual_step", "combine"),
    *("curvature", "damping", "output_weight", "output_tasks", "output_share", "per_sample"),
)
_WITH_TRUNK = ("lr", "hn", "separate")

CONCERNS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(_HYPERNETWORK, ("hn",)),
    **dict.fromkeys(("buffer", "buffer_policy", "replay_batch", "replay_coefficient"), ("lr",)),
    **dict.fromkeys(("ewc_weight", "fisher_samples"), ("ewc",)),
    **dict.fromkeys(("trunk_training", "trunk_rotations", "trunk_statistics", "standardise", "views"), _WITH_TRUNK),
    "trunk_epochs": ("naive", "ewc", *_WITH_TRUNK),
    "classifier_lr": ("lr", "separate"),
    "reference_steps": ("hn", "separate"),
    **dict.fromkeys(("preset", "eval_every", "record_cosine"), ()),
}
"""Option -> the strategies whose outcome it decides; one that is not listed decides that of all.

A preset is no more than the name of its switches; the last two decide what is recorded, not what happens.
"""

IDLE: Mapping[str, tuple[tuple[str, Any], ...]] = {
    # left out of the identity where there is no limit, as it was before there could be one
    "images_per_class": (("images_per_class", None),),
    "virtual_step": (("lookahead", "none"),),
    "damping": (("curvature", False),),
    "output_tasks": (("output_weight", 0),),
    "output_share": (("output_weight", 0),),
    # without frozen blocks no trunk is trained
    **dict.fromkeys(("trunk_training", "trunk_statistics", "standardise", "trunk_epochs"), (("depth", 0),)),
    "trunk_rotations": (("depth", 0), ("trunk_training", "with-tail")),
    # at depth 4 no convolution is generated
    **dict.fromkeys(("rank", "adapter_rank", "code", "vectors", "channel_vectors"), (("depth", 4),)),
    "classifier_lr": tuple(("depth", depth) for depth in range(4)),
}
"""Option -> other options with the values that leave it without effect."""


def identity(content: Mapping[str, Any]) -> dict[str, Any]:
    """What decides the outcome of a run.

    Args:
        content: its options, nested as `RunConfig.to_json` gives them, what follows from the depth filled in.
    """
    flat = {**content, **content["method"]}
    del flat["method"]
    if flat["trunk_epochs"] is None:
        flat["trunk_epochs"] = flat["epochs"]
    strategy = flat["strategy"]
    return {
        name: value
        for name, value in flat.items()
        if strategy in CONCERNS.get(name, (strategy,))
        and not any(flat[other] == idle for other, idle in IDLE.get(name, ()))
    }
