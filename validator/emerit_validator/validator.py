"""A validator's round, top to bottom: fetch, score, commit, reveal, settle, attest."""

from __future__ import annotations

import dataclasses
import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import structlog

from emerit.chain.transactions import Sender
from emerit.codec.aggregate import encode_aggregate
from emerit.errors import ChainError, UnavailableError
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.commitments import pack_vector, weights_commitment
from emerit.protocol.consensus import aggregated_slots
from emerit.protocol.settlement import Settlement, settle
from emerit.protocol.types import Phase, RegistryEntry, Role, Status
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger
from emerit.run.membership import check_in, ensure_member
from emerit.run.node import NodeLoop
from emerit.run.pending import Pending, clear_pending, load_pending, save_pending
from emerit.run.rounds import RoundBook
from emerit.run.state import StateFollower
from emerit.telemetry import Metrics, RoundJournal
from emerit.training.aggregate import aggregate, apply_aggregate
from emerit.training.state import state_root
from emerit_validator.intake import Intake
from emerit_validator.scorer import RoundSeeds, Scorer

log = structlog.get_logger("emerit.validator")

FETCH_WORKERS = 4
# Races that another node may win between our look at the chain and our transaction; the outcome is the same.
LOST_RACES = frozenset(
    {
        "wrong-phase",
        "wrong-round",
        "too-early",
        "too-few-members",
        "already-started",
        "already-attested",
        "already-committed",
        "already-revealed",
        "run-has-finished",
    }
)


