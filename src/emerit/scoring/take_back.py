"""What a validator says of a round in which it finds that the last aggregate did harm.

The contributions of such a round were made from the harmful state. They are not measured: nothing that is found of
them at that state says what they would be worth at the one before. Everybody gets 0, which is the validator's vote to
take the aggregate back (`emerit.protocol.rollback`), and no history changes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.protocol import minifloat
from emerit.protocol.manifest import Manifest, ScoringSpec
from emerit.scoring import reasons
from emerit.scoring.evaluate import health
from emerit.scoring.weights import Verdict

MOST_NATS: Final = 1000.0
"""A loss that is larger, or no number, counts as this much."""


def capped(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return losses float64[n] with those that are not finite, or above 1,000 nats, as 1,000 nats."""
    return np.minimum(np.nan_to_num(losses, nan=MOST_NATS, posinf=MOST_NATS), MOST_NATS)


def harm_done(now: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """Return the health lane: nats by which the loss rose beyond two standard errors, never below 0.

    `now` and `before` float64[n], n >= 2, are the losses of the same sequences under this state and the last one. Where
    the loss is no finite number any more, the harm is at least what separates the last one from 1,000 nats.
    """
    if np.isfinite(now).all() or not np.isfinite(before).all():
        return min(MOST_NATS, health(now, before))
    return max(0.0, MOST_NATS - float(before.mean()))


def votes_to_take_back(harm: float, manifest: Manifest) -> bool:
    """Return whether harm in nats, as its lane will hold it, is above the run's limit."""
    return 0 < manifest.rollback_units < minifloat.decode(_lane(harm, manifest.scoring))


def take_back_vector(trainer_slots: int, base_loss: float, harm: float, spec: ScoringSpec) -> tuple[int, ...]:
    """Return the vector that votes to take back: base loss and health in nats as lanes, 0 for every trainer slot."""
    return (_lane(base_loss, spec), _lane(harm, spec), *[0] * trainer_slots)


def take_back_verdicts(
    revealed: Collection[int], committed: Collection[int], refused: Mapping[int, str]
) -> dict[int, Verdict]:
    """Return a verdict of weight 0 for each slot: what was revealed is not judged, other reasons stay."""
    codes = dict.fromkeys(committed, reasons.NOT_REVEALED)
    codes |= dict.fromkeys(revealed, reasons.TAKEN_BACK)
    codes |= refused
    return {slot: Verdict(slot, code) for slot, code in sorted(codes.items())}


def _lane(nats: float, spec: ScoringSpec) -> int:
    return minifloat.encode(round(min(nats, MOST_NATS) / spec.loss_unit))
