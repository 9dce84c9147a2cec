"""The certificate: for every task, whether what answers for it is what was learned, and what moved where it is not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from hypertail.bank.certificate.page import certificate_page

Standing = Literal["identical", "rounding", "moved", "damaged"]

ROUNDING = 1e-4
"""Logits that differ by no more on another machine or number of threads are called equal but for rounding."""


@dataclass(frozen=True)
class TaskCheck:
    """What was found of one task.

    Attributes:
        task: its name.
        standing: `identical`: every stored bit that answers for it is as it was when it was last learned, and its
            answers to the probes are equal to the bit; `rounding`: the bits are, and the answers differ by rounding
            alone, as on another machine; `moved`: something shared has changed; `damaged`: a file that answers for it
            cannot be read, its own or a shared one.
        files_identical: whether the stored bits are those.
        probes: how many inputs were compared.
        answers_changed: for how many the first answer is another one.
        logit_change: the largest change of a logit.
        weight_change: relative change of the tail's weights; 0 where the stored bits are the same.
        accuracy: on the test data that was given; None without.
        accuracy_then: on held-out images when it was last learned or extended; None where there is none. They are other
            images than those of `accuracy`.
        passed: within the budget.
        images: of `accuracy`.
        images_then: of `accuracy_then`; 0 where that is not known.
    """

    task: str
    standing: Standing
    files_identical: bool
    probes: int
    answers_changed: int
    logit_change: float
    weight_change: float
    accuracy: float | None
    accuracy_then: float | None
    passed: bool
    images: int = 0
    images_then: int = 0


def damaged_check(task: str) -> TaskCheck:
    """The check of a task of which a file is damaged or missing, its own or a shared one: nothing answers for it."""
    return TaskCheck(task, "damaged", False, 0, 0, 0.0, 0.0, None, None, False)


@dataclass(frozen=True)
class Certificate:
    """The checks of all tasks.

    Attributes:
        bank: digest of the manifest that was checked.
        generation: of the bank.
        when: ISO date and time, UTC.
        budget: share of answers of a task that may be another one.
        backbone_identical: whether trunk and body are bit for bit those that the bank was made with.
        backbone: digest of trunk and body; "" where the bank keeps them and their file is damaged.
        software: versions and hardware.
        checks: one for each task.
    """

    bank: str
    generation: int
    when: str
    budget: float
    backbone_identical: bool
    backbone: str
    software: dict[str, str]
    checks: tuple[TaskCheck, ...]

    @property
    def passed(self) -> bool:
        """Whether all tasks did, on the backbone that they were learned on."""
        return self.backbone_identical and all(check.passed for check in self.checks)

    def __str__(self) -> str:
        """One line."""
        count = len(self.checks)
        unchanged = sum(check.standing not in ("moved", "damaged") for check in self.checks)
        words = "passed" if self.passed else "FAILED"
        return f"{words}: {unchanged} of {count} tasks answer as they were learned (generation {self.generation})"

    def to_json(self) -> dict[str, Any]:
        """As JSON can hold it."""
        return {
            "format": "hypertail-certificate",
            "version": 1,
            "passed": self.passed,
            **{name: value for name, value in asdict(self).items() if name != "checks"},
            "checks": [asdict(check) for check in self.checks],
        }

    def page(self) -> str:
        """An HTML page for people who check others' work; it holds no script."""
        return certificate_page(self.to_json())
