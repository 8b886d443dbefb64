"""Who is measured when there is no time for all: a seeded sample, the same at every validator.

Its size follows from the last settled round alone: of what was revealed there, how much got the votes of two thirds of
the stake. All of it: there was time, and everybody is measured. Less: a little more than that is drawn, so that the
size grows while the time suffices. Each of n contributions is in a sample of m with probability q = m / n. Who is
measured earns w / q, who is not earns nothing in this round, so everybody's expected pay is what measuring all would
give, and nobody is measured more often for being known.

Contributions that nobody could fetch count as not covered, so whoever reveals and withholds in numbers can make a round
sampled. Below `LEAST_SAMPLE` contributions no round is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from emerit.protocol.seeds import derive

LEAST_SAMPLE: Final = 32
_GROWTH_NUMERATOR: Final = 9
_GROWTH_DENOMINATOR: Final = 8


@dataclass(frozen=True)
class Sample:
    """Trainer slots that are to be measured, the first ones first, and the probability q of being among them."""

    slots: tuple[int, ...]
    share: float


def sample_size(covered: int, revealed: int) -> int | None:
    """Return how many contributions are measured in a round, None for all of them.

    `revealed` contributions had the last settled round, `covered` of them were voted on by two thirds of the stake.
    """
    if covered >= revealed:
        return None
    return max(LEAST_SAMPLE, -(-covered * _GROWTH_NUMERATOR // _GROWTH_DENOMINATOR))


def draw_sample(revealed: Collection[int], size: int | None, eval_seed: bytes) -> Sample | None:
    """Return the sample of `size` of the revealed slots that the evaluation seed draws, None where it would be all."""
    if size is None or size >= len(revealed):
        return None
    drawn = sorted(revealed, key=lambda slot: derive(eval_seed, "emerit/measure/v1", slot))
    return Sample(tuple(drawn[:size]), size / len(revealed))
