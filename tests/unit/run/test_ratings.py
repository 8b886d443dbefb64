"""Ratings follow from settled rounds alone, whatever the way by which one comes to know them."""

from __future__ import annotations

from dataclasses import replace

from emerit.protocol import minifloat
from emerit.run.ledger import SettledEntry
from emerit.run.ratings import Ratings, covered_and_revealed, standings, worth
from emerit.scoring.rating import Rating, rate
from emerit.scoring.sample import CERTAIN, Standing, inclusion_chances
from tests.unit.api.builders import registry, settled_entry

PEOPLE = registry(trainers=5, validators=2)
ROUNDS = [
    settled_entry(PEOPLE, 0, [[500, 500, 300, 1, 0]] * 2),
    settled_entry(PEOPLE, 1, [[900, 100, 100, None, 1], [900, 100, 100, 7, 1]], revealed=[0, 1, 3, 4]),
    settled_entry(PEOPLE, 2, [[0, 0, 0, 0, 0]] * 2),
    settled_entry(PEOPLE, 3, [[20, 30, 40, 50, 60]] * 2),
]


def test_a_round_is_a_match_between_those_that_were_measured() -> None:
    assert worth(ROUNDS[0], None, {}) == {
        0: CERTAIN + 500 * CERTAIN,
        1: CERTAIN + 500 * CERTAIN,
        2: CERTAIN + 300 * CERTAIN,
        3: 1,
        4: 0,
    }
    # Slot 2 revealed nothing; of slot 3 only half the stake said something.
    assert list(worth(ROUNDS[1], ROUNDS[0], {})) == [0, 1, 4]
    assert covered_and_revealed(ROUNDS[1]) == (3, 4)


def test_ratings_are_those_of_the_matches_in_order() -> None:
    expected: dict[int, Rating] = {}
    previous: SettledEntry | None = None
    for item in ROUNDS:
        expected = rate(expected, worth(item, previous, expected))
        previous = item
    assert Ratings().after(ROUNDS) == expected
    assert set(expected) == set(range(5)) and len({each.mu_micro for each in expected.values()}) == 5


def test_ratings_are_the_same_after_a_restart_and_after_a_header_has_fallen() -> None:
    followed, other = Ratings(), settled_entry(PEOPLE, 3, [[60, 50, 40, 30, 20]] * 2)
    for upto in range(len(ROUNDS) + 1):
        assert followed.after(ROUNDS[:upto]) == Ratings().after(ROUNDS[:upto])
    assert followed.after(ROUNDS[:2]) == Ratings().after(ROUNDS[:2])
    assert followed.after([*ROUNDS[:3], other]) == Ratings().after([*ROUNDS[:3], other]) != Ratings().after(ROUNDS)


def test_standings_go_with_the_trainer_not_with_the_slot() -> None:
    ratings = Ratings().after(ROUNDS)
    known = standings(ROUNDS[-1], ROUNDS[-1].members, ratings)
    leaves = ROUNDS[-1].settlement.leaves
    assert known == {slot: Standing(leaves[slot].detail.reputation, ratings[slot]) for slot in range(5)}
    assert any(each.reputation > 0 for each in known.values())
    assert set(standings(None, ROUNDS[0].members, {}).values()) == {Standing()}
    newcomer = replace(PEOPLE[6], index=7, account=PEOPLE[6].operator, role=PEOPLE[0].role, slot=3)
    moved = (*PEOPLE[:3], replace(PEOPLE[3], active_until=4), *PEOPLE[4:], replace(newcomer, active_from=4))
    later = settled_entry(moved, 4, [[1, 1, 1, 1, 1]] * 2).members
    assert standings(ROUNDS[-1], later, ratings)[3] == Standing(0, None)


def test_who_was_unlikely_to_be_measured_does_not_rise_for_it() -> None:
    """Two contributions of equal worth, paid w / q with different q in a sampled round, tie but for rounding."""
    many = registry(trainers=64, validators=2)
    weights = [1000 + slot for slot in range(64)]
    first = settled_entry(many, 0, [weights] * 2)
    half = settled_entry(many, 1, [[w if slot % 2 else None for slot, w in enumerate(weights)]] * 2)
    ratings = Ratings().after([first, half])
    chances = inclusion_chances(range(64), 36, standings(half, half.members, ratings))
    assert chances[1] * 3 < chances[63] * 2
    paid = [round(10**6 * CERTAIN / chances[slot]) for slot in range(64)]
    rows = [[None if 1 < slot < 63 else minifloat.decode(minifloat.encode(w)) for slot, w in enumerate(paid)]] * 2
    sampled = settled_entry(many, 2, rows)
    found = worth(sampled, half, ratings)
    assert sampled.weight_of(1) > 1.5 * sampled.weight_of(63)
    assert abs(found[1] - found[63]) < found[1] / 1000
