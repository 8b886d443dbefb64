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
from emerit.scoring.evaluate import RoundMeasurement, evaluate_round, trial_step
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.first_order import first_order_gains
from emerit.scoring.gap import GapReference
from emerit.scoring.history import HistoryRecord, ScoreHistory
from emerit.scoring.leave_one_out import LeaveOneOut, exclude, leave_one_out
from emerit.scoring.losses import sequence_losses
from emerit.scoring.recent import Recent
from emerit.scoring.sample import Sample
from emerit.scoring.similarity import find_clusters
from emerit.scoring.take_back import capped, harm_done, take_back_vector, take_back_verdicts, votes_to_take_back
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import RoundScores, score_round
from emerit.training.state import to_float
from emerit_validator.inquest import Exclusions, Suspects
from emerit_validator.intake import Intake
from emerit_validator.recent import last_aggregate

log = structlog.get_logger("emerit.validator")

# From so many contributions on the gradient costs less than a tenth of measuring them, and comes first; in a smaller
# round it gets the time that is left.
GRADIENT_FIRST = 16


@dataclass(frozen=True)
class RoundSeeds:
    """What fixes a round's data: both draws and the registry; `owners` maps a trainer slot to its registry index.

    `settled_round` is the last settled round that judged contributions, whose consensus weights are known; -1 if there
    is none. `sample` says who is measured and in which order, None for everybody.
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
    exclusions: Exclusions


@dataclass(frozen=True)
class Inquest:
    """What was found of an aggregate that was taken back, if one was, and which slots are shut out in the round."""

    found: LeaveOneOut | None
    shut_out: list[int]
    exclusions: Exclusions


@dataclass
class Scorer:
    """Keeps the model, the score history and who is shut out between rounds; all but the model survive a restart.

    The history is by registry index: a slot may have another trainer later.
    """

    context: RunContext
    dataset: Dataset
    folder: Path
    model: FlatModel = field(init=False)
    history: HistoryRecord = field(init=False)
    recent: Recent = field(default_factory=Recent)
    exclusions: Exclusions = field(init=False)

    def __post_init__(self) -> None:
        """Build the model once and load the history."""
        self.model = FlatModel(self.context.manifest.model)
        self.history = load_history(self.folder)
        self.exclusions = Exclusions.load(self.folder)

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
        suspects: Suspects | None = None,
    ) -> Scored | None:
        """Measure the accepted contributions and weigh them; None when told to stop.

        Where the last aggregate did harm, nothing is measured: the vector votes to take it back. Where `suspects` are
        given, those of an aggregate that was taken back, it is first measured who of them made it harmful.

        What is not measured when `deadline` (of `time.monotonic`) has come gets no weight: the vector abstains there.
        Only who is in the sample is measured, in its order.
        Costs two forward passes over the random sequences per contribution, three over its own sample, one for the
        base, one for the common step and one for the health lane, and one pass forward and back for the gradient.
        """
        manifest = self.context.manifest
        random_ids, own_ids = self._ids(seeds, intake)
        random_tokens = self.dataset.sequences(random_ids)
        before = self._losses_before(state, random_tokens)
        self.model.load(to_float(state.values))
        base = sequence_losses(self.model.module, random_tokens)
        harm = None if before is None else harm_done(base, before)
        if harm is not None and votes_to_take_back(harm, manifest):
            log.warning("the last aggregate did harm", round=seeds.round, nats=round(harm, 6))
            return self._take_back(seeds, intake, float(capped(base).mean()), harm)
        found = self._inquire(seeds, state, suspects, random_tokens, deadline, stopped)
        exclusions = self._exclusions_after(seeds, suspects, found)
        shut_out = exclusions.slots(seeds.round, seeds.owners)
        last_consensus = {slot: weight for slot, weight in last_consensus.items() if slot not in shut_out}
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
            base_losses=base,
            trust=last_consensus,
        )
        if stopped():
            return None
        inquest = Inquest(found, shut_out, exclusions)
        return self._weigh(seeds, intake, last_consensus, clusters, measured, harm, early or slopes(), inquest)

    def remember(self, number: int, scored: Scored) -> None:
        """Make a round's scores part of the history, on disk first; a round that is scored again counts once."""
        standings = scored.scores.history.standings
        fresh = {scored.owners[slot]: standing for slot, standing in standings.items()}
        after = self.history.of_rounds_before(number).with_standings(fresh)
        record = self.history.with_round(number, after)
        replace_file(self.folder / "history.json", json.dumps(record.to_dict()).encode())
        self.history = record
        if scored.exclusions != self.exclusions:
            scored.exclusions.save(self.folder)
            self.exclusions = scored.exclusions

    def _weigh(
        self,
        seeds: RoundSeeds,
        intake: Intake,
        last_consensus: dict[int, int],
        clusters: Clusters,
        measured: RoundMeasurement,
        harm: float | None,
        first_order: dict[int, float],
        inquest: Inquest,
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
        scores = exclude(scores, inquest.shut_out)
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
        if inquest.found is not None:
            record["leave_one_out"] = inquest.found.to_dict()
        return Scored(vector, evidence_bytes(record), scores, seeds.owners, inquest.exclusions)

    def _take_back(self, seeds: RoundSeeds, intake: Intake, base_loss: float, harm: float) -> Scored:
        """Vote to take the last aggregate back; the round's contributions are not judged."""
        revealed = set(intake.accepted) | intake.unavailable
        verdicts = take_back_verdicts(revealed, seeds.commit_order, intake.refused)
        record = evidence(
            round_number=seeds.round,
            eval_seed=seeds.eval_seed,
            base_loss=base_loss,
            health=harm,
            measurements={},
            verdicts=verdicts,
            clusters=Clusters(),
            cids=intake.cids,
        )
        vector = take_back_vector(seeds.trainer_slots, base_loss, harm, self.context.manifest.scoring)
        scores = RoundScores(verdicts, ScoreHistory(), GapReference())
        return Scored(vector, evidence_bytes(record), scores, seeds.owners, self.exclusions)

    def _inquire(
        self,
        seeds: RoundSeeds,
        state: StateFollower,
        suspects: Suspects | None,
        tokens: np.ndarray,
        deadline: float,
        stopped: Callable[[], bool],
    ) -> LeaveOneOut | None:
        """Find out who made the aggregate harmful that was taken back, in a third of the time that there is."""
        if suspects is None:
            return None
        now = time.monotonic()
        end = now + max(0.0, deadline - now) / 3

        def out_of_time() -> bool:
            return stopped() or time.monotonic() >= end

        outer = self.context.manifest.outer
        found = leave_one_out(self.model, state.state, suspects.round, suspects.updates, tokens, outer, out_of_time)
        log.warning("looked for who did harm", round=seeds.round, taken_back=suspects.round, guilty=list(found.guilty))
        return found

    def _exclusions_after(self, seeds: RoundSeeds, suspects: Suspects | None, found: LeaveOneOut | None) -> Exclusions:
        if suspects is None or found is None:
            return self.exclusions
        until = seeds.round + self.context.manifest.rollback.exclusion_rounds - 1
        return self.exclusions.extended([suspects.owners[slot] for slot in found.guilty], until)

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
