"""When the validators of a round take the last aggregate back: a rule on what they revealed, in integers.

A validator measures, on sequences that nobody was given, by how much the last aggregate raised the loss beyond its
error; the figure is its *health lane*. Where it is above the run's limit, the contributions of the round were made
from a bad state and are not judged: the validator gives every trainer 0. So its vector **votes to take back** when its
health lane is above the limit and its lane of every trainer slot is 0, and in no other case.

The round takes the last aggregate back when

- the lower stake-weighted median over **all** the stake of the epoch of the health lanes, in which 0 stands for
  whoever does not vote to take back (absent, abstaining, below the limit, or with a weight for a trainer), is above the
  limit: more than half of all stake votes for it;
- two thirds of the stake revealed a vector: the quorum of everything else;
- the last settled round applied an aggregate: it is not the first, and did not take one back itself.

Half of the stake or less cannot cause that, and less than half cannot prevent it where all others measured it. More
than half of the stake gives 0 to every trainer then, so that every lower median is 0: all consensus weights are 0,
nobody is paid or aggregated, and the budget stays in the pool, by the rules of every other round. The contracts need
not know of it, and each challenge of a wrong weight or amount means in such a round what it means in any other.
"""

from __future__ import annotations

from emerit.protocol import minifloat
from emerit.protocol.consensus import Votes
from emerit.protocol.median import lower_weighted_median
from emerit.protocol.types import HEALTH_LANE, RESERVED_LANES


def takes_back(votes: Votes, limit_units: int, *, is_possible: bool = True) -> bool:
    """Return whether a round takes the last aggregate back.

    Args:
        votes: what was revealed in the round, with the stake behind it.
        limit_units: the manifest's limit in loss units; 0 is never.
        is_possible: whether the last settled round applied an aggregate.
    """
    if limit_units == 0 or not is_possible or not votes.total_stake:
        return False
    lanes = votes.stake_lanes
    revealed = sum(stake for slot, stake in enumerate(lanes) if slot in votes.vectors)
    healths = [harm_voted(votes.vectors.get(slot, ()), limit_units) for slot in range(len(lanes))]
    return 3 * revealed >= 2 * votes.total_stake and lower_weighted_median(healths, lanes) > limit_units


def harm_voted(vector: tuple[int, ...], limit_units: int) -> int:
    """Return the health in loss units for which a vector votes to take back; 0 where it does not, or is empty."""
    health = vector[HEALTH_LANE] if vector else minifloat.ABSTAIN
    if health == minifloat.ABSTAIN or any(vector[RESERVED_LANES:]):
        return 0
    harm = minifloat.decode(health)
    return harm if harm > limit_units else 0
