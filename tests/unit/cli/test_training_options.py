from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.cli.training_options import fraction_of, outer_changes, training_changes
from emerit.errors import RefusedError, UsageError
from emerit.protocol.presets import preset


def test_without_options_nothing_changes() -> None:
    assert training_changes() == {}
    assert outer_changes() == {}


def test_what_is_given_is_changed() -> None:
    assert training_changes("muon", "wsd", 50, True) == {
        "optimiser": "muon",
        "schedule": "wsd",
        "planned_rounds": 50,
        "overlap_rounds": 1,
    }
    assert training_changes(overlap=False) == {"overlap_rounds": 0}
    changes = training_changes(learning_rate=0.004, feedback_decay=0.7)
    assert changes == {"learning_rate": 0.004, "error_feedback_decay": 0.7}
    made = preset("demo").changed(changes, outer_changes("1.5", divisor_floor=1))
    assert (made.training.error_feedback_decay, made.outer.lr_numerator, made.outer.divisor_floor) == (0.7, 3, 1)


def test_rates_out_of_range_are_refused() -> None:
    for changes in (training_changes(learning_rate=0.0), training_changes(feedback_decay=1.5)):
        with pytest.raises(RefusedError, match="manifest-invalid"):
            preset("demo").changed(changes, {})


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
