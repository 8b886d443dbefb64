from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emerit.errors import StateError
from emerit.model import table_hash
from emerit.protocol.presets import preset
from emerit.training import LocalState, initial_values, state_root
from emerit.training.storage import write_tensors

TINY = preset("tiny").model


@pytest.fixture
def state() -> LocalState:
    return LocalState.of(TINY, 5, initial_values(TINY, b"seed"), {"header": "0xabc"})


def test_state_survives_a_restart(state: LocalState, tmp_path: Path) -> None:
    path = tmp_path / "node" / "state.safetensors"
    state.save(path)
    loaded = LocalState.load(path, TINY)
    assert loaded.round_index == 5
    assert loaded.root == state.root == state_root(state.values, table_hash(TINY))
    assert loaded.notes == {"header": "0xabc"}
    assert np.array_equal(loaded.values, state.values)
    assert [file.name for file in path.parent.iterdir()] == ["state.safetensors"]


def test_every_damage_is_found(state: LocalState, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    state.save(path)
    whole = path.read_bytes()
    damaged = [whole[:-1], whole[:100], b"", b"\xff" * 64, whole[:-1] + bytes([whole[-1] ^ 1])]
    for place in (0, 9, len(whole) // 2):
        damaged.append(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
    for data in damaged:
        path.write_bytes(data)
        _assert_corrupt(path)


def test_other_files_are_refused(state: LocalState, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    _assert_corrupt(path)
    write_tensors(path, {"values": state.values}, {"format": "something else"})
    _assert_corrupt(path)
    small = LocalState(0, state.values[:-1], b"\x00" * 32)
    small.save(path)
    _assert_corrupt(path)
    LocalState(0, state.values, b"\x00" * 32).save(path)
    _assert_corrupt(path)
    write_tensors(path, {"values": state.values}, {"format": "emerit-state-1", "root": state.root.hex()})
    _assert_corrupt(path)


def test_a_failed_write_leaves_the_old_state(
    state: LocalState, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    state.save(path)

    def full_disk(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space"):
        LocalState.of(TINY, 6, initial_values(TINY, b"other")).save(path)
    monkeypatch.undo()
    assert LocalState.load(path, TINY).round_index == 5
    assert [file.name for file in tmp_path.iterdir()] == ["state.safetensors"]


def test_a_state_of_another_model_cannot_be_made() -> None:
    with pytest.raises(StateError):
        LocalState.of(TINY, 0, np.zeros(3, dtype=np.int32))


def _assert_corrupt(path: Path) -> None:
    with pytest.raises(StateError) as refused:
        LocalState.load(path, TINY)
    assert refused.value.code == "state-corrupt"
    assert refused.value.fix
