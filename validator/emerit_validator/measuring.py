"""Measure a round's contributions: the part of a validator's work that needs the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.data import Dataset
from emerit.data.tokens import Tokens
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import Manifest
from emerit.run.state import StateFollower
from emerit.scoring.evaluate import Bench, OnProgress, RoundMeasurement, evaluate_round, trial_step
from emerit.scoring.first_order import first_order_gains
from emerit.scoring.leave_one_out import LeaveOneOut, leave_one_out
from emerit.scoring.losses import sequence_losses
from emerit.scoring.take_back import capped, harm_done
from emerit.training.state import to_float
from emerit_validator.seeds import RoundSeeds, round_sequences

# From so many contributions on the gradient costs less than a tenth of measuring them, and comes first; in a smaller
# round it gets the time that is left.
GRADIENT_FIRST: Final = 16

BenchFactory = Callable[[FlatModel], Bench]
"""Makes the bench of a model, see `emerit.scoring.evaluate.Bench`."""


@dataclass(frozen=True, eq=False)
class Look:
    """The state before any contribution of the round is tried on it.

    Attributes:
        tokens: the round's random sequences [n, T + 1].
        losses: theirs, float64[n], under the state.
        harm: by how much the last aggregate raised the loss, in nats; None where the state before is not known.
    """

    tokens: Tokens
    losses: NDArray[np.float64]
    harm: float | None

    @property
    def loss(self) -> float:
        """Their mean loss, also of a state that has no finite one."""
        return float(capped(self.losses).mean())


@dataclass(frozen=True)
class Measured:
    """A round as it was measured."""

    losses: RoundMeasurement
    first_order: dict[int, float]


class Measuring:
    """The model of a run, on which contributions are tried; it is built once."""

    def __init__(
        self, manifest: Manifest, dataset: Dataset, make_bench: BenchFactory | None = None, device: str = "cpu"
    ) -> None:
        """`make_bench` spreads the work over several devices; without it all is done on the one."""
        self._manifest = manifest
        self._dataset = dataset
        self.model = FlatModel(manifest.model, device=device)
        self._step = trial_step(manifest.scoring, manifest.outer)
        self._bench = None if make_bench is None else make_bench(self.model)

    def look(self, seeds: RoundSeeds, state: StateFollower) -> Look:
        """Take the state up, and measure it and the one before on the round's random sequences."""
        random_ids, _ = round_sequences(self._manifest, seeds, ())
        tokens = self._dataset.sequences(random_ids)
        before = self._losses_before(state, tokens)
        self.model.load(to_float(state.values))
        losses = sequence_losses(self.model.module, tokens)
        return Look(tokens, losses, None if before is None else harm_done(losses, before))

    def inquire(
        self,
        looked: Look,
        state: StateFollower,
        taken_back: int,
        updates: Mapping[int, SparseUpdate],
        should_stop: Callable[[], bool],
    ) -> LeaveOneOut:
        """Find out, after `look`, who made the aggregate of a round harmful; the state is the one before it.

        `updates` are all its members as they were sent. One device does it all.
        """
        return leave_one_out(
            self.model, state.state, taken_back, updates, looked.tokens, self._manifest.outer, should_stop
        )

    def measure(
        self,
        seeds: RoundSeeds,
        looked: Look,
        updates: Mapping[int, SparseUpdate],
        order: Sequence[int],
        consensus: Mapping[int, int],
        *,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
    ) -> Measured:
        """Measure, after `look`, the updates (by trainer slot, scales clipped) of the slots in `order`.

        Ends early when told to stop. `consensus` are the last weights by slot (`evaluate_round`). With `look` it costs
        two forward passes over the random sequences per contribution, three over its own sample, one for the base, one
        for the common step and one for the health lane, and one pass forward and back for the gradient.
        """
        own_ids = round_sequences(self._manifest, seeds, order)[1]

        def slopes() -> dict[int, float]:
            return {} if should_stop() else first_order_gains(self.model, updates, looked.tokens, self._step)

        early = slopes() if len(updates) >= GRADIENT_FIRST else {}
        losses = evaluate_round(
            self.model,
            updates,
            looked.tokens,
            {slot: self._dataset.sequences(ids) for slot, ids in own_ids.items()},
            self._manifest.scoring,
            self._manifest.outer,
            on_progress=on_progress,
            should_stop=should_stop,
            order=order,
            base_losses=looked.losses,
            bench=self._bench,
            consensus=consensus,
        )
        return Measured(losses, early or slopes())

    def _losses_before(self, state: StateFollower, tokens: Tokens) -> NDArray[np.float64] | None:
        """Losses of the round's random sequences under the state before the last aggregate, None if not known."""
        if state.previous is None:
            return None
        self.model.load(to_float(state.previous))
        return sequence_losses(self.model.module, tokens)
