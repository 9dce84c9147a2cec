"""Compare three strategies on the embedded digits, two tasks long, and print the table."""

from pathlib import Path

from hypertail.lab.experiments.batch import Job, run_batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.reports.tables import to_markdown

base = RunConfig("digits", "naive", epochs=5, batch_size=32, experiences=2)
options = {"trunk_epochs": 5, "penalty_weight": 0.25, "damping": 0.3}  # a short stream of few, large steps
configs = expand(["hn-3", "replay-3", "separate-3"], [], [0], base, options)
runs = run_batch([Job(config, Path("runs", config.run_name), config.label, "replace") for config in configs])
print(to_markdown(runs))
