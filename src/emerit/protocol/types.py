"""The protocol's records, field for field as the contracts have them.

Every record is frozen. Addresses are checksummed `0x` strings, hashes are 32 `bytes`, money is an integer of
wei, times are unix seconds. `from_abi` takes the tuple that an ABI decoder returns, `as_abi` gives it back in
the contract's field order. The numbers of what is hashed are checked against the width of their Solidity type
when a record is made, so a `Header` or `Leaf` that exists can always be hashed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Final, Self

from eth_utils.address import is_checksum_address, to_checksum_address

from emerit.errors import RefusedError

HASH_BYTES: Final = 32
ZERO_HASH: Final = bytes(HASH_BYTES)
ZERO_ADDRESS: Final = "0x" + 40 * "0"
MAX_TRAINERS: Final = 256
MAX_VALIDATORS: Final = 16
RESERVED_LANES: Final = 2
BASE_LANE: Final = 0
HEALTH_LANE: Final = 1


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
    """How a round ended, or that it has not."""

    NONE = 0
    OPEN = 1
    SETTLED = 2
    VOID = 3


def check_uint(name: str, value: int, bits: int) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is an int in [0, 2^bits)."""
    if type(value) is not int and not isinstance(value, IntEnum):
        raise RefusedError("value-invalid", f"{name} must be an integer, not {type(value).__name__}.")
    if not 0 <= value < 1 << bits:
        raise RefusedError("value-invalid", f"{name} = {value} does not fit in uint{bits}.")


def check_hash(name: str, value: bytes) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is 32 bytes."""
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise RefusedError("value-invalid", f"{name} must be 32 bytes.")


def check_address(name: str, value: str) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is a checksummed address."""
    if not isinstance(value, str) or not is_checksum_address(value):
        raise RefusedError("value-invalid", f"{name} = {value!r} is not a checksummed address.")


class _AbiRecord:
    """Conversions shared by the records whose fields stand in the contract's order."""

    __slots__ = ()
    _address_fields: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Self:
        """Return the record from a decoded ABI tuple.

        Raises:
            RefusedError: `value-invalid`, when the number of fields or a field's range is wrong.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        if len(names) != len(values):
            raise RefusedError("value-invalid", f"{cls.__name__} has {len(names)} fields, not {len(values)}.")
        content = dict(zip(names, map(_plain, values), strict=True))
        for name in cls._address_fields:
            content[name] = to_checksum_address(content[name])
        return cls(**content)

    def as_abi(self) -> tuple[Any, ...]:
        """Return the fields in the contract's order, ready for an ABI encoder."""
        return astuple(self)  # type: ignore[call-overload]


def _plain(value: Any) -> Any:
    """Return a subclass of bytes as plain bytes, everything else as it is."""
    return bytes(value) if isinstance(value, bytes | bytearray) else value


@dataclass(frozen=True, slots=True)
class Header(_AbiRecord):
    """What validators sign for a round; the contract keeps keccak256(abi.encode(header)).

    `total_weight` is the sum of payable weights, `total_amount_wei` the sum of all cumulative amounts, so
    total_amount_wei(t) <= total_amount_wei(t-1) + budget_wei(t).
    """

    _address_fields: ClassVar[tuple[str, ...]] = ("run",)

    run: str
    round: int
    attempt: int
    previous: bytes
    reveals: bytes
    root: bytes
    total_weight: int
    total_amount_wei: int
    leaf_count: int
    budget_wei: int
    state_root: bytes
    aggregate_hash: bytes

    def __post_init__(self) -> None:
        """Check every field's range."""
        check_address("run", self.run)
        for name in ("round", "attempt", "leaf_count"):
            check_uint(name, getattr(self, name), 32)
        for name in ("previous", "reveals", "root", "state_root", "aggregate_hash"):
            check_hash(name, getattr(self, name))
        check_uint("total_weight", self.total_weight, 64)
        check_uint("total_amount_wei", self.total_amount_wei, 128)
        check_uint("budget_wei", self.budget_wei, 128)


@dataclass(frozen=True, slots=True)
class Leaf(_AbiRecord):
    """One account's line in a settlement tree.

    `weight` is the consensus weight in the manifest's weight units, `reputation` is in parts of
    `emerit.reputation.REPUTATION_ONE`, `row` has the code that validator v gave in bits [16v, 16v+16).
    """

    _address_fields: ClassVar[tuple[str, ...]] = ("account",)

    index: int
    account: str
    cumulative_amount_wei: int
    weight: int
    reputation: int
    row: bytes

    def __post_init__(self) -> None:
        """Check every field's range."""
        check_uint("index", self.index, 32)
        check_address("account", self.account)
        check_uint("cumulative_amount_wei", self.cumulative_amount_wei, 128)
        check_uint("weight", self.weight, 64)
        check_uint("reputation", self.reputation, 64)
        check_hash("row", self.row)


