"""Rounds of any size without a chain, for the tests of what the API makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from eth_utils.address import to_checksum_address

from emerit.api.collect import Collector
from emerit.chain.records import OpenedRound, SettledRound
from emerit.indexer.index import StepResult
from emerit.protocol import minifloat
from emerit.protocol.commitments import pack_vector
from emerit.protocol.eip712 import header_hash
from emerit.protocol.presets import preset
from emerit.protocol.registry import Members
from emerit.protocol.reputation import reputation_params
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.types import (
    ContributionReveal,
    Fault,
    Header,
    Phase,
    RegistryEntry,
    Role,
    Status,
    WeightReveal,
    pack_lanes,
)
from emerit.run.ledger import SettledEntry
from emerit.scoring.evidence import FIGURES

RUN = to_checksum_address("0x" + "ab" * 20)
REPUTATION = reputation_params(preset("demo").reputation, keep_ppb=990_000_000)
LOSS_UNIT = preset("demo").scoring.loss_unit


def address(number: int) -> str:
    return to_checksum_address((0x1000 + number).to_bytes(20, "big"))


def registry(trainers: int, validators: int) -> tuple[RegistryEntry, ...]:
    """Trainers first, then validators, each with an operator of its own."""
    roles = [Role.TRAINER] * trainers + [Role.VALIDATOR] * validators
    slots = [*range(trainers), *range(validators)]
    return tuple(
        RegistryEntry(index, address(index), address(10_000 + index), role, slot, stake_wei=10**18)
        for index, (role, slot) in enumerate(zip(roles, slots, strict=True))
    )


def evidence_hash(round_number: int, slot: int) -> bytes:
    return bytes([0xEE, slot]) + round_number.to_bytes(30, "big")


def settled_entry(
    members: Sequence[RegistryEntry],
    number: int,
    rows: Sequence[Sequence[int | None] | None],
    stakes: Sequence[int] | None = None,
    base_losses: Sequence[float | None] | None = None,
    revealed: Sequence[int] | None = None,
    settled_at: int = 1_000,
) -> SettledEntry:
    """A settled round; `rows` has each validator's weights by trainer slot (None abstains), None for no reveal."""
    trainers = 1 + max(entry.slot for entry in members if entry.role is Role.TRAINER)
    stakes = tuple(stakes or [100] * len(rows))
    losses = base_losses or [4.0] * len(rows)
    shown = range(trainers) if revealed is None else revealed
    vectors = {
        slot: (_loss(losses[slot]), 0, *(minifloat.ABSTAIN if w is None else minifloat.encode(w) for w in row))
        for slot, row in enumerate(rows)
        if row is not None
    }
    seats = tuple(entry.index for entry in members if entry.role is Role.VALIDATOR)
    in_round = Members(number, tuple(members), trainers, stakes, seats)
    inputs = SettlementInputs(
        run=RUN,
        round=number,
        attempt=0,
        previous_hash=bytes(32),
        reveals_hash=bytes(32),
        members=in_round,
        vectors=vectors,
        previous_leaves=(),
        budget_wei=10**18,
        validator_share_bps=2_000,
        state_root=bytes([5]) * 32,
        aggregate_hash=bytes([6]) * 32,
        reputation=REPUTATION,
    )
    settlement = settle(inputs)
    return SettledEntry(
        onchain=SettledRound(
            settlement.header, "bafkqaaa", settlement.header_hash, 0b11, 100 + number, "0x" + "77" * 32
        ),
        opened=OpenedRound(number, 90 + number, bytes(32), len(members), trainers, 0, 10**21, stakes, seats),
        members=in_round,
        settlement=settlement,
        contributions=tuple(ContributionReveal(number, slot, bytes([7]) * 32, "bafkqaaa") for slot in shown),
        weights=tuple(
            WeightReveal(number, slot, pack_vector(codes), evidence_hash(number, slot), "bafkqaaa")
            for slot, codes in vectors.items()
        ),
        settled_at=settled_at,
        final_at=settled_at + 60,
    )


def copies(entry: SettledEntry, rounds: int) -> list[SettledEntry]:
    """The same round again and again, under other numbers, for what only depends on how many there are."""
    found = []
    for number in range(rounds):
        header = replace(entry.onchain.header, body=replace(entry.onchain.header.body, round=number))
        onchain = replace(entry.onchain, header=header, header_hash=number.to_bytes(32, "big"), block=100 + number)
        weights = tuple(replace(w, evidence_hash=evidence_hash(number, w.slot)) for w in entry.weights)
        found.append(replace(entry, onchain=onchain, weights=weights))
    return found


# ---- rows of an index


def row(block: int, name: str, contract: str = "TrainingRun", log_index: int = 0, **arguments: Any) -> dict[str, Any]:
    """An event as the index has it."""
    return {
        "block_hash": "0x" + block.to_bytes(32, "big").hex(),
        "log_index": log_index,
        "block_number": block,
        "tx_hash": "0x" + block.to_bytes(32, "little").hex(),
        "contract": contract,
        "name": name,
        "arguments": arguments,
    }


def epoch_row(block: int, number: int, first_round: int, seats: Mapping[int, int]) -> dict[str, Any]:
    """An epoch in which the validators with these slots (slot: registry index) have a vote."""
    lanes = pack_lanes([100 if slot in seats else 0 for slot in range(16)])
    indices = [seats.get(slot, 0) for slot in range(16)]
    return row(block, "EpochOpened", epoch=number, round=first_round, stakeLanes="0x" + lanes.hex(), seats=indices)


