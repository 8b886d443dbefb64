"""Who tells what is usual in a round: the trainers that the last consensus paid, none of them more than most others."""

from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping

from emerit.protocol.settlement_tree import payable


def trusted(last_consensus: Mapping[int, int], shut_out: Collection[int]) -> dict[int, int]:
    """Return the last consensus weights of whoever is not shut out: no others tell what is usual in a round."""
    return {slot: weight for slot, weight in last_consensus.items() if slot not in shut_out}


def say(slots: Collection[int], consensus: Mapping[int, int]) -> dict[int, int]:
    """Return how much each slot's figures count where the usual is asked for.

    Its last consensus weight, but at most the lower median of those that were paid; a weight up to 1, which is not
    paid, counts as none. So newcomers in any number tell nothing, and whoever earned much in one round is not the
    median himself in the next. All 0 where none of the slots was paid.
    """
    weights = {slot: payable(consensus.get(slot, 0)) for slot in slots}
    paid = [weight for weight in weights.values() if weight]
    most = statistics.median_low(paid) if paid else 0
    return {slot: min(weight, most) for slot, weight in weights.items()}
