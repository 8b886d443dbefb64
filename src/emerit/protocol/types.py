"""The protocol's records, field for field as the contracts have them (`contracts/src/types/Types.sol`).

Every record is frozen. Addresses are checksummed `0x` strings, hashes are 32 `bytes`, money is an integer of
wei, times are unix seconds. `from_abi` takes the tuple that an ABI decoder returns, `as_abi` gives it back in
the contract's field order. The numbers of what is hashed are checked against the width of their Solidity type
when a record is made, so a `Header` or `Leaf` that exists can always be hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final

from eth_utils.address import to_checksum_address

from emerit.errors import RefusedError
from emerit.protocol.records import HASH_BYTES, AbiRecord, check_address, check_hash, check_uint

ZERO_HASH: Final = bytes(HASH_BYTES)
ZERO_ADDRESS: Final = "0x" + 40 * "0"
MAX_TRAINERS: Final = 256
MAX_VALIDATORS: Final = 16
RESERVED_LANES: Final = 2
BASE_LANE: Final = 0
HEALTH_LANE: Final = 1
NEVER: Final = (1 << 32) - 1

__all__ = [
    "BASE_LANE",
    "HASH_BYTES",
    "HEALTH_LANE",
    "MAX_TRAINERS",
    "MAX_VALIDATORS",
    "NEVER",
    "RESERVED_LANES",
    "ZERO_ADDRESS",
    "ZERO_HASH",
    "Body",
    "ClaimLeaf",
    "ContributionReveal",
    "Fault",
    "Header",
    "Leaf",
    "LeafDetail",
    "OpenedTree",
    "Phase",
    "PreviousLeaf",
    "RegistryEntry",
    "ReputationParams",
    "Role",
    "RoundInfo",
    "RoundStatus",
    "RunParams",
    "SignedCommit",
    "Status",
    "Tree",
    "WeightReveal",
    "check_address",
    "check_hash",
    "check_uint",
    "pack_lanes",
    "unpack_lanes",
]


class Role(IntEnum):
    """What an account is in a run."""

    NONE = 0
    TRAINER = 1
    VALIDATOR = 2


class Phase(IntEnum):
    """Where a round is; computed by the contract from time and counters."""

    NOT_STARTED = 0
    TRAIN = 1
    REVEAL = 2
    DRAW = 3
    SCORE = 4
    WEIGHT_REVEAL = 5
    SETTLE = 6
    EXPIRED = 7
    FINISHED = 8


class RoundStatus(IntEnum):
    """How a round ended, or that it has not. Whether a settled round is still paid is another matter."""

    NONE = 0
    OPEN = 1
    SETTLED = 2
    VOID = 3


class Fault(IntEnum):
    """What was wrong with a header, or with one who signed it."""

    NONE = 0
    ROW = 1
    WEIGHT = 2
    AMOUNT = 3
    REPUTATION = 4
    SUM = 5
    IDENTITY = 6
    COVERAGE = 7
    WITHHELD = 8
    EQUIVOCATION = 9


@dataclass(frozen=True, slots=True)
class ReputationParams(AbiRecord):
    """MeritRank's parameters in parts per billion; `emerit.protocol.reputation` has the formulas.

    `continue_ppb` is transitivity, `neck_threshold_ppb` and `connectivity_decay_ppb` are connectivity,
    `epoch_weight_ppb` is the new round's part of the running average, `keep_ppb` what a stored reputation keeps
    per round. With fewer than `neck_min_validators` staked validators there is no neck.
    """

    abi_widths: ClassVar = {
        "continue_ppb": 32,
        "neck_threshold_ppb": 32,
        "connectivity_decay_ppb": 32,
        "epoch_weight_ppb": 32,
        "keep_ppb": 32,
        "neck_min_validators": 16,
    }

    continue_ppb: int
    neck_threshold_ppb: int
    connectivity_decay_ppb: int
    epoch_weight_ppb: int
    keep_ppb: int
    neck_min_validators: int

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class Body(AbiRecord):
    """What a settlement says about the round; a function of what is on chain and of blobs whose hashes are.

    `previous` is the hash of the header before it in the pay chain (zero for the first), `reveals` the running hash
    of everything revealed in the round.
    """

    abi_widths: ClassVar = {"round": 32, "attempt": 32, "budget_wei": 128}
    abi_addresses: ClassVar = ("run",)
    abi_hashes: ClassVar = ("previous", "reveals", "state_root", "aggregate_hash")

    run: str
    round: int
    attempt: int
    previous: bytes
    reveals: bytes
    budget_wei: int
    state_root: bytes
    aggregate_hash: bytes

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class Tree(AbiRecord):
    """The leaves of a settlement: the root over them, and their sums.

    `total_weight` is the sum of the payable weights, `total_amount_wei` the sum of all cumulative amounts, so
    total_amount_wei(t) <= total_amount_wei(t-1) + budget_wei(t).
    """

    abi_widths: ClassVar = {"total_weight": 64, "total_amount_wei": 128, "leaf_count": 32}
    abi_hashes: ClassVar = ("root",)

    root: bytes
    total_weight: int
    total_amount_wei: int
    leaf_count: int

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


NO_TREE: Final = Tree(ZERO_HASH, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Header(AbiRecord):
    """What validators sign for a round (EIP-712, `emerit.protocol.eip712`); the contract keeps its struct hash."""

    abi_records: ClassVar = {"body": Body, "tree": Tree}

    body: Body
    tree: Tree


@dataclass(frozen=True, slots=True)
class OpenedTree(AbiRecord):
    """A header of which only the tree is opened: all that a proof needs. `body_hash` stands for the rest."""

    abi_widths: ClassVar = {"round": 32}
    abi_hashes: ClassVar = ("body_hash",)
    abi_records: ClassVar = {"tree": Tree}

    round: int
    body_hash: bytes
    tree: Tree

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class LeafDetail(AbiRecord):
    """What a claim does not have to show of a leaf.

    Attributes:
        weight: Trainers: the consensus weight in the manifest's weight units. Validators: 0, or 1 + the index of
            the first leaf that it failed to cover.
        reputation: In parts of `emerit.protocol.reputation.REPUTATION_ONE`.
        row: The code that validator slot v gave in bits [16v, 16v+16): of this trainer's weight, or (validators) of
            the base loss.
        weight_before: Sum of the payable weights of the leaves before this one.
        amount_before_wei: Sum of the cumulative amounts of the leaves before this one.
    """

    abi_widths: ClassVar = {"weight": 64, "reputation": 64, "weight_before": 64, "amount_before_wei": 128}
    abi_hashes: ClassVar = ("row",)

    weight: int
    reputation: int
    row: bytes
    weight_before: int
    amount_before_wei: int

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


NO_DETAIL: Final = LeafDetail(0, 0, ZERO_HASH, 0, 0)


@dataclass(frozen=True, slots=True)
class Leaf(AbiRecord):
    """One member's line of a settlement; `index` is its position in the registry and in the tree."""

    abi_widths: ClassVar = {"index": 32, "cumulative_amount_wei": 128}
    abi_addresses: ClassVar = ("account",)
    abi_records: ClassVar = {"detail": LeafDetail}

    index: int
    account: str
    cumulative_amount_wei: int
    detail: LeafDetail

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class ClaimLeaf(AbiRecord):
    """A leaf of which only what claims need is opened."""

    abi_widths: ClassVar = {"index": 32, "cumulative_amount_wei": 128}
    abi_addresses: ClassVar = ("account",)
    abi_hashes: ClassVar = ("detail_hash",)

    index: int
    account: str
    cumulative_amount_wei: int
    detail_hash: bytes

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class PreviousLeaf(AbiRecord):
    """The leaf at the same index, opened from the header before, as the base of an amount or a reputation.

    All zero with an empty proof before the first header. Where the header before has no leaf at that index, its
    `body_hash` and `tree` are given all the same: they show its leaf count. The account is what stands there, even
    a wrong one that nobody challenged in time.
    """

    abi_widths: ClassVar = {"cumulative_amount_wei": 128}
    abi_addresses: ClassVar = ("account",)
    abi_hashes: ClassVar = ("body_hash",)
    abi_records: ClassVar = {"tree": Tree, "detail": LeafDetail}

    body_hash: bytes = ZERO_HASH
    tree: Tree = NO_TREE
    account: str = ZERO_ADDRESS
    cumulative_amount_wei: int = 0
    detail: LeafDetail = NO_DETAIL
    proof: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()
        for sibling in self.proof:
            check_hash("a sibling of the proof", sibling)


