"""Measure a round's contributions and turn the measurements into this validator's weight vector."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from emerit.data import Dataset
from emerit.model.flat import FlatModel
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.run.context import RunContext
from emerit.run.pending import write_atomically
from emerit.run.state import StateFollower
from emerit.scoring.evaluate import evaluate_round, health
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.losses import sequence_losses
from emerit.scoring.similarity import find_clusters
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import RoundScores, ScoreHistory, score_round
from emerit.training.state import to_float
from emerit_validator.intake import Intake

log = structlog.get_logger("emerit.validator")


@dataclass(frozen=True)
class RoundSeeds:
    """What fixes a round's data: both draws and the registry snapshot."""

    round: int
    assign_seed: bytes
    eval_seed: bytes
    trainer_slots: int
    commit_order: dict[int, int]


@dataclass(frozen=True)
class Scored:
    """A validator's view of a round, ready to commit to."""

    vector: tuple[int, ...]
    evidence: bytes
    scores: RoundScores


@dataclass
class Scorer:
    """Keeps the model and the score history between rounds; the history survives a restart."""

    context: RunContext
    dataset: Dataset
    folder: Path
    model: FlatModel = field(init=False)
    history: ScoreHistory = field(init=False)

    def __post_init__(self) -> None:
        """Build the model once and load the history."""
        self.model = FlatModel(self.context.manifest.model)
        path = self.folder / "history.json"
        self.history = ScoreHistory.from_dict(json.loads(path.read_bytes())) if path.exists() else ScoreHistory()

    def score(
        self,
        seeds: RoundSeeds,
        state: StateFollower,
        intake: Intake,
        last_consensus: dict[int, int],
        *,
        on_progress: Callable[[int, int], None],
        should_stop: Callable[[], bool],
    ) -> Scored | None:
        """Measure every accepted contribution and weigh it; None when told to stop.

        Costs one forward pass over the random sequences per contribution, two over its own sample, one for the
        base and one for the health lane.
        """
        manifest = self.context.manifest
        random_ids, own_ids = self._ids(seeds, intake)
        random_tokens = self.dataset.sequences(random_ids)
        updates = clip_scales(intake.accepted)
        self.model.load(to_float(state.values))
        measured = evaluate_round(
            self.model,
            updates,
            random_tokens,
            {slot: self.dataset.sequences(ids) for slot, ids in own_ids.items()},
            manifest.scoring,
            manifest.outer,
            on_progress=on_progress,
            should_stop=should_stop,
        )
        if should_stop():
            return None
        harm = self._health(state, measured.base_losses, random_tokens)
        clusters = find_clusters(updates, last_consensus, manifest.codec.chunk, manifest.codec.k)
        scores = score_round(
            measured.measurements,
            clusters,
            seeds.commit_order,
            self.history,
            last_consensus,
            manifest.scoring,
            refused=intake.refused,
            unavailable=intake.unavailable,
        )
        vector = weight_vector(
            seeds.trainer_slots,
            scores.verdicts,
            measured.base_loss,
            harm,
            intake.unavailable,
            manifest.scoring,
        )
        record = evidence(
            round_number=seeds.round,
            eval_seed=seeds.eval_seed,
            base_loss=measured.base_loss,
            health=harm,
            measurements=measured.measurements,
            verdicts=scores.verdicts,
            clusters=clusters,
            cids=intake.cids,
            reference=scores.reference,
        )
        return Scored(vector, evidence_bytes(record), scores)

    def remember(self, scores: RoundScores) -> None:
        """Make a round's scores part of the history, on disk first."""
        write_atomically(self.folder / "history.json", json.dumps(scores.history.to_dict()).encode())
        self.history = scores.history

    def _ids(self, seeds: RoundSeeds, intake: Intake) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        manifest = self.context.manifest
        assigned_count, total = manifest.training.assigned_sequences, manifest.corpus.train_sequences
        random_ids = evaluation_sequences(
            seeds.assign_seed,
            seeds.eval_seed,
            seeds.trainer_slots,
            assigned_count,
            total,
            manifest.scoring.random_sequences,
        )
        own = {}
        for slot in intake.accepted:
            assigned = assigned_sequences(seeds.assign_seed, slot, assigned_count, total)
            own[slot] = own_sample(seeds.eval_seed, slot, assigned, manifest.scoring.own_sequences)
        return random_ids, own

    def _health(self, state: StateFollower, now: np.ndarray, tokens: np.ndarray) -> float:
        """Nats by which the last aggregate raised the loss on this round's fresh sequences, beyond its error."""
        if state.previous is None:
            return 0.0
        self.model.load(to_float(state.previous))
        before = sequence_losses(self.model.module, tokens)
        self.model.load(to_float(state.values))
        return health(now, before)
