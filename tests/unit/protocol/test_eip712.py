from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from emerit.errors import RefusedError
from emerit.protocol import eip712
from emerit.protocol.types import Body, Header, SignedCommit, Tree
from tests.unit.protocol.builders import RUN, address

HASH = bytes(range(32))
BODY = Body(RUN, 1, 2, HASH, HASH[::-1], 8, HASH, HASH)
HEADER = Header(BODY, Tree(HASH, 5, 6, 7))
KEY = keccak(text="a test's key")
SIGNER = Account.from_key(KEY).address
DOMAIN = {"name": "Emerit", "version": "1", "chainId": 31337, "verifyingContract": RUN}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def typed(kinds: dict[str, str], message: dict[str, Any], primary: str) -> bytes:
    """Return the digest that eth-account makes of typed data; `kinds` are "type name,..." by struct."""
    types = {
        struct: [dict(zip(("type", "name"), item.split(), strict=True)) for item in items.split(",")]
        for struct, items in kinds.items()
    }
    data = encode_typed_data(DOMAIN, {name: types[name] for name in types if name != primary} | types, message)
    return keccak(b"\x19\x01" + data.header + data.body)


def test_the_header_s_digest_is_that_of_typed_data() -> None:
    kinds = {
        "Header": "Body body,Tree tree",
        "Body": eip712.BODY_TYPE.removeprefix("Body(").removesuffix(")"),
        "Tree": eip712.TREE_TYPE.removeprefix("Tree(").removesuffix(")"),
    }
    message = {
        "body": {camel(field.name): getattr(BODY, field.name) for field in fields(Body)},
        "tree": {camel(field.name): getattr(HEADER.tree, field.name) for field in fields(Tree)},
    }
    assert eip712.header_digest(31337, HEADER) == typed(kinds, message, "Header")


def test_a_commit_s_digest_is_that_of_typed_data() -> None:
    kinds = {"Commit": "uint32 round,bytes32 commitment"}
    assert eip712.commit_digest(31337, RUN, 4, HASH) == typed(kinds, {"round": 4, "commitment": HASH}, "Commit")


def test_every_field_is_in_the_hash() -> None:
    hashes = {eip712.header_hash(HEADER)}
    for field in fields(Body):
        value = getattr(BODY, field.name)
        other = address(5) if isinstance(value, str) else bytes(32) if isinstance(value, bytes) else value + 1
        hashes.add(eip712.header_hash(replace(HEADER, body=replace(BODY, **{field.name: other}))))
    for field in fields(Tree):
        value = getattr(HEADER.tree, field.name)
        other = bytes(32) if isinstance(value, bytes) else value + 1
        hashes.add(eip712.header_hash(replace(HEADER, tree=replace(HEADER.tree, **{field.name: other}))))
    assert len(hashes) == 1 + len(fields(Body)) + len(fields(Tree))


def test_an_opened_tree_hashes_to_the_header() -> None:
    tree = eip712.opened(HEADER)
    assert eip712.header_hash_of(tree.body_hash, tree.tree) == eip712.header_hash(HEADER)
    assert tree.round == 1


def test_digests_bind_chain_and_run() -> None:
    digest = eip712.header_digest(31337, HEADER)
    assert digest != eip712.header_digest(1, HEADER)
    other = replace(HEADER, body=replace(BODY, run=address(1)))
    assert digest != eip712.header_digest(31337, other)
    assert eip712.commit_digest(1, RUN, 1, HASH) != eip712.commit_digest(1, RUN, 2, HASH)


def signature(digest: bytes) -> bytes:
    signed = Account.unsafe_sign_hash(digest, KEY)
    return eip712.compact_signature(signed.r, signed.s, signed.v - 27)


def test_the_signer_is_recovered_from_either_parity() -> None:
    seen = set()
    for number in range(8):
        digest = eip712.commit_digest(1, RUN, number, HASH)
        compact = signature(digest)
        seen.add(compact[32] >> 7)
        assert eip712.recover_signer(digest, compact) == SIGNER
        r, vs = eip712.split_signature(compact)
        assert SignedCommit(HASH, r, vs).as_abi() == (HASH, r, vs)
    assert seen == {0, 1}


def test_signatures_that_nobody_can_have_made_are_refused() -> None:
    digest = eip712.header_digest(1, HEADER)
    good = signature(digest)
    upper = (eip712._HALF_ORDER + 1).to_bytes(32, "big")
    for bad in (good[:63], good + b"\0", bytes(64), b"\xff" * 64, good[:32] + upper):
        with pytest.raises(RefusedError, match="signature-invalid"):
            eip712.recover_signer(digest, bad)
    with pytest.raises(RefusedError, match="signature-invalid"):
        eip712.compact_signature(1, eip712._HALF_ORDER + 1, 0)
    with pytest.raises(RefusedError, match="signature-invalid"):
        eip712.compact_signature(1, 1, 2)
    assert eip712.recover_signer(bytes(32), good) != SIGNER
