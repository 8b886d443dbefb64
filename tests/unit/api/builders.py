"""Rounds of any size without a chain, for the tests of what the API makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from eth_utils.address import to_checksum_address

from emerit.api.collect import Collector
from emerit.chain.records import SettledRound
from emerit.indexer.index import StepResult
from emerit.protocol import minifloat
from emerit.protocol.commitments import pack_vector
from emerit.protocol.consensus import Votes
from emerit.protocol.presets import preset
from emerit.protocol.settlement import SettlementInputs, settle
from emerit.protocol.types import (
    ContributionReveal,
    Phase,
    RegistryEntry,
    Role,
    RoundInfo,
    RoundStatus,
    Status,
    WeightReveal,
    pack_lanes,
)
from emerit.run.ledger import SettledEntry

RUN = to_checksum_address("0x" + "ab" * 20)
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
    trainers = sum(entry.role is Role.TRAINER for entry in members)
    stakes = tuple(stakes or [100] * len(rows))
    losses = base_losses or [4.0] * len(rows)
    shown = range(trainers) if revealed is None else revealed
    vectors = {
        slot: (_loss(losses[slot]), 0, *(minifloat.ABSTAIN if w is None else minifloat.encode(w) for w in row))
        for slot, row in enumerate(rows)
        if row is not None
    }
    votes = Votes(trainers, stakes, vectors, frozenset(shown))
    inputs = SettlementInputs(
        run=RUN,
        round=number,
        previous_hash=bytes(32),
        reveals_hash=bytes(32),
        entries=tuple(members),
        votes=votes,
        previous_leaves=(),
        budget_wei=10**18,
        validator_share_bps=2_000,
        state_root=bytes([5]) * 32,
        aggregate_hash=bytes([6]) * 32,
        reputation=preset("demo").reputation,
    )
    settlement = settle(inputs)
    return SettledEntry(
        onchain=SettledRound(settlement.header, "bafkqaaa", settlement.header_hash, 100 + number, "0x" + "77" * 32),
        info=_info(len(members), trainers, stakes, settled_at),
        settlement=settlement,
        contributions=tuple(ContributionReveal(number, slot, slot, bytes([7]) * 32, "bafkqaaa") for slot in shown),
        weights=tuple(
            WeightReveal(number, slot, trainers + slot, pack_vector(codes), evidence_hash(number, slot), "bafkqaaa")
            for slot, codes in vectors.items()
        ),
    )


def copies(entry: SettledEntry, rounds: int) -> list[SettledEntry]:
    """The same round again and again, under other numbers, for what only depends on how many there are."""
    found = []
    for number in range(rounds):
        header = replace(entry.onchain.header, round=number)
        onchain = replace(entry.onchain, header=header, header_hash=number.to_bytes(32, "big"), block=100 + number)
        weights = tuple(replace(w, evidence_hash=evidence_hash(number, w.slot)) for w in entry.weights)
        found.append(replace(entry, onchain=onchain, weights=weights))
    return found


def evidence_record(weights: Sequence[int | None], **reasons: str) -> dict[str, Any]:
    """Checked evidence of one validator; `reasons` by `s` and slot, as in s2="duplicate"."""
    names = ("se", "own", "own_se", "gap", "gap_se", "gap_factor", "b", "score", "score_se")
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


def _info(members: int, trainers: int, stakes: Sequence[int], settled_at: int) -> RoundInfo:
    names = RoundInfo.__dataclass_fields__
    values: dict[str, Any] = {name: 0 for name in names if not name.startswith("_")}
    hashes = dict.fromkeys(("assign_seed", "eval_seed", "reveals_hash", "header_hash"), bytes(32))
    return RoundInfo(
        **{
            **values,
            **hashes,
            "status": RoundStatus.SETTLED,
            "registry_size": members,
            "trainer_slots": trainers,
            "validator_slots": len(stakes),
            "stake_lanes": pack_lanes(stakes),
            "settled_at": settled_at,
            "final_at": settled_at + 60,
        }
    )


def status(timestamp: int = 2_000) -> Status:
    names = [name for name in Status.__dataclass_fields__ if not name.startswith("_")]
    hashes = dict.fromkeys(("assign_seed", "eval_seed", "last_header_hash"), bytes(32))
    flags = {"has_settled": True, "closed": False}
    return Status(**{**dict.fromkeys(names, 0), **hashes, **flags, "phase": Phase.TRAIN, "timestamp": timestamp})


class FakeRun:
    """The environment of a collector: a run's client, index and evidence whose answers the test sets."""

    def __init__(self, members: Sequence[RegistryEntry], entries: Sequence[SettledEntry] = ()) -> None:
        self.members, self.entries = list(members), list(entries)
        self.records: dict[bytes, Any] = {}
        self.now = status()
        self.next_step = StepResult(500, 0, 499, 0, frozenset())
        self.asked: list[str] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.context: Any = SimpleNamespace(
            client=self,
            chain_id=31337,
            manifest=SimpleNamespace(
                name="fake", model=preset("demo").model, scoring=preset("demo").scoring, reputation=None
            ),
            params=SimpleNamespace(
                validator_share_bps=2_000,
                reward_token=address(1),
                manifest_cid="bafkqaaa",
                manifest_hash=bytes(32),
                initial_state_root=bytes(32),
                max_rounds=0,
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

    # ---- the index

    def step(self) -> StepResult:
        return self.next_step

    def named(self, name: str) -> list[dict[str, Any]]:
        return self.events.get(name, [])

    # ---- the evidence

    def want(self, reveals: Any) -> None:
        self.wanted = list(reveals)

    def state(self, sha256: bytes) -> str:
        return "available" if sha256 in self.records else "missing"

    def collector(self) -> Collector:
        """A collector over all of this, whose ledger holds the entries instead of replaying them."""
        evidence: Any = SimpleNamespace(want=self.want, state=self.state, records=lambda: dict(self.records))
        index: Any = self
        made = Collector(self.context, index, evidence, clock=lambda: 3_000.0)
        made._ledger = SimpleNamespace(entries=self.entries, update=lambda: [])  # type: ignore[assignment]
        return made