@dataclass
class ValidatorNode:
    """One validator in one run; `run()` plays rounds until the run ends or the node is told to stop."""

    context: RunContext
    sender: Sender
    folder: Path
    loop: NodeLoop
    metrics: Metrics
    stake_wei: int | None = None

    def run(self) -> None:
        """Join, then play every round.

        Raises:
            EmeritError: joining failed, or five rounds in a row did; the last one's error.
        """
        client = self.context.client
        self.entry: RegistryEntry = ensure_member(client, self.sender, Role.VALIDATOR, self.stake_wei)
        self.book = RoundBook(self.loop, RoundJournal(self.folder / "rounds.jsonl"), self.metrics, log)
        self.ledger = Ledger(client, self.context.manifest, self.context.params.validator_share_bps)
        self.follower = StateFollower.open(self.context, self.folder)
        dataset = self.context.dataset(self.folder.parent / "corpus")
        self.scorer = Scorer(self.context, dataset, self.folder)
        self.workers = ThreadPoolExecutor(FETCH_WORKERS, thread_name_prefix="fetch")
        log.info("joined", index=self.entry.index, slot=self.entry.slot, active_from=self.entry.active_from)
        check_in(client, self.sender, self.entry, self.loop.status())
        try:
            while not self.loop.stop.is_set():
                status = self.loop.wait_until(self.started, "the run's start")
                if status is None or status.phase is Phase.FINISHED:
                    break
                self.play(status)
            if not self.loop.stop.is_set():
                self.follower.advance(client.settled())  # the run's final state
        finally:
            self.workers.shutdown(wait=False, cancel_futures=True)
            self.follower.save()

    def started(self, status: Status) -> bool:
        """Whether the run goes; starts it once enough have joined, which anybody may do."""
        if status.phase is Phase.NOT_STARTED and status.timestamp % (self.patience() + 1) == 0:
            self.attempt(lambda: self.context.client.start(self.sender))
        return status.phase is not Phase.NOT_STARTED

    def play(self, status: Status) -> None:
        """Play one round and record its one outcome, then wait for the next."""
        number = status.round
        self.book.play(number, lambda: self.round(number))
        self.wait_for_next(number)

    def round(self, number: int) -> tuple[str, str]:
        """One round; returns (outcome, reason)."""
        client = self.context.client
        self.follower.advance(client.settled(), should_stop=self.loop.stop.is_set)
        self.ledger.update()
        if number < self.entry.active_from:
            return "skipped", "not-active-yet"
        status = self.loop.status()
        if status.round == number:
            check_in(client, self.sender, self.entry, status)
        intake = self.take_in(number)
        if intake is None:
            return "skipped", "stopped" if self.loop.stop.is_set() else "round-over"
        pending = self.commit_weights(number, intake)
        if pending is not None:
            self.reveal_weights(pending)
        return self.settle_round(number, intake, pending is not None)

    def take_in(self, number: int) -> Intake | None:
        """Fetch contributions while they are revealed, until the evaluation seed is drawn."""
        client = self.context.client
        intake = Intake(self.context, number, self.follower.root, self.workers)

        def drawn(status: Status) -> bool:
            if status.round != number or status.phase is Phase.FINISHED:
                return True
            if status.phase is not Phase.TRAIN:
                intake.take(client.reveals(number))
            if status.phase is Phase.DRAW and status.timestamp >= status.phase_ends_at + self.patience():
                self.attempt(lambda: self.context.client.draw(self.sender, number))
            return status.phase not in (Phase.TRAIN, Phase.REVEAL, Phase.DRAW)

        status = self.loop.wait_until(drawn, "the trainers' contributions")
        if status is None or status.round != number or status.phase is Phase.FINISHED:
            return None
        intake.take(client.reveals(number))
        intake.collect(wait_seconds=30.0)
        return intake

    def patience(self) -> int:
        """Seconds that a validator leaves to those before it to send a transaction that anyone may send."""
        return self.entry.slot * 2

    def commit_weights(self, number: int, intake: Intake) -> Pending | None:
        """Score and commit, or take up the commitment made before a restart; None if it is too late."""
        client, status = self.context.client, self.loop.status()
        kept = load_pending(self.folder)
        if kept is not None and kept.round == number and status.weight_commit_mask >> self.entry.slot & 1:
            return kept
        clear_pending(self.folder)
        if status.round != number or status.phase is not Phase.SCORE:
            return None
        info = client.round_info(number)
        order = {item.slot: place for place, item in enumerate(client.commits(number))}
        seeds = RoundSeeds(number, status.assign_seed, status.eval_seed, info.trainer_slots, order)

        def progress(done: int, total: int) -> None:
            self.metrics.progress()
            self.loop.heartbeat(f"its own scoring ({done} of {total})")

        scored = self.scorer.score(
            seeds,
            self.follower,
            intake,
            self.last_consensus(),
            on_progress=progress,
            should_stop=self.loop.stop.is_set,
        )
        if scored is None:
            return None
        for verdict in scored.scores.verdicts.values():
            self.metrics.evaluations_total.labels(verdict=verdict.code).inc()
        pending = Pending(
            kind="weights",
            round=number,
            cid=self.context.store.add(scored.evidence),
            content_hash=hashlib.sha256(scored.evidence).digest(),
            salt=secrets.token_bytes(32),
            payload=scored.evidence,
            vector=pack_vector(scored.vector),
        )
        save_pending(self.folder, pending)
        self.scorer.remember(scored.scores)
        commitment = weights_commitment(
            chain_id=self.context.chain_id,
            run=client.address,
            round_number=number,
            account=self.entry.account,
            vector=pending.vector,
            evidence_hash=pending.content_hash,
            evidence_cid=pending.cid,
            salt=pending.salt,
        )
        if not self.attempt(lambda: self.context.client.commit_weights(self.sender, number, commitment)):
            return None
        log.info(
            "weights committed",
            round=number,
            verdicts={slot: verdict.code for slot, verdict in scored.scores.verdicts.items()},
        )
        return pending

    def last_consensus(self) -> dict[int, int]:
        """Consensus weight by trainer slot in the last settled round; empty before the first."""
        last = self.ledger.last
        return dict(enumerate(last.settlement.weights)) if last is not None else {}

    def reveal_weights(self, pending: Pending) -> None:
        """Open the commitment once everybody who can has committed."""
        number = pending.round
        status = self.loop.wait_until(
            lambda s: s.round != number or s.phase is not Phase.SCORE, "the other validators' commitments"
        )
        if status is None or status.round != number or status.phase is not Phase.WEIGHT_REVEAL:
            return
        if status.weight_reveal_mask >> self.entry.slot & 1:
            return
        self.attempt(
            lambda: self.context.client.reveal_weights(
                self.sender, number, pending.vector, pending.content_hash, pending.cid, pending.salt
            )
        )

    def settle_round(self, number: int, intake: Intake, revealed: bool) -> tuple[str, str]:
        """Compute the settlement from the revealed vectors, publish the aggregate, attest."""
        status = self.loop.wait_until(
            lambda s: s.round != number or s.phase not in (Phase.SCORE, Phase.WEIGHT_REVEAL),
            "the other validators' weights",
        )
        if status is None:
            return "skipped", "stopped"
        if status.round != number or status.phase is not Phase.SETTLE:
            return "skipped", "settle-phase-over"
        client = self.context.client
        info = client.round_info(number)
        inputs, _, _ = self.ledger.inputs(number, info, client.budget_of(number))
        settlement = settle(inputs)
        blob, root = self.transition(settlement, intake, number)
        header = dataclasses.replace(settlement.header, state_root=root, aggregate_hash=hashlib.sha256(blob).digest())
        cid = self.context.store.add(blob)
        ready = self.loop.wait_until(
            lambda s: s.round != number or s.timestamp >= info.opened_at + self.context.params.min_round_seconds,
            "the round's minimum length",
        )
        if ready is None or ready.round != number:
            return ("submitted" if revealed else "skipped"), "" if revealed else "settled-without-us"
        self.attempt(lambda: self.context.client.attest(self.sender, header, cid))
        return ("submitted", "") if revealed else ("skipped", "scored-too-late")

    def transition(self, settlement: Settlement, intake: Intake, number: int) -> tuple[bytes, bytes]:
        """The round's aggregate blob and the state root after it, in integers from revealed data only.

        Raises:
            UnavailableError: a contribution that the others admitted could not be fetched here.
        """
        manifest = self.context.manifest
        slots = aggregated_slots(settlement, manifest.outer.max_aggregated)
        missing = [slot for slot in slots if slot not in intake.accepted]
        if missing:
            retry = Intake(self.context, number, self.follower.root, self.workers)
            retry.take([r for r in self.context.client.reveals(number) if r.slot in missing])
            retry.collect(wait_seconds=30.0)
            intake.accepted.update(retry.accepted)
            if any(slot not in intake.accepted for slot in missing):
                raise UnavailableError(
                    "contribution-unavailable",
                    f"Contributions of slots {missing} were admitted by the others and cannot be fetched here.",
                    "Check this node's IPFS connections; the round can settle without this validator.",
                )
        positions, deltas = aggregate([intake.accepted[slot] for slot in slots], manifest.outer)
        blob = encode_aggregate(number, parameter_count(manifest.model), positions, deltas)
        values = apply_aggregate(self.follower.values, positions, deltas)
        return blob, state_root(values, table_hash(manifest.model))

    def wait_for_next(self, number: int) -> None:
        """Wait until the round is settled; when its deadline passes without a quorum, void it."""

        def over(status: Status) -> bool:
            if status.round != number or status.phase is Phase.FINISHED:
                return True
            if status.phase is Phase.DRAW and status.timestamp >= status.phase_ends_at + self.patience():
                self.attempt(lambda: self.context.client.draw(self.sender, number))
            if status.phase is Phase.EXPIRED and status.timestamp >= status.phase_ends_at + self.patience():
                self.attempt(lambda: self.context.client.void_round(self.sender, number))
            return False

        self.loop.wait_until(over, "the settlement of this round")

    def attempt(self, transaction: Callable[[], object]) -> bool:
        """Send a transaction that others may make unnecessary at any moment; False when one of them did.

        Raises:
            ChainError: the chain refused it for another reason.
        """
        try:
            transaction()
            return True
        except ChainError as error:
            if error.code not in LOST_RACES:
                raise
            log.debug("not needed any more", **error.as_dict())
            return False
