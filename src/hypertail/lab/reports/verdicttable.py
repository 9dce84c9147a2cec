"""A verdict as a table, the best method first."""

from __future__ import annotations

from hypertail.lab.reports.paired import DAGGER, TRAINED_AGAIN
from hypertail.lab.reports.tables import MISSING, Table, human_bytes, with_spread
from hypertail.lab.reports.verdict import Mark, Method, Rival, Verdict
from hypertail.lab.reports.verdictwords import sentences

COLUMNS = ("method", "n", "ACA %", "forgetting %", "bytes a task", "bytes own", "to the best", "verdict")

_WORDS: dict[Mark, str] = {
    "best": "best",
    "within spread": "within",
    "beyond spread": "behind",
    "spread unknown": "one seed",
    "not paired": "not paired",
    "reference": "all data",
}
_STAR = " *"


def verdict_table(verdict: Verdict) -> Table:
    """A row for each method: what it reaches, what it takes, and its paired difference to the best, in points."""
    rows = tuple(_row(verdict, method) for method in verdict.methods)
    return Table(verdict.conditions.words(verdict.runs), COLUMNS, rows, _notes(verdict))


def _row(verdict: Verdict, method: Method) -> tuple[str, ...]:
    mark, rival, own = verdict.mark(method), verdict.rival(method), method.own_bytes
    words = _WORDS[mark]
    if rival is not None and mark == "not paired":
        words = rival.unpaired or words
    if rival is not None and mark == "beyond spread" and rival.by > 0:
        words = "ahead on common seeds"
    return (
        method.name + _STAR * method.keeps_data,
        f"{method.aca.n}",
        with_spread(method.aca, 100.0),
        with_spread(method.forgetting, 100.0),
        MISSING if method.sees_all_data else human_bytes(method.bytes_a_task),
        MISSING if method.sees_all_data or own is None else human_bytes(own),
        MISSING if rival is None else _signed(rival),
        words,
    )


def _signed(rival: Rival) -> str:
    difference = rival.difference
    if difference is None:
        return f"({_sign(rival.gap)})"
    spread = "" if difference.std is None else f" ± {100 * difference.std:.1f}"
    return _sign(difference.mean) + spread + f" {DAGGER}" * difference.trained_again


def _sign(value: float) -> str:
    text = f"{100 * value:+.1f}"
    return text[1:] if float(text) == 0 else text


def _notes(verdict: Verdict) -> tuple[str, ...]:
    rivals = [rival for method in verdict.methods if (rival := verdict.rival(method)) is not None]
    differences = [rival.difference for rival in rivals]
    single = [difference for difference in differences if difference is not None and difference.std is None]
    found = []
    again = any(difference is not None and difference.trained_again for difference in differences)
    if rivals:
        shared = f"data, and without {DAGGER} on the same trunk" if again else "data and trunk"
        found.append(
            f"To the best: the mean difference in points, paired by seed on the same {shared}, ± the standard "
            "deviation of the differences. Within: within the spread, no more than two of these deviations."
        )
    if again or any(DAGGER in sentence for sentence in sentences(verdict)):
        found.append(TRAINED_AGAIN)
    if single:
        found.append("One seed: the spread is unknown, and the difference may be chance.")
    if None in differences:
        found.append("In brackets: the difference of the means, of runs that are no pairs.")
    found.append(
        "Bytes a task: all that is kept between tasks, frozen layers excepted, divided by tasks. "
        "Bytes own: what each further task was seen to add."
    )
    if any(method.is_hypernetwork for method in verdict.methods):
        found.append("A hypernetwork has room for all tasks from the start: its bytes own are among the rest.")
    if any(method.keeps_data for method in verdict.methods):
        found.append("* It stores old data.")
    return tuple(found)