@dataclass(frozen=True, slots=True)
class SignedCommit(AbiRecord):
    """A trainer's commitment as its operator signed it for a relayer; the signature in the form of EIP-2098."""

    abi_hashes: ClassVar = ("commitment", "r", "vs")

    commitment: bytes
    r: bytes
    vs: bytes

    def __post_init__(self) -> None:
        """Check every field's range."""
        self.check_fields()


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One participant of a run, as `Stakes.entries` gives it (the contract's struct is called `Entry`).

    `index` is the position in the run's registry, never used again; `slot` the lane among the members of the same
    role, used again once its member has withdrawn. The entry takes part in the rounds
    active_from <= round < active_until; `left_at` is 0 while it has not left.
    """

    index: int
    account: str
    operator: str
    role: Role
    slot: int
    active_from: int = 0
    active_until: int = NEVER
    stake_wei: int = 0
    left_at: int = 0

    def __post_init__(self) -> None:
        """Check every field's range."""
        check_address("account", self.account)
        check_address("operator", self.operator)
        check_uint("slot", self.slot, 16)
        for name in ("index", "active_from", "active_until"):
            check_uint(name, getattr(self, name), 32)
        check_uint("stake_wei", self.stake_wei, 128)
        check_uint("left_at", self.left_at, 64)

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> RegistryEntry:
        """Return the entry from the contract's `Entry` tuple, whose order is that of its storage."""
        account, role, slot, active_from, active_until, operator, index, left_at, stake_wei = values
        return cls(
            index=index,
            account=to_checksum_address(account),
            operator=to_checksum_address(operator),
            role=Role(role),
            slot=slot,
            active_from=active_from,
            active_until=active_until,
            stake_wei=stake_wei,
            left_at=left_at,
        )

    def active_in(self, round_number: int) -> bool:
        """Return whether the entry takes part in that round."""
        return self.active_from <= round_number < self.active_until


@dataclass(frozen=True, slots=True)
class RunParams(AbiRecord):
    """What a run is created with; never changes. Durations are in seconds of chain time."""

    abi_addresses: ClassVar = ("reward_token",)
    abi_records: ClassVar = {"reputation": ReputationParams}

    reward_token: str
    manifest_hash: bytes
    manifest_cid: str
    initial_state_root: bytes
    train_seconds: int
    reveal_seconds: int
    draw_delay_seconds: int
    score_seconds: int
    weight_reveal_seconds: int
    settle_seconds: int
    min_round_seconds: int
    nominal_round_seconds: int
    challenge_window_seconds: int
    answer_seconds: int
    claim_period_seconds: int
    max_rounds: int
    history_rounds: int
    epoch_rounds: int
    min_trainers: int
    min_validators: int
    validator_share_bps: int
    slash_rounds: int
    reward_rate_wei_per_second: int
    min_trainer_bond_wei: int
    min_validator_stake_wei: int
    stake_unit_wei: int
    miss_fine_wei: int
    demand_bond_wei: int
    reputation: ReputationParams


@dataclass(frozen=True, slots=True)
class Status(AbiRecord):
    """What a node polls, from one call. Masks have bit v for validator slot v; times are unix seconds.

    `has_settled`, `last_settled_round` and `last_header_hash` are the head of the pay chain. While `behind`,
    `behind_round` must be settled again, with `behind_attempt`, before any other.
    """

    round: int
    phase: Phase
    phase_ends_at: int
    timestamp: int
    block_number: int
    expected: int
    expected_commits: int
    commits: int
    reveals: int
    validator_mask: int
    expected_validator_mask: int
    weight_commit_mask: int
    weight_reveal_mask: int
    attest_mask: int
    assign_seed: bytes
    eval_seed: bytes
    has_settled: bool
    last_settled_round: int
    last_header_hash: bytes
    closed: bool
    behind: bool
    behind_round: int
    behind_attempt: int

    def __post_init__(self) -> None:
        """Turn the contract's number into a `Phase`."""
        object.__setattr__(self, "phase", Phase(self.phase))


@dataclass(frozen=True, slots=True)
class RoundInfo(AbiRecord):
    """A round that the contract remembers. Times are unix seconds; `stake_lanes` is a packed word.

    An end time that lies ahead is what it would be if nobody acted any more, 0 where it depends on a draw that has
    not been made. `paid` says whether the round's header stands, `fault` what was wrong with its last attempt.
    """

    status: RoundStatus
    paid: bool
    opened_at: int
    train_ends_at: int
    reveal_ends_at: int
    drawn_at: int
    score_ends_at: int
    weight_reveal_ends_at: int
    final_at: int
    registry_size: int
    trainer_slots: int
    stake_lanes: bytes
    attempt: int
    signer_mask: int
    held_at_open_wei: int
    commits: int
    reveals: int
    assign_seed: bytes
    eval_seed: bytes
    reveals_hash: bytes
    header_hash: bytes
    total_amount_wei: int
    fault: Fault

    def __post_init__(self) -> None:
        """Turn the contract's numbers into a `RoundStatus` and a `Fault`."""
        object.__setattr__(self, "status", RoundStatus(self.status))
        object.__setattr__(self, "fault", Fault(self.fault))

    def stakes(self) -> tuple[int, ...]:
        """Return the voting weight of each of the 16 validator slots in the round's epoch, in stake units."""
        return unpack_lanes(self.stake_lanes)


@dataclass(frozen=True, slots=True)
class ContributionReveal:
    """The event `ContributionRevealed`: where a trainer's blob is and which bytes it must be."""

    round: int
    slot: int
    content_hash: bytes
    cid: str


@dataclass(frozen=True, slots=True)
class WeightReveal:
    """The event `WeightsRevealed`: a validator's packed vector and where its evidence is."""

    round: int
    slot: int
    vector: bytes
    evidence_hash: bytes
    evidence_cid: str


def pack_lanes(values: Sequence[int], fill: int = 0) -> bytes:
    """Pack up to 16 numbers of 16 bits into a big-endian 256-bit word, lane v in bits [16v, 16v+16).

    Missing lanes are `fill`. Raises `RefusedError("value-invalid")` for a value that does not fit.
    """
    if len(values) > MAX_VALIDATORS:
        raise RefusedError("value-invalid", f"a word has {MAX_VALIDATORS} lanes, not {len(values)}.")
    word = 0
    for lane in range(MAX_VALIDATORS):
        value = values[lane] if lane < len(values) else fill
        check_uint(f"lane {lane}", value, 16)
        word |= value << (16 * lane)
    return word.to_bytes(HASH_BYTES, "big")


def unpack_lanes(word: bytes) -> tuple[int, ...]:
    """Return the 16 lanes of a 32-byte word, lane 0 from its last two bytes."""
    check_hash("word", word)
    number = int.from_bytes(word, "big")
    return tuple((number >> (16 * lane)) & 0xFFFF for lane in range(MAX_VALIDATORS))
