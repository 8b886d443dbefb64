"""Measure every contribution of a round, each alone, at the trial step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import UNIT, SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import StateError
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import OuterSpec, ScoringSpec
from emerit.scoring.losses import Shift, TrialStep, sequence_losses
from emerit.scoring.measurement import Measurement, adjusted_gap, mean_and_error
from emerit.scoring.trust import say
from emerit.training.aggregate import aggregate

COMMON_NEEDED: Final = 4
_HARM_Z = 2.0

OnProgress = Callable[[int, int], None]
"""Called after each contribution with (contributions measured, contributions in all)."""


@dataclass(frozen=True)
class RoundMeasurement:
    """A round as one validator measured it.

    `base_losses` float64[n] are the losses of the random sequences before any update, `base_loss` is their mean,
    in nats per token; `measurements` lacks those that `should_stop` left unmeasured.
    """

    base_loss: float
    base_losses: NDArray[np.float64]
    measurements: dict[int, Measurement]


def evaluate_round(
    model: FlatModel,
    updates: Mapping[int, SparseUpdate],
    random_tokens: Tokens,
    own_tokens: Mapping[int, Tokens],
    scoring: ScoringSpec,
    outer: OuterSpec,
    on_progress: OnProgress | None = None,
    should_stop: Callable[[], bool] | None = None,
    order: Sequence[int] | None = None,
    base_losses: NDArray[np.float64] | None = None,
    trust: Mapping[int, int] | None = None,
) -> RoundMeasurement:
    """Measure the updates (by trainer slot, scales already clipped) on the state that `model` holds.

    `order` says which slots are measured, the first ones first; without it all are, in the order of their numbers.
    `base_losses` float64[n] are those of the random sequences at this state, where they are known already.
    `trust` are the last consensus weights by slot; those that were paid make the common step (`common_step`).

    `random_tokens` [n, T + 1] are the same for all, `own_tokens[slot]` [m, T + 1] are a sample of what
    that trainer was assigned; n and m are at least 2. Costs two passes over the random sequences for the round, and
    for each update two more (the trial step, the whole one), and three over its own. The model's
    weights are afterwards what they were, to the bit.

    Raises StateError `state-loss-not-finite` when the state itself has no finite loss.
    """
    base = sequence_losses(model.module, random_tokens) if base_losses is None else base_losses
    if not np.isfinite(base).all():
        raise StateError(
            "state-loss-not-finite",
            "The loss of the settled state is not a finite number; nothing can be measured against it.",
            "Replay the state from the last settled round; if its root is right, the run has diverged.",
        )
    trial = Trial(model, random_tokens, base, common_step(updates, trust or {}, scoring, outer), scoring, outer)
    measurements: dict[int, Measurement] = {}
    places = sorted(updates) if order is None else order
    for slot in places:
        if should_stop is not None and should_stop():
            break
        measurements[slot] = trial.measure(slot, updates[slot], own_tokens[slot])
        if on_progress is not None:
            on_progress(len(measurements), len(places))
    return RoundMeasurement(float(base.mean()), base, measurements)


@dataclass(frozen=True)
class CommonStep:
    """What a round's updates do together at the trial step: at `places` int64[n] `change` float64[n] is taken off.

    `members` are the trainer slots whose updates it is made of.
    """

    places: NDArray[np.int64]
    change: NDArray[np.float64]
    members: frozenset[int]

    def share_left(self, slot: int) -> float:
        """Return what part of a contribution's gap this step leaves it: (n - 1) / n of a member's."""
        return 1 - 1 / len(self.members) if slot in self.members else 1.0


class Trial:
    """A round's random sequences under its state and under the common step, against which each update is measured."""

    def __init__(
        self,
        model: FlatModel,
        random_tokens: Tokens,
        base: NDArray[np.float64],
        common: CommonStep | None,
        scoring: ScoringSpec,
        outer: OuterSpec,
    ) -> None:
        """Measure the common step on the random sequences, whose losses `base` float64[n] are known."""
        self._model, self._random, self._base, self._common = model, random_tokens, base, common
        # Made once: a large run's common step has millions of places, which go to the model's device.
        self._shift = Shift(model.flat, common.places, common.change) if common else None
        self._step = trial_step(scoring, outer)
        self._fraction = scoring.trial_numerator / scoring.trial_denominator
        self._common_random = base - self._under_common(random_tokens) if common else base

    def measure(self, slot: int, update: SparseUpdate, own_tokens: Tokens) -> Measurement:
        """Return what one update alone does to the random sequences and to its author's own."""
        model = self._model
        own_base = sequence_losses(model.module, own_tokens)
        with TrialStep(model.flat, update, self._step):
            random = self._base - sequence_losses(model.module, self._random)
            own = own_base - sequence_losses(model.module, own_tokens)
        with TrialStep(model.flat, update, self._step / self._fraction):
            whole = self._fraction * (self._base - sequence_losses(model.module, self._random))
        adjusted = None
        if self._common is not None:
            common_own = own_base - self._under_common(own_tokens)
            left = self._common.share_left(slot)
            # A common step without a finite loss explains nothing, and is no one contribution's fault.
            if np.isfinite(self._common_random).all() and np.isfinite(common_own).all():
                gap, error = adjusted_gap(random, own, self._common_random, common_own)
                adjusted = gap / left, error / left
        return Measurement(slot, *mean_and_error(random), *mean_and_error(own), *mean_and_error(whole), adjusted)

    def _under_common(self, tokens: Tokens) -> NDArray[np.float64]:
        assert self._shift is not None
        with self._shift:
            return sequence_losses(self._model.module, tokens)


def common_step(
    updates: Mapping[int, SparseUpdate], trust: Mapping[int, int], scoring: ScoringSpec, outer: OuterSpec
) -> CommonStep | None:
    """Return the trial step that a round's updates make together, None of fewer than `COMMON_NEEDED`.

    Those of the trainers that the last consensus paid, so that newcomers in numbers have no part in what is taken off
    everybody's gap; of all where too few were.
    """
    slots = [slot for slot, weight in say(sorted(updates), trust).items() if weight]
    slots = slots if len(slots) >= COMMON_NEEDED else sorted(updates)
    if len(slots) < COMMON_NEEDED:
        return None
    places, deltas = aggregate([updates[slot] for slot in slots], outer)
    change = deltas.astype(np.float64) * (UNIT * scoring.trial_numerator / scoring.trial_denominator)
    return CommonStep(places, change, frozenset(slots))


def trial_step(scoring: ScoringSpec, outer: OuterSpec) -> float:
    """Return the share of an update that is tried: the trial fraction of the outer learning rate.

    An honest update alone can raise the loss at the full step, which is meant for the mean of many.
    """
    fraction = scoring.trial_numerator / scoring.trial_denominator
    return fraction * outer.lr_numerator / outer.lr_denominator


def health(now: NDArray[np.float64], before: NDArray[np.float64]) -> float:
    """Return the nats by which the loss rose beyond two standard errors, never below 0.

    `now` and `before` float64[n], n >= 2, are the losses of the same sequences under this state and the last one.
    """
    increase, error = mean_and_error(now - before)
    return max(0.0, increase - _HARM_Z * error)
