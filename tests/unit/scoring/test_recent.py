from __future__ import annotations

from emerit.scoring import recent
from emerit.scoring.recent import ROUNDS, Recent
from tests.unit.scoring.builders import honest


def known(memory: Recent, settled: int, weights: dict[int, int], most_applied: int = 10**6) -> list[int]:
    return [item.slot for item in memory.earlier(settled, weights, most_applied)]


def test_only_what_was_paid_must_not_come_again_the_best_paid_first() -> None:
    memory = Recent()
    memory.keep(3, {slot: honest(slot) for slot in range(4)})
    assert known(memory, 3, {0: 5, 1: 1, 2: 9}) == [2, 0]


def test_what_found_no_room_in_the_aggregate_may_come_again() -> None:
    weights = {0: 5, 1: 9, 2: 5, 3: 1, 9: 100}
    for most, applied in ((1, []), (2, [1]), (3, [1, 0]), (4, [1, 0, 2]), (16, [1, 0, 2])):
        memory = Recent()
        memory.keep(3, {slot: honest(slot) for slot in range(4)})
        assert known(memory, 3, weights, most) == applied


def test_four_settled_rounds_are_remembered_and_what_never_settled_is_not() -> None:
    memory = Recent()
    for number in range(ROUNDS + 2):
        memory.keep(number, {number: honest(number)})
        if number != 3:
            memory.earlier(number, {number: 10}, 16)
    assert known(memory, 5, {5: 10}) == [5, 4, 2, 1]
    assert not memory.rounds


def test_a_round_that_is_asked_for_twice_counts_once() -> None:
    memory = Recent()
    memory.keep(0, {0: honest(0)})
    assert known(memory, 0, {0: 10}) == known(memory, 0, {0: 10}) == [0]


def test_memory_is_bounded() -> None:
    one = sum(part.nbytes for part in (honest(0).indices, honest(0).levels, honest(0).scales))
    fits = recent.MOST_BYTES // one
    memory = Recent()
    update = honest(0)
    for number in range(2):
        memory.keep(number, dict.fromkeys(range(fits), update))
        found = known(memory, number, dict.fromkeys(range(fits), 10))
        assert len(found) <= fits
    assert len(memory.paid[1]) == fits and not memory.paid[0]
