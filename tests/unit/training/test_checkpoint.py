from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load

from emerit.errors import RefusedError, StateError
from emerit.ipfs.cid import cid_of
from emerit.model import table_hash, tensor_table
from emerit.protocol.presets import preset
from emerit.training import ModelState, initial_values, named_tensors, state_root
from emerit.training.checkpoint import checkpoint_bytes, checkpoint_size, read_checkpoint

TINY = preset("tiny").model
DEMO = preset("demo").model
VALUES = initial_values(TINY, b"seed")
STATE = ModelState(VALUES)
ROOT = state_root(VALUES, table_hash(TINY))
DATA = checkpoint_bytes(TINY, STATE, 8, ROOT)


def test_a_checkpoint_comes_back() -> None:
    state = read_checkpoint(TINY, False, DATA, 8, ROOT)
    found = state.values
    assert state.momentum is None and found.dtype == np.int32 and np.array_equal(found, VALUES)
    found[0] += 1  # it is the node's own copy
    assert checkpoint_size(TINY, False, 8) == len(DATA)


def test_an_outer_momentum_is_part_of_it() -> None:
    state = ModelState(VALUES, np.arange(len(VALUES), dtype=np.int32) - 7)
    root = state.root(table_hash(TINY))
    data = checkpoint_bytes(TINY, state, 8, root)
    assert checkpoint_size(TINY, True, 8) == len(data)
    found = read_checkpoint(TINY, True, data, 8, root)
    assert found.momentum is not None and found.root(table_hash(TINY)) == root
    assert np.array_equal(found.values, VALUES) and np.array_equal(found.momentum, state.momentum)
    for has_momentum, wrong in ((False, data), (True, DATA), (True, data[:-1] + bytes([data[-1] ^ 1]))):
        with pytest.raises(RefusedError):
            read_checkpoint(TINY, has_momentum, wrong, 8, root)


def test_it_is_safetensors_by_name_for_everybody() -> None:
    tensors = load(DATA)
    assert {name: tensor.shape for name, tensor in tensors.items()} == dict(tensor_table(TINY))
    for name, tensor in named_tensors(TINY, VALUES).items():
        assert np.array_equal(tensors[name], tensor)


def test_its_cid_is_the_same_for_all_who_have_the_state() -> None:
    again = checkpoint_bytes(TINY, ModelState(VALUES.astype(">i4").astype(np.int32)), 8, bytes(ROOT))
    assert cid_of(again) == cid_of(DATA) == "QmY8b3pCPfd2pokpxpxrpE19oFTJ9u4RbzfZuU94eR6ZrG"


@given(st.integers(0, len(DATA) - 1), st.integers(0, 7))
def test_any_changed_bit_is_refused(place: int, bit: int) -> None:
    _assert_refused(DATA[:place] + bytes([DATA[place] ^ 1 << bit]) + DATA[place + 1 :])


def test_other_files_are_refused() -> None:
    for data in (b"", DATA[:-4], DATA + b"\0" * 4, checkpoint_bytes(TINY, STATE, 12, ROOT)):
        _assert_refused(data)
    other = initial_values(TINY, b"other")
    _assert_refused(checkpoint_bytes(TINY, ModelState(other), 8, state_root(other, table_hash(TINY))))
    _assert_refused(checkpoint_bytes(TINY, ModelState(other), 8, ROOT))  # says the right root, has other values
    _assert_refused(checkpoint_bytes(DEMO, ModelState(initial_values(DEMO, b"seed")), 8, ROOT))


def test_a_state_of_another_model_has_none() -> None:
    with pytest.raises(StateError):
        checkpoint_bytes(TINY, ModelState(VALUES[:-1]), 8, ROOT)


def _assert_refused(data: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        read_checkpoint(TINY, False, data, 8, ROOT)
    assert refused.value.code == "checkpoint-invalid"
