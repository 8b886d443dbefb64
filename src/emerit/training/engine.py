"""What the inner loop asks of the thing that computes its steps, and the one that does so in one process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emerit.model.flat import FlatModel
from emerit.protocol.manifest import ModelSpec, TrainingSpec
from emerit.training.optimiser import Optimiser


class Engine(Protocol):
    """Model and optimiser of one trainer; a round is one `begin`, some `step`s and one `end`.

    The moments are float32 vectors named and sized as `moment_sizes` has them.
    """

    @property
    def steps_done(self) -> int:
        """Optimiser steps made in all rounds."""

    def begin(self, weights: NDArray[np.float32]) -> None:
        """Start a round from these weights, float32[P]; the moments stay."""

    def step(self, batch: Tensor, factor: float) -> float:
        """Step once on int64[B, T + 1] with the learning rates times `factor`; return the loss, nats per token.

        The loss before the step. Not finite, with nothing stepped, when the loss or a gradient is not.
        """

    def end(self) -> NDArray[np.float32]:
        """Return the weights after the round's steps, float32[P]."""

    def moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the optimiser's moments; nothing before the first step."""

    def restore(self, moments: Mapping[str, NDArray[np.float32]], steps_done: int) -> None:
        """Take over the moments that `moments` returned after `steps_done` steps."""


class WholeModel:
    """The whole model on one device of this process."""

    def __init__(self, spec: ModelSpec, training: TrainingSpec, device: str = "cpu") -> None:
        self.model = FlatModel(spec, trainable=True, device=device)
        self._optimiser = Optimiser(self.model, training)

    @property
    def steps_done(self) -> int:
        """Optimiser steps made in all rounds."""
        return self._optimiser.steps_done

    def begin(self, weights: NDArray[np.float32]) -> None:
        """Start a round from these weights, float32[P]."""
        self.model.load(torch.from_numpy(weights))

    def step(self, batch: Tensor, factor: float) -> float:
        """Step once; see `Engine.step`."""
        gradient = self.model.gradient
        assert gradient is not None
        gradient.zero_()
        tokens = batch.to(gradient.device)
        logits = self.model.module(tokens[:, :-1])
        loss = F.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
        loss.backward()  # type: ignore[no-untyped-call]
        value = float(loss.detach())
        if not math.isfinite(value) or not self._optimiser.step(gradient, factor):
            return math.nan
        return value

    def end(self) -> NDArray[np.float32]:
        """Return the weights, float32[P]: a view of the model's where that is in this machine's memory."""
        return self.model.flat.cpu().numpy()

    def moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the optimiser's moments."""
        return self._optimiser.moments()

    def restore(self, moments: Mapping[str, NDArray[np.float32]], steps_done: int) -> None:
        """Take over saved moments."""
        self._optimiser.restore(moments, steps_done)
