from __future__ import annotations

import pytest

from emerit.errors import ChainError, UnavailableError
from emerit_validator.chores import Turns, attempt


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def fail(error: Exception) -> None:
    raise error


def test_each_validator_waits_two_seconds_for_every_slot_before_its_own() -> None:
    clock = Clock()
    turns = [Turns(slot, clock) for slot in range(3)]
    seen = []
    for _ in range(5):
        seen.append([turn.mine("start", True) for turn in turns])
        clock.now += 1
    assert seen == [[True, False, False]] * 2 + [[True, True, False]] * 2 + [[True, True, True]]


def test_the_time_counts_anew_when_something_else_is_due_or_nothing_was() -> None:
    clock = Clock()
    turn = Turns(1, clock)
    assert not turn.mine(("draw", 1), True)
    clock.now += 2
    assert turn.mine(("draw", 1), True)
    assert not turn.mine(("void", 1), True)
    clock.now += 2
    assert turn.mine(("void", 1), True)
    assert not turn.mine(("draw", 2), True)
    clock.now += 1
    assert not turn.mine(("draw", 2), False)
    clock.now += 1
    assert not turn.mine(("draw", 2), True)


def test_a_condition_that_does_not_hold_does_not_disturb_the_one_that_does() -> None:
    clock = Clock()
    turn = Turns(1, clock)
    turn.mine(("void", 1), True)
    clock.now += 2
    assert not turn.mine(("draw", 1), False)
    assert turn.mine(("void", 1), True)


def test_a_lost_race_is_no_error_and_other_refusals_are() -> None:
    assert attempt(lambda: None)
    assert not attempt(lambda: fail(ChainError("wrong-phase", "Somebody was faster.")))
    with pytest.raises(ChainError, match="not-operator"):
        attempt(lambda: fail(ChainError("not-operator", "Another key.")))


def test_what_could_not_be_sent_is_due_at_the_next_poll_again() -> None:
    turn, sent = Turns(0), []
    turn.act("draw", True, lambda: fail(UnavailableError("rpc-unreachable", "The chain is away.")))
    turn.act("draw", False, lambda: sent.append("not due"))
    turn.act("draw", True, lambda: sent.append("again"))
    assert sent == ["again"]
