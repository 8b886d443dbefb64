"""A validator's round, top to bottom: fetch, score, commit, reveal, settle, attest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from emerit.chain.records import SettledRound
from emerit.chain.transactions import Sender
from emerit.codec.aggregate import encode_aggregate
from emerit.codec.take_back import encode_take_back
from emerit.errors import ChainError, UnavailableError
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.eip712 import header_hash
from emerit.protocol.settlement import settle
from emerit.protocol.types import Header, Phase, RegistryEntry, Role, Status
from emerit.run.catch_up import CatchUp
from emerit.run.context import RunContext
from emerit.run.faults import Answerer, Prosecutor
from emerit.run.ledger import Ledger, RoundData
from emerit.run.membership import check_in, ensure_member, still_member
from emerit.run.node import NodeLoop
from emerit.run.ratings import Ratings, standings
from emerit.run.rounds import RoundBook
from emerit.run.state import StateFollower
from emerit.scoring.sample import Standing
from emerit.telemetry import Metrics, RoundJournal
from emerit.training.aggregate import aggregate
from emerit.training.outer import outer_step
from emerit_validator.ballot import Ballot
from emerit_validator.checkpoints import CheckpointKeeper
from emerit_validator.chores import Turns, attempt
from emerit_validator.duties import Duties
from emerit_validator.inquest import find_suspects
from emerit_validator.intake import Intake, intake_seconds
from emerit_validator.measuring import BenchFactory
from emerit_validator.scorer import Scorer

log = structlog.get_logger("emerit.validator")

# What the contract answers when the pay chain has changed since this node looked at it.
PAY_CHAIN_MOVED = frozenset({"header-mismatch", "out-of-turn", "still-paid", "budget-exceeded", "punish-first"})


@dataclass(frozen=True)
class OwnAggregate:
    """An aggregate that this node computed, and the header that it attested with it."""

    header_hash: bytes
    base_state_root: bytes
    blob: bytes

    def is_next(self, follower: StateFollower, settled: Sequence[SettledRound]) -> bool:
        """Whether its header is the one that settled next after what `follower` has applied."""
        return (
            follower.settled < len(settled)
            and settled[follower.settled].header_hash == self.header_hash
            and follower.root == self.base_state_root
        )


@dataclass
class ValidatorNode:
    """One validator in one run; `run()` plays rounds until the run ends or the node is told to stop.

    `make_bench` spreads the measuring over several devices; without it all is done on `device`.
    """

    context: RunContext
    sender: Sender
    folder: Path
    loop: NodeLoop
    metrics: Metrics
    stake_wei: int | None = None
    make_bench: BenchFactory | None = None
    device: str = "cpu"
    has_left: bool = field(default=False, init=False)

    def run(self) -> None:
        """Join, then play every round.

        Raises:
            EmeritError: joining failed, or five rounds in a row did; the last one's error.
        """
        client = self.context.client
        self.entry: RegistryEntry = ensure_member(client, self.sender, Role.VALIDATOR, self.stake_wei)
        self.book = RoundBook(self.loop, RoundJournal(self.folder / "rounds.jsonl"), self.metrics, log)
        self.ledger = Ledger(client)
        self.ratings = Ratings()
        self.follower = StateFollower.open(self.context, self.folder)
        dataset = self.context.dataset(self.folder.parent / "corpus")
        scorer = Scorer(self.context, dataset, self.folder, self.make_bench, self.device)
        self.ballot = Ballot(self.context, self.sender, self.folder, self.loop, self.metrics, self.entry, scorer)
        self.turns = Turns(self.entry.slot)
        self.own: OwnAggregate | None = None
        self.checkpoints = CheckpointKeeper(self.context, self.folder)
        prosecutor = Prosecutor(client, self.sender, self.ledger, self.folder)
        answerer = Answerer(client, self.sender, self.ledger)
        self.duties = Duties(self.context, self.sender, self.ledger, prosecutor, answerer, self.entry.slot)
        self.loop.duties = self.duties.tend
        log.info("joined", index=self.entry.index, slot=self.entry.slot, active_from=self.entry.active_from)
        check_in(client, self.sender, self.entry, self.loop.status())
        try:
            while not self.loop.stop.is_set() and not self.has_left:
                status = self.loop.wait_until(self.started, "the run's start")
                if status is None or status.phase is Phase.FINISHED:
                    break
                self.play(status)
            if not self.loop.stop.is_set():
                self.follow()  # the run's final state
        finally:
            self.follower.save()

    def started(self, status: Status) -> bool:
        """Whether the run goes; starts it once enough have joined, which anybody may do."""
        if status.phase is not Phase.NOT_STARTED:
            return True
        client, params = self.context.client, self.context.params
        try:
            trainers, validators = client.active_counts()
        except UnavailableError:
            return False
        enough = trainers >= params.min_trainers and validators >= params.min_validators
        self.turns.act("start", enough, lambda: client.start(self.sender))
        return False

    def play(self, status: Status) -> None:
        """Play one round and record its one outcome, then wait for the next."""
        number = status.round
        self.book.play(number, lambda: self.round(number))
        if self.has_left:
            log.info("left the run: nothing more to do", after_round=self.entry.active_until - 1)
        else:
            self.wait_for_next(number)

    def round(self, number: int) -> tuple[str, str]:
        """One round; returns (outcome, reason). Played again, it takes up where it left off."""
        self.follow()
        if number < self.entry.active_from:
            return "skipped", "not-active-yet"
        status = self.loop.status()
        if status.round != number or status.phase is Phase.FINISHED:
            return "skipped", "round-over"
        if status.last_header_hash != self.ledger.seen_hash:
            raise UnavailableError("chain-behind", "The chain's events and its state disagree for the moment.", "")
        self.entry = still_member(self.context.client, self.sender, self.entry)
        if number >= self.entry.active_until:
            self.has_left = True
            return "skipped", "left"
        if self.context.client.members_in(number).seat_of(self.entry) is None:
            return "skipped", "no-voting-weight"
        check_in(self.context.client, self.sender, self.entry, status)
        self.checkpoints.tend(self.follower)
        pending = self.ballot.resume(status)
        if pending is not None:
            self.ballot.reveal(pending)
        suspects = None
        if pending is None:
            suspects = find_suspects(self.context, self.loop, self.ledger, number, self.follower.root)
        intake = self.take_in(number)
        if intake is None:
            return "skipped", "stopped" if self.loop.stop.is_set() else "round-over"
        if pending is None:
            trust, coverage = self.ledger.trust(number), self.ledger.coverage(number)
            known, judged = self.standings(number), self.ledger.last_judged(number)
            pending = self.ballot.vote(number, intake, self.follower, trust, coverage, known, judged, suspects)
            if pending is not None:
                self.ballot.reveal(pending)
        return self.settle_round(number, intake, pending is not None)

    def follow(self) -> None:
        """Bring state and ledger to the last settled round; what this node computed itself it need not fetch.

        Raises:
            StateError: `state-root-mismatch`, `wrong-settlement-final`: what two thirds of the stake agreed on is wrong
                and cannot be taken back.
        """
        settled = self.context.client.state_chain()
        if self.own is not None and self.own.is_next(self.follower, settled):
            self.follower.adopt(settled, self.own.blob)
            self.own = None
        progress = CatchUp(lambda text: log.info("catching up", progress=text))
        self.follower.advance(settled, on_step=progress, should_stop=self.loop.stop.is_set)
        self.ledger.update()
        self.ledger.refuse_final_fault()

    def take_in(self, number: int) -> Intake | None:
        """Fetch contributions while they are revealed, and for a while after the evaluation seed is drawn."""
        client = self.context.client
        intake = Intake(self.context, self.loop, number, self.follower.root, self.ledger.trust(number))

        def drawn(status: Status) -> bool:
            if status.round != number or status.phase is Phase.FINISHED:
                return True
            if status.phase is not Phase.TRAIN:
                intake.take(client.reveals(number))
            self.draw(status)
            return status.phase not in (Phase.TRAIN, Phase.REVEAL, Phase.DRAW)

        try:
            status = self.loop.wait_until(drawn, "the trainers' contributions")
            if status is None or status.round != number or status.phase is Phase.FINISHED:
                return None
            intake.take(client.reveals(number))
            since_draw = status.timestamp - client.round_info(number).drawn_at
            elapsed = since_draw if status.phase is Phase.SCORE else 0  # later it holds up nobody's scores
            intake.collect(intake_seconds(self.context.params.score_seconds, elapsed))
        finally:
            intake.close()
        return None if self.loop.stop.is_set() else intake

    def standings(self, number: int) -> dict[int, Standing]:
        """What the settled rounds say of each trainer slot of the open round."""
        ledger, members = self.ledger, self.context.client.members_in(number)
        return standings(ledger.last, members, self.ratings.after(ledger.entries))

    def draw(self, status: Status) -> None:
        """Draw the evaluation seed when it is time and this node's turn."""
        can_be_drawn = status.phase is Phase.DRAW and status.timestamp >= status.phase_ends_at
        self.turns.act(
            ("draw", status.round), can_be_drawn, lambda: self.context.client.draw(self.sender, status.round)
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
        data = self.ledger.data(number)
        blob, root = self.transition(data, intake, number)
        cid = self.context.store.add(blob)
        earliest = self.context.client.round_info(number).opened_at + self.context.params.min_round_seconds

        def ready(status: Status) -> bool:
            over = status.round != number or status.phase is not Phase.SETTLE
            return over or (status.timestamp >= earliest and self.duties.in_order(status))

        status = self.loop.wait_until(ready, "the round's minimum length, and earlier rounds' settlement")
        if status is None or status.round != number or status.phase is not Phase.SETTLE:
            return "submitted" if revealed else "skipped", "" if revealed else "settled-without-us"
        hint = self.checkpoints.hint(cid, self.follower)
        self.attest(self.header(number, data, root, hashlib.sha256(blob).digest()), hint, blob)
        return ("submitted", "") if revealed else ("skipped", "scored-too-late")

    def header(self, number: int, data: RoundData, root: bytes, aggregate_hash: bytes) -> Header:
        """Return the one header that settles the open round."""
        client = self.context.client
        info = client.round_info(number)
        inputs = self.ledger.inputs(
            data, client.budget_of(number), info.reveals_hash, root, aggregate_hash, info.attempt
        )
        return settle(inputs).header

    def attest(self, header: Header, hint: str, blob: bytes) -> None:
        """Sign the header with a transaction; `hint` says where the aggregate is.

        Raises:
            UnavailableError: `chain-behind`, when the pay chain has changed meanwhile; the round is played again.
        """
        self.own = OwnAggregate(header_hash(header), self.follower.root, blob)
        try:
            attempt(lambda: self.context.client.attest(self.sender, header, hint))
        except ChainError as error:
            if error.code not in PAY_CHAIN_MOVED:
                raise
            raise UnavailableError("chain-behind", f"The chain has moved on: {error.cause}", "Try again.") from error

    def transition(self, data: RoundData, intake: Intake, number: int) -> tuple[bytes, bytes]:
        """The round's aggregate blob and the state root after it, in integers from revealed data only.

        Where the validators found that the last aggregate did harm, the blob takes it back.

        Raises:
            UnavailableError: a contribution that the others admitted could not be fetched here.
        """
        manifest = self.context.manifest
        undone = self.ledger.take_back(data, manifest.rollback_units)
        if undone is not None:
            log.warning("the last aggregate did harm and is taken back", round=number, taken_back=undone.taken_back)
            return encode_take_back(undone), undone.state_root
        slots = self.ledger.aggregated(data, manifest.outer.max_aggregated)
        missing = [slot for slot in slots if slot not in intake.accepted]
        if missing:
            retry = Intake(self.context, self.loop, number, self.follower.root, intake.trust)
            retry.take([r for r in self.context.client.reveals(number) if r.slot in missing])
            retry.collect(intake_seconds(self.context.params.settle_seconds))
            intake.accepted.update(retry.accepted)
            if any(slot not in intake.accepted for slot in missing):
                raise UnavailableError(
                    "contribution-unavailable",
                    f"Contributions of slots {missing} were admitted by the others and cannot be fetched here.",
                    "Check this node's IPFS connections; the round can settle without this validator.",
                )
        positions, deltas = aggregate([intake.accepted[slot] for slot in slots], manifest.outer)
        blob = encode_aggregate(number, parameter_count(manifest.model), positions, deltas)
        after, _ = outer_step(self.follower.state, positions, deltas, manifest.outer)
        return blob, after.root(table_hash(manifest.model))

    def wait_for_next(self, number: int) -> None:
        """Wait until the round is settled; when its deadline passes without a quorum, void it."""

        def over(status: Status) -> bool:
            if status.round != number or status.phase is Phase.FINISHED:
                return True
            self.draw(status)
            expired = status.phase is Phase.EXPIRED
            self.turns.act(("void", number), expired, lambda: self.context.client.void_round(self.sender, number))
            return False

        self.loop.wait_until(over, "the settlement of this round")
