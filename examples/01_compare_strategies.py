"""Compare three strategies on the embedded digits, two tasks long, and print the table."""

from pathlib import Path

from hypertail.lab.experiments.config import RunConfig
from hypertail.lab.experiments.run import execute
from hypertail.lab.reports.tables import to_markdown
from hypertail.recipes.method import Method

method = Method(trunk_epochs=5, penalty_weight=0.25, damping=0.3)  # a short stream of few, large steps
runs = [
    execute(RunConfig("digits", name, depth=3, epochs=5, batch_size=32, experiences=2, method=method), Path("runs"))
    for name in ("hn", "lr", "separate")
]
print(to_markdown(runs))
