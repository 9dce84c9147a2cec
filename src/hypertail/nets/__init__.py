"""Main models and their decomposition into trunk and tail."""

from hypertail.nets.channels import channel_axis
from hypertail.nets.classifier import classifier_of
from hypertail.nets.cut import check_cut
from hypertail.nets.decompose import decompose, stage_names
from hypertail.nets.fold import folded
from hypertail.nets.frozen import Frozen
from hypertail.nets.resnet import slim_resnet18
from hypertail.nets.standardise import Standardise
from hypertail.nets.tensors import BufferDict, BuffersOfTasks, count_parameters, nbytes

__all__ = [
    "BufferDict",
    "BuffersOfTasks",
    "Frozen",
    "Standardise",
    "channel_axis",
    "check_cut",
    "classifier_of",
    "count_parameters",
    "decompose",
    "folded",
    "nbytes",
    "slim_resnet18",
    "stage_names",
]