@dataclass(frozen=True, slots=True)
class ProofNode(_AbiRecord):
    """A node of the Merkle-sum tree: its hash, its payable weight and its cumulative amount."""

    hash: bytes
    weight: int
    amount_wei: int

    def __post_init__(self) -> None:
        """Check every field's range."""
        check_hash("hash", self.hash)
        check_uint("weight", self.weight, 64)
        check_uint("amount_wei", self.amount_wei, 128)


@dataclass(frozen=True, slots=True)
class RegistryEntry:
    """One participant of a run, as `Stakes.entries` gives it (the contract's struct is called `Entry`).

    `index` is the position in the run's registry, `slot` the position among those of the same role.
    The entry is active in the rounds active_from <= round < active_until.
    """

    index: int
    account: str
    operator: str
    role: Role
    slot: int
    active_from: int = 0
    active_until: int = (1 << 32) - 1
    stake_wei: int = 0
    withdrawable_at: int = 0

    def __post_init__(self) -> None:
        """Check every field's range."""
        check_address("account", self.account)
        check_address("operator", self.operator)
        check_uint("slot", self.slot, 16)
        for name in ("index", "active_from", "active_until"):
            check_uint(name, getattr(self, name), 32)
        check_uint("stake_wei", self.stake_wei, 128)
        check_uint("withdrawable_at", self.withdrawable_at, 64)

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> RegistryEntry:
        """Return the entry from the contract's `Entry` tuple (account first, index fifth)."""
        account, operator, role, slot, index, active_from, active_until, stake_wei, withdrawable_at = values
        return cls(
            index=index,
            account=to_checksum_address(account),
            operator=to_checksum_address(operator),
            role=Role(role),
            slot=slot,
            active_from=active_from,
            active_until=active_until,
            stake_wei=stake_wei,
            withdrawable_at=withdrawable_at,
        )

    def active_in(self, round_number: int) -> bool:
        """Return whether the entry takes part in that round."""
        return self.active_from <= round_number < self.active_until


@dataclass(frozen=True, slots=True)
class RunParams(_AbiRecord):
    """What a run is created with; never changes. Durations are in seconds of chain time."""

    _address_fields: ClassVar[tuple[str, ...]] = ("reward_token",)

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
    max_rounds: int
    min_trainers: int
    min_validators: int
    validator_share_bps: int
    reward_rate_wei_per_second: int
    min_trainer_bond_wei: int
    min_validator_stake_wei: int
    stake_unit_wei: int
    reputation_keep_ppb: int


@dataclass(frozen=True, slots=True)
class Status(_AbiRecord):
    """What a node polls, from one call. Masks have bit v for validator slot v; times are unix seconds."""

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

    def __post_init__(self) -> None:
        """Turn the contract's number into a `Phase`."""
        object.__setattr__(self, "phase", Phase(self.phase))


@dataclass(frozen=True, slots=True)
class RoundInfo(_AbiRecord):
    """A round's facts on chain. Times are unix seconds, 0 while unknown; `stake_lanes` is a packed word."""

    status: RoundStatus
    opened_at: int
    train_ends_at: int
    reveal_ends_at: int
    drawn_at: int
    score_ends_at: int
    weight_reveal_ends_at: int
    settled_at: int
    final_at: int
    registry_size: int
    trainer_slots: int
    validator_slots: int
    stake_lanes: bytes
    pool_at_open_wei: int
    opened_block: int
    settled_block: int
    commits: int
    reveals: int
    assign_seed: bytes
    eval_seed: bytes
    reveals_hash: bytes
    header_hash: bytes
    total_amount_wei: int

    def __post_init__(self) -> None:
        """Turn the contract's number into a `RoundStatus`."""
        object.__setattr__(self, "status", RoundStatus(self.status))

    def stakes(self) -> tuple[int, ...]:
        """Return the snapshot stake of each validator slot, in stake units: one int per slot."""
        return unpack_lanes(self.stake_lanes)[: self.validator_slots]


@dataclass(frozen=True, slots=True)
class ContributionReveal:
    """The event `ContributionRevealed`: where a trainer's blob is and which bytes it must be."""

    round: int
    index: int
    slot: int
    content_hash: bytes
    cid: str


@dataclass(frozen=True, slots=True)
class WeightReveal:
    """The event `WeightsRevealed`: a validator's packed vector and where its evidence is."""

    round: int
    slot: int
    index: int
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
