"""The engine: loops over a stream and over one experience, cached features, metrics and checkpoints."""

from hypertail.storage.checkpoint import load_checkpoint, save_checkpoint
from hypertail.training.features.cache import FeatureCache
from hypertail.training.loop import learn_experience
from hypertail.training.pretrain import train_trunk
from hypertail.training.result import Result
from hypertail.training.trainer import Trainer

__all__ = ["FeatureCache", "Result", "Trainer", "learn_experience", "load_checkpoint", "save_checkpoint", "train_trunk"]
