"""Measure a round's contributions and turn the measurements into this validator's weight vector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import structlog

from emerit.data import Dataset
from emerit.errors import StateError
from emerit.files import replace_file
from emerit.model.flat import FlatModel
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.scoring.clusters import Clusters
from emerit.scoring.evaluate import RoundMeasurement, evaluate_round, health, trial_step
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.first_order import first_order_gains
from emerit.scoring.history import HistoryRecord, ScoreHistory
from emerit.scoring.losses import sequence_losses
from emerit.scoring.recent import Recent
from emerit.scoring.sample import Sample
from emerit.scoring.similarity import find_clusters
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import RoundScores, score_round
from emerit.training.state import to_float
from emerit_validator.intake import Intake
from emerit_validator.recent import last_aggregate

log = structlog.get_logger("emerit.validator")

# From so many contributions on the gradient costs less than a tenth of measuring them, and comes first; in a smaller
# round it gets the time that is left.
GRADIENT_FIRST = 16


@dataclass(frozen=True)
class RoundSeeds:
    """What fixes a round's data: both draws and the registry; `owners` maps a trainer slot to its registry index.

    `settled_round` is the last settled round, whose consensus weights are known; -1 if there is none.
    `sample` says who is measured and in which order, None for everybody.
    """

    round: int
    assign_seed: bytes
    eval_seed: bytes
    trainer_slots: int
    commit_order: dict[int, int]
    owners: dict[int, int]
    settled_round: int = -1
    sample: Sample | None = None


@dataclass(frozen=True)
class Scored:
    """A validator's view of a round, ready to commit to."""

    vector: tuple[int, ...]
    evidence: bytes
    scores: RoundScores
    owners: dict[int, int]


