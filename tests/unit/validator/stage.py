"""What surrounds a validator in its unit tests: a chain that keeps the contract's rules for one round, and a store.

Both live in memory; nodes, codec, scoring and files are the real ones.
"""

from __future__ import annotations

import dataclasses
import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from eth_utils.address import to_checksum_address

from emerit.codec import BlobExpectation, SparseUpdate, compress, encode_blob
from emerit.errors import ChainError, UnavailableError
from emerit.ipfs.cid import cid_of
from emerit.model.table import parameter_count, table_hash
from emerit.protocol.commitments import weights_commitment
from emerit.protocol.feedback import Feedback
from emerit.protocol.manifest import CodecSpec, CorpusSpec, Manifest, ShardSpec
from emerit.protocol.presets import CLOCKS, preset
from emerit.protocol.registry import Members
from emerit.protocol.reputation import reputation_params
from emerit.protocol.types import ZERO_HASH, ContributionReveal, Phase, RegistryEntry, Role, RunParams, Status
from emerit.run.context import RunContext
from emerit.run.node import NodeLoop
from emerit.training.state import initial_values, state_root

RUN = to_checksum_address("0x" + "ab" * 20)
TINY = preset("tiny")
SEED = b"\x05" * 32
SIZE = parameter_count(TINY.model)
TABLE = table_hash(TINY.model)
VALUES = initial_values(TINY.model, SEED)
ROOT = state_root(VALUES, TABLE)
SLOT = 1  # of the validator under test
TRAINERS = 60


def account(number: int) -> str:
    return to_checksum_address((0x1000 + number).to_bytes(20, "big"))


def entry(index: int, role: Role, slot: int) -> RegistryEntry:
    return RegistryEntry(index, account(index), account(10_000 + index), role, slot)


REGISTRY = [entry(slot, Role.TRAINER, slot) for slot in range(TRAINERS)]
OWN = entry(TRAINERS, Role.VALIDATOR, SLOT)


