"""The ledger: each row one run that differs in what it says, and the effect beside it."""

from __future__ import annotations

import pytest

from hypertail.lab.experiments.describe import described
from hypertail.lab.experiments.library import distinct
from hypertail.lab.reports.papertable import Number
from hypertail.lab.reproduce.setting import Setting
from hypertail.lab.reproduce.tables import ablation
from support.made_runs import all_finished

CPU = Setting(seeds=(0,))


@pytest.mark.parametrize("preset", ["tuned", "printed"])
def test_every_row_is_another_run(preset: str) -> None:
    plan = ablation.plan(Setting(preset=preset))
    assert len(distinct(plan)) == len(plan) > 10
    assert {(config.label, config.experiences) for config in plan} == {("HN-3", ablation.EXPERIENCES)}


def test_rows_differ_from_the_preset_in_their_switches_alone() -> None:
    base, *others = ablation.plan(CPU)
    changes = [base.with_options(**change.options) for change in ablation.CHANGES]
    assert others[:-1] == changes  # none of them is what the preset does anyway
    assert others[-1].preset == "printed"
    assert len({described(config) for config in (base, *others[:-1])}) == len(others)


def test_a_change_to_what_the_preset_does_is_no_row() -> None:
    rows = {described(config) for config in ablation.plan(Setting(preset="printed"))}
    assert "HN-3 (rank 32)" not in rows
    assert "HN-3 (lookahead none)" not in rows


def test_where_no_convolution_is_generated_rows_about_them_are_left_out() -> None:
    assert {described(config).partition(" ")[2] for config in ablation.plan(Setting(strategies=("hn-4",)))}.isdisjoint(
        {"(norm instance)", "(rank 32)", "(vectors gaussian)", "(channel-vectors learned)", "(code product)"}
    )


def test_effects_are_points_of_accuracy_seed_by_seed() -> None:
    setting = Setting(seeds=(0, 1))
    runs = all_finished(ablation.plan(setting))
    (table,) = ablation.render(setting, runs).tables
    first, second = table.rows[:2]
    assert (first[0], str(first[4])) == ("preset tuned", "0.0 ± 0.0")
    (changed_runs,) = [row for row in table.rows if row[0] == "trunk learns classes alone, no rotations"]
    assert changed_runs == second
    effect = second[4]
    assert isinstance(effect, Number)
    own = [run for run in runs if not run.config.options.get("trunk_rotations") and run.config.preset == "tuned"]
    expected = [
        100 * ((run.run.metrics["aca"] or 0) - (before.run.metrics["aca"] or 0))
        for run, before in zip(own, runs[:2], strict=True)
    ]
    assert effect.mean == pytest.approx(sum(expected) / 2)


def test_what_is_missing_leaves_a_gap() -> None:
    runs = all_finished(ablation.plan(CPU))
    (table,) = ablation.render(CPU, runs[1:]).tables
    assert table.rows[0][1:] == (None,) * 5
    assert all(row[4] is None for row in table.rows)
    assert all(isinstance(row[1], Number) for row in table.rows[1:])


def test_smoke_tries_few() -> None:
    plan = ablation.plan(Setting(scale="smoke"))
    assert len(plan) == 4
    assert {config.stream for config in plan} == {"digits"}
    assert ablation.plan(Setting(streams=("split-tinyimagenet",))) == ()
