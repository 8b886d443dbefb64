"""Measure a round's contributions and turn the measurements into this validator's weight vector."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import structlog

from emerit.data import Dataset
from emerit.errors import StateError
from emerit.files import replace_file
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.scoring.clusters import Clusters
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.history import HistoryRecord, ScoreHistory
from emerit.scoring.leave_one_out import LeaveOneOut
from emerit.scoring.recent import Recent
from emerit.scoring.similarity import find_clusters
from emerit.scoring.take_back import votes_to_take_back
from emerit.scoring.trust import trusted
from emerit_validator.inquest import Exclusions, Suspects, shut_out_until
from emerit_validator.intake import Intake
from emerit_validator.measuring import BenchFactory, Look, Measuring
from emerit_validator.recent import last_aggregate
from emerit_validator.seeds import RoundSeeds
from emerit_validator.weighing import Figures, Scored, weigh

log = structlog.get_logger("emerit.validator")


@dataclass
class Scorer:
    """Keeps the model, the score history and who is shut out between rounds; all but the model survive a restart.

    The history is by registry index: a slot may have another trainer later.
    """

    context: RunContext
    dataset: Dataset
    folder: Path
    make_bench: BenchFactory | None = None
    device: str = "cpu"
    measuring: Measuring = field(init=False)
    history: HistoryRecord = field(init=False)
    recent: Recent = field(default_factory=Recent)
    exclusions: Exclusions = field(init=False)

    def __post_init__(self) -> None:
        """Build the model once and load the history."""
        self.measuring = Measuring(self.context.manifest, self.dataset, self.make_bench, self.device)
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
        """
        manifest = self.context.manifest
        looked = self.measuring.look(seeds, state)
        history = by_slot(self.history.of_rounds_before(seeds.round), seeds.owners)
        if looked.harm is not None and votes_to_take_back(looked.harm, manifest):
            log.warning("the last aggregate did harm", round=seeds.round, nats=round(looked.harm, 6))
            shut_out = self.exclusions.by_slot(seeds.round, seeds.owners)
            harmed = Figures(looked.loss, looked.harm, {}, history, Clusters(), shut_out=shut_out)
            return replace(weigh(manifest, seeds, intake, {}, harmed), exclusions=self.exclusions)
        found = self._inquire(seeds, state, suspects, looked, deadline, stopped)
        exclusions = self._exclusions_after(seeds, suspects, found)
        shut_out = exclusions.by_slot(seeds.round, seeds.owners)
        earlier = self.recent.earlier(seeds.settled_round, last_consensus, manifest.outer.max_aggregated)
        last_consensus = trusted(last_consensus, shut_out)
        updates = clip_scales(intake.accepted, last_consensus)
        step = last_aggregate(state)
        clusters = find_clusters(
            updates,
            last_consensus,
            manifest.codec.chunk,
            manifest.codec.k_in(intake.round),
            seed=seeds.eval_seed,
            earlier=[*earlier, *step],
        )
        self.recent.keep(intake.round, intake.accepted)
        order = sorted(updates) if seeds.sample is None else [slot for slot in seeds.sample.slots if slot in updates]
        measured = self.measuring.measure(
            seeds,
            looked,
            updates,
            order,
            last_consensus,
            on_progress=on_progress,
            should_stop=lambda: stopped() or time.monotonic() >= deadline,
        )
        if stopped():
            return None
        left_out = set(updates) - set(measured.losses.measurements)
        if left_out:
            sampled = seeds.sample is not None and not seeds.sample.whole
            log.warning("not measured", round=seeds.round, slots=sorted(left_out), sampled=sampled)
        figures = Figures(
            base_loss=measured.losses.base_loss,
            harm=looked.harm,
            measured=measured.losses.measurements,
            history=history,
            clusters=clusters,
            compared_with=(*self.recent.known, *((seeds.settled_round, item.slot) for item in step)),
            first_order=measured.first_order,
            shut_out=shut_out,
            found=found,
        )
        return replace(weigh(manifest, seeds, intake, last_consensus, figures), exclusions=exclusions)

    def remember(self, number: int, scored: Scored) -> None:
        """Make a round's scores part of the history, on disk first; a round that is scored again counts once."""
        standings = scored.scores.history.standings
        fresh = {scored.owners[slot]: standing for slot, standing in standings.items()}
        record = self.history.with_round(number, self.history.of_rounds_before(number).with_standings(fresh))
        self._keep(record, scored.exclusions)

    def forget(self) -> None:
        """Take back what the newest round left: its weights were never revealed, so nobody could replay it."""
        newest = self.history.round
        record = self.history.with_round(newest, self.history.of_rounds_before(newest))
        self._keep(record, self.exclusions.without(shut_out_until(self.context.manifest, newest)))

    def _keep(self, record: HistoryRecord, exclusions: Exclusions) -> None:
        replace_file(self.folder / "history.json", json.dumps(record.to_dict()).encode())
        self.history = record
        if exclusions != self.exclusions:
            exclusions.save(self.folder)
            self.exclusions = exclusions

    def _inquire(
        self,
        seeds: RoundSeeds,
        state: StateFollower,
        suspects: Suspects | None,
        looked: Look,
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

        found = self.measuring.inquire(looked, state, suspects.round, suspects.updates, out_of_time)
        log.warning("looked for who did harm", round=seeds.round, taken_back=suspects.round, guilty=list(found.guilty))
        return found

    def _exclusions_after(self, seeds: RoundSeeds, suspects: Suspects | None, found: LeaveOneOut | None) -> Exclusions:
        if suspects is None or found is None:
            return self.exclusions
        guilty = [suspects.owners[slot] for slot in found.guilty]
        return self.exclusions.extended(guilty, shut_out_until(self.context.manifest, seeds.round))


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
