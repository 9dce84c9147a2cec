"""Strategies: algorithms that learn a stream of experiences."""

from hypertail.strategies.bounds import Joint, Separate
from hypertail.strategies.ewc import EWC
from hypertail.strategies.latent_replay import LatentReplay
from hypertail.strategies.naive import Naive
from hypertail.strategies.optimisation import Optimisation
from hypertail.strategies.output_penalty import OutputPenalty
from hypertail.strategies.pace import Pace
from hypertail.strategies.partial_hypernet import PartialHypernet
from hypertail.strategies.rotations import Rotations
from hypertail.strategies.strategy import Strategy, Task
from hypertail.strategies.trunk import Trunk
from hypertail.strategies.tuned import TailDefaults, tail_defaults, tuned_hypernet

__all__ = [
    "EWC",
    "Joint",
    "LatentReplay",
    "Naive",
    "Optimisation",
    "OutputPenalty",
    "Pace",
    "PartialHypernet",
    "Rotations",
    "Separate",
    "Strategy",
    "TailDefaults",
    "Task",
    "Trunk",
    "tail_defaults",
    "tuned_hypernet",
]
