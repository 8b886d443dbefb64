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
from emerit.scoring.evaluate import Bench, OnProgress, RoundMeasurement, evaluate_round, health, trial_step
from emerit.scoring.first_order import first_order_gains
from emerit.scoring.losses import sequence_losses
from emerit.training.state import to_float
from emerit_validator.seeds import RoundSeeds, round_sequences

# From so many contributions on the gradient costs less than a tenth of measuring them, and comes first; in a smaller
# round it gets the time that is left.
GRADIENT_FIRST: Final = 16

BenchFactory = Callable[[FlatModel], Bench]
"""Makes the bench of a model, see `emerit.scoring.evaluate.Bench`."""


@dataclass(frozen=True)
class Measured:
    """A round as it was measured; `harm` is by how much the last aggregate raised the loss, None if not known."""

    losses: RoundMeasurement
    harm: float | None
    first_order: dict[int, float]


class Measuring:
    """The model of a run, on which contributions are tried; it is built once."""

    def __init__(
        self, manifest: Manifest, dataset: Dataset, make_bench: BenchFactory | None = None, device: str = "cpu"
    ) -> None:
        """`make_bench` spreads the work over several devices; without it all is done on the one."""
        self._manifest = manifest
        self._dataset = dataset
        self._model = FlatModel(manifest.model, device=device)
        self._step = trial_step(manifest.scoring, manifest.outer)
        self._bench = None if make_bench is None else make_bench(self._model)

    def measure(
        self,
        seeds: RoundSeeds,
        updates: Mapping[int, SparseUpdate],
        state: StateFollower,
        order: Sequence[int],
        *,
        on_progress: OnProgress,
        should_stop: Callable[[], bool],
    ) -> Measured:
        """Measure the updates (by trainer slot, scales clipped) of the slots in `order`, until told to stop.

        Costs two forward passes over the random sequences per contribution, three over its own sample, one for the
        base, one for the common step and one for the health lane, and one pass forward and back for the gradient.
        """
        random_ids, own_ids = round_sequences(self._manifest, seeds, order)
        random_tokens = self._dataset.sequences(random_ids)
        before = self._losses_before(state, random_tokens)
        self._model.load(to_float(state.values))

        def slopes() -> dict[int, float]:
            return {} if should_stop() else first_order_gains(self._model, updates, random_tokens, self._step)

        early = slopes() if len(updates) >= GRADIENT_FIRST else {}
        losses = evaluate_round(
            self._model,
            updates,
            random_tokens,
            {slot: self._dataset.sequences(ids) for slot, ids in own_ids.items()},
            self._manifest.scoring,
            self._manifest.outer,
            on_progress=on_progress,
            should_stop=should_stop,
            order=order,
            bench=self._bench,
        )
        harm = None if before is None else health(losses.base_losses, before)
        return Measured(losses, harm, early or slopes())

    def _losses_before(self, state: StateFollower, tokens: Tokens) -> NDArray[np.float64] | None:
        """Losses of the round's random sequences under the state before the last aggregate, None if not known."""
        if state.previous is None:
            return None
        self._model.load(to_float(state.previous))
        return sequence_losses(self._model.module, tokens)
