"""hypertail: continual learning with partial hypernetworks.

A network learns task after task: its first layers (trunk) are learned once and frozen, a hypernetwork generates the
last layers (tail) for each task, and a penalty on its outputs for earlier tasks keeps them from changing.

Streams:       `build_stream`, `Stream`, `Experience`, `Examples`
Main models:   `slim_resnet18`, `decompose`
The method:    `Hypernetwork`, `PartialHypernetwork`, `Penalty`, `lookahead_gradients`
Strategies:    `Naive`, `EWC`, `LatentReplay`, `PartialHypernet`, `Separate`, `Joint`; their parts `Strategy`, `Task`,
               `Optimisation`, `Trunk`
Training:      `Trainer`, `Result`, `FeatureCache`
Errors:        `HypertailError` and its kinds in `hypertail.errors`

Configuration, tables, figures and reports are in `hypertail.lab`.
"""

from hypertail.errors import HypertailError
from hypertail.hyper import Hypernetwork, PartialHypernetwork, Penalty, lookahead_gradients
from hypertail.nets import decompose, slim_resnet18
from hypertail.strategies import (
    EWC,
    Joint,
    LatentReplay,
    Naive,
    Optimisation,
    PartialHypernet,
    Separate,
    Strategy,
    Task,
    Trunk,
)
from hypertail.streams import Examples, Experience, Stream, build_stream
from hypertail.training import FeatureCache, Result, Trainer

__version__ = "0.1.0"

__all__ = [
    "EWC",
    "Examples",
    "Experience",
    "FeatureCache",
    "Hypernetwork",
    "HypertailError",
    "Joint",
    "LatentReplay",
    "Naive",
    "Optimisation",
    "PartialHypernet",
    "PartialHypernetwork",
    "Penalty",
    "Result",
    "Separate",
    "Strategy",
    "Stream",
    "Task",
    "Trainer",
    "Trunk",
    "build_stream",
    "decompose",
    "lookahead_gradients",
    "slim_resnet18",
]
