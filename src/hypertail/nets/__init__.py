"""Main models and their decomposition into trunk and tail."""

from hypertail.nets.channels import channel_axis
from hypertail.nets.cut import check_cut
from hypertail.nets.decompose import decompose, stage_names
from hypertail.nets.fold import folded
from hypertail.nets.frozen import Frozen
from hypertail.nets.resnet import slim_resnet18
from hypertail.nets.standardise import Standardise

__all__ = [
    "Frozen",
    "Standardise",
    "channel_axis",
    "check_cut",
    "decompose",
    "folded",
    "slim_resnet18",
    "stage_names",
]
