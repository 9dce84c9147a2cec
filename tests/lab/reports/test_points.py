"""Named points: names lie inside, beside their point, and on no other."""

from __future__ import annotations

import numpy as np
import pytest

from hypertail.lab.reports.lines import Line
from hypertail.lab.reports.points import place_names

NAN = float("nan")


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return min(one[2], other[2]) > max(one[0], other[0]) + 1e-9 and min(one[3], other[3]) > max(one[1], other[1]) + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_names_overlap_neither_each_other_nor_points(seed: int) -> None:
    random = np.random.default_rng(seed)
    centres = [(float(x), float(y)) for x, y in random.uniform((0.3, 0.3), (4.0, 2.6), (10, 2))]
    boxes = place_names([f"Adapter-{i}" for i in range(10)], centres, [0.1] * 10, 4.4, 2.9)
    for index, box in enumerate(boxes):
        assert box[0] >= 0
        assert box[2] <= 4.4
        assert not any(overlap(box, other) for other in boxes[:index])
        assert not any(overlap(box, (x - 0.05, y - 0.05, x + 0.05, y + 0.05)) for x, y in centres)


def test_a_name_that_has_room_stands_to_the_right() -> None:
    ((left, bottom, right, top),) = place_names(["HN-3"], [(1.0, 1.0)], [0.0], 4.0, 3.0)
    assert left > 1.0
    assert (bottom + top) / 2 == pytest.approx(1.0)
    ((left, _, right, _),) = place_names(["HN-3"], [(3.9, 1.0)], [0.0], 4.0, 3.0)
    assert right < 3.9


def test_a_line_is_the_mean_of_the_seeds_that_measured() -> None:
    line = Line("x", np.arange(3.0), np.array([[1.0, 2.0, NAN], [3.0, NAN, NAN], [5.0, 4.0, NAN]]), "#000000")
    np.testing.assert_allclose(line.mean, [3, 3, NAN])
    assert line.spread is not None
    np.testing.assert_allclose(line.spread, [2, np.sqrt(2), NAN])
    np.testing.assert_allclose(line.reach[1:, 0], [1, 5])
    alone = Line("x", np.arange(2.0), np.array([[1.0, 2.0]]), "#000000")
    assert alone.spread is None
    assert np.isnan(alone.reach[1:]).all()
