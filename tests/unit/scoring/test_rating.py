from __future__ import annotations

import math
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from emerit.scoring.rating import BETA, KAPPA, MICRO, TAU, Rating, rate

MICROS = st.integers(0, 50 * MICRO)
RATINGS = st.builds(Rating, MICROS, st.integers(MICRO // 2, 9 * MICRO))
ROUNDS = st.lists(st.tuples(RATINGS, st.integers(0, 4)), min_size=2, max_size=12)


def by_the_paper(before: list[Rating], worth: list[int]) -> list[tuple[float, float]]:
    """Weng and Lin (2011), algorithm 4 with ties as in section 3.5, players instead of teams; gamma is sigma / c."""
    sigmas = [math.sqrt(each.sigma**2 + TAU**2) for each in before]
    c = math.sqrt(sum(sigma**2 + BETA**2 for sigma in sigmas))
    strength = [math.exp(each.mu / c) for each in before]
    after = []
    for i, each in enumerate(before):
        omega = delta = 0.0
        for q in range(len(before)):
            if worth[q] < worth[i]:  # q is the first place that is still open to those who are not better than q
                continue
            chance = strength[i] / sum(strength[s] for s in range(len(before)) if worth[s] <= worth[q])
            equals = worth.count(worth[q])
            omega += ((q == i) - chance) / equals
            delta += chance * (1 - chance) / equals
        variance = sigmas[i] ** 2
        omega *= variance / c
        delta *= (sigmas[i] / c) * variance / c**2
        after.append((each.mu + omega, sigmas[i] * math.sqrt(max(1 - delta, KAPPA))))
    return after


@given(ROUNDS)
def test_a_round_moves_ratings_as_the_paper_says(players: list[tuple[Rating, int]]) -> None:
    before, worth = [each for each, _ in players], [value for _, value in players]
    after = rate(dict(enumerate(before)), dict(enumerate(worth)))
    if len(set(worth)) == 1:
        assert after == dict(enumerate(before))
        return
    for player, (mu, sigma) in enumerate(by_the_paper(before, worth)):
        assert abs(after[player].mu - mu) < 2e-6
        assert abs(after[player].sigma - sigma) < 2e-6


@given(ROUNDS, st.randoms(use_true_random=False))
def test_ratings_do_not_depend_on_the_order_in_which_anything_is_given(
    players: list[tuple[Rating, int]], random: Random
) -> None:
    before = {7 * place: each for place, (each, _) in enumerate(players)}
    worth = {7 * place: value for place, (_, value) in enumerate(players)}
    order = list(before)
    random.shuffle(order)
    assert rate(before, worth) == rate({i: before[i] for i in order}, {i: worth[i] for i in reversed(order)})


def test_who_is_better_in_every_round_ends_higher_and_the_others_keep_what_they_had() -> None:
    ratings = {9: Rating(31 * MICRO, 2 * MICRO)}
    for number in range(30):
        ratings = rate(ratings, {0: 900, 1: 500 + number % 2, 2: 500, 3: 1, 4: 0})
    assert ratings[9] == Rating(31 * MICRO, 2 * MICRO)
    assert ratings[0].mu > ratings[1].mu > ratings[2].mu > ratings[3].mu > ratings[4].mu
    assert ratings[0].mu > Rating().mu > ratings[4].mu
    assert all(ratings[each].sigma < Rating().sigma for each in range(5))


def test_equals_stay_equal_and_a_round_without_a_difference_says_nothing() -> None:
    assert rate({}, {}) == rate({}, {3: 5}) == rate({}, {1: 0, 2: 0}) == {}
    after = rate({}, {1: 50, 2: 50, 3: 2})
    assert after[1] == after[2] != after[3]
