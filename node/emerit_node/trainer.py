"""A trainer's round, top to bottom: sync, train, commit, reveal, learn what it was worth.

Every round ends in exactly one outcome in the journal: `submitted`, `skipped(reason)` or `failed(code)`.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from pathlib import Path

import structlog

from emerit.chain.transactions import Sender
from emerit.codec.blob import BlobExpectation, decode_blob, encode_blob
from emerit.codec.update import SparseUpdate
from emerit.data import Dataset
from emerit.errors import ChainError, StateError
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.assignment import assigned_sequences
from emerit.protocol.commitments import contribution_commitment
from emerit.protocol.types import Phase, RegistryEntry, Role, Status
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger
from emerit.run.membership import check_in, ensure_member
from emerit.run.node import NodeLoop
from emerit.run.pending import Pending, clear_pending, load_pending, save_pending
from emerit.run.rounds import RoundBook
from emerit.run.state import StateFollower
from emerit.telemetry import Metrics, RoundJournal
from emerit_node.worker import Task, Worker

log = structlog.get_logger("emerit.trainer")


@dataclass
class TrainerNode:
    """One trainer in one run; `run()` plays rounds until the run ends or the node is told to stop."""

    context: RunContext
    sender: Sender
    folder: Path
    worker: Worker
    loop: NodeLoop
    metrics: Metrics
    bond_wei: int | None = None

    def run(self) -> None:
        """Join, then play every round.

        Raises:
            EmeritError: joining failed, or five rounds in a row did; the last one's error.
        """
        client = self.context.client
        self.entry: RegistryEntry = ensure_member(client, self.sender, Role.TRAINER, self.bond_wei)
        self.book = RoundBook(self.loop, RoundJournal(self.folder / "rounds.jsonl"), self.metrics, log)
        self.ledger = Ledger(client, self.context.manifest, self.context.params.validator_share_bps)
        self.follower = StateFollower.open(self.context, self.folder)
        self.dataset: Dataset = self.context.dataset(self.folder.parent / "corpus")
        log.info("joined", index=self.entry.index, slot=self.entry.slot, active_from=self.entry.active_from)
        check_in(client, self.sender, self.entry, self.loop.status())
        while not self.loop.stop.is_set():
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
        self.book.play(number, lambda: self.round(status))
        stuck = False

        def over(status: Status) -> bool:
            nonlocal stuck
            if status.phase is Phase.EXPIRED and status.round == number and not stuck:
                stuck = True
                log.warning("the validators found no quorum; waiting for them to come back", round=number)
            return status.round != number or status.phase is Phase.FINISHED

        self.loop.wait_until(over, "the settlement of this round")

    def round(self, status: Status) -> tuple[str, str]:
        """Sync, train, commit and reveal; returns (outcome, reason)."""
        number = status.round
        self.sync()
        status = self.loop.status()
        if status.round == number and status.phase is Phase.TRAIN:
            check_in(self.context.client, self.sender, self.entry, status)
        if number < self.entry.active_from:
            return "skipped", "not-active-yet"
        pending = self.resume(number)
        if pending is None:
            if self.loop.status().phase is not Phase.TRAIN:
                return "skipped", "train-phase-over"
            pending = self.train_and_commit(status)
            if pending is None:
                return "skipped", "stopped" if self.loop.stop.is_set() else "too-late"
        return self.reveal(pending)

    def sync(self) -> None:
        """Bring the state to the last settled round and settle accounts with the error feedback."""
        client = self.context.client
        settled = client.settled()

        def progress(done: int, total: int) -> None:
            if total - done > 1:
                log.info("catching up", settled=done, total=total)

        self.follower.advance(settled, on_step=progress, should_stop=self.loop.stop.is_set)
        self.ledger.update()
        pending = load_pending(self.folder)
        current = self.loop.status()
        if pending is not None and (pending.round < current.round or current.phase is Phase.FINISHED):
            self.resolve(pending)

    def resolve(self, pending: Pending) -> None:
        """After a round: what was not applied returns to the error feedback."""
        entry = next((e for e in self.ledger.entries if e.onchain.header.round == pending.round), None)
        weight = entry.weight_of(self.entry.slot) if entry is not None else 0
        if weight == 0:
            _, update = decode_blob(
                pending.payload, self.expectation(pending.round, pending.base_state_root), len(pending.payload)
            )
            self.worker.returned(update)
        if entry is None:
            log.warning(
                "the round was void: nobody is paid, the update stays in the error feedback", round=pending.round
            )
        else:
            log.info("round valued", round=pending.round, weight=weight)
        clear_pending(self.folder)

    def resume(self, number: int) -> Pending | None:
        """After a restart in the middle of a round: the commitment that can still be revealed."""
        pending = load_pending(self.folder)
        if pending is None or pending.round != number:
            return None
        committed = {item.index for item in self.context.client.commits(number)}
        return pending if self.entry.index in committed else None

    def train_and_commit(self, status: Status) -> Pending | None:
        """Do the round's work and commit to its blob before anybody can see it."""
        number, corpus = status.round, self.context.manifest.corpus
        ids = assigned_sequences(
            status.assign_seed,
            self.entry.slot,
            self.context.manifest.training.assigned_sequences,
            corpus.train_sequences,
        )
        self.loop.heartbeat("its own training", status)

        def over() -> bool:
            return self.loop.stop.is_set()

        def on_step(step: int, steps: int, loss: float) -> None:
            self.metrics.progress()
            log.debug("step", round=number, step=step, steps=steps, loss=round(loss, 4))

        task = Task(number, self.entry.slot, self.follower.values, self.dataset.sequences(ids), on_step, over)
        update = self.worker.work(task)
        if update is None:
            return None
        return self.commit(number, update)

    def commit(self, number: int, update: SparseUpdate) -> Pending | None:
        """Encode the update, compute its CID without publishing it, and commit."""
        client = self.context.client
        blob = encode_blob(self.expectation(number, self.follower.root).header(), update)
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
        commitment = contribution_commitment(
            chain_id=self.context.chain_id,
            run=client.address,
            round_number=number,
            account=self.entry.account,
            content_hash=pending.content_hash,
            cid=pending.cid,
            salt=pending.salt,
        )
        try:
            self.context.client.commit(self.sender, number, commitment)
        except ChainError as error:
            if error.code != "wrong-phase":
                raise
            log.warning("too late to commit", round=number, **error.as_dict())
            return None
        log.info("committed", round=number, blob_bytes=len(blob))
        return pending

    def reveal(self, pending: Pending) -> tuple[str, str]:
        """Publish the blob once the commit phase is over, and open the commitment."""
        client, number = self.context.client, pending.round
        status = self.loop.wait_until(
            lambda s: s.round != number or s.phase is not Phase.TRAIN, "the other trainers' commitments"
        )
        if status is None:
            return "skipped", "stopped"
        if any(item.index == self.entry.index for item in client.reveals(number)):
            return "submitted", ""
        if status.round != number or status.phase is not Phase.REVEAL:
            return "skipped", "reveal-phase-over"
        cid = self.context.store.add(pending.payload)
        if cid != pending.cid:
            raise StateError(
                "cid-mismatch",
                f"IPFS added the blob as {cid}, not as {pending.cid} as committed.",
                "The IPFS node changed its import settings; use the bundled node or Kubo's defaults.",
            )
        self.context.client.reveal(self.sender, number, pending.content_hash, cid, pending.salt)
        log.info("revealed", round=number, cid=cid)
        return "submitted", ""

    def expectation(self, number: int, base_state_root: bytes) -> BlobExpectation:
        """What this trainer's blob of round `number`, made from that state, must say."""
        model, codec = self.context.manifest.model, self.context.manifest.codec
        return BlobExpectation(
            chain_id=self.context.chain_id,
            run=self.context.client.address,
            round=number,
            account=self.entry.account,
            base_state_root=base_state_root,
            table_hash=table_hash(model),
            size=parameter_count(model),
            chunk=codec.chunk,
            k=codec.k,
        )