class Store:
    """Blobs by CID. What is not there keeps the caller waiting until its deadline, as a daemon does."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.refusals: dict[str, int] = {}
        self.asked: list[str] = []
        self.pinned: list[str] = []
        self.over = threading.Event()

    def add(self, data: bytes) -> str:
        cid = cid_of(data)
        self.blobs[cid] = data
        return cid

    def get(self, cid: str, max_bytes: int, deadline_seconds: float | None = None, *, canonical: bool = False) -> bytes:
        self.asked.append(cid)
        if self.refusals.get(cid, 0) > 0:
            self.refusals[cid] -= 1
            raise UnavailableError("ipfs-unreachable", "No daemon.")
        if cid not in self.blobs:
            assert deadline_seconds is not None
            self.over.wait(deadline_seconds)
            raise UnavailableError("ipfs-timeout", "Not in time.")
        return self.blobs[cid]

    def pin(self, cid: str, deadline_seconds: float | None = None) -> None:
        self.pinned.append(cid)


class Client:
    """The run's contract as far as one round's weights go; `events` happen one at a time, before each status."""

    def __init__(self) -> None:
        self.address = RUN
        self.chain = SimpleNamespace(chain_id=31337)
        self.round = 4
        self.phase = Phase.SCORE
        self.ends_in_seconds = 60
        self.commitments: list[bytes] = []
        self.revealed: list[bytes] = []
        self.lose_next_answer = False
        self.events: list[Callable[[], None]] = []
        self.settled_rounds: list[Any] = []
        self.reveals_by_round: dict[int, list[int]] = {}

    def status(self) -> Status:
        if self.events:
            self.events.pop(0)()
        now = 1_000_000
        counts = dict.fromkeys(("expected", "expected_commits", "commits", "reveals"), 0)
        return Status(
            round=self.round,
            phase=self.phase,
            phase_ends_at=now + self.ends_in_seconds,
            timestamp=now,
            block_number=1,
            **counts,
            validator_mask=2,
            expected_validator_mask=2,
            weight_commit_mask=len(self.commitments) << SLOT,
            weight_reveal_mask=len(self.revealed) << SLOT,
            attest_mask=0,
            assign_seed=bytes(32),
            eval_seed=bytes([1]) * 32,
            has_settled=False,
            last_settled_round=0,
            last_header_hash=ZERO_HASH,
            closed=False,
            behind=False,
            behind_round=0,
            behind_attempt=0,
        )

    def commit_weights(self, sender: object, number: int, commitment: bytes) -> None:
        self._require(number, Phase.SCORE)
        if self.commitments:
            raise ChainError("already-committed", "Once a round.")
        self.commitments.append(commitment)
        if self.lose_next_answer:
            self.lose_next_answer = False
            raise UnavailableError("receipt-late", "The answer was lost.")

    def reveal_weights(self, sender: object, number: int, vector: bytes, digest: bytes, cid: str, salt: bytes) -> None:
        self._require(number, Phase.WEIGHT_REVEAL)
        opened = weights_commitment(
            chain_id=31337,
            run=RUN,
            round_number=number,
            slot=OWN.slot,
            vector=vector,
            evidence_hash=digest,
            evidence_cid=cid,
            salt=salt,
        )
        if [opened] != self.commitments:
            raise ChainError("bad-opening", "It is another vector.")
        self.revealed.append(vector)

    def registry(self) -> list[RegistryEntry]:
        return [*REGISTRY, OWN]

    def commits(self, number: int) -> list[Any]:
        return [SimpleNamespace(slot=slot) for slot in range(6)]

    def weight_reveals(self, number: int) -> list[Any]:
        return [SimpleNamespace(slot=slot) for slot in self.reveals_by_round.get(number, [])]

    def members_in(self, number: int) -> Members:
        lanes = tuple(100 if slot == SLOT else 0 for slot in range(16))
        return Members(number, tuple(self.registry()), TRAINERS, lanes, tuple([OWN.index] * 16))

    def state_chain(self) -> list[Any]:
        return self.settled_rounds

    def _require(self, number: int, phase: Phase) -> None:
        if number != self.round or self.phase is not phase:
            raise ChainError("wrong-phase", f"It is {self.phase.name} of round {self.round}.")


def manifest(store: Store, sequences: int = 300) -> Manifest:
    """The tiny preset over letters; with 300 sequences there is room for 35 trainers."""
    random = np.random.default_rng(3)
    letters = np.frombuffer(b"  aeinorst", np.uint8)
    data = random.choice(letters, (sequences, TINY.model.context + 1)).astype(np.uint8).tobytes()
    shard = ShardSpec(store.add(data), hashlib.sha256(data).hexdigest(), sequences)
    corpus = CorpusSpec(TINY.model.context + 1, TINY.shard_sequences, sequences, sequences, (shard,), (shard,))
    return TINY.manifest("unit", corpus, SEED, ROOT)


def context(store: Store, client: Client, codec: CodecSpec = TINY.codec) -> RunContext:
    made = dataclasses.replace(manifest(store), codec=codec)
    params = RunParams(
        reward_token=RUN,
        manifest_hash=ZERO_HASH,
        manifest_cid="",
        initial_state_root=ROOT,
        max_rounds=0,
        min_trainers=1,
        min_validators=1,
        validator_share_bps=2000,
        reward_rate_wei_per_second=1,
        min_trainer_bond_wei=1,
        min_validator_stake_wei=1,
        stake_unit_wei=1,
        miss_fine_wei=1,
        demand_bond_wei=1,
        reputation=reputation_params(made.reputation, 1),
        **dataclasses.asdict(CLOCKS["demo"]),
    )
    return RunContext(client, store, params, made)  # type: ignore[arg-type]


def loop(client: Client, folder: Path) -> NodeLoop:
    return NodeLoop(client, folder, poll_seconds=0.001)  # type: ignore[arg-type]


def update(seed: int) -> SparseUpdate:
    dense = np.random.default_rng(seed).standard_t(3, SIZE).astype(np.float32) * np.float32(0.001)
    return compress(dense, TINY.codec.chunk, TINY.codec.k)[0]


def blob(
    slot: int,
    item: SparseUpdate | None = None,
    round_number: int = 4,
    codec_id: int = 1,
    feedback: tuple[Feedback, ...] = (),
) -> bytes:
    expected = BlobExpectation(
        chain_id=31337,
        run=RUN,
        round=round_number,
        account=account(slot),
        base_state_root=ROOT,
        table_hash=TABLE,
        size=SIZE,
        chunk=TINY.codec.chunk,
        k=TINY.codec.k if item is None else item.k,
        codec_id=codec_id,
    )
    return encode_blob(expected.header(feedback), update(slot) if item is None else item)


def reveal(slot: int, data: bytes) -> ContributionReveal:
    return ContributionReveal(4, slot, hashlib.sha256(data).digest(), cid_of(data))
