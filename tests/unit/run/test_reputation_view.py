"""Explanations of settled rounds: they end at the leaf, for every member."""

from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.errors import UsageError
from emerit.protocol.types import Role
from emerit.run.reputation_view import explain_last, perspective, perspective_last
from tests.unit.api.builders import REPUTATION, registry, settled_entry

MEMBERS = registry(trainers=3, validators=3)
TRAINERS = [entry for entry in MEMBERS if entry.role is Role.TRAINER]
VALIDATORS = [entry for entry in MEMBERS if entry.role is Role.VALIDATOR]


def test_every_member_s_explanation_ends_at_its_leaf() -> None:
    item = settled_entry(MEMBERS, 0, [(300, 200, 100), (310, None, 90), (290, 210, 0)], [100, 200, 300])
    for entry in MEMBERS:
        told = explain_last([item], entry, REPUTATION)
        assert told is not None
        assert told["round"] == 0
        assert told["before"] == 0
        assert told["reputation"] == item.settlement.leaves[entry.index].detail.reputation
        assert told["undecayed"] - told["transitivity_took"] - told["connectivity_took"] == told["visits"]
    second = explain_last([item], TRAINERS[1], REPUTATION)
    assert second is not None
    assert [path["validator"] for path in second["paths"]] == [0, 2]
    assert second["paths"][0]["account"] == VALIDATORS[0].account


def test_the_reputation_before_comes_from_the_header_before() -> None:
    item = settled_entry(MEMBERS, 0, [(300, 200, 100)] * 3)
    told = explain_last([item, item], TRAINERS[0], REPUTATION)
    assert told is not None
    assert told["before"] == item.settlement.leaves[TRAINERS[0].index].detail.reputation > 0


def test_without_a_round_there_is_nothing_to_explain() -> None:
    assert explain_last([], TRAINERS[0], REPUTATION) is None


def test_a_validator_s_perspective() -> None:
    item = settled_entry(MEMBERS, 0, [(300, 200, 100), (300, None, 100), (300, 200, 0)])
    total = item.settlement.consensus.total_weight
    assert perspective(item, VALIDATORS[0], TRAINERS[0], REPUTATION) == 850_000_000 * 300 // total
    assert perspective(item, VALIDATORS[1], TRAINERS[1], REPUTATION) == 0
    assert perspective(item, VALIDATORS[2], TRAINERS[2], REPUTATION) == 0
    for viewer, entry in ((TRAINERS[0], TRAINERS[1]), (VALIDATORS[0], VALIDATORS[1])):
        with pytest.raises(UsageError) as caught:
            perspective(item, viewer, entry, REPUTATION)
        assert caught.value.code == "perspective-invalid"


def test_the_perspective_of_the_last_round() -> None:
    item = settled_entry(MEMBERS, 0, [(300, 200, 100)] * 3)
    told = perspective_last([item], VALIDATORS[1], TRAINERS[0], REPUTATION)
    assert told is not None
    assert told == {"validator": VALIDATORS[1].account, "round": 0, "visits": 850_000_000 * 300 // 600}
    assert perspective_last([], VALIDATORS[1], TRAINERS[0], REPUTATION) is None
    late = replace(TRAINERS[0], index=len(MEMBERS), slot=3)
    assert perspective_last([item], VALIDATORS[1], late, REPUTATION) is None
    with pytest.raises(UsageError, match="perspective-invalid"):
        perspective_last([], TRAINERS[0], TRAINERS[1], REPUTATION)
