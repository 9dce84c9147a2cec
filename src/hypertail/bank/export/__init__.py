"""Tasks as plain models: torch.export, ONNX, safetensors."""
