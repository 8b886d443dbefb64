"""Measure every contribution of a round, each alone, at the trial step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import StateError
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import OuterSpec, ScoringSpec
from emerit.scoring.losses import TrialStep, sequence_losses
from emerit.scoring.measurement import Measurement, mean_and_error

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

    def begin(self, random_tokens: Tokens) -> NDArray[np.float64]:
        """Take the random sequences [n, T + 1] of a round; return their losses float64[n] under the state."""

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure at most `width` contributions, in their order; the state is afterwards what it was."""


class OneDevice:
    """A bench of one device: that of `model`, which holds the state."""

    width = 1

    def __init__(self, model: FlatModel, step: float) -> None:
        """`step` is the fraction of an update that is applied, see `trial_step`."""
        self._model = model
        self._step = step
        self._random: Tokens | None = None
        self._base: NDArray[np.float64] = np.zeros(0)

    def begin(self, random_tokens: Tokens) -> NDArray[np.float64]:
        """See `Bench.begin`."""
        self._random, self._base = random_tokens, sequence_losses(self._model.module, random_tokens)
        return self._base

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """See `Bench.measure`; costs one pass over the random sequences each, and two over the author's own."""
        return [self._measured(trial) for trial in trials]

    def _measured(self, trial: Trial) -> Measurement:
        assert self._random is not None
        module, base = self._model.module, self._base
        own_base = sequence_losses(module, trial.own_tokens)
        with TrialStep(self._model.flat, trial.update, self._step):
            random_gain, random_se = mean_and_error(base - sequence_losses(module, self._random))
            own_gain, own_se = mean_and_error(own_base - sequence_losses(module, trial.own_tokens))
        return Measurement(trial.slot, random_gain, random_se, own_gain, own_se)


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
    bench: Bench | None = None,
) -> RoundMeasurement:
    """Measure the updates (by trainer slot, scales already clipped) on the state that `model` holds.

    `order` says which slots are measured, the first ones first; without it all are, in the order of their numbers.

    `random_tokens` [n, T + 1] are the same for all, `own_tokens[slot]` [m, T + 1] are a sample of what
    that trainer was assigned; n and m are at least 2. Costs one pass over the random sequences for the round, and
    for each update one more, and two over its own. The model's weights are afterwards what they were, to the bit.
    `bench` is where that is done; without it, on the model's own device.

    Raises StateError `state-loss-not-finite` when the state itself has no finite loss; whatever `bench` raises.
    """
    where = OneDevice(model, trial_step(scoring, outer)) if bench is None else bench
    base = where.begin(random_tokens)
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
            measurements[item.slot] = item
            if on_progress is not None:
                on_progress(len(measurements), len(places))
    return RoundMeasurement(float(base.mean()), base, measurements)


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
