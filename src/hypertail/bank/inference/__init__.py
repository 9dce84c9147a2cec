"""Which task an image belongs to, and whether to any."""

from hypertail.bank.inference.descriptor import Descriptor
from hypertail.bank.inference.inference import TaskInference, known, nearest, posterior, threshold_of

__all__ = ["Descriptor", "TaskInference", "known", "nearest", "posterior", "threshold_of"]
