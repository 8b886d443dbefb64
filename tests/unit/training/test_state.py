from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import StateError
from emerit.model import parameter_count, tensor_table
from emerit.protocol.presets import preset
from emerit.training import initial_values, named_tensors, state_root, to_float
from emerit.training.state import UNITS_PER_ONE, check_size

TINY = preset("tiny").model
DEMO = preset("demo").model


def test_initial_values_have_the_intended_spread() -> None:
    values = initial_values(DEMO, b"seed")
    assert values.dtype == np.int32
    assert values.size == parameter_count(DEMO)
    for name, tensor in named_tensors(DEMO, to_float(values)).items():
        if tensor.ndim == 1:
            assert (tensor == 1).all(), name
            continue
        wanted = 0.02 / (8**0.5 if name.endswith(("attention_out", "mlp_out")) else 1)
        assert abs(tensor.std() / wanted - 1) < 0.03, name
        assert abs(tensor.mean()) < wanted / 25, name
        assert abs(tensor).max() < 3.5 * wanted, name


def test_initial_values_follow_the_seed() -> None:
    assert np.array_equal(initial_values(TINY, b"a"), initial_values(TINY, b"a"))
    assert (initial_values(TINY, b"a") != initial_values(TINY, b"b")).mean() > 0.9
    first, second = (to_float(initial_values(TINY, seed)) for seed in (b"a", b"b"))
    matrices = np.concatenate([np.full(entry.size, len(entry.shape) > 1) for entry in tensor_table(TINY)])
    assert abs(np.corrcoef(first[matrices], second[matrices])[0, 1]) < 0.05


def test_one_initial_value_by_hand() -> None:
    """The first entry of the first tensor, from the definition, with Python integers only."""
    name = tensor_table(TINY)[0].name
    assert name == "blocks.0.attention_in"
    stream = hashlib.shake_256(b"emerit/initial/v1" + (4).to_bytes(4, "big") + b"seed" + name.encode()).digest(8)
    centred = sum(int.from_bytes(stream[at : at + 2], "little") for at in range(0, 8, 2)) - 131_070
    deviation = UNITS_PER_ONE // 50
    assert initial_values(TINY, b"seed")[0] == centred * int((3 * deviation**2) ** 0.5) >> 16


@given(st.integers(1, 200_000), st.integers(0, 2**32 - 1))
def test_root_agrees_with_a_recursive_definition(size: int, seed: int) -> None:
    values = np.random.default_rng(seed).integers(-(2**31), 2**31, size, dtype=np.int64).astype(np.int32)
    chunks = [values[at : at + 16_384].astype("<i4").tobytes() for at in range(0, size, 16_384)]
    top = _merkle([hashlib.sha256(b"\x00" + chunk).digest() for chunk in chunks])
    expected = hashlib.sha256(b"emerit/state/v1" + b"T" * 32 + size.to_bytes(8, "big") + top).digest()
    assert state_root(values, b"T" * 32) == expected


def test_root_depends_on_every_entry_the_size_and_the_table() -> None:
    values = np.arange(40_000, dtype=np.int32)
    roots = {state_root(values, b"T" * 32), state_root(values, b"U" * 32), state_root(values[:-1], b"T" * 32)}
    for place in (0, 16_383, 16_384, 39_999):
        changed = values.copy()
        changed[place] += 1
        roots.add(state_root(changed, b"T" * 32))
    assert len(roots) == 7


def test_root_ignores_memory_layout() -> None:
    values = np.arange(1000, dtype=np.int32)
    assert state_root(np.repeat(values, 2)[::2], b"T" * 32) == state_root(values, b"T" * 32)
    assert state_root(values.astype(">i4"), b"T" * 32) == state_root(values, b"T" * 32)


def test_floats_are_units_of_2_to_minus_24() -> None:
    values = np.array([0, 1, -1, 1 << 24, -(1 << 24), 3 << 23, 2**31 - 1, -(2**31), (1 << 24) + 1], dtype=np.int32)
    expected = [0.0, 2**-24, -(2**-24), 1.0, -1.0, 1.5, 128.0, -128.0, 1.0]
    assert to_float(values).tolist() == expected
    assert to_float(values).dtype == np.float32


def test_named_tensors_are_views_in_table_order() -> None:
    flat = np.arange(parameter_count(TINY), dtype=np.float32)
    tensors = named_tensors(TINY, flat)
    assert [(name, tensor.shape) for name, tensor in tensors.items()] == [tuple(e) for e in tensor_table(TINY)]
    assert np.array_equal(np.concatenate([tensor.ravel() for tensor in tensors.values()]), flat)
    assert all(np.shares_memory(tensor, flat) for tensor in tensors.values())


@pytest.mark.parametrize(
    "values", [np.zeros(3, np.int32), np.zeros(4, np.int64), np.zeros((2, 2), np.int32), np.zeros(4, np.float32)]
)
def test_states_of_another_shape_are_refused(values: np.ndarray) -> None:
    with pytest.raises(StateError) as refused:
        check_size(values, 4)
    assert refused.value.code == "state-size"


def _merkle(hashes: list[bytes]) -> bytes:
    """Split at the largest power of two below the length: the same tree as pairing upwards."""
    if len(hashes) == 1:
        return hashes[0]
    split = 1 << ((len(hashes) - 1).bit_length() - 1)
    return hashlib.sha256(b"\x01" + _merkle(hashes[:split]) + _merkle(hashes[split:])).digest()
