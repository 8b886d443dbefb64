"""What the pay factor leaves to whom the mean gap is late to know: the figures of docs/threat-model.md, not an aim."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist, fmean

import pytest

from emerit.scoring.gap import GapReference
from emerit.scoring.history import Standing
from emerit.scoring.measurement import Measurement
from emerit.scoring.usual_gap import UsualGap
from tests.unit.scoring.builders import SPEC

ROUNDS = 2000


def factor(gaps: Sequence[float], clear: float, *, always_new: bool = False) -> float:
    """The mean factor of gaps that repeat, in usual gaps, where the usual gap is `clear` errors of one measurement."""
    reference = GapReference(UsualGap(clear, 1.0))
    standing, found = Standing(), []
    for number, error in enumerate(NormalDist().samples(ROUNDS, seed=1)):
        item = Measurement(0, 0.0, 0.0, gaps[number % len(gaps)] * clear + error, 1.0)
        standing = (Standing() if always_new else standing).after(item, SPEC, gap=reference.usual)
        found.append(reference.factor(item, standing, SPEC))
    return fmean(found)


@pytest.mark.parametrize(("clear", "put_by", "fair"), [(2.0, 0.76, 0.51), (3.0, 0.55, 0.43)])
def test_a_gap_put_by(clear: float, put_by: float, fair: float) -> None:
    honest = factor([1.0], clear)
    assert factor([2.0, 0.0], clear) / honest == pytest.approx(put_by, abs=0.01)
    assert factor([1.0, 0.0], clear) / honest == pytest.approx(fair, abs=0.01)


@pytest.mark.parametrize(("clear", "newcomer", "known"), [(2.0, 0.29, 0.01), (4.0, 0.06, 0.0)])
def test_always_a_newcomer_without_a_gap(clear: float, newcomer: float, known: float) -> None:
    assert factor([0.0], clear, always_new=True) == pytest.approx(newcomer, abs=0.01)
    assert factor([0.0], clear) == pytest.approx(known, abs=0.01)


@pytest.mark.parametrize(("noise", "left"), [(3.0, 0.37), (10.0, 0.64)])
def test_the_doubt_of_one_noisy_round_outlives_an_absence(noise: float, left: float) -> None:
    draws = NormalDist().samples(2 * ROUNDS, seed=2)
    found = []
    for first, second in zip(draws[::2], draws[1::2], strict=True):
        then, now = UsualGap(2.0, noise), UsualGap(2.0, 1.0)
        standing = Standing().after(Measurement(0, 0.0, 0.0, noise * first, noise), SPEC, gap=then)
        item = Measurement(0, 0.0, 0.0, second, 1.0)
        found.append(GapReference(now).factor(item, standing.after(item, SPEC, gap=now), SPEC))
    assert fmean(found) == pytest.approx(left, abs=0.01)


def test_a_gap_of_any_size_put_by_is_worth_a_quarter_or_an_error_more_than_the_usual_one() -> None:
    assert factor([100.0, 0.0], 3.0) == pytest.approx(factor([2.0, 0.0], 3.0), abs=0.01)
    assert factor([100.0, 0.0], 6.0) == pytest.approx(factor([1.25, 0.0], 6.0), abs=0.02)
