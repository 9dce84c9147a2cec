"""Strategies: algorithms that learn a stream of experiences."""

from hypertail.hyper import OutputPenalty
from hypertail.strategies.adapters import Adapters
from hypertail.strategies.ewc import EWC
from hypertail.strategies.joint import Joint
from hypertail.strategies.latent_replay import LatentReplay
from hypertail.strategies.lda import Lda
from hypertail.strategies.lwf import LwF
from hypertail.strategies.naive import Naive
from hypertail.strategies.partial_hypernet import PartialHypernet
from hypertail.strategies.parts.optimisation import Optimisation
from hypertail.strategies.parts.pace import Pace
from hypertail.strategies.parts.trunk import Trunk
from hypertail.strategies.rotations import Rotations
from hypertail.strategies.separate import Separate
from hypertail.strategies.strategy import InfersTask, Lesson, Strategy, Task
from hypertail.strategies.tuned import TailDefaults, tail_defaults, tuned_hypernet

__all__ = [
    "EWC",
    "Adapters",
    "InfersTask",
    "Joint",
    "LatentReplay",
    "Lda",
    "Lesson",
    "LwF",
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