def settled_row(block: int, header: Header, mask: int = 0b11, log_index: int = 0) -> dict[str, Any]:
    """A settlement that the validators of this mask signed."""
    body, tree = header.body, header.tree
    values = {
        "body": {
            "run": body.run,
            "round": body.round,
            "attempt": body.attempt,
            "previous": "0x" + body.previous.hex(),
            "reveals": "0x" + body.reveals.hex(),
            "budgetWei": str(body.budget_wei),
            "stateRoot": "0x" + body.state_root.hex(),
            "aggregateHash": "0x" + body.aggregate_hash.hex(),
        },
        "tree": {
            "root": "0x" + tree.root.hex(),
            "totalWeight": str(tree.total_weight),
            "totalAmountWei": str(tree.total_amount_wei),
            "leafCount": tree.leaf_count,
        },
    }
    return row(
        block,
        "Settled",
        log_index=log_index,
        round=body.round,
        attempt=body.attempt,
        headerHash="0x" + header_hash(header).hex(),
        header=values,
        aggregateCid="bafkqaaa bafkqaab",
        signerMask=mask,
    )


def voided_row(block: int, number: int, attempt: int = 0, fault: Fault = Fault.ROW, index: int = 1) -> dict[str, Any]:
    """A challenge that took a header back."""
    return row(block, "HeaderVoided", round=number, attempt=attempt, fault=int(fault), index=index, by=address(99))


def evidence_record(weights: Sequence[int | None], **reasons: str) -> dict[str, Any]:
    """Checked evidence of one validator; `reasons` by `s` and slot, as in s2="duplicate"."""
    names = [name for name in FIGURES if name != "s"]
    return {
        "trainers": {
            str(slot): {
                **dict.fromkeys(names, 0.5),
                "s": None if weight is None else 0.01 * (slot + 1),
                "cluster": 1 if reasons.get(f"s{slot}") == "duplicate" else None,
                "reason": reasons.get(f"s{slot}", "paid"),
            }
            for slot, weight in enumerate(weights)
        }
    }


def _loss(nats: float | None) -> int:
    return minifloat.ABSTAIN if nats is None else minifloat.encode(round(nats / LOSS_UNIT))


def status(timestamp: int = 2_000) -> Status:
    names = [name for name in Status.__dataclass_fields__ if not name.startswith("_")]
    hashes = dict.fromkeys(("assign_seed", "eval_seed", "last_header_hash"), bytes(32))
    flags = {"has_settled": True, "closed": False, "behind": False}
    values: dict[str, Any] = {**dict.fromkeys(names, 0), **hashes, **flags}
    return Status(**{**values, "phase": Phase.TRAIN, "timestamp": timestamp})


class FakeRun:
    """The environment of a collector: a run's client, index and evidence whose answers the test sets."""

    def __init__(self, members: Sequence[RegistryEntry], entries: Sequence[SettledEntry] = ()) -> None:
        self.members, self.entries = list(members), list(entries)
        self.records: dict[bytes, Any] = {}
        self.feedback: dict[bytes, Any] = {}
        self.now = status()
        self.next_step = StepResult(500, 0, 499, 0, frozenset())
        self.asked: list[str] = []
        self.rows: list[dict[str, Any]] = []
        self.not_final: set[int] = set()
        self.context: Any = SimpleNamespace(
            client=self,
            chain_id=31337,
            manifest=SimpleNamespace(
                name="fake",
                model=preset("demo").model,
                scoring=preset("demo").scoring,
                reputation=preset("demo").reputation,
            ),
            params=SimpleNamespace(
                validator_share_bps=2_000,
                reputation=REPUTATION,
                reward_token=address(1),
                manifest_cid="bafkqaaa",
                manifest_hash=bytes(32),
                initial_state_root=bytes(32),
                max_rounds=0,
                history_rounds=1_000,
            ),
        )
        self.address = self.rewards_address = self.stakes_address = self.reputation_address = RUN

    # ---- the client

    def status(self) -> Status:
        return self.now

    def registry(self) -> list[RegistryEntry]:
        self.asked.append("registry")
        return self.members

    def funded(self) -> int:
        self.asked.append("funded")
        return 10**21

    def refunded(self) -> int:
        return 0

    def reputation_of(self, account: str) -> int:
        self.asked.append(f"reputation {account}")
        return 7

    def is_final(self, round_number: int) -> bool:
        self.asked.append(f"final {round_number}")
        return round_number not in self.not_final

    # ---- the index

    def step(self) -> StepResult:
        return self.next_step

    def named(self, *names: str, after_block: int = -1) -> list[dict[str, Any]]:
        return [each for each in self.rows if each["name"] in names and each["block_number"] > after_block]

    def events(
        self, names: Sequence[str] = (), *, limit: int = 50, before: tuple[int, int] | None = None
    ) -> list[dict[str, Any]]:
        chosen = [each for each in reversed(self.rows) if not names or each["name"] in names]
        places = [each for each in chosen if before is None or (each["block_number"], each["log_index"]) < before]
        return places[:limit]

    # ---- the evidence

    def want(self, reveals: Any) -> None:
        self.wanted = list(reveals)

    def state(self, sha256: bytes) -> str:
        return "available" if sha256 in self.records else "missing"

    def collector(self) -> Collector:
        """A collector over all of this, whose ledger holds the entries instead of replaying them."""
        evidence: Any = SimpleNamespace(want=self.want, state=self.state, records=lambda: dict(self.records))
        index: Any = self
        feedback: Any = SimpleNamespace(want=lambda _: None, records=lambda: dict(self.feedback))
        made = Collector(self.context, index, evidence, feedback, clock=lambda: 3_000.0)
        made._ledger = SimpleNamespace(entries=self.entries, update=lambda: [], fault=None)  # type: ignore[assignment]
        return made
