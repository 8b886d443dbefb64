"""A trainer's memory (optimiser and error feedback) outlives restarts to the bit, and kills at any moment."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from emerit.codec.update import SparseUpdate
from emerit.protocol.manifest import Manifest
from emerit.run.pending import Pending, clear_pending, load_pending, save_pending
from emerit_node.worker import HonestWorker, Task
from tests.unit.killed import worker as killed_worker
from tests.unit.validator.stage import VALUES, Store, manifest

SECRET = b"private"


@pytest.fixture
def run() -> Manifest:
    return manifest(Store())


def task(run: Manifest, number: int) -> Task:
    random = np.random.default_rng(number)
    shape = (run.training.assigned_sequences, run.corpus.sequence_tokens)
    sequences = random.integers(97, 122, shape, dtype=np.int64).astype(np.uint8)
    return Task(number, 0, VALUES, sequences, lambda step, steps, loss: None, lambda: False)


def parts(update: SparseUpdate | None) -> tuple[bytes, bytes]:
    assert update is not None
    return update.indices.tobytes(), update.values().tobytes()


def test_a_worker_that_was_restarted_does_what_the_other_does(run: Manifest, tmp_path: Path) -> None:
    """Started anew before every round, with a round given back, it makes the same updates and files."""
    one = HonestWorker(run, tmp_path / "one", SECRET)
    for number in range(4):
        two = HonestWorker(run, tmp_path / "two", SECRET)
        updates = [worker.work(task(run, number)) for worker in (one, two)]
        assert parts(updates[0]) == parts(updates[1])
        for worker in (one, two):
            worker.save()
        if number == 1:
            again = HonestWorker(run, tmp_path / "two", SECRET)
            for worker in (one, again):
                assert updates[0] is not None
                worker.returned(number, updates[0])
    for name in ("inner.safetensors", "feedback.safetensors"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


class Crash(BaseException):
    """The process ends here."""


def keep_round(run: Manifest, folder: Path, number: int) -> SparseUpdate | None:
    """A round as the trainer does it: work, keep the update, save."""
    worker = HonestWorker(run, folder, SECRET)
    update = worker.work(task(run, number))
    record = Pending("contribution", number, "QmX", bytes(32), bytes(32), b"payload", bytes(32))
    save_pending(folder, record)
    worker.save()
    return update


@pytest.mark.parametrize("before", [0, 1])
def test_a_crash_between_any_two_writes_leaves_a_round_done_or_not_begun(
    run: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int
) -> None:
    """Crashed before every rename in turn; the round that follows is that of a trainer that never crashed."""
    whole = tmp_path / "whole"
    expected = [parts(keep_round(run, whole, number)) for number in range(before + 2)]
    replace, crashed = os.replace, 0
    for place in range(9):
        folder = tmp_path / f"crash{place}"
        for number in range(before):
            keep_round(run, folder, number)
        clear_pending(folder)
        renames = 0

        def counted(source: Path, target: Path, place: int = place) -> None:
            nonlocal renames
            renames += 1
            if renames > place:
                raise Crash
            replace(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", counted)
            try:
                keep_round(run, folder, before)
            except Crash:
                crashed += 1
        if load_pending(folder) is None:
            assert parts(keep_round(run, folder, before)) == expected[before]
        assert parts(keep_round(run, folder, before + 1)) == expected[before + 1]
        assert not [file.name for file in folder.iterdir() if file.name.startswith("next-")]
    assert crashed == 5, "two files written, the update kept, two files put in place"


WORK_FOREVER = """
import sys
from pathlib import Path
import torch._dynamo  # which making an optimiser imports
from emerit_node.worker import HonestWorker
from emerit.training.threads import single_thread
from tests.unit.node.test_memory import SECRET, task
from tests.unit.validator.stage import Store, manifest
single_thread()
run = manifest(Store())
def work(_text):
    worker = HonestWorker(run, Path(sys.argv[1]), SECRET)
    number = worker.inner.steps_done // run.training.inner_steps
    while True:
        assert worker.work(task(run, number)) is not None
        number += 1
        worker.save()
        print(number, flush=True)
"""


def test_a_worker_that_is_killed_goes_on_from_a_whole_memory(run: Manifest, tmp_path: Path) -> None:
    folder = tmp_path / "worker"
    with killed_worker(WORK_FOREVER, folder) as kill_after:
        for rounds in (1, 3, 2):
            told = int(kill_after(rounds, "")[-1])
            worker = HonestWorker(run, folder, SECRET)
            assert worker.inner.steps_done >= told * run.training.inner_steps
            assert worker.feedback.sent_round is not None
            assert worker.feedback.sent_round + 1 >= told
