"""A trainer's round, top to bottom: sync, train, commit, reveal, learn what it was worth.

Every round ends in exactly one outcome in the journal: `submitted`, `skipped(reason)` or `failed(code)`.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from emerit.chain.records import SettledRound
from emerit.chain.transactions import Sender
from emerit.codec.blob import BlobExpectation, decode_blob, encode_blob
from emerit.codec.update import SparseUpdate
from emerit.data import Dataset
from emerit.errors import ChainError, UnavailableError, UsageError
from emerit.protocol.assignment import assigned_sequences, overlapped_seed
from emerit.protocol.commitments import contribution_commitment
from emerit.protocol.types import Phase, RegistryEntry, Role, Status
from emerit.run.catch_up import CatchUp
from emerit.run.context import RunContext
from emerit.run.contributions import expected_blob
from emerit.run.ledger import Ledger
from emerit.run.membership import check_in, ensure_member, still_member
from emerit.run.node import NodeLoop
from emerit.run.pending import Pending, clear_pending, load_pending, save_pending
from emerit.run.rollback import take_back_at
from emerit.run.rounds import RoundBook
from emerit.run.state import StateFollower
from emerit.run.work import work_seed
from emerit.telemetry import Metrics, RoundJournal
from emerit_node.peers import PeerWatch
from emerit_node.worker import Task, Worker

log = structlog.get_logger("emerit.trainer")

# What the contract answers when a phase has ended between our look at it and our transaction.
TOO_LATE = frozenset({"wrong-phase", "wrong-round", "run-has-finished"})
# How long a stop signal waits for the reveal of work that is committed.
FINISH_SECONDS = 8.0


@dataclass
class TrainerNode:
    """One trainer in one run; `run()` plays rounds until the run ends or the node is told to stop.

    `measures_peers` is for one process: a model that takes several is not measured beside them.
    """

    context: RunContext
    sender: Sender
    folder: Path
    worker: Worker
    loop: NodeLoop
    metrics: Metrics
    bond_wei: int | None = None
    measures_peers: bool = True
    late_rounds: int = field(default=0, init=False)
    check_in_from: int = field(default=0, init=False)
    has_left: bool = field(default=False, init=False)
    fault_told: bytes = field(default=b"", init=False)

    def __post_init__(self) -> None:
        """Start with nothing known of the peers."""
        self.peers = PeerWatch(self.context, self.loop)

    def run(self) -> None:
        """Join, then play every round.

        Raises:
            EmeritError: joining failed, or five rounds in a row did; the last one's error.
        """
        client = self.context.client
        self.entry: RegistryEntry = ensure_member(client, self.sender, Role.TRAINER, self.bond_wei)
        self.book = RoundBook(self.loop, RoundJournal(self.folder / "rounds.jsonl"), self.metrics, log)
        self.ledger = Ledger(client)
        self.follower = StateFollower.open(self.context, self.folder)
        self.dataset: Dataset = self.context.dataset(self.folder.parent / "corpus")
        log.info("joined", index=self.entry.index, slot=self.entry.slot, active_from=self.entry.active_from)
        check_in(client, self.sender, self.entry, self.loop.status())
        while not self.loop.stop.is_set() and not self.has_left:
            status = self.loop.wait_until(lambda s: s.phase is not Phase.NOT_STARTED, "the run's start")
            if status is None or status.phase is Phase.FINISHED:
                break
            self.play(status)
        if not self.loop.stop.is_set():
            self.sync()  # the last settlement, so that this node too has the run's final state
        self.worker.save()
        self.follower.save()

    def play(self, status: Status) -> None:
        """Play one round and record its one outcome, then wait for the next."""
        number = status.round
        self.book.play(number, lambda: self.counted_round(number))
        if self.has_left:
            log.info("left the run: nothing more to do", after_round=self.entry.active_until - 1)
            return
        self.work_ahead(number + 1)
        if self.measures_peers:
            self.peers.watch(number, self.entry, self.follower, self.dataset)
        stuck = False

        def over(status: Status) -> bool:
            nonlocal stuck
            if status.phase is Phase.EXPIRED and status.round == number and not stuck:
                stuck = True
                log.warning("the validators found no quorum; waiting for them to come back", round=number)
            return status.round != number or status.phase is Phase.FINISHED

        self.loop.wait_until(over, "the settlement of this round")

    def counted_round(self, number: int) -> tuple[str, str]:
        """Play a round; one that was too slow lets the others wait for it less often, until it is in time again."""
        outcome, reason = self.round(number)
        if outcome == "submitted":
            self.late_rounds = 0
        elif reason in ("too-late", "train-phase-over"):
            self.late_rounds += 1
            self.check_in_from = number + 1 + self.late_rounds
        return outcome, reason

    def round(self, number: int) -> tuple[str, str]:
        """Sync, train, commit and reveal; returns (outcome, reason). Played again, it takes up where it left off."""
        self.sync()
        status = self.loop.status()
        if status.round != number or status.phase is Phase.FINISHED:
            return "skipped", "round-over"
        if status.last_header_hash != self.ledger.seen_hash:
            raise UnavailableError("chain-behind", "The chain's events and its state disagree for the moment.", "")
        self.entry = still_member(self.context.client, self.sender, self.entry)
        if number >= self.entry.active_until:
            self.has_left = True
            return "skipped", "left"
        if status.phase is Phase.TRAIN and number >= self.check_in_from:
            check_in(self.context.client, self.sender, self.entry, status)
        if number < self.entry.active_from:
            return "skipped", "not-active-yet"
        try:
            pending = self.resume(status) or self.train(status)
        except UsageError as error:
            if error.code != "no-room":
                raise
            return "skipped", error.code  # more trainers than the corpus has work for
        if pending is None:
            return "skipped", "stopped" if self.loop.stop.is_set() else "train-phase-over"
        if not self.commit(pending):
            return "skipped", "too-late"
        return self.reveal(pending)

    def sync(self) -> None:
        """Bring the state to the last settled round and settle accounts with the error feedback."""
        client = self.context.client
        before = self.loop.status()  # read first: what settles from here on is resolved at the next sync

        progress = CatchUp(lambda text: log.info("catching up", progress=text))
        chain, start = client.state_chain(), self.follower.settled
        self.follower.advance(chain, on_step=progress, should_stop=self.loop.stop.is_set)
        self.ledger.update()
        self.tell_fault()
        pending = load_pending(self.folder)
        if pending is not None and (pending.round < before.round or before.phase is Phase.FINISHED):
            self.resolve(pending)
        if any(self.took_back(chain, place) for place in range(start, self.follower.settled)):
            log.warning("an aggregate was taken back: what was made from the state with it is dropped")
            self.worker.forget()

    def took_back(self, chain: Sequence[SettledRound], place: int) -> bool:
        """Whether the settlement at a place of the state chain took the aggregate before it back."""
        return take_back_at(chain, place, self.context.params.initial_state_root) is not None

    def tell_fault(self) -> None:
        """Log a wrong settlement once. Pay waits until it is taken back; the state that was agreed stands.

        Raises:
            StateError: `wrong-settlement-final`, when nobody can take it back any more.
        """
        fault = self.ledger.fault
        if fault is not None and fault.onchain.header_hash != self.fault_told:
            self.fault_told = fault.onchain.header_hash
            log.error("a wrong settlement stands", round=fault.onchain.round, **fault.error.as_dict())
        self.ledger.refuse_final_fault()

    def resolve(self, pending: Pending) -> None:
        """After a round: what nobody judged or had room for returns to the error feedback.

        What was refused does not: sent again together with new work, it would make that look like less. Nothing does
        after an aggregate was taken back.
        """
        chain = self.context.client.state_chain()
        place = next((place for place, item in enumerate(chain) if item.round == pending.round), None)
        if place is not None and self.took_back(chain, place):
            log.warning("the round took the last aggregate back: its work is dropped", round=pending.round)
            self.worker.forget()
            clear_pending(self.folder)
            return
        settled = place is not None
        applied = refused = False
        if settled:
            data, manifest = self.ledger.data(pending.round), self.context.manifest
            applied = self.entry.slot in self.ledger.aggregated(data, manifest.outer.max_aggregated)
            refused = self.ledger.refused(data, self.entry.slot, manifest.rollback_units)
        if not (applied or refused):
            expected = self.expectation(pending.round, pending.base_state_root)
            _, update = decode_blob(pending.payload, expected, len(pending.payload))
            self.worker.returned(pending.round, update)
        entry = next((e for e in self.ledger.entries if e.round == pending.round), None)
        if not settled:
            log.warning("the round was void: nobody is paid, the update is kept for later", round=pending.round)
        elif entry is not None:
            weight = entry.weight_of(self.entry.slot)
            log.info("round valued", round=pending.round, weight=weight, applied=applied, refused=refused)
        clear_pending(self.folder)

    def resume(self, status: Status) -> Pending | None:
        """What this round's work was before a restart or an outage, if it still fits the state."""
        pending = load_pending(self.folder)
        if pending is None or pending.round != status.round or pending.base_state_root != self.follower.root:
            return None
        return pending

    def train(self, status: Status) -> Pending | None:
        """Do the round's work and keep it on disk; None when the phase ended first or the node was told to stop."""
        if status.phase is not Phase.TRAIN:
            return None
        number = status.round
        deadline = time.monotonic() + status.phase_ends_at - status.timestamp

        def over() -> bool:
            return self.loop.stop.is_set() or time.monotonic() > deadline

        seed = work_seed(self.context.client, self.context.manifest.training, status)
        update = self.worker.work(self.task(number, seed, "its own training", over))
        return None if update is None else self.keep(number, update)

    def work_ahead(self, number: int) -> None:
        """Where rounds overlap: do the work of round `number` while the one before it is scored.

        Ends early when the node is told to stop, or when the work cannot be committed to any more.
        """
        training, last = self.context.manifest.training, self.context.params.max_rounds
        if not training.overlap_rounds or self.loop.stop.is_set() or 0 < last <= number:
            return
        if not self.entry.active_from <= number < self.entry.active_until:
            return
        status = self.loop.status()
        if status.round != number - 1 or status.phase is Phase.FINISHED:
            return  # it is open: its Train phase has the time for it
        looked = time.monotonic()

        def over() -> bool:
            nonlocal looked
            if not self.loop.stop.is_set() and time.monotonic() - looked >= self.loop.poll_seconds:
                looked = time.monotonic()
                return self.too_late_for(number)
            return self.loop.stop.is_set()

        try:
            task = self.task(number, overlapped_seed(status.assign_seed), "its own training ahead", over)
        except (UsageError, UnavailableError) as error:  # no room, or a shard is not to be had now
            log.warning("nothing can be done ahead", round=number, **error.as_dict())
            return
        self.worker.work_ahead(task)

    def too_late_for(self, number: int) -> bool:
        """Whether work of round `number` can be committed to no more; not while the chain does not answer."""
        try:
            status = self.context.client.status()
        except UnavailableError:
            return False
        ended = status.round == number and status.phase is not Phase.TRAIN
        return ended or status.round > number or status.phase is Phase.FINISHED

    def task(self, number: int, seed: bytes, doing: str, over: Callable[[], bool]) -> Task:
        """Return the work of round `number` from the settled state; `over` ends it early.

        Raises:
            UsageError: `no-room`: the corpus has none for this slot.
        """
        manifest = self.context.manifest
        ids = assigned_sequences(
            seed,
            self.entry.slot,
            manifest.training.assigned_sequences,
            manifest.corpus.train_sequences,
            manifest.scoring.random_sequences,
        )
        self.loop.heartbeat(doing)

        def on_step(step: int, steps: int, loss: float) -> None:
            self.metrics.progress()
            self.loop.heartbeat(f"{doing} (step {step} of {steps})")
            log.debug("step", round=number, step=step, steps=steps, loss=round(loss, 4))

        sequences = self.dataset.sequences(ids)
        return Task(number, self.entry.slot, self.follower.values, sequences, on_step, over, seed)

    def keep(self, number: int, update: SparseUpdate) -> Pending:
        """Encode the update and compute its CID without publishing it; on disk before anybody hears of it."""
        settled = max((item.round for item in self.context.client.state_chain() if item.round < number), default=-1)
        header = self.expectation(number, self.follower.root).header(self.peers.feedback(settled))
        blob = encode_blob(header, update)
        pending = Pending(
            kind="contribution",
            round=number,
            cid=self.context.store.cid_of(blob),
            content_hash=hashlib.sha256(blob).digest(),
            salt=secrets.token_bytes(32),
            payload=blob,
            base_state_root=self.follower.root,
        )
        save_pending(self.folder, pending)
        self.worker.save()
        return pending

    def commit(self, pending: Pending) -> bool:
        """Commit to the kept work, once; False when it is too late."""
        client, number = self.context.client, pending.round
        commitment = contribution_commitment(
            chain_id=self.context.chain_id,
            run=client.address,
            round_number=number,
            slot=self.entry.slot,
            content_hash=pending.content_hash,
            cid=pending.cid,
            salt=pending.salt,
        )
        if any(item.slot == self.entry.slot and item.commitment == commitment for item in client.commits(number)):
            return True
        try:
            client.commit(self.sender, number, commitment)
        except ChainError as error:
            if error.code not in TOO_LATE:
                raise
            log.warning("too late to commit", round=number, **error.as_dict())
            return False
        log.info("committed", round=number, blob_bytes=len(pending.payload))
        return True

    def reveal(self, pending: Pending) -> tuple[str, str]:
        """Publish the blob once the commit phase is over, and open the commitment.

        A first stop signal still lets this happen: the others wait for it, and the work is paid only when revealed.
        """
        client, number = self.context.client, pending.round
        status = self.loop.wait_until(
            lambda s: s.round != number or s.phase is not Phase.TRAIN,
            "the other trainers' commitments",
            despite_stop_seconds=FINISH_SECONDS,
        )
        if status is None:
            return "skipped", "stopped"
        if any(item.slot == self.entry.slot for item in client.reveals(number)):
            return "submitted", ""
        if status.round != number or status.phase is not Phase.REVEAL:
            return "skipped", "reveal-phase-over"
        self.context.store.add(pending.payload)
        try:
            client.reveal(self.sender, number, self.sender.address, pending.content_hash, pending.cid, pending.salt)
        except ChainError as error:
            if error.code == "already-revealed":
                return "submitted", ""
            if error.code not in TOO_LATE:
                raise
            return "skipped", "reveal-phase-over"
        log.info("revealed", round=number, cid=pending.cid)
        return "submitted", ""

    def expectation(self, number: int, base_state_root: bytes) -> BlobExpectation:
        """What this trainer's blob of round `number`, made from that state, must say."""
        return expected_blob(self.context, number, self.entry.account, base_state_root)
