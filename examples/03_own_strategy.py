"""A strategy of one's own, offered like the others: with options, a label, a sentence and a colour.

It trains like naive fine-tuning, but more slowly at every task. `register` makes it known to everything in
`hypertail.lab` and, in a script that calls `hypertail.cli.main`, to the command line.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from torch import nn

from hypertail import Optimisation, Task
from hypertail.lab.experiments.batch import Job, run_batch
from hypertail.lab.experiments.config import RunConfig, expand
from hypertail.lab.reports.html import write_report
from hypertail.lab.reports.tables import to_markdown
from hypertail.recipes import OptionGroup, Parts, Recipe, register
from hypertail.recipes.optimisation import optimisation
from hypertail.recipes.shared import Heads, Optimiser
from hypertail.strategies import Lesson, Naive


class Cautious(Naive):
    """Divides the learning rate by a power of the number of the task."""

    def __init__(self, model: nn.Module, first: Optimisation, power: float, seed: int = 0) -> None:
        super().__init__(model, first, seed=seed)
        self.first, self.power = first, power

    def begin(self, task: Task) -> Lesson:
        self.optimisation = replace(self.first, lr=self.first.lr / (len(self.tasks) + 1) ** self.power)
        return super().begin(task)


@dataclass(frozen=True)
class Caution(OptionGroup):
    """How cautious it is."""

    heading: ClassVar[str] = "caution"

    caution: float = 1.0
    """Power of the number of the task that the learning rate is divided by."""


def build(parts: Parts) -> Cautious:
    # the optimiser that --lr, --schedule and --optimizer-state ask for
    return Cautious(parts.model, optimisation(parts.options), parts.options[Caution].caution, parts.seed)


register(
    Recipe(
        name="cautious",
        label="Cautious",
        what="trains like naive, but slower at every task.",
        order=0.5,
        colours=("#c2527a",),
        groups=(Optimiser, Heads, Caution),
        build=build,
    )
)

if __name__ == "__main__":
    base = RunConfig("digits", "naive", epochs=3, batch_size=32, experiences=2)
    configs = expand(["naive", "cautious"], [], [0], base, {"trunk_epochs": 3, "caution": 0.5})
    runs = run_batch([Job(config, Path("runs", config.run_name), config.label, "replace") for config in configs])
    print(to_markdown(runs))
    print(write_report(runs, "report.html"))
