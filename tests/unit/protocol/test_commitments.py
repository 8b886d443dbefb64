from __future__ import annotations

from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol import commitments
from emerit.protocol.types import ContributionReveal, WeightReveal
from tests.unit.protocol.builders import RUN, address

HASH = bytes(range(32))
CONTRIBUTION: dict[str, Any] = {
    "chain_id": 31337,
    "run": RUN,
    "round_number": 4,
    "slot": 1,
    "content_hash": HASH,
    "cid": "Qm1",
    "salt": bytes(32),
}
WEIGHTS: dict[str, Any] = {
    "chain_id": 31337,
    "run": RUN,
    "round_number": 4,
    "slot": 1,
    "vector": b"\x00\x01\x00\x02",
    "evidence_hash": HASH,
    "evidence_cid": "Qm1",
    "salt": bytes(32),
}
OTHER: dict[str, Any] = {
    "chain_id": 1,
    "run": address(7),
    "round_number": 5,
    "slot": 2,
    "content_hash": bytes(32),
    "cid": "Qm2",
    "vector": b"\x00\x01\x00\x03",
    "evidence_hash": bytes(32),
    "evidence_cid": "",
    "salt": HASH,
}


@pytest.mark.parametrize("name", list(CONTRIBUTION))
def test_a_contribution_s_commitment_binds_everything(name: str) -> None:
    changed = CONTRIBUTION | {name: OTHER[name]}
    first, second = (commitments.contribution_commitment(**case) for case in (CONTRIBUTION, changed))
    assert len(first) == 32 and first != second


@pytest.mark.parametrize("name", list(WEIGHTS))
def test_a_weight_vector_s_commitment_binds_everything(name: str) -> None:
    changed = WEIGHTS | {name: OTHER[name]}
    first, second = (commitments.weights_commitment(**case) for case in (WEIGHTS, changed))
    assert len(first) == 32 and first != second


@pytest.mark.parametrize(
    ("name", "value"),
    [("salt", b""), ("run", RUN.lower()), ("round_number", -1), ("slot", 1 << 16), ("chain_id", 1 << 256)],
)
def test_arguments_that_do_not_fit_are_refused(name: str, value: object) -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        commitments.contribution_commitment(**(CONTRIBUTION | {name: value}))
    with pytest.raises(RefusedError, match="value-invalid"):
        commitments.weights_commitment(**(WEIGHTS | {name: value}))


def test_the_chain_keeps_eighteen_bytes() -> None:
    assert commitments.kept(HASH) == HASH[:18]
    with pytest.raises(RefusedError, match="value-invalid"):
        commitments.kept(HASH[:18])


def test_the_running_hash_depends_on_round_and_order() -> None:
    first = ContributionReveal(0, 0, HASH, "Qm1")
    second = ContributionReveal(0, 1, HASH, "Qm2")
    forth = commitments.reveals_hash(RUN, 0, [first, second], [])
    assert forth != commitments.reveals_hash(RUN, 0, [second, first], [])
    assert forth != commitments.reveals_hash(RUN, 1, [first, second], [])
    assert commitments.reveals_hash(RUN, 0, [], []) == commitments.reveals_start(RUN, 0) != bytes(32)


def test_the_running_hash_can_be_continued() -> None:
    contribution = ContributionReveal(0, 1, HASH, "Qm1")
    weight = WeightReveal(0, 3, b"\x00" * 4, HASH, "Qm2")
    halfway = commitments.reveals_hash(RUN, 4, [contribution], [])
    whole = commitments.reveals_hash(RUN, 4, [contribution], [weight])
    assert commitments.add_weight_reveal(halfway, weight) == whole


def test_a_cid_of_arbitrary_bytes_can_be_hashed() -> None:
    text = b"Qm\xff\xfe".decode("utf-8", "surrogateescape")
    reveal = ContributionReveal(0, 1, HASH, text)
    expected = encode(["bytes32", "uint16", "bytes32", "bytes32"], [HASH, 1, HASH, keccak(b"Qm\xff\xfe")])
    assert commitments.add_contribution_reveal(HASH, reveal) == keccak(expected)


@given(st.lists(st.integers(0, 0xFFFF), min_size=2, max_size=258))
def test_vectors_come_back(codes: list[int]) -> None:
    packed = commitments.pack_vector(codes)
    assert len(packed) == 2 * len(codes)
    assert commitments.unpack_vector(packed, len(codes) - 2) == tuple(codes)


def test_vectors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(RefusedError, match="value-invalid"):
        commitments.pack_vector([0])
    with pytest.raises(RefusedError, match="value-invalid"):
        commitments.pack_vector([0, 65536])
    with pytest.raises(RefusedError, match="vector-length"):
        commitments.unpack_vector(bytes(5), 1)
