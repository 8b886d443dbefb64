"""Figures of made-up experiments, by hand."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.lab.attack import Attack
from emerit.lab.figures import Nature, figures
from emerit.lab.play import Played, RoundRecord
from emerit.lab.summary import estimate, summarise, wilson
from emerit.lab.targets import targets

TRAINERS = 3


def record(weights: dict[int, int], amounts: list[int], codes: dict[int, str] | None = None) -> RoundRecord:
    return RoundRecord(codes or dict.fromkeys(weights, "paid"), weights, amounts, ["paid"], 3.0)


def experiment(rounds: list[RoundRecord], attackers: list[int], machines: int = 1, loss: float = 3.0) -> Played:
    return Played(attackers, [], machines, len(attackers) - machines, rounds, loss, "00")


REFERENCE = experiment([record({0: 9, 1: 9, 2: 9}, [10, 10, 10, 0])] * 2, [], 0)


def test_shares_are_against_the_same_machines_at_honest_work() -> None:
    rounds = [record({0: 9, 1: 9, 2: 1}, [18, 12, 0, 0]), record({0: 9, 1: 0, 2: 9}, [20, 0, 10, 0])]
    found = figures(experiment(rounds, [2], loss=3.3), REFERENCE, TRAINERS, Nature())
    assert found.attacker_share_over_honest_share == pytest.approx((10 / 60) / (20 / 60))
    assert found.honest_income_loss == pytest.approx(1 - 50 / 40)
    assert found.worst_honest_income_loss == pytest.approx(1 - 12 / 20)
    assert found.final_loss_ratio == pytest.approx(1.1)
    assert found.true_positive_rate == 0.5
    assert (found.false_positive_rate, found.honest_rounds, found.false_positives) == (0.25, 4, {"paid": 1})
    assert found.rounds_to_detect == 1.0


def test_one_of_several_identities_of_a_working_machine_is_due_its_pay() -> None:
    rounds = [record({0: 9, 1: 9, 2: 1}, [20, 10, 0, 0]), record({0: 9, 1: 9, 2: 9}, [10, 10, 10, 0])]
    assert figures(experiment(rounds, [1, 2]), REFERENCE, TRAINERS, Nature(works=True)).true_positive_rate == 0.5
    assert figures(experiment(rounds, [1, 2]), REFERENCE, TRAINERS, Nature()).true_positive_rate == 0.25


def test_an_honest_variant_has_only_false_positives() -> None:
    rounds = [record({0: 9, 1: 9, 2: 0}, [15, 15, 0, 0], {0: "paid", 1: "paid", 2: "low-gap"})]
    found = figures(experiment(rounds, [2]), REFERENCE, TRAINERS, Nature(works=True, honest=True))
    assert found.true_positive_rate is None and found.rounds_to_detect is None
    assert found.false_positives == {"low-gap": 1} and found.honest_rounds == 3


def test_intervals_are_students() -> None:
    found = estimate([1.0, 2.0, 3.0])
    assert found is not None and found.half is not None
    assert (found.mean, found.half) == (2.0, pytest.approx(4.303 / math.sqrt(3)))
    assert estimate([]) is None
    assert estimate([5.0]) == estimate([5.0]) and estimate([5.0]).half is None  # type: ignore[union-attr]


@given(st.integers(0, 50), st.integers(1, 50))
def test_a_rate_lies_in_its_interval(count: int, more: int) -> None:
    low, high = wilson(count, count + more)
    assert 0 <= low <= count / (count + more) <= high <= 1


def test_targets_name_what_misses_them() -> None:
    rounds = [record({0: 9, 1: 9, 2: 9}, [5, 5, 20, 0])] * 2
    row = summarise("copy-exact", "ours", [figures(experiment(rounds, [2]), REFERENCE, TRAINERS, Nature())])
    kinds: dict[str, type[Attack]] = {}
    found = {target.says.split(" ")[0]: target for target in targets([row], kinds)}
    assert found["Free-riders"].misses == (("copy-exact", "2.000"),)
    assert found["Honest"].misses == (("copy-exact", "50.0%"),)
    assert found["The"].met and not found["No"].met  # nothing else was tried
