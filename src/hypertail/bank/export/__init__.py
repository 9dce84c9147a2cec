"""Tasks as plain models: torch.export, ONNX, safetensors."""

from hypertail.bank.export.export import Format, export_all, export_task
from hypertail.bank.export.served import Served, SharedModel, TaskModel

__all__ = ["Format", "Served", "SharedModel", "TaskModel", "export_all", "export_task"]
