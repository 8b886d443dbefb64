"""Plain records that the chain package hands out, besides those of `emerit.protocol.types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emerit.protocol.types import Fault, Header, Leaf


@dataclass(frozen=True, slots=True)
class Block:
    """A block's place in the chain; `timestamp` in unix seconds, `base_fee_wei` None before EIP-1559."""

    number: int
    hash: bytes
    parent_hash: bytes
    timestamp: int
    gas_used: int = 0
    base_fee_wei: int | None = None

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Block:
        """Read the answer to eth_getBlockByNumber."""
        fee = fields.get("baseFeePerGas")
        return cls(
            number=int(fields["number"], 16),
            hash=bytes.fromhex(fields["hash"][2:]),
            parent_hash=bytes.fromhex(fields["parentHash"][2:]),
            timestamp=int(fields["timestamp"], 16),
            gas_used=int(fields.get("gasUsed", "0x0"), 16),
            base_fee_wei=None if fee is None else int(fee, 16),
        )


@dataclass(frozen=True, slots=True)
class Log:
    """One event as the chain stores it; (block_hash, log_index) identifies it across reorganisations."""

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block_number: int
    block_hash: bytes
    tx_hash: str
    log_index: int

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Log:
        """Read one element of the answer to eth_getLogs, or of a receipt's logs."""
        return cls(
            address=fields["address"],
            topics=tuple(bytes.fromhex(topic[2:]) for topic in fields["topics"]),
            data=bytes.fromhex(fields["data"][2:]),
            block_number=int(fields["blockNumber"], 16),
            block_hash=bytes.fromhex(fields["blockHash"][2:]),
            tx_hash=fields["transactionHash"],
            log_index=int(fields["logIndex"], 16),
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """A transaction that was mined and did what it was sent for."""

    tx_hash: str
    block: int
    gas_used: int
    logs: tuple[Log, ...]
    contract_address: str | None = None


@dataclass(frozen=True, slots=True)
class ContributionCommit:
    """The event `ContributionCommitted`: the trainer in this slot committed in the round."""

    round: int
    slot: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Attestation:
    """The event `Attested`: the validator in this slot signed the header with this hash.

    `aggregate_cid` is the hint as the validator gave it, see `emerit.protocol.hints`.
    """

    round: int
    slot: int
    header_hash: bytes
    aggregate_cid: str


@dataclass(frozen=True, slots=True)
class OpenedEpoch:
    """The event `EpochOpened`: who votes from this round on; see `OpenedRound`."""

    epoch: int
    round: int
    stake_lanes: tuple[int, ...]
    seats: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OpenedRound:
    """The event `RoundOpened`, with the `EpochOpened` that holds for the round.

    Attributes:
        expected: how many trainers the round waits for.
        held_wei: what the run's pool had received, less refunds.
        stake_lanes: voting weight of each of the 16 validator slots, in stake units.
        seats: registry index of each of the 16 validator slots; means nothing where the voting weight is 0.
    """

    round: int
    block: int
    assign_seed: bytes
    registry_size: int
    trainer_slots: int
    expected: int
    held_wei: int
    stake_lanes: tuple[int, ...] = ()
    seats: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class DrawnSeed:
    """The event `Drawn`: the seed of a round's evaluation, drawn after all reveals."""

    round: int
    eval_seed: bytes


@dataclass(frozen=True, slots=True)
class SettledRound:
    """The event `Settled`: the header that 2/3 of the stake signed, and where the aggregate may be found.

    `aggregate_cid` is the hint as the last signer gave it, see `emerit.protocol.hints`.
    """

    header: Header
    aggregate_cid: str
    header_hash: bytes
    signer_mask: int
    block: int
    tx_hash: str

    @property
    def round(self) -> int:
        """The round that it settles."""
        return self.header.body.round

    @property
    def attempt(self) -> int:
        """How often the round was settled before, and lost its pay again."""
        return self.header.body.attempt


@dataclass(frozen=True, slots=True)
class VoidedHeader:
    """The event `HeaderVoided`: a challenge took back the pay of this settlement and of all after it."""

    round: int
    attempt: int
    fault: Fault
    index: int
    by: str
    block: int


@dataclass(frozen=True, slots=True)
class PunishedHeader:
    """The event `Punished`: the signers of a voided header were slashed."""

    round: int
    attempt: int
    signer_mask: int
    slashed_wei: int
    challenger: str
    block: int


@dataclass(frozen=True, slots=True)
class DemandedLeaf:
    """The event `Demanded`: somebody put up a bond to be shown a leaf until `deadline` (unix seconds)."""

    round: int
    attempt: int
    index: int
    by: str
    deadline: int
    block: int


@dataclass(frozen=True, slots=True)
class AnsweredLeaf:
    """The event `Answered`: a leaf that was demanded, as it is under the settled root."""

    round: int
    attempt: int
    index: int
    leaf: Leaf
    proof: tuple[bytes, ...]
    by: str
    block: int


@dataclass(frozen=True, slots=True)
class VoidedRound:
    """The event `RoundVoided`: the round was given up without a settlement."""

    round: int
    block: int


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """The event `RunCreated`: a run, its reputation contract and who may close it."""

    run: str
    reputation: str
    sponsor: str
    manifest_hash: bytes
    manifest_cid: str
    block: int
