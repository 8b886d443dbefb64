"""A validator's weights of one round: scored, committed, kept on disk, revealed."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import structlog

from emerit.chain.transactions import Sender
from emerit.protocol.commitments import pack_vector, weights_commitment
from emerit.protocol.types import Phase, RegistryEntry, Status
from emerit.run.context import RunContext
from emerit.run.node import NodeLoop
from emerit.run.pending import Pending, load_pending, save_pending
from emerit.run.state import StateFollower
from emerit.run.work import work_seed
from emerit.scoring.sample import Standings
from emerit.telemetry import Metrics
from emerit_validator.chores import attempt
from emerit_validator.inquest import Suspects
from emerit_validator.intake import Intake
from emerit_validator.scorer import Scorer
from emerit_validator.seeds import round_seeds
from emerit_validator.weighing import Scored

log = structlog.get_logger("emerit.validator")

KIND = "weights"
# Of what is left of the Score phase, this share is kept for evidence and commitment, and never less than this much.
COMMIT_SHARE = 0.2
LEAST_COMMIT_SECONDS = 3.0
# How long after a phase's end a node that was told to stop still looks for the next phase's first block.
GRACE_SECONDS = 3.0
NOTHING_KNOWN: Final[Standings] = MappingProxyType({})


def scoring_seconds(status: Status) -> float:
    """Return how long this node may measure: the time left in the Score phase less what committing takes."""
    left = status.phase_ends_at - status.timestamp
    return max(0.0, left - max(LEAST_COMMIT_SECONDS, COMMIT_SHARE * left))


@dataclass
class Ballot:
    """One validator's votes in one run."""

    context: RunContext
    sender: Sender
    folder: Path
    loop: NodeLoop
    metrics: Metrics
    entry: RegistryEntry
    scorer: Scorer

    def resume(self, status: Status) -> Pending | None:
        """Take up the vote of this round that was kept before a restart or an outage.

        One that the chain does not have yet is committed to again as it was: its first transaction may still arrive.
        None when there is none, or when it is too late for it.
        """
        kept = load_pending(self.folder)
        if kept is None or kept.kind != KIND or kept.round != status.round:
            return None
        if not self._commit(kept, status):
            return None
        log.info("took up the vote that was kept", round=kept.round, phase=status.phase.name)
        return kept

    def vote(
        self,
        number: int,
        intake: Intake,
        state: StateFollower,
        last_consensus: dict[int, int],
        coverage: tuple[int, int] = (0, 0),
        standings: Standings = NOTHING_KNOWN,
        judged: int | None = None,
        suspects: Suspects | None = None,
    ) -> Pending | None:
        """Score the round and commit to the weights; None when it is too late or the node was told to stop.

        `judged` is the last settled round that judged contributions; `coverage` says how many of them were voted on,
        and how many there were; `standings` what settled rounds say of the trainers, by slot. `suspects` are the
        members of an aggregate that was taken back.
        """
        status = self.loop.status()
        if status.round != number or status.phase is not Phase.SCORE:
            return None
        scored = self._score(status, intake, state, last_consensus, coverage, standings, judged, suspects)
        if scored is None:
            return None
        for verdict in scored.scores.verdicts.values():
            self.metrics.evaluations_total.labels(verdict=verdict.code).inc()
        # The history first: a vote that is found after a crash is not scored again, and its round has to be in there.
        self.scorer.remember(number, scored)
        pending = Pending(
            kind=KIND,
            round=number,
            cid=self.context.store.add(scored.evidence),
            content_hash=hashlib.sha256(scored.evidence).digest(),
            salt=secrets.token_bytes(32),
            payload=scored.evidence,
            vector=pack_vector(scored.vector),
        )
        save_pending(self.folder, pending)
        if not self._commit(pending, status):
            return None
        verdicts = {slot: verdict.code for slot, verdict in scored.scores.verdicts.items()}
        log.info("weights committed", round=number, verdicts=verdicts)
        return pending

    def reveal(self, pending: Pending) -> None:
        """Open the commitment once everybody who can has committed.

        A first stop signal still lets this happen, until the Score phase must be over: the others wait for the
        reveal, and without it the round's work is not paid.
        """
        number, told = pending.round, False

        def over(status: Status) -> bool:
            nonlocal told
            if self.loop.stop.is_set() and not told:
                told = True
                log.info("told to stop; revealing the committed weights first", round=number)
            return status.round != number or status.phase is not Phase.SCORE

        now = self.loop.status()
        left = max(0, now.phase_ends_at - now.timestamp) if now.phase is Phase.SCORE else 0
        status = self.loop.wait_until(
            over, "the other validators' commitments", despite_stop_seconds=left + GRACE_SECONDS
        )
        if status is None or status.round != number or status.phase is not Phase.WEIGHT_REVEAL:
            return
        if status.weight_reveal_mask >> self.entry.slot & 1:
            return
        attempt(
            lambda: self.context.client.reveal_weights(
                self.sender, number, pending.vector, pending.content_hash, pending.cid, pending.salt
            )
        )

    def _score(
        self,
        status: Status,
        intake: Intake,
        state: StateFollower,
        last_consensus: dict[int, int],
        coverage: tuple[int, int],
        standings: Standings,
        judged: int | None,
        suspects: Suspects | None,
    ) -> Scored | None:
        client, number = self.context.client, status.round
        deadline = time.monotonic() + scoring_seconds(status)
        assign_seed = work_seed(client, self.context.manifest.training, status)
        revealed = set(intake.cids)
        seeds = round_seeds(client, number, assign_seed, status.eval_seed, revealed, coverage, standings, judged)
        self._drop_unrevealed(number)

        def progress(done: int, total: int) -> None:
            self.metrics.progress()
            self.loop.heartbeat(f"its own scoring ({done} of {total})")

        return self.scorer.score(
            seeds,
            state,
            intake,
            last_consensus,
            deadline=deadline,
            on_progress=progress,
            stopped=self.loop.stop.is_set,
            suspects=suspects,
        )

    def _drop_unrevealed(self, number: int) -> None:
        """Let only rounds count whose weights were revealed, so that everybody can follow the history from evidence."""
        newest = self.scorer.history.round
        if not 0 <= newest < number:
            return
        if all(item.slot != self.entry.slot for item in self.context.client.weight_reveals(newest)):
            self.scorer.forget()

    def _commit(self, pending: Pending, status: Status) -> bool:
        """Send the commitment unless the chain has it; whether the chain has one of ours afterwards."""
        number = pending.round
        if self._committed(status, number):
            return True
        if status.phase is not Phase.SCORE:
            return False
        commitment = weights_commitment(
            chain_id=self.context.chain_id,
            run=self.context.client.address,
            round_number=number,
            slot=self.entry.slot,
            vector=pending.vector,
            evidence_hash=pending.content_hash,
            evidence_cid=pending.cid,
            salt=pending.salt,
        )
        sent = attempt(lambda: self.context.client.commit_weights(self.sender, number, commitment))
        # A refused transaction may have been the second copy of one that had arrived.
        return sent or self._committed(self.loop.status(), number)

    def _committed(self, status: Status, number: int) -> bool:
        return status.round == number and bool(status.weight_commit_mask >> self.entry.slot & 1)
