"""An honest worker round by round: overlapping or not, and through restarts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.codec.compress import compress
from emerit.codec.update import SparseUpdate
from emerit.errors import StateError
from emerit.model import FlatModel
from emerit.protocol.manifest import Manifest
from emerit.scoring.losses import sequence_losses
from emerit.training import (
    ErrorFeedback,
    InnerTrainer,
    aggregate,
    initial_state,
    initial_values,
    outer_step,
    to_float,
)
from emerit.training.storage import write_tensors
from emerit_node.worker import HonestWorker, Task
from tests.unit.validator.stage import TINY, Store, manifest

SEEDS = [bytes([number]) * 32 for number in range(20)]
START = initial_values(TINY.model, b"seed")
WIDTH = TINY.model.context + 1
TEXT = np.frombuffer(b"the quick brown fox jumps over the lazy dog; " * 300, dtype=np.uint8)
SEQUENCES = TEXT[: len(TEXT) // WIDTH * WIDTH].reshape(-1, WIDTH)


def manifest_of(optimiser: str = "adamw", overlap: int = 0, planned_rounds: int = 8) -> Manifest:
    made = manifest(Store())
    changed = replace(TINY.training, optimiser=optimiser, overlap_rounds=overlap, planned_rounds=planned_rounds)
    return replace(made, training=changed)


def task(number: int, slot: int = 0, values: np.ndarray = START, *, stopped: bool = False, seed: int = 0) -> Task:
    """A round's work; the sequences depend on round and slot."""
    count = TINY.training.assigned_sequences
    first = (7 * number + 3 * slot) * count % (len(SEQUENCES) - count)
    sequences = SEQUENCES[first : first + count]
    return Task(number, slot, values, sequences, lambda *_: None, lambda: stopped, SEEDS[number + seed])


def worked(worker: HonestWorker, given: Task) -> SparseUpdate:
    update = worker.work(given)
    assert update is not None
    return update


@given(st.binary(min_size=1, max_size=4), st.integers(0, 10), st.integers(0, 3))
@settings(max_examples=10, deadline=None)
def test_without_overlap_it_is_inner_steps_feedback_and_codec(
    tmp_path_factory: pytest.TempPathFactory, seed: bytes, number: int, slot: int
) -> None:
    made, folder = manifest_of(), tmp_path_factory.mktemp("node")
    worker = HonestWorker(made, folder, seed)
    inner, feedback = InnerTrainer(made.model, made.training, seed), ErrorFeedback(made.training.error_feedback_decay)
    for each in (number, number + 1):
        given = task(each, slot)
        delta = inner.run_round(each, START, given.sequences).delta
        expected, sent = compress(feedback.accumulate(delta), made.codec.chunk, made.codec.k)
        feedback.subtract(sent, each)
        assert worked(worker, given) == expected
    worker.save()
    assert not (folder / "ahead.safetensors").exists()


def test_who_did_nothing_ahead_works_as_without_overlap(tmp_path: Path) -> None:
    updates = []
    for overlap in (0, 1):
        worker = HonestWorker(manifest_of(overlap=overlap), tmp_path / str(overlap), b"a")
        updates.append([worked(worker, task(number)) for number in (0, 1)])
    assert updates[0] == updates[1]


def test_what_was_done_ahead_begins_from_the_own_work_in_flight(tmp_path: Path) -> None:
    made = manifest_of(overlap=1)
    worker = HonestWorker(made, tmp_path, b"a")
    inner, feedback = InnerTrainer(made.model, made.training, b"a"), ErrorFeedback(made.training.error_feedback_decay)
    worked(worker, task(0))
    worker.work_ahead(task(1))
    worker.work_ahead(task(1))  # done already
    later = START + np.int32(5)  # the state has moved on
    update = worked(worker, task(1, values=later, stopped=True))
    first = inner.run_round(0, START, task(0).sequences).delta
    feedback.subtract(compress(feedback.accumulate(first), made.codec.chunk, made.codec.k)[1])
    second = inner.run_round(1, START, task(1).sequences, progress=first).delta
    assert update == compress(feedback.accumulate(second), made.codec.chunk, made.codec.k)[0]
    assert worker.inner.steps_done == 2 * made.training.inner_steps
    begun = to_float(START) - first
    again = InnerTrainer(made.model, made.training, b"a")
    again.run_round(0, START, task(0).sequences)
    model = FlatModel(made.model)
    model.load(begun)
    losses = again.run_round(1, START, task(1).sequences, progress=first).losses
    assert losses[0] < inner.run_round(0, START, task(1).sequences).losses[0]


