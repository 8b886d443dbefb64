"""Several seeds as one row: means with 95 % intervals, rates with their counts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from emerit.lab.figures import Figures

# Student's t for 95 % on both sides, by degrees of freedom; 1.96 beyond.
STUDENT: Final = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with the half width of its 95 % interval, None with a single seed."""

    mean: float
    half: float | None

    def told(self, form: str) -> str:
        """Return `mean ± half` with each number in this format."""
        return format(self.mean, form) + ("" if self.half is None else f" ± {format(self.half, form)}")


@dataclass(frozen=True)
class Row:
    """What the seeds of one attack against one defence show; None where no seed has the figure.

    Attributes:
        detected: identities' mean rounds until first unpaid, over the seeds in which any was.
        false_positives: honest contributions that were not paid, of `honest_rounds`; `codes` says why.
    """

    attack: str
    defence: str
    seeds: int
    share: Estimate | None
    income_loss: Estimate | None
    worst_income_loss: Estimate | None
    loss_ratio: Estimate
    true_positive_rate: Estimate | None
    false_positives: int
    honest_rounds: int
    codes: dict[str, int]
    detected: Estimate | None

    @property
    def false_positive_rate(self) -> float:
        """The part of honest contributions that was not paid, over all seeds."""
        return self.false_positives / self.honest_rounds if self.honest_rounds else 0.0

    @property
    def false_positive_interval(self) -> tuple[float, float]:
        """The 95 % interval of that rate."""
        return wilson(self.false_positives, self.honest_rounds)


def summarise(attack: str, defence: str, found: Sequence[Figures]) -> Row:
    """Return the row of at least one seed's figures."""

    def over_seeds(read: Callable[[Figures], float | None]) -> Estimate | None:
        return estimate([value for item in found if (value := read(item)) is not None])

    codes: dict[str, int] = {}
    for item in found:
        for code, count in item.false_positives.items():
            codes[code] = codes.get(code, 0) + count
    loss_ratio = over_seeds(lambda item: item.final_loss_ratio)
    assert loss_ratio is not None
    return Row(
        attack=attack,
        defence=defence,
        seeds=len(found),
        share=over_seeds(lambda item: item.attacker_share_over_honest_share),
        income_loss=over_seeds(lambda item: item.honest_income_loss),
        worst_income_loss=over_seeds(lambda item: item.worst_honest_income_loss),
        loss_ratio=loss_ratio,
        true_positive_rate=over_seeds(lambda item: item.true_positive_rate),
        false_positives=sum(codes.values()),
        honest_rounds=sum(item.honest_rounds for item in found),
        codes=dict(sorted(codes.items())),
        detected=over_seeds(lambda item: item.rounds_to_detect),
    )


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of some values and its 95 % interval by Student's t; None of none."""
    n = len(values)
    if n == 0:
        return None
    mean = sum(values) / n
    if n == 1:
        return Estimate(mean, None)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    t = STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96
    return Estimate(mean, t * deviation / math.sqrt(n))


def wilson(count: int, of: int, z: float = 1.96) -> tuple[float, float]:
    """Return the 95 % interval of a rate (Wilson, JASA 22, 1927); (0, 1) of nothing."""
    if of == 0:
        return 0.0, 1.0
    rate, spread = count / of, z * z / of
    centre = (rate + spread / 2) / (1 + spread)
    half = z * math.sqrt(rate * (1 - rate) / of + spread / (4 * of)) / (1 + spread)
    # The formula's ends are 0 and 1 there; the sums above miss them by a rounding.
    return (centre - half if count else 0.0), (centre + half if count < of else 1.0)
