"""How often a run is saved, as users say it."""

from __future__ import annotations

import pytest

from hypertail.errors import ConfigError
from hypertail.training.interval import Interval
from support.errors import refused


@pytest.mark.parametrize(
    "text", ["30s", "5min", "1.5h", "2epochs", "0.5s", "1000000s", "0.00001h", "123456789.5s", "1200000epochs"]
)
def test_what_is_parsed_is_spelled_the_same(text: str) -> None:
    assert str(Interval.parse(text)) == text


@pytest.mark.parametrize(
    "text", ["", "5", "min", "0s", "-1s", "1.5epochs", "2weeks", "1e3s", "nan", "99999999999s", "0.0000000001s"]
)
def test_others_are_refused(text: str) -> None:
    with refused(ConfigError, problem="between two checkpoints", required="5min", found=text or "nothing"):
        Interval.parse(text)


@pytest.mark.parametrize(
    ("text", "same"), [("1e+06s", "1000000s"), ("1e-05h", "0.00001h"), ("1.5e+06min", "1500000min")]
)
def test_what_earlier_versions_wrote_is_read(text: str, same: str) -> None:
    assert Interval.parse(text) == Interval.parse(same)


def test_when_it_is_over() -> None:
    assert not Interval.parse("2min").is_over(119.0, 50)
    assert Interval.parse("2min").is_over(120.0, 0)
    assert not Interval.parse("2epochs").is_over(1e6, 1)
    assert Interval.parse("2epochs").is_over(0.0, 2)
    assert Interval.parse("1epoch").is_over(0.0, 1)
