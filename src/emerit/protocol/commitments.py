"""What is hashed for the chain: commitments, the running hash of reveals, the weight vector.

Each function is the same bytes for the same arguments as its counterpart in the contracts
(`libraries/Commitment.sol`); `tests/vectors/commitments.json` is read by both. A commitment binds chain, run,
round and slot, and a slot has one member in a round, so it can be opened only where, when and for whom it was made.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from emerit.errors import RefusedError
from emerit.protocol.types import (
    RESERVED_LANES,
    ContributionReveal,
    WeightReveal,
    check_address,
    check_hash,
    check_uint,
)

KEPT_BYTES: Final = 18


def contribution_commitment(
    chain_id: int,
    run: str,
    round_number: int,
    slot: int,
    content_hash: bytes,
    cid: str,
    salt: bytes,
) -> bytes:
    """Return what a trainer commits to: 32 bytes, keccak256 of the ABI encoding of all arguments.

    `slot` is the trainer's, `content_hash` the SHA-256 of the blob, `salt` 32 random bytes.

    Raises:
        RefusedError: `value-invalid`, when an argument does not fit its type.
    """
    _check_binding(chain_id, run, round_number, slot, salt)
    check_hash("content_hash", content_hash)
    types = ["bytes32", "uint256", "address", "uint32", "uint16", "bytes32", "bytes32", "bytes32"]
    values = [
        keccak(text="emerit/contribution/v2"),
        chain_id,
        run,
        round_number,
        slot,
        content_hash,
        _text_hash(cid),
        salt,
    ]
    return keccak(abi_encode(types, values))


def weights_commitment(
    chain_id: int,
    run: str,
    round_number: int,
    slot: int,
    vector: bytes,
    evidence_hash: bytes,
    evidence_cid: str,
    salt: bytes,
) -> bytes:
    """Return what a validator commits to: 32 bytes; `slot` is its own, `vector` is packed by `pack_vector`.

    Raises:
        RefusedError: `value-invalid`, when an argument does not fit its type.
    """
    _check_binding(chain_id, run, round_number, slot, salt)
    check_hash("evidence_hash", evidence_hash)
    types = ["bytes32", "uint256", "address", "uint32", "uint16", "bytes32", "bytes32", "bytes32", "bytes32"]
    values = [
        keccak(text="emerit/weights/v2"),
        chain_id,
        run,
        round_number,
        slot,
        keccak(vector),
        evidence_hash,
        _text_hash(evidence_cid),
        salt,
    ]
    return keccak(abi_encode(types, values))


def kept(commitment: bytes) -> bytes:
    """Return what the chain keeps of a commitment: its first 18 bytes."""
    check_hash("commitment", commitment)
    return commitment[:KEPT_BYTES]


def reveals_start(run: str, round_number: int) -> bytes:
    """Return the running hash of a round in which nothing has been revealed."""
    check_address("run", run)
    check_uint("round", round_number, 32)
    return keccak(abi_encode(["bytes32", "address", "uint32"], [keccak(text="emerit/reveals/v1"), run, round_number]))


def add_contribution_reveal(previous: bytes, reveal: ContributionReveal) -> bytes:
    """Return the round's running hash after a contribution was revealed."""
    check_hash("previous", previous)
    return keccak(
        abi_encode(
            ["bytes32", "uint16", "bytes32", "bytes32"],
            [previous, reveal.slot, reveal.content_hash, _text_hash(reveal.cid)],
        )
    )


def add_weight_reveal(previous: bytes, reveal: WeightReveal) -> bytes:
    """Return the round's running hash after a weight vector was revealed."""
    check_hash("previous", previous)
    return keccak(
        abi_encode(
            ["bytes32", "uint16", "bytes32", "bytes32"],
            [previous, reveal.slot, keccak(reveal.vector), reveal.evidence_hash],
        )
    )


def reveals_hash(
    run: str, round_number: int, contributions: Iterable[ContributionReveal], weights: Iterable[WeightReveal]
) -> bytes:
    """Return a round's hash of all reveals, each group in the order of its events."""
    running = reveals_start(run, round_number)
    for contribution in contributions:
        running = add_contribution_reveal(running, contribution)
    for weight in weights:
        running = add_weight_reveal(running, weight)
    return running


def pack_vector(codes: Sequence[int]) -> bytes:
    """Return a weight vector's bytes: each 16-bit code in two bytes, big endian.

    Lane 0 is the base loss, lane 1 the health lane, lane 2 + s the weight of trainer slot s.

    Raises:
        RefusedError: `value-invalid`, when a code does not fit or the reserved lanes are missing.
    """
    if len(codes) < RESERVED_LANES:
        raise RefusedError("value-invalid", "A weight vector starts with two reserved lanes.")
    for code in codes:
        check_uint("a weight code", code, 16)
    return b"".join(code.to_bytes(2, "big") for code in codes)


def unpack_vector(data: bytes, trainer_slots: int) -> tuple[int, ...]:
    """Return the 2 + trainer_slots codes of a packed vector.

    Raises:
        RefusedError: `vector-length`, when the number of bytes is not 2 * (2 + trainer_slots).
    """
    lanes = RESERVED_LANES + trainer_slots
    if len(data) != 2 * lanes:
        raise RefusedError("vector-length", f"A vector of {lanes} lanes has {2 * lanes} bytes, not {len(data)}.")
    return tuple(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))


def _text_hash(text: str) -> bytes:
    """Return keccak256 of the text's bytes; bytes that were no UTF-8 on chain come back from surrogates."""
    return keccak(text.encode("utf-8", "surrogateescape"))


def _check_binding(chain_id: int, run: str, round_number: int, slot: int, salt: bytes) -> None:
    check_uint("chain_id", chain_id, 256)
    check_address("run", run)
    check_uint("round", round_number, 32)
    check_uint("slot", slot, 16)
    check_hash("salt", salt)
