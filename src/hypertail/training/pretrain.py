"""The trunk, learned alone on the first experience: a plain model is trained, cut, and its features standardised."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from hypertail.nets import Frozen, Standardise, decompose, slim_resnet18
from hypertail.nets.channels import channel_axis
from hypertail.seeds import seeded
from hypertail.strategies import Naive, Optimisation, Rotations, Strategy
from hypertail.streams import Experience, Stream
from hypertail.training.features import FeatureCache
from hypertail.training.precision import Precision
from hypertail.training.trainer import Progress, Split, Trainer, silent
