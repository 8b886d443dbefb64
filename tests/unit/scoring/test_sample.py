from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.rating import MICRO, Rating
from emerit.scoring.sample import (
    CERTAIN,
    LEAST_SAMPLE,
    Standing,
    draw_sample,
    inclusion_chances,
    measuring_order,
    sample_size,
    systematic,
)

KNOWN = st.builds(Standing, st.integers(0, 5) | st.integers(0, 10**9), st.builds(Rating, st.integers(-(10**8), 10**8)))
STANDINGS = st.lists(KNOWN | st.just(Standing()), min_size=2, max_size=40).map(lambda each: dict(enumerate(each)))


@st.composite
def crowds(draw: st.DrawFn) -> tuple[dict[int, Standing], int]:
    """Standings, and a sample size below their number."""
    standings = draw(STANDINGS)
    return standings, draw(st.integers(1, len(standings) - 1))


def seed(number: int) -> bytes:
    return number.to_bytes(32, "big")


@given(st.integers(0, 256), st.integers(0, 256), st.integers(0, 256))
def test_a_sample_is_drawn_only_where_the_last_round_was_not_covered(covered: int, missed: int, now: int) -> None:
    size = sample_size(covered, covered + missed)
    assert (size is None) == (missed == 0)
    drawn = draw_sample(range(now), size, bytes(32), {})
    if size is None or size >= now:
        assert drawn.whole and sorted(drawn.slots) == list(range(now))
        assert drawn.shares == dict.fromkeys(range(now), 1.0)
        return
    assert size >= LEAST_SAMPLE and len(set(drawn.slots)) == len(drawn.slots) == size
    assert set(drawn.slots) < set(range(now)) == set(drawn.chances) and not drawn.whole
    assert all(abs(share - size / now) < 1e-9 for share in drawn.shares.values())


def test_the_sample_grows_by_an_eighth_until_all_are_measured() -> None:
    sizes = [40]
    while sizes[-1] < 200:
        size = sample_size(sizes[-1], 200)
        assert size is not None and size > sizes[-1]
        sizes.append(size)
    assert sizes[1] == 45 and len(sizes) < 20
    assert sample_size(200, 200) is None


@given(crowds())
def test_chances_add_up_to_the_sample_and_stay_within_their_bounds(crowd: tuple[dict[int, Standing], int]) -> None:
    standings, size = crowd
    chances = inclusion_chances(standings, size, standings)
    assert sum(chances.values()) == size * CERTAIN
    average = size * CERTAIN // len(standings)
    assert all(average // 2 <= chance <= CERTAIN for chance in chances.values())
    if max(chances.values()) < CERTAIN:
        newcomers = [chances[slot] for slot, each in standings.items() if each.rating is None]
        assert all(average <= chance <= average + 1 for chance in newcomers)
        assert all(chance <= 3 * average // 2 + 2 for chance in chances.values())
    known = [slot for slot, each in standings.items() if each.rating is not None]
    for one in known:
        for other in known:
            a, b = standings[one], standings[other]
            assert a.rating is not None and b.rating is not None
            if a.reputation >= b.reputation and a.rating.mu_micro >= b.rating.mu_micro:
                assert chances[one] >= chances[other] - 1


@given(crowds(), st.data())
def test_expected_weight_is_what_measuring_all_would_give(
    crowd: tuple[dict[int, Standing], int], data: st.DataObject
) -> None:
    """E[w / q] over all 2^32 starts, exactly: who is drawn changes only where a start meets somebody's end."""
    standings, size = crowd
    listed = data.draw(st.permutations(list(standings)))
    weights = data.draw(st.lists(st.integers(2, 10**9), min_size=len(listed), max_size=len(listed)))
    chances = inclusion_chances(listed, size, standings)
    ends, total = {0, CERTAIN}, 0
    for slot in listed:
        total += chances[slot]
        ends.add(total % CERTAIN)
    pay = dict.fromkeys(listed, Fraction(0))
    cuts = sorted(ends)
    for first, after in pairwise(cuts):
        drawn = systematic(listed, chances, first)
        assert len(drawn) == size and drawn == systematic(listed, chances, after - 1)
        for slot in drawn:
            share = Fraction(chances[slot], CERTAIN)
            assert share * 2 * len(listed) >= size - Fraction(1, 10**6)  # so w / q is at most w * 2 n / m
            pay[slot] += Fraction(after - first, CERTAIN) * Fraction(weights[slot]) / share
    assert pay == dict(enumerate(weights))


def test_slots_are_drawn_as_often_as_their_chances_say_and_alike_for_all() -> None:
    standings = {slot: Standing(slot, Rating(slot * MICRO)) for slot in range(25)}  # the other 25 are newcomers
    times = dict.fromkeys(range(50), 0)
    for number in range(400):
        drawn = draw_sample(range(50), 20, seed(number), standings)
        assert drawn == draw_sample(list(range(49, -1, -1)), 20, seed(number), standings)
        for slot in drawn.slots:
            times[slot] += 1
    assert sum(times.values()) == 400 * 20
    for slot, share in drawn.shares.items():
        assert abs(times[slot] - 400 * share) < 4 * (400 * share * (1 - share)) ** 0.5
    assert drawn.shares[24] / drawn.shares[0] > 2.9 and abs(drawn.shares[30] - 0.4) < 1e-6


def test_reputation_decides_the_order_then_the_rating_then_the_seed() -> None:
    standings = {9: Standing(6, Rating(1)), 7: Standing(5, Rating(2)), 8: Standing(5, Rating(90 * MICRO))}
    for number in range(20):
        order = measuring_order(range(40), seed(number), standings)
        assert sorted(order) == list(range(40)) and order == measuring_order(range(39, -1, -1), seed(number), standings)
        first = order[:30]
        assert [slot for slot in (9, 8, 7) if slot in first] == first[: len({7, 8, 9} & set(first))]
    assert measuring_order(range(40), seed(0), {})[:30] != sorted(measuring_order(range(40), seed(0), {})[:30])
    assert measuring_order(range(40), seed(0), {}) != measuring_order(range(40), seed(1), {})


def test_what_the_time_does_not_suffice_for_falls_on_all_alike_while_three_quarters_are_measured() -> None:
    """The worst reputed of 40 is left out as often as anybody where 36 are measured, and always where 29 are."""
    standings = {slot: Standing(slot, Rating()) for slot in range(40)}
    orders = [measuring_order(range(40), seed(number), standings) for number in range(600)]
    missed = [sum(slot in order[36:] for order in orders) for slot in range(40)]
    assert sum(missed) == 600 * 4 and 30 < min(missed) <= max(missed) < 95  # 60 each, standard deviation 7
    assert not any(0 in order[:29] for order in orders)