def test_only_the_work_of_the_round_before_is_in_flight(tmp_path: Path) -> None:
    worker = HonestWorker(manifest_of(overlap=1), tmp_path, b"a")
    worked(worker, task(0))
    assert worker.ahead.progress(1) is not None
    assert worker.ahead.progress(0) is None and worker.ahead.progress(2) is None


def test_work_ahead_of_other_sequences_or_stopped_is_not_used(tmp_path: Path) -> None:
    plain = HonestWorker(manifest_of(overlap=1), tmp_path / "plain", b"a")
    expected = worked(plain, task(3))
    for made_ahead in (task(3, seed=1), task(2), task(3, stopped=True)):
        worker = HonestWorker(manifest_of(overlap=1), tmp_path / "other", b"a")
        before = worker.ahead.done
        worker.work_ahead(made_ahead)
        assert (worker.ahead.done is before) == made_ahead.should_stop()
        worker.inner = InnerTrainer(TINY.model, worker.manifest.training, b"a")
        assert worked(worker, task(3)) == expected
        (tmp_path / "other" / "ahead.safetensors").unlink(missing_ok=True)
        (tmp_path / "other" / "inner.safetensors").unlink(missing_ok=True)


@pytest.mark.parametrize("optimiser", ["adamw", "muon"])
@pytest.mark.parametrize("overlap", [0, 1])
def test_a_restart_changes_no_bit(optimiser: str, overlap: int, tmp_path: Path) -> None:
    """Optimiser, error feedback and what was done ahead are read back; a worker in one piece sends the same."""
    made, folder = manifest_of(optimiser, overlap), tmp_path / "restarted"
    whole = HonestWorker(made, tmp_path / "whole", b"a")
    for number in range(4):
        updates = []
        for worker in (whole, HonestWorker(made, folder, b"a")):
            updates.append(worked(worker, task(number)))
            worker.save()
        assert updates[0] == updates[1]
        if overlap:
            for worker in (whole, HonestWorker(made, folder, b"a")):
                worker.work_ahead(task(number + 1))


def test_damaged_work_ahead_is_refused(tmp_path: Path) -> None:
    made, path = manifest_of(overlap=1), tmp_path / "ahead.safetensors"
    good = {"done": np.zeros(START.size, np.float32)}
    description = {"format": "emerit-ahead-1", "done_round": "1", "done_seed": "00"}
    bad = [
        (good, {**description, "format": "other"}),
        (good, {**description, "done_round": "x"}),
        (good, {**description, "done_seed": "0"}),
        (good, {"format": "emerit-ahead-1"}),
        ({"other": good["done"]}, description),
        ({"done": good["done"][:-1]}, description),
        ({"done": np.full(START.size, np.nan, np.float32)}, description),
    ]
    for tensors, metadata in bad:
        write_tensors(path, tensors, metadata)
        with pytest.raises(StateError, match="state-corrupt"):
            HonestWorker(made, tmp_path, b"a")
    write_tensors(path, good, description)
    assert HonestWorker(made, tmp_path, b"a").ahead.has(1, b"\x00")


def converged(tmp_path: Path, overlap: int) -> float:
    """Play rounds with three workers whose rounds overlap or not; the loss of the state that comes out."""
    rounds = 12
    made = manifest_of(overlap=overlap, planned_rounds=rounds)
    workers = [HonestWorker(made, tmp_path / f"{overlap}-{slot}", bytes([slot])) for slot in range(3)]
    state = initial_state(made.model, b"seed", made.outer)
    for number in range(rounds):
        updates = [worked(worker, task(number, slot, state.values)) for slot, worker in enumerate(workers)]
        if overlap:
            for slot, worker in enumerate(workers):
                worker.work_ahead(task(number + 1, slot, state.values))
        state, _ = outer_step(state, *aggregate(updates, made.outer), made.outer)
    model = FlatModel(made.model)
    model.load(to_float(state.values))
    return float(sequence_losses(model.module, SEQUENCES[-32:]).mean())


def test_overlapping_rounds_converge_about_as_well(tmp_path: Path) -> None:
    apart, overlapped = (converged(tmp_path, overlap) for overlap in (0, 1))
    assert apart < 3.5 and overlapped < 3.5
    assert overlapped < 1.1 * apart
