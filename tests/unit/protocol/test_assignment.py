from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import UsageError
from emerit.protocol.assignment import (
    assigned_sequences,
    evaluation_sequences,
    own_sample,
    trainer_capacity,
)
from tests.unit.protocol.builders import hashes


@given(hashes, hashes, st.integers(0, 6), st.integers(1, 10), st.integers(0, 40), st.integers(0, 50))
def test_nobody_shares_a_sequence(
    assign: bytes, evaluate: bytes, slots: int, per_trainer: int, count: int, spare: int
) -> None:
    size = max(1, slots * per_trainer + count + spare)
    given_out = [assigned_sequences(assign, slot, per_trainer, size).tolist() for slot in range(slots)]
    evaluation = evaluation_sequences(assign, evaluate, slots, per_trainer, size, count).tolist()
    everything = [sequence for part in [*given_out, evaluation] for sequence in part]
    assert all(len(part) == per_trainer for part in given_out)
    assert len(evaluation) == count
    assert len(set(everything)) == len(everything)
    assert all(0 <= sequence < size for sequence in everything)


@given(hashes, hashes)
def test_all_that_is_left_can_be_evaluated(assign: bytes, evaluate: bytes) -> None:
    taken = {s for slot in range(3) for s in assigned_sequences(assign, slot, 4, 30).tolist()}
    left = evaluation_sequences(assign, evaluate, 3, 4, 30, 18).tolist()
    assert set(left) == set(range(30)) - taken


@given(hashes, st.integers(0, 255), st.integers(1, 40), st.data())
def test_the_own_sample_is_drawn_without_replacement(
    seed: bytes, slot: int, assigned_count: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(1, assigned_count))
    assigned = assigned_sequences(seed, slot, assigned_count, 256 * 40)
    sample = own_sample(seed, slot, assigned, count).tolist()
    assert len(sample) == len(set(sample)) == count
    assert set(sample) <= set(assigned.tolist())


def test_two_evaluation_seeds_give_different_sequences() -> None:
    first = evaluation_sequences(bytes(32), bytes(32), 2, 10, 10_000, 64)
    second = evaluation_sequences(bytes(32), bytes([1]) * 32, 2, 10, 10_000, 64)
    assert len(np.intersect1d(first, second)) < 16


@given(hashes, hashes, st.integers(0, 300), st.integers(1, 10), st.integers(0, 40), st.integers(0, 500))
def test_however_many_join_a_round_can_be_evaluated_on_what_nobody_was_given(
    assign: bytes, evaluate: bytes, slots: int, per_trainer: int, count: int, spare: int
) -> None:
    size = max(1, count + spare)
    capacity = trainer_capacity(per_trainer, size, count)
    evaluation = evaluation_sequences(assign, evaluate, slots, per_trainer, size, count).tolist()
    given_out = {
        sequence
        for slot in range(min(slots, capacity))
        for sequence in assigned_sequences(assign, slot, per_trainer, size, count).tolist()
    }
    assert len(set(evaluation)) == count and not given_out & set(evaluation)
    assert len(given_out) == min(slots, capacity) * per_trainer
    with pytest.raises(UsageError, match="no-room"):
        assigned_sequences(assign, capacity, per_trainer, size, count)


def test_slots_within_the_capacity_keep_their_sequences_when_others_join_beyond_it() -> None:
    evaluations = [
        evaluation_sequences(bytes(32), bytes(32), slots, 10, 55, 11).tolist() for slots in (4, 5, 200, 65_535)
    ]
    assert trainer_capacity(10, 55, 11) == 4
    assert evaluations[0] == evaluations[1] == evaluations[2] == evaluations[3]
    assert assigned_sequences(bytes(32), 3, 10, 55, 11).tolist() == assigned_sequences(bytes(32), 3, 10, 55).tolist()


def test_a_corpus_that_is_too_small_is_named() -> None:
    assert len(assigned_sequences(bytes(32), 2, 10, 30)) == 10
    with pytest.raises(UsageError, match="no-room"):
        assigned_sequences(bytes(32), 2, 10, 29)
    with pytest.raises(UsageError, match="no-room"):
        assigned_sequences(bytes(32), 2, 10, 30, 1)
    with pytest.raises(UsageError, match="corpus-too-small"):
        evaluation_sequences(bytes(32), bytes(32), 0, 10, 10, 11)


@pytest.mark.parametrize("count", [0, 5])
def test_an_own_sample_must_fit(count: int) -> None:
    with pytest.raises(UsageError, match="sample-too-large"):
        own_sample(bytes(32), 0, np.arange(4), count)
