"""What the pay factor leaves to whom the mean gap is late to know: the figures of docs/threat-model.md, not an aim."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist, fmean

import pytest

from emerit.scoring.gap import GapReference, Usual
from emerit.scoring.history import Standing
from emerit.scoring.measurement import Measurement
from tests.unit.scoring.builders import SPEC

ROUNDS = 2000
LONG = Standing(rounds_sum=1 / (1 - SPEC.history_decay))


def factor(gaps: Sequence[float], clear: float, *, always_new: bool = False) -> float:
    """The mean factor of gaps that repeat, in usual gaps, where the usual gap is `clear` errors of one measurement."""
    reference = GapReference(Usual(clear, 1.0), Usual(clear, LONG.error_share(SPEC.history_decay)))
    standing, found = Standing(), []
    for number, error in enumerate(NormalDist().samples(ROUNDS, seed=1)):
        item = Measurement(0, 0.0, 0.0, gaps[number % len(gaps)] * clear + error, 1.0)
        standing = (Standing() if always_new else standing).after(item, SPEC)
        found.append(reference.factor(item, standing, SPEC))
    return fmean(found)


@pytest.mark.parametrize(("clear", "put_by", "fair"), [(2.0, 0.93, 0.53), (3.0, 0.71, 0.46)])
def test_a_gap_put_by(clear: float, put_by: float, fair: float) -> None:
    honest = factor([1.0], clear)
    assert factor([2.0, 0.0], clear) / honest == pytest.approx(put_by, abs=0.01)
    assert factor([1.0, 0.0], clear) / honest == pytest.approx(fair, abs=0.01)


@pytest.mark.parametrize(("clear", "newcomer", "known"), [(2.0, 0.29, 0.04), (4.0, 0.06, 0.0)])
def test_always_a_newcomer_without_a_gap(clear: float, newcomer: float, known: float) -> None:
    assert factor([0.0], clear, always_new=True) == pytest.approx(newcomer, abs=0.01)
    assert factor([0.0], clear) == pytest.approx(known, abs=0.01)


def test_gaps_that_fall_by_a_tenth_a_round() -> None:
    decay, falls = SPEC.history_decay, 0.9
    usual_mean = sum((decay / falls) ** age for age in range(200)) / sum(decay**age for age in range(200))
    assert Usual(usual_mean, 0.0).expected(1.0, 0.0) == pytest.approx(0.74, abs=0.01)
