"""Who is measured when there is no time for all, and in which order: a seeded sample, the same at every validator.

Its size m follows from the last settled round alone: of what was revealed there, how much got the votes of two thirds
of the stake. All of it: there was time, and everybody is measured. Less: a little more than that is drawn, so that the
size grows while the time suffices.

**Probability.** Reputation and rating decide how likely each of n contributions is to be among the m: between a half
and one and a half times m / n, by the rank among those that have been measured before. A newcomer has the average,
m / n (all have more where some are certain), neither favoured nor starved. Who is measured earns w / q with its own q,
who is not earns nothing in this round (Horvitz and Thompson, JASA 47, 1952), so everybody's expected weight is what
measuring all would give: the more likely one is measured more often, for less each time. As m >= `LEAST_SAMPLE` and
n <= 256, 1 / q is at most 16.

**Draw.** Systematic sampling with unequal probabilities from a list in random order (Madow, Annals of Mathematical
Statistics 20, 1949; Hartley and Rao, ibid. 33, 1962): the list's probabilities are laid end to end, and every
contribution on which one of the points start, start + 1, start + 2, ... falls is drawn. Order and start come from the
evaluation seed. Exactly m are drawn, each with exactly its probability, in integers (units of 2^-32).

**Order.** The best reputed first, then the best rated; but a quarter, drawn by the seed, comes last whoever is in it.
In the long run there is time for eight ninths of a sample (it is 9/8 of what there was time for), so without that
quarter the same few would be left out in every round. With it, what the time does not suffice for falls on all alike
while at least three quarters are measured; below that, reputation decides.

Contributions that nobody could fetch count as not covered, so whoever reveals and withholds in numbers can make a round
sampled. Below `LEAST_SAMPLE` contributions no round is.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from emerit.protocol.seeds import derive
from emerit.scoring.rating import Rating

LEAST_SAMPLE: Final = 32
CERTAIN: Final = 1 << 32
"""Probabilities are counted in parts of this many."""
_GROWTH_NUMERATOR: Final = 9
_GROWTH_DENOMINATOR: Final = 8
_LAST_SHARE: Final = 4


@dataclass(frozen=True)
class Standing:
    """What settled rounds say of a trainer: its reputation, and its rating (None: it was never measured)."""

    reputation: int = 0
    rating: Rating | None = None


NEWCOMER: Final = Standing()
Standings = Mapping[int, Standing]


@dataclass(frozen=True)
class Sample:
    """Trainer slots that are to be measured, the first ones first, and how likely each of the revealed was to be.

    `chances` maps every revealed slot to its probability in parts of `CERTAIN`.
    """

    slots: tuple[int, ...]
    chances: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def shares(self) -> dict[int, float]:
        """The probability q of each revealed slot, above 0 and at most 1."""
        return {slot: chance / CERTAIN for slot, chance in self.chances.items()}

    @property
    def whole(self) -> bool:
        """Whether everybody is to be measured."""
        return len(self.slots) == len(self.chances)


def sample_size(covered: int, revealed: int) -> int | None:
    """Return how many contributions are measured in a round, None for all of them.

    `revealed` contributions had the last settled round, `covered` of them were voted on by two thirds of the stake.
    """
    if covered >= revealed:
        return None
    return max(LEAST_SAMPLE, -(-covered * _GROWTH_NUMERATOR // _GROWTH_DENOMINATOR))


def draw_sample(revealed: Collection[int], size: int | None, eval_seed: bytes, standings: Standings) -> Sample:
    """Return the sample of `size` of the revealed slots that the evaluation seed draws; of all where it is None.

    Args:
        revealed: The slots whose contributions were revealed.
        size: What `sample_size` says.
        eval_seed: 32 bytes that nobody knew when contributions were revealed.
        standings: By slot; a slot that is not in it is a newcomer's.
    """
    chances = inclusion_chances(revealed, size, standings)
    listed = sorted(revealed, key=lambda slot: derive(eval_seed, "emerit/measure/v1", slot))
    start = int.from_bytes(derive(eval_seed, "emerit/measure-start/v1")[:4], "big")
    drawn = systematic(listed, chances, start)
    return Sample(tuple(measuring_order(drawn, eval_seed, standings)), chances)


def inclusion_chances(revealed: Collection[int], size: int | None, standings: Standings) -> dict[int, int]:
    """Return each revealed slot's probability of being measured, in parts of `CERTAIN`; together `size` of them.

    In proportion to merit, but nobody is more than certain: what is above that goes to the others in proportion.
    """
    slots = sorted(revealed)
    if size is None or size >= len(slots):
        return dict.fromkeys(slots, CERTAIN)
    merits = _merits(slots, standings)
    certain: set[int] = set()
    while True:
        open_slots = [slot for slot in slots if slot not in certain]
        total, left = sum(merits[slot] for slot in open_slots), (size - len(certain)) * CERTAIN
        over = {slot for slot in open_slots if merits[slot] * left >= total * CERTAIN}
        if not over:
            break
        certain |= over
    chances = dict.fromkeys(slots, CERTAIN) | {slot: merits[slot] * left // total for slot in open_slots}
    for slot in open_slots[: left - sum(chances[slot] for slot in open_slots)]:  # what the divisions dropped
        chances[slot] += 1
    return chances


def systematic(listed: Sequence[int], chances: Mapping[int, int], start: int) -> list[int]:
    """Return the slots on which start, start + `CERTAIN`, start + 2 `CERTAIN`, ... fall, in the list's order.

    `start` is at least 0 and below `CERTAIN`. Over all starts a slot is drawn `chances[slot]` times.
    """
    drawn, end, points = [], 0, 0
    for slot in listed:
        end += chances[slot]
        below = (end - start - 1) // CERTAIN + 1
        if below > points:
            drawn.append(slot)
        points = below
    return drawn


def measuring_order(slots: Collection[int], eval_seed: bytes, standings: Standings) -> list[int]:
    """Return in which order contributions are measured; equals come in an order that the evaluation seed draws."""
    drawn = sorted(slots, key=lambda slot: derive(eval_seed, "emerit/order/v1", slot))
    first = len(drawn) - len(drawn) // _LAST_SHARE

    def rank(slot: int) -> tuple[int, int]:
        standing = standings.get(slot, NEWCOMER)
        return -standing.reputation, -(standing.rating or Rating()).mu_micro

    return [*sorted(drawn[:first], key=rank), *drawn[first:]]


def _merits(slots: Sequence[int], standings: Standings) -> dict[int, int]:
    """Return how much more likely than others each slot is: from D to 3 D, newcomers 2 D, and 2 D on average.

    D + (those below in reputation) + (those below in rating), each counted twice and equals once, with D twice the
    number of others that have been measured before. Ranks, so that no figure however large weighs more than its place.
    """
    known = {slot: standings[slot] for slot in slots if standings.get(slot, NEWCOMER).rating is not None}
    span = 2 * (len(known) - 1)
    if span <= 0:
        return dict.fromkeys(slots, 1)
    reputations = sorted(each.reputation for each in known.values())
    means = sorted(each.rating.mu_micro for each in known.values() if each.rating is not None)
    merits = dict.fromkeys(slots, 2 * span)
    for slot, each in known.items():
        assert each.rating is not None
        merits[slot] = span + _place(reputations, each.reputation) + _place(means, each.rating.mu_micro)
    return merits


def _place(ordered: Sequence[int], value: int) -> int:
    """Return how many of the others are below a value that is in the list, counted twice, and equals once."""
    return bisect_left(ordered, value) + bisect_right(ordered, value) - 1
