"""Whose contribution was refused, from what was revealed in a round."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from emerit.protocol import minifloat
from emerit.run.ledger import Ledger, RoundData

LIMIT = 1000
BASE, HARM, NO_HARM, NOBODY = 50, minifloat.encode(5 * LIMIT), 0, minifloat.ABSTAIN


def refused(*vectors: tuple[int, ...] | None, limit: int = LIMIT, revealed: tuple[int, ...] = (0, 1)) -> list[bool]:
    """Whether slots 0 and 1 were, by validators of one stake each that revealed these health and trainer lanes."""
    given = {slot: (BASE, *vector) for slot, vector in enumerate(vectors) if vector is not None}
    members = SimpleNamespace(trainer_slots=2, stake_lanes=(1,) * len(vectors), occupied=frozenset({0, 1}))
    contributions = tuple(SimpleNamespace(slot=slot) for slot in revealed)
    data = cast(RoundData, SimpleNamespace(members=members, vectors=given, contributions=contributions))
    ledger = Ledger(cast(Any, None))
    return [ledger.refused(data, slot, limit) for slot in (0, 1)]


def test_what_two_thirds_gave_nothing_is_refused() -> None:
    assert refused((NO_HARM, 0, 9), (NO_HARM, 0, 9), (NO_HARM, 5, 0)) == [True, False]
    assert refused((NO_HARM, 0, 9), (NO_HARM, 0, 9), None) == [True, False]


def test_what_two_thirds_did_not_judge_is_not() -> None:
    assert refused((NO_HARM, 0, 9), (NO_HARM, NOBODY, 9), (NO_HARM, NOBODY, 9)) == [False, False]
    assert refused((NO_HARM, 0, 0), None, None) == [False, False]


def test_what_was_never_revealed_is_not_whatever_everybody_gave_it() -> None:
    assert refused((NO_HARM, 0, 0), (NO_HARM, 0, 0), revealed=(1,)) == [False, True]


@pytest.mark.parametrize(("limit", "lost"), [(LIMIT, False), (0, True), (9 * LIMIT, True)])
def test_a_vote_to_take_back_judges_nobody(limit: int, lost: bool) -> None:
    back, judge = (HARM, 0, 0), (NO_HARM, 0, 0)
    assert refused(*[back] * 4, *[judge] * 2, None, None, None, limit=limit) == [lost, lost]


def test_a_contribution_that_is_judged_beside_such_votes_is_refused() -> None:
    judge = (NO_HARM, 0, 9)
    assert refused((HARM, 0, 0), judge, judge, judge) == [True, False]
