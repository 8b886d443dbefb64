from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.cli.training_options import fraction_of, outer_changes, training_changes
from emerit.errors import UsageError
from emerit.protocol.presets import preset


def test_without_options_nothing_changes() -> None:
    assert training_changes(None, None, None, None) == {}
    assert outer_changes(None, None, None) == {}


def test_what_is_given_is_changed() -> None:
    assert training_changes("muon", "wsd", 50, True) == {
        "optimiser": "muon",
        "schedule": "wsd",
        "planned_rounds": 50,
        "overlap_rounds": 1,
    }
    assert training_changes(None, None, None, False) == {"overlap_rounds": 0}


@pytest.mark.parametrize(
    ("arguments", "changes"),
    [
        (("0.7", None, None), {"lr_numerator": 7, "lr_denominator": 10}),
        ((None, "9/10", None), {"momentum_numerator": 9, "momentum_denominator": 10, "nesterov": True}),
        ((None, "0.5", False), {"momentum_numerator": 1, "momentum_denominator": 2, "nesterov": False}),
        ((None, "0", None), {"momentum_numerator": 0, "momentum_denominator": 1, "nesterov": False}),
    ],
)
def test_the_outer_step_s_options(arguments: tuple[Any, Any, Any], changes: dict[str, Any]) -> None:
    assert outer_changes(*arguments) == changes
    preset("demo").changed({}, changes)


@pytest.mark.parametrize(
    "arguments",
    [
        ("0", None, None),
        ("-1", None, None),
        ("x", None, None),
        ("1/0", None, None),
        ("65536", None, None),
        ("0.00001", None, None),
        (None, "1", None),
        (None, "1.5", None),
        (None, None, True),
        (None, "0", True),
    ],
)
def test_what_cannot_be_is_refused(arguments: tuple[Any, Any, Any]) -> None:
    with pytest.raises(UsageError, match="fraction-invalid"):
        outer_changes(*arguments)


@given(st.integers(0, 65_535), st.integers(1, 65_536))
def test_every_fraction_of_the_manifest_can_be_given(numerator: int, denominator: int) -> None:
    assert fraction_of(f"{numerator}/{denominator}") == Fraction(numerator, denominator)
