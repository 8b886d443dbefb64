"""Measure every contribution of a round, each alone, at the trial step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

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

Step = tuple[NDArray[np.int64], NDArray[np.float64]]
"""Places int64[n] in the flat vector, and what is taken off there, float64[n]."""

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


@dataclass(frozen=True, eq=False)
class Trial:
    """One contribution that is to be measured, with the sample [m, T + 1], m >= 2, of what its author was given."""

    slot: int
    update: SparseUpdate
    own_tokens: Tokens


class Bench(Protocol):
    """What contributions are measured on: one device, or several that take whole contributions each."""

    @property
    def width(self) -> int:
        """How many contributions are measured at once."""

    def begin(
        self, random_tokens: Tokens, common: Step | None, base_losses: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Take a round's random sequences [n, T + 1] and its common step, if it has one (`common_step`).

        `base_losses` float64[n] are the sequences' losses under the state as the first device computed them, None
        where that is still to be done. Returns them.
        """

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure at most `width` contributions, in their order; the state is afterwards what it was."""


class OneDevice:
    """A bench of one device: that of `model`, which holds the state."""

    width = 1

    def __init__(self, model: FlatModel, scoring: ScoringSpec, outer: OuterSpec) -> None:
        """`model` holds the state when a round begins."""
        self._model = model
        self._step = trial_step(scoring, outer)
        self._fraction = scoring.trial_numerator / scoring.trial_denominator
        self._random: Tokens | None = None
        self._shift: Shift | None = None
        self._base = self._common_random = np.zeros(0)

    def begin(
        self, random_tokens: Tokens, common: Step | None, base_losses: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """See `Bench.begin`."""
        self._random = random_tokens
        # Made once: a large run's common step has millions of places, which go to the model's device.
        self._shift = None if common is None else Shift(self._model.flat, *common)
        self._base = sequence_losses(self._model.module, random_tokens) if base_losses is None else base_losses
        self._common_random = self._base if common is None else self._base - self._under_common(random_tokens)
        return self._base

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """See `Bench.measure`; costs two passes over the random sequences each, and three over the author's own."""
        return [self._measured(trial) for trial in trials]

    def _measured(self, trial: Trial) -> Measurement:
        """Return what one update alone does to the random sequences and to its author's own."""
        assert self._random is not None
        model, base, own_tokens = self._model, self._base, trial.own_tokens
        own_base = sequence_losses(model.module, own_tokens)
        with TrialStep(model.flat, trial.update, self._step):
            random = base - sequence_losses(model.module, self._random)
            own = own_base - sequence_losses(model.module, own_tokens)
        with TrialStep(model.flat, trial.update, self._step / self._fraction):
            whole = self._fraction * (base - sequence_losses(model.module, self._random))
        adjusted = None
        if self._shift is not None:
            common_own = own_base - self._under_common(own_tokens)
            # A common step without a finite loss explains nothing, and is no one contribution's fault.
            if np.isfinite(self._common_random).all() and np.isfinite(common_own).all():
                adjusted = adjusted_gap(random, own, self._common_random, common_own)
        return Measurement(trial.slot, *mean_and_error(random), *mean_and_error(own), *mean_and_error(whole), adjusted)

    def _under_common(self, tokens: Tokens) -> NDArray[np.float64]:
        assert self._shift is not None
        with self._shift:
            return sequence_losses(self._model.module, tokens)


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
    bench: Bench | None = None,
    consensus: Mapping[int, int] | None = None,
) -> RoundMeasurement:
    """Measure the updates (by trainer slot, scales already clipped) on the state that `model` holds.

    `order` says which slots are measured, the first ones first; without it all are, in the order of their numbers.
    `base_losses` float64[n] are those of the random sequences at this state, where they are known already.

    `random_tokens` [n, T + 1] are the same for all, `own_tokens[slot]` [m, T + 1] are a sample of what
    that trainer was assigned; n and m are at least 2. Costs two passes over the random sequences for the round, and
    for each update two more (the trial step, the whole one), and three over its own. The model's
    weights are afterwards what they were, to the bit.
    `bench` is where that is done; without it, on the model's own device. `consensus` are the last consensus weights
    by slot: who was paid makes the round's common step (`common_step`).

    Raises StateError `state-loss-not-finite` when the state itself has no finite loss; whatever `bench` raises.
    """
    where = OneDevice(model, scoring, outer) if bench is None else bench
    common = common_step(updates, consensus or {}, scoring, outer)
    base = where.begin(random_tokens, common.step if common else None, base_losses)
    if not np.isfinite(base).all():
        raise StateError(
            "state-loss-not-finite",
            "The loss of the settled state is not a finite number; nothing can be measured against it.",
            "Replay the state from the last settled round; if its root is right, the run has diverged.",
        )
    measurements: dict[int, Measurement] = {}
    places = sorted(updates) if order is None else order
    for first in range(0, len(places), where.width):
        if should_stop is not None and should_stop():
            break
        trials = [Trial(slot, updates[slot], own_tokens[slot]) for slot in places[first : first + where.width]]
        for item in where.measure(trials):
            measurements[item.slot] = common.given_back(item) if common else item
            if on_progress is not None:
                on_progress(len(measurements), len(places))
    return RoundMeasurement(float(base.mean()), base, measurements)


@dataclass(frozen=True, eq=False)
class CommonStep:
    """What a round's updates do together at the trial step, and the trainer slots whose updates it is made of."""

    step: Step
    members: frozenset[int]

    def given_back(self, item: Measurement) -> Measurement:
        """Return a measurement with the part of its gap, 1 / n of each of the n members', that this step took off."""
        if item.adjusted is None or item.slot not in self.members:
            return item
        left = 1 - 1 / len(self.members)
        return replace(item, adjusted=(item.adjusted[0] / left, item.adjusted[1] / left))


def common_step(
    updates: Mapping[int, SparseUpdate], trust: Mapping[int, int], scoring: ScoringSpec, outer: OuterSpec
) -> CommonStep | None:
    """Return the trial step that a round's updates make together, None of fewer than `COMMON_NEEDED`.

    Those of the trainers that the last consensus paid (`trust`, by slot), so that newcomers in numbers have no part in
    what is taken off everybody's gap; of all where it paid none of them.
    """
    paid = [slot for slot, weight in say(sorted(updates), trust).items() if weight]
    slots = paid or sorted(updates)
    if len(slots) < COMMON_NEEDED:
        return None
    places, deltas = aggregate([updates[slot] for slot in slots], outer)
    change = deltas.astype(np.float64) * (UNIT * scoring.trial_numerator / scoring.trial_denominator)
    return CommonStep((places, change), frozenset(slots))


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
