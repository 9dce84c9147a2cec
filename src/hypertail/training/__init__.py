"""The engine: trainer, cached features, metrics, checkpoints."""
