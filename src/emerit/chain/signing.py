"""What operators sign for others to submit: headers (EIP-712) for `settleSigned`, commitments for a relayer."""

from __future__ import annotations

from eth_account.signers.local import LocalAccount
from eth_typing import Hash32

from emerit.protocol.eip712 import commit_digest, compact_signature, header_digest, split_signature
from emerit.protocol.types import Header, SignedCommit


def sign_header(account: LocalAccount, chain_id: int, header: Header) -> bytes:
    """Return the operator's signature of a settlement, 64 bytes (EIP-2098)."""
    return _sign(account, header_digest(chain_id, header))


def sign_commit(account: LocalAccount, chain_id: int, run: str, round: int, commitment: bytes) -> SignedCommit:
    """Return a trainer's commitment, signed so that anybody can submit it with `RunClient.commit_batch`."""
    r, vs = split_signature(_sign(account, commit_digest(chain_id, run, round, commitment)))
    return SignedCommit(commitment, r, vs)


def _sign(account: LocalAccount, digest: bytes) -> bytes:
    signed = account.unsafe_sign_hash(Hash32(digest))
    return compact_signature(signed.r, signed.s, signed.v - 27)
