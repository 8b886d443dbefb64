from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.merkle import PADDING, MerkleSumTree, depth_of, leaf_node, parent_node, payable, verify
from emerit.protocol.types import Header, Leaf, ProofNode
from tests.unit.protocol.builders import RUN, address, hashes


@st.composite
def leaf_lists(draw: st.DrawFn) -> list[Leaf]:
    count = draw(st.integers(1, 9))
    return [
        Leaf(
            index,
            address(index),
            draw(st.integers(0, 10**30)),
            draw(st.integers(0, 1 << 50)),
            draw(st.integers(0, 10**9)),
            draw(hashes),
        )
        for index in range(count)
    ]


def header_of(tree: MerkleSumTree) -> Header:
    zero = bytes(32)
    root = tree.root
    return Header(RUN, 0, 0, zero, zero, root.hash, root.weight, root.amount_wei, tree.leaf_count, 0, zero, zero)


def changed(value: Any) -> Any:
    """Return a value of the same type that differs in its lowest bit."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    if isinstance(value, str):
        return address(999)
    return value ^ 1


@given(leaf_lists())
def test_every_leaf_is_proved(leaves: list[Leaf]) -> None:
    tree = MerkleSumTree(leaves)
    header = header_of(tree)
    assert all(verify(header, leaf, tree.proof(leaf.index)) for leaf in leaves)
    assert tree.root.weight == sum(payable(leaf.weight) for leaf in leaves)
    assert tree.root.amount_wei == sum(leaf.cumulative_amount_wei for leaf in leaves)


@given(leaf_lists())
def test_the_root_is_that_of_a_plain_recursion(leaves: list[Leaf]) -> None:
    def recurse(low: int, size: int) -> tuple[bytes, int, int]:
        if size > 1:
            left, right = recurse(low, size // 2), recurse(low + size // 2, size // 2)
            packed = b"".join(h + w.to_bytes(8, "big") + a.to_bytes(16, "big") for h, w, a in (left, right))
            return keccak(b"\x01" + packed), left[1] + right[1], left[2] + right[2]
        if low >= len(leaves):
            return bytes(32), 0, 0
        leaf = leaves[low]
        struct = (leaf.index, leaf.account, leaf.cumulative_amount_wei, leaf.weight, leaf.reputation, leaf.row)
        encoded = encode(["(uint32,address,uint128,uint64,uint64,bytes32)"], [struct])
        return keccak(b"\x00" + encoded), leaf.weight * (leaf.weight > 1), leaf.cumulative_amount_wei

    size = 1
    while size < len(leaves):
        size *= 2
    assert ProofNode(*recurse(0, size)) == MerkleSumTree(leaves).root


@given(leaf_lists(), st.data())
def test_every_single_field_mutation_of_a_leaf_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = MerkleSumTree(leaves)
    leaf = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    for item in fields(Leaf):
        mutated = replace(leaf, **{item.name: changed(getattr(leaf, item.name))})
        assert not verify(header_of(tree), mutated, tree.proof(leaf.index)), item.name


@given(leaf_lists(), st.data())
def test_every_single_field_mutation_of_a_proof_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = MerkleSumTree(leaves)
    leaf = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    proof = tree.proof(leaf.index)
    for height, node in enumerate(proof):
        for item in fields(ProofNode):
            mutated = replace(node, **{item.name: changed(getattr(node, item.name))})
            assert not verify(header_of(tree), leaf, (*proof[:height], mutated, *proof[height + 1 :]))


@given(leaf_lists(), st.data())
def test_a_proof_of_another_depth_or_order_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = MerkleSumTree(leaves)
    header = header_of(tree)
    leaf = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    proof = tree.proof(leaf.index)
    assert not verify(header, leaf, (*proof, PADDING))
    if proof:
        assert not verify(header, leaf, proof[:-1])
        assert not verify(header, leaf, proof[1:])
    if len(set(proof)) > 1:
        assert not verify(header, leaf, proof[::-1])


@pytest.mark.parametrize("name", ["root", "total_weight", "total_amount_wei"])
def test_the_header_s_root_and_sums_are_binding(name: str) -> None:
    leaves = [Leaf(i, address(i), 10, 5, 0, bytes(32)) for i in range(3)]
    tree = MerkleSumTree(leaves)
    header = header_of(tree)
    mutated = replace(header, **{name: changed(getattr(header, name))})
    assert not verify(mutated, leaves[1], tree.proof(1))


def test_padding_is_not_a_leaf_and_an_inner_node_is_not_one_either() -> None:
    leaves = [Leaf(i, address(i), 10, 5, 0, bytes(32)) for i in range(3)]
    tree = MerkleSumTree(leaves)
    ghost = Leaf(3, address(3), 0, 0, 0, bytes(32))
    assert not verify(header_of(tree), ghost, (leaf_node(leaves[2]), tree.proof(2)[1]))
    assert not verify(replace(header_of(tree), leaf_count=2), leaves[0], tree.proof(0)[:1])


def test_an_index_beyond_the_leaves_is_refused() -> None:
    leaves = [Leaf(i, address(i), 10, 5, 0, bytes(32)) for i in range(4)]
    tree = MerkleSumTree(leaves)
    assert verify(header_of(tree), leaves[3], tree.proof(3))
    assert not verify(replace(header_of(tree), leaf_count=3), leaves[3], tree.proof(3))


def test_an_index_cannot_go_round_the_tree() -> None:
    """A leaf with index 2 in a tree of two: its path would be that of index 0."""
    stray = leaf_node(Leaf(2, address(2), 10, 5, 0, bytes(32)))
    other = leaf_node(Leaf(1, address(1), 10, 5, 0, bytes(32)))
    root = parent_node(stray, other)
    zero = bytes(32)
    header = Header(RUN, 0, 0, zero, zero, root.hash, root.weight, root.amount_wei, 2, 0, zero, zero)
    assert not verify(header, Leaf(2, address(2), 10, 5, 0, bytes(32)), [other])


def test_a_weight_of_one_is_not_payable() -> None:
    assert [payable(weight) for weight in (0, 1, 2, 3)] == [0, 0, 2, 3]


def test_sums_that_overflow_are_refused() -> None:
    top = ProofNode(bytes(32), (1 << 64) - 1, (1 << 128) - 1)
    with pytest.raises(RefusedError, match="value-invalid"):
        parent_node(top, ProofNode(bytes(32), 1, 0))
    with pytest.raises(RefusedError, match="value-invalid"):
        parent_node(top, ProofNode(bytes(32), 0, 1))
    leaves = [Leaf(i, address(i), 10, 5, 0, bytes(32)) for i in range(2)]
    assert not verify(header_of(MerkleSumTree(leaves)), leaves[0], [top])


@pytest.mark.parametrize(("count", "depth"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (257, 9)])
def test_the_depth(count: int, depth: int) -> None:
    assert depth_of(count) == depth


def test_leaves_must_stand_in_order_and_proofs_must_exist() -> None:
    with pytest.raises(RefusedError, match="leaf-order"):
        MerkleSumTree([Leaf(1, address(1), 0, 0, 0, bytes(32))])
    empty = MerkleSumTree([])
    assert empty.root == PADDING
    with pytest.raises(RefusedError, match="leaf-unknown"):
        empty.proof(0)
