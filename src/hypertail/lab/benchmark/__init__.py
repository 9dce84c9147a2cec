"""The benchmark: seconds per step of every mode and model, side by side (benchmarks/README.md)."""
