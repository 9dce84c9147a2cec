"""Tasks as plain models: torch.export, ONNX, safetensors."""

from hypertail.bank.export.export import export_all, export_task
from hypertail.bank.export.served import Served, SharedModel, TaskModel

__all__ = ["Served", "SharedModel", "TaskModel", "export_all", "export_task"]
