"""The held-out loss of each settled state, measured by following the run as any auditor could."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from emerit.chain.records import SettledRound
from emerit.data import entropy_of
from emerit.model.flat import FlatModel
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.scoring.losses import sequence_losses
from emerit.training.state import to_float

SEQUENCES = 256


class HeldOut:
    """Replays the state from the aggregates, checks every root, and measures on held-out sequences only."""

    def __init__(self, context: RunContext, folder: Path) -> None:
        held_out = context.dataset(folder / "corpus").validation
        total = held_out.count
        # Evenly spread over the held-out text, the same every time.
        ids = np.unique(np.linspace(0, total - 1, min(SEQUENCES, total)).astype(np.int64))
        self.tokens = held_out.sequences(ids)
        self.unigram_entropy = entropy_of(self.tokens[:, 1:])
        self.follower = StateFollower.open(context, folder)
        self.model = FlatModel(context.manifest.model)

    def advance(self, settled: Sequence[SettledRound]) -> bool:
        """Apply the next settled round, if there is one; returns whether there was."""
        if self.follower.settled >= len(settled):
            return False
        self.follower.advance(settled[: self.follower.settled + 1])
        return True

    def loss(self) -> float:
        """Mean held-out loss of the present state in nats a token."""
        self.model.load(to_float(self.follower.values))
        return float(sequence_losses(self.model.module, self.tokens).mean())
