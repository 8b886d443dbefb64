"""Plain records that the chain package hands out, besides those of `emerit.protocol.types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emerit.protocol.types import Header


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
class CommitEvent:
    """The event `ContributionCommitted` as the chain has it."""

    round: int
    index: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class ContributionCommit:
    """The trainer with this registry index, in this slot, committed in the round."""

    round: int
    index: int
    slot: int
    commitment: bytes


@dataclass(frozen=True, slots=True)
class Attestation:
    """The event `Attested`: the validator in this slot signed the header with this hash."""

    round: int
    slot: int
    header_hash: bytes
    aggregate_cid: str


@dataclass(frozen=True, slots=True)
class SettledRound:
    """The event `Settled`: the header that 2/3 of the stake signed, and where the aggregate may be found."""

    header: Header
    aggregate_cid: str
    header_hash: bytes
    block: int
    tx_hash: str


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """The event `RunCreated`: a run, its reputation contract and who may close it."""

    run: str
    reputation: str
    sponsor: str
    manifest_hash: bytes
    manifest_cid: str
    block: int