@dataclass
class Scorer:
    """Keeps the model and the score history between rounds; the history survives a restart.

    The history is by registry index: a slot may have another trainer later.
    """

    context: RunContext
    dataset: Dataset
    folder: Path
    model: FlatModel = field(init=False)
    history: HistoryRecord = field(init=False)
    recent: Recent = field(default_factory=Recent)

    def __post_init__(self) -> None:
        """Build the model once and load the history."""
        self.model = FlatModel(self.context.manifest.model)
        self.history = load_history(self.folder)

    def score(
        self,
        seeds: RoundSeeds,
        state: StateFollower,
        intake: Intake,
        last_consensus: dict[int, int],
        *,
        deadline: float,
        on_progress: Callable[[int, int], None],
        stopped: Callable[[], bool],
    ) -> Scored | None:
        """Measure the accepted contributions and weigh them; None when told to stop.

        What is not measured when `deadline` (of `time.monotonic`) has come gets no weight: the vector abstains there.
        Only who is in the sample is measured, in its order.
        Costs two forward passes over the random sequences per contribution, three over its own sample, one for the
        base, one for the common step and one for the health lane, and one pass forward and back for the gradient.
        """
        manifest = self.context.manifest
        random_ids, own_ids = self._ids(seeds, intake)
        random_tokens = self.dataset.sequences(random_ids)
        updates = clip_scales(intake.accepted, last_consensus)
        clusters = find_clusters(
            updates,
            last_consensus,
            manifest.codec.chunk,
            manifest.codec.k_in(intake.round),
            seed=seeds.eval_seed,
            earlier=[*self.recent.earlier(seeds.settled_round, last_consensus), *last_aggregate(state)],
        )
        self.recent.keep(intake.round, updates)
        before = self._losses_before(state, random_tokens)
        self.model.load(to_float(state.values))
        order = sorted(updates) if seeds.sample is None else [slot for slot in seeds.sample.slots if slot in updates]

        def out_of_time() -> bool:
            return stopped() or time.monotonic() >= deadline

        def slopes() -> dict[int, float]:
            if out_of_time():
                return {}
            return first_order_gains(self.model, updates, random_tokens, trial_step(manifest.scoring, manifest.outer))

        early = slopes() if len(updates) >= GRADIENT_FIRST else {}
        measured = evaluate_round(
            self.model,
            updates,
            random_tokens,
            {slot: self.dataset.sequences(ids) for slot, ids in own_ids.items()},
            manifest.scoring,
            manifest.outer,
            on_progress=on_progress,
            should_stop=out_of_time,
            order=order,
        )
        if stopped():
            return None
        harm = None if before is None else health(measured.base_losses, before)
        return self._weigh(seeds, intake, last_consensus, clusters, measured, harm, early or slopes())

    def remember(self, number: int, scored: Scored) -> None:
        """Make a round's scores part of the history, on disk first; a round that is scored again counts once."""
        standings = scored.scores.history.standings
        fresh = {scored.owners[slot]: standing for slot, standing in standings.items()}
        after = self.history.of_rounds_before(number).with_standings(fresh)
        record = self.history.with_round(number, after)
        replace_file(self.folder / "history.json", json.dumps(record.to_dict()).encode())
        self.history = record

    def _weigh(
        self,
        seeds: RoundSeeds,
        intake: Intake,
        last_consensus: dict[int, int],
        clusters: Clusters,
        measured: RoundMeasurement,
        harm: float | None,
        first_order: dict[int, float],
    ) -> Scored:
        spec = self.context.manifest.scoring
        shares = {} if seeds.sample is None else seeds.sample.shares
        unmeasured = set(intake.accepted) - set(measured.measurements)
        if unmeasured:
            sampled = seeds.sample is not None and not seeds.sample.whole
            log.warning("not measured", round=seeds.round, slots=sorted(unmeasured), sampled=sampled)
        scores = score_round(
            measured.measurements,
            clusters,
            seeds.commit_order,
            by_slot(self.history.of_rounds_before(seeds.round), seeds.owners),
            last_consensus,
            spec,
            refused=intake.refused,
            unavailable=intake.unavailable,
            unmeasured=unmeasured,
            shares=shares,
        )
        abstained = intake.unavailable | unmeasured
        vector = weight_vector(seeds.trainer_slots, scores.verdicts, measured.base_loss, harm, abstained, spec)
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
            first_order=first_order,
            shares=shares,
        )
        return Scored(vector, evidence_bytes(record), scores, seeds.owners)

    def _ids(self, seeds: RoundSeeds, intake: Intake) -> tuple[np.ndarray, dict[int, np.ndarray]]:
        manifest = self.context.manifest
        assigned_count, total = manifest.training.assigned_sequences, manifest.corpus.train_sequences
        count = manifest.scoring.random_sequences
        random_ids = evaluation_sequences(
            seeds.assign_seed, seeds.eval_seed, seeds.trainer_slots, assigned_count, total, count
        )
        own = {}
        for slot in intake.accepted:
            assigned = assigned_sequences(seeds.assign_seed, slot, assigned_count, total, count)
            own[slot] = own_sample(seeds.eval_seed, slot, assigned, manifest.scoring.own_sequences)
        return random_ids, own

    def _losses_before(self, state: StateFollower, tokens: np.ndarray) -> np.ndarray | None:
        """Losses of the round's random sequences under the state before the last aggregate, None if not known."""
        if state.previous is None:
            return None
        self.model.load(to_float(state.previous))
        return sequence_losses(self.model.module, tokens)


def by_slot(history: ScoreHistory, owners: Mapping[int, int]) -> ScoreHistory:
    """Return what is known of the trainers that have the slots now, by slot."""
    known = history.standings
    return ScoreHistory({slot: known[index] for slot, index in owners.items() if index in known})


def load_history(folder: Path) -> HistoryRecord:
    """Read the score history in a validator's folder, an empty one if there is none.

    Raises:
        StateError: `history-corrupt` when the file is damaged.
    """
    path = folder / "history.json"
    if not path.exists():
        return HistoryRecord()
    try:
        return HistoryRecord.from_dict(json.loads(path.read_bytes()))
    except ValueError as error:
        raise StateError(
            "history-corrupt",
            "The score history cannot be read: it is not JSON.",
            "Delete the validator's history.json; scores start anew with the next round.",
        ) from error
