"""The method of the paper: heads, hypernetwork, partial hypernetwork, penalty and look-ahead."""

from hypertail.hyper.curvature import Curvature
from hypertail.hyper.heads import ChannelHead, LinearHead, SeparableHead, TaskTable
from hypertail.hyper.hypernetwork import Hypernetwork
from hypertail.hyper.lookahead import LookAhead, adam_step, lookahead_gradients, sgd_step
from hypertail.hyper.output_penalty import OutputPenalty
from hypertail.hyper.partial import PartialHypernetwork
from hypertail.hyper.penalty import Penalty, direct_penalty
from hypertail.hyper.roster import Roster
from hypertail.hyper.tails import check_tail
from hypertail.hyper.task_state import TaskState

__all__ = [
    "ChannelHead",
    "Curvature",
    "Hypernetwork",
    "LinearHead",
    "LookAhead",
    "OutputPenalty",
    "PartialHypernetwork",
    "Penalty",
    "Roster",
    "SeparableHead",
    "TaskState",
    "TaskTable",
    "adam_step",
    "check_tail",
    "direct_penalty",
    "lookahead_gradients",
    "sgd_step",
]
