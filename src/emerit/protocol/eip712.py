"""What validators and trainers sign: EIP-712 hashes of the settlement header and of a relayed commitment.

The contracts' counterpart is `libraries/Commitment.sol`; `tests/vectors/signatures.json` is read by both. The
domain is (name "Emerit", version "1", the chain id, the run's address). Signatures are in the compact form of
EIP-2098: 32 bytes r, then s with the parity of y in its highest bit.
"""

from __future__ import annotations

from typing import Final

from eth_abi.abi import encode as abi_encode
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from emerit.errors import RefusedError
from emerit.protocol.types import Body, Header, OpenedTree, Tree, check_address, check_hash, check_uint

BODY_TYPE: Final = (
    "Body(address run,uint32 round,uint32 attempt,bytes32 previous,bytes32 reveals,uint128 budgetWei,"
    "bytes32 stateRoot,bytes32 aggregateHash)"
)
TREE_TYPE: Final = "Tree(bytes32 root,uint64 totalWeight,uint128 totalAmountWei,uint32 leafCount)"
HEADER_TYPE: Final = "Header(Body body,Tree tree)" + BODY_TYPE + TREE_TYPE
COMMIT_TYPE: Final = "Commit(uint32 round,bytes32 commitment)"
DOMAIN_TYPE: Final = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"

_BODY_FIELDS: Final = ("address", "uint32", "uint32", "bytes32", "bytes32", "uint128", "bytes32", "bytes32")
_TREE_FIELDS: Final = ("bytes32", "uint64", "uint128", "uint32")
_HALF_ORDER: Final = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
SIGNATURE_BYTES: Final = 64


def body_hash(body: Body) -> bytes:
    """Return the struct hash of a header's body, 32 bytes."""
    return keccak(abi_encode(("bytes32", *_BODY_FIELDS), (keccak(text=BODY_TYPE), *body.as_abi())))


def tree_hash(tree: Tree) -> bytes:
    """Return the struct hash of a header's tree, 32 bytes."""
    return keccak(abi_encode(("bytes32", *_TREE_FIELDS), (keccak(text=TREE_TYPE), *tree.as_abi())))


def header_hash_of(hash_of_body: bytes, tree: Tree) -> bytes:
    """Return the header's hash from its body's hash and its tree: what opening only the tree takes."""
    check_hash("body hash", hash_of_body)
    return keccak(keccak(text=HEADER_TYPE) + hash_of_body + tree_hash(tree))


def header_hash(header: Header) -> bytes:
    """Return the struct hash of a header, which the contract keeps for a settled round."""
    return header_hash_of(body_hash(header.body), header.tree)


def opened(header: Header) -> OpenedTree:
    """Return the header with only its tree open."""
    return OpenedTree(header.body.round, body_hash(header.body), header.tree)


def domain_separator(chain_id: int, run: str) -> bytes:
    """Return the hash of the EIP-712 domain of a run, 32 bytes."""
    check_uint("chain_id", chain_id, 256)
    check_address("run", run)
    types = ("bytes32", "bytes32", "bytes32", "uint256", "address")
    return keccak(abi_encode(types, (keccak(text=DOMAIN_TYPE), keccak(text="Emerit"), keccak(text="1"), chain_id, run)))


def header_digest(chain_id: int, header: Header) -> bytes:
    """Return the 32 bytes that a validator's operator signs to settle with this header."""
    return _digest(chain_id, header.body.run, header_hash(header))


def commit_digest(chain_id: int, run: str, round_number: int, commitment: bytes) -> bytes:
    """Return the 32 bytes that a trainer's operator signs so that a relayer can submit its commitment."""
    check_uint("round", round_number, 32)
    check_hash("commitment", commitment)
    struct = abi_encode(("bytes32", "uint32", "bytes32"), (keccak(text=COMMIT_TYPE), round_number, commitment))
    return _digest(chain_id, run, keccak(struct))


def _digest(chain_id: int, run: str, struct_hash: bytes) -> bytes:
    return keccak(b"\x19\x01" + domain_separator(chain_id, run) + struct_hash)


def compact_signature(r: int, s: int, y_parity: int) -> bytes:
    """Return a signature in the 64 bytes of EIP-2098; `y_parity` is v - 27.

    Raises:
        RefusedError: `signature-invalid`, for an s in the upper half of the group's order, or another parity.
    """
    if s > _HALF_ORDER or y_parity not in (0, 1):
        raise RefusedError("signature-invalid", "The signature is not in its canonical form.")
    return r.to_bytes(32, "big") + (s | y_parity << 255).to_bytes(32, "big")


def split_signature(compact: bytes) -> tuple[bytes, bytes]:
    """Return r and vs of a compact signature, 32 bytes each, as `SignedCommit` has them.

    Raises:
        RefusedError: `signature-invalid`, when it has not 64 bytes.
    """
    if len(compact) != SIGNATURE_BYTES:
        raise RefusedError("signature-invalid", f"A compact signature has 64 bytes, not {len(compact)}.")
    return compact[:32], compact[32:]


def recover_signer(digest: bytes, compact: bytes) -> str:
    """Return the checksummed address whose key signed the digest.

    Raises:
        RefusedError: `signature-invalid`, when no key can have.
    """
    check_hash("digest", digest)
    r_bytes, vs_bytes = split_signature(compact)
    vs = int.from_bytes(vs_bytes, "big")
    s = vs & ((1 << 255) - 1)
    if s > _HALF_ORDER:
        raise RefusedError("signature-invalid", "The signature is not in its canonical form.")
    try:
        signature = Signature(vrs=(vs >> 255, int.from_bytes(r_bytes, "big"), s))
        return str(signature.recover_public_key_from_msg_hash(digest).to_checksum_address())
    except (BadSignature, ValidationError) as error:
        raise RefusedError("signature-invalid", "No key can have made this signature.") from error
