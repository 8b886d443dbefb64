from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError
from emerit.protocol.settlement_tree import (
    PADDING,
    SettlementTree,
    claim_leaf,
    claim_leaf_hash,
    depth_of,
    leaf_hash,
    node_hash,
    payable,
    verify,
    verify_claim,
)
from emerit.protocol.types import ClaimLeaf, Leaf, LeafDetail, Tree
from tests.unit.protocol.builders import address, hashes, leaf


@st.composite
def leaf_lists(draw: st.DrawFn) -> list[Leaf]:
    small, big = st.integers(0, 1 << 50), st.integers(0, 10**30)
    return [
        leaf(index, draw(big), draw(small), draw(small), draw(hashes), draw(small), draw(big))
        for index in range(draw(st.integers(1, 9)))
    ]


def tree_of(tree: SettlementTree) -> Tree:
    return Tree(tree.root, 0, 0, tree.leaf_count)


def changed(value: Any) -> Any:
    """Return a value of the same type that differs in its lowest bit."""
    if isinstance(value, bytes):
        return value[:-1] + bytes([value[-1] ^ 1])
    return address(999) if isinstance(value, str) else value ^ 1


def mutations(leaf: Leaf) -> list[tuple[str, Leaf]]:
    """Return the leaf with each of its fields changed, with the field's name."""
    outer = [field.name for field in fields(Leaf) if field.name != "detail"]
    inner = [field.name for field in fields(LeafDetail)]
    return [(name, replace(leaf, **{name: changed(getattr(leaf, name))})) for name in outer] + [
        (name, replace(leaf, detail=replace(leaf.detail, **{name: changed(getattr(leaf.detail, name))})))
        for name in inner
    ]


@given(leaf_lists())
def test_every_leaf_is_proved(leaves: list[Leaf]) -> None:
    tree = SettlementTree(leaves)
    for item in leaves:
        assert verify(tree_of(tree), item, tree.proof(item.index))
        assert verify_claim(tree_of(tree), claim_leaf(item), tree.proof(item.index))


@given(leaf_lists())
def test_the_root_is_that_of_a_plain_recursion(leaves: list[Leaf]) -> None:
    def recurse(low: int, size: int) -> bytes:
        if size > 1:
            return keccak(b"\x01" + recurse(low, size // 2) + recurse(low + size // 2, size // 2))
        if low >= len(leaves):
            return bytes(32)
        item = leaves[low]
        detail = keccak(encode(["(uint64,uint64,bytes32,uint64,uint128)"], [item.detail.as_abi()]))
        line = (item.index, item.account, item.cumulative_amount_wei, detail)
        return keccak(b"\x00" + encode(["uint32", "address", "uint128", "bytes32"], line))

    size = 1
    while size < len(leaves):
        size *= 2
    assert recurse(0, size) == SettlementTree(leaves).root


@given(leaf_lists(), st.data())
def test_every_single_field_mutation_of_a_leaf_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = SettlementTree(leaves)
    item = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    for name, mutated in mutations(item):
        assert not verify(tree_of(tree), mutated, tree.proof(item.index)), name


@given(leaf_lists(), st.data())
def test_every_mutation_of_a_claim_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = SettlementTree(leaves)
    item = claim_leaf(leaves[data.draw(st.integers(0, len(leaves) - 1))])
    for field in fields(ClaimLeaf):
        mutated = replace(item, **{field.name: changed(getattr(item, field.name))})
        assert not verify_claim(tree_of(tree), mutated, tree.proof(item.index)), field.name


@given(leaf_lists(), st.data())
def test_every_change_of_a_proof_is_refused(leaves: list[Leaf], data: st.DataObject) -> None:
    tree = SettlementTree(leaves)
    item = leaves[data.draw(st.integers(0, len(leaves) - 1))]
    proof = tree.proof(item.index)
    for height, node in enumerate(proof):
        assert not verify(tree_of(tree), item, (*proof[:height], changed(node), *proof[height + 1 :]))
    assert not verify(tree_of(tree), item, (*proof, PADDING))
    if proof:
        assert not verify(tree_of(tree), item, proof[:-1])
        assert not verify(tree_of(tree), item, proof[1:])
    if len(set(proof)) > 1:
        assert not verify(tree_of(tree), item, proof[::-1])


def test_the_root_is_binding() -> None:
    leaves = [leaf(index, 10, 5) for index in range(3)]
    tree = SettlementTree(leaves)
    assert not verify(replace(tree_of(tree), root=changed(tree.root)), leaves[1], tree.proof(1))


def test_padding_is_not_a_leaf_and_an_inner_node_is_not_one_either() -> None:
    leaves = [leaf(index, 10, 5) for index in range(3)]
    tree = SettlementTree(leaves)
    assert not verify(tree_of(tree), leaf(3), (leaf_hash(leaves[2]), tree.proof(2)[1]))
    assert not verify(replace(tree_of(tree), leaf_count=2), leaves[0], tree.proof(0)[:1])


def test_an_index_beyond_the_leaves_is_refused() -> None:
    leaves = [leaf(index, 10, 5) for index in range(4)]
    tree = SettlementTree(leaves)
    assert verify(tree_of(tree), leaves[3], tree.proof(3))
    assert not verify(replace(tree_of(tree), leaf_count=3), leaves[3], tree.proof(3))


def test_an_index_cannot_go_round_the_tree() -> None:
    """A leaf with index 2 in a tree of two: its path would be that of index 0."""
    other = leaf_hash(leaf(1))
    root = node_hash(leaf_hash(leaf(2)), other)
    assert not verify(Tree(root, 0, 0, 2), leaf(2), [other])


def test_a_weight_of_one_is_not_payable() -> None:
    assert [payable(weight) for weight in (0, 1, 2, 3)] == [0, 0, 2, 3]


@pytest.mark.parametrize(("count", "depth"), [(0, 0), (1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (257, 9)])
def test_the_depth(count: int, depth: int) -> None:
    assert depth_of(count) == depth


def test_leaves_must_stand_in_order_and_proofs_must_exist() -> None:
    with pytest.raises(RefusedError, match="leaf-order"):
        SettlementTree([leaf(1)])
    empty = SettlementTree([])
    assert empty.root == PADDING
    with pytest.raises(RefusedError, match="leaf-unknown"):
        empty.proof(0)
    assert claim_leaf_hash(claim_leaf(leaf(7))) == leaf_hash(leaf(7))
