"""What weights rest on comes back from evidence to the bit, and a stranger's is refused with a reason."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.strangers_json import read_json
from emerit.scoring.basis import Basis, read_basis
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.vector import evidence_bytes

losses = st.floats(-1e9, 1e9)
figures = st.one_of(losses, st.sampled_from([math.inf, -math.inf, math.nan]))
slots = st.integers(0, 255)
standings = st.builds(Standing, losses, st.floats(0, 1e9), st.just(0.0) | st.floats(1, 100), st.floats(-1, 1))
histories = st.dictionaries(slots, standings, max_size=3).map(ScoreHistory)
pairs = st.tuples(figures, figures)
measurements = st.dictionaries(slots, st.tuples(pairs, pairs, st.none() | pairs, st.none() | pairs), max_size=3).map(
    lambda found: {
        slot: Measurement(slot, *random, *own, *(whole or (None, 0.0)), adjusted)
        for slot, (random, own, whole, adjusted) in found.items()
    }
)
bases = st.builds(
    Basis,
    st.floats(0, 1e9),
    st.one_of(st.none(), st.floats(0, 1e9)),
    measurements,
    histories,
    histories,
    st.lists(st.tuples(st.integers(0, 99), st.integers(-1, 255)), max_size=3).map(tuple),
    st.dictionaries(slots, st.integers(0, 1 << 31), max_size=3),
)


@given(bases)
def test_a_basis_survives_evidence_to_the_bit(basis: Basis) -> None:
    data = evidence_bytes({"basis": basis.to_dict()})
    found = read_basis(read_json(data)["basis"])
    assert repr(sorted(found.measured.items())) == repr(sorted(basis.measured.items())), "nan is not equal to itself"
    assert (found.base_loss, found.health, found.compared_with, found.shut_out) == (
        basis.base_loss,
        basis.health,
        basis.compared_with,
        basis.shut_out,
    )
    assert (found.before.standings, found.after.standings) == (basis.before.standings, basis.after.standings)
    assert evidence_bytes({"basis": found.to_dict()}) == data


GOOD: dict[str, Any] = Basis(
    3.25, 0.0, {4: Measurement(4, 0.1, 0.01, 0.2, 0.02)}, ScoreHistory({4: Standing(0.5, 0.1, 1.0, 0.5)})
).to_dict()


@pytest.mark.parametrize(
    "change",
    [
        {"base_loss": 3.25},
        {"base_loss": "nan"},
        {"base_loss": "3.25 "},
        {"base_loss": "1e10"},
        {"base_loss": "٣.25"},
        {"base_loss": "9" * 400},
        {"health": "inf"},
        {"measured": []},
        {"measured": {"4": ["0.1"] * 7}},
        {"measured": {"04": ["0.1"] * 8}},
        {"measured": {"4": ["0.1"] * 7 + [None]}},
        {"measured": {"4": [None] * 8}},
        {"measured": {"4": ["0.1"] * 7 + [{}]}},
        {"compared_with": [[0, -2]]},
        {"compared_with": [[-1, 0]]},
        {"compared_with": [3]},
        {"compared_with": [[True, 0]]},
        {"compared_with": None},
        {"history_before": {}},
        {"history_before": {"version": 1, "trainers": {"4": {"gain_sum": "0.5"}}}},
        {"history_after": None},
        {"shut_out": []},
        {"shut_out": {"04": 3}},
        {"shut_out": {"4": True}},
        {"shut_out": {"4": -1}},
        {"more": 1},
    ],
)
def test_what_is_no_basis_is_refused(change: dict[str, Any]) -> None:
    assert read_basis(GOOD).measured[4].own_se == 0.02
    with pytest.raises(RefusedError, match="evidence-basis"):
        read_basis(json.loads(json.dumps(GOOD | change)))


@pytest.mark.parametrize("data", [None, [], {}, {name: GOOD[name] for name in ("base_loss", "health")}])
def test_evidence_without_a_basis_is_named(data: Any) -> None:
    with pytest.raises(RefusedError, match="evidence-basis"):
        read_basis(data)
