"""The work of an honest trainer: inner steps on the assigned sequences, error feedback, compression."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from emerit.codec.registry import integer_codec
from emerit.codec.update import SparseUpdate
from emerit.errors import StateError
from emerit.model.table import parameter_count
from emerit.protocol.manifest import Manifest
from emerit.run.pending import load_pending
from emerit.training.ahead import RoundDelta, WorkAhead
from emerit.training.engine import Engine
from emerit.training.inner import ErrorFeedback, InnerTrainer

INNER: Final = "inner.safetensors"
AHEAD: Final = "ahead.safetensors"
FEEDBACK: Final = "feedback.safetensors"
# In the order in which they take the place of the old ones.
MEMORY: Final = (INNER, AHEAD, FEEDBACK)


@dataclass(frozen=True)
class Task:
    """What a round asks of a trainer.

    Attributes:
        values: int32[P], the settled state to start from, units of 2^-24.
        sequences: [A, T+1] tokens, uint8 or uint16, the trainer's assigned sequences.
        seed: what assigned them.
    """

    round: int
    slot: int
    values: np.ndarray
    sequences: np.ndarray
    on_step: Callable[[int, int, float], None]
    should_stop: Callable[[], bool]
    seed: bytes = b""


class Worker(Protocol):
    """Turns a task into an update; keeps what it must remember between rounds in its folder."""

    def work(self, task: Task) -> SparseUpdate | None:
        """Return the round's update, or None when told to stop."""

    def work_ahead(self, task: Task) -> None:
        """Do the work of the next round, from the state before this one; `work` is asked for it when it has opened."""

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Take back a round's update that was not applied and not judged (void, not measured, never revealed)."""

    def forget(self) -> None:
        """Drop what was made from a state that is no more: an aggregate was taken back."""

    def save(self) -> None:
        """Write the worker's memory atomically."""


class HonestWorker:
    """H steps of the run's optimiser, pseudo-gradient into error feedback, then the run's codec (SparseLoCo).

    Its memory is two files, and a third where rounds overlap. A round's
    are written beside the old ones before the update is handed out, and take their
    place at `save`, which comes after the update is on disk as a `Pending`. So after a crash the memory is that from
    before the round, or from after it where the update was kept: never one without the other.
    """

    def __init__(self, manifest: Manifest, folder: Path, private_seed: bytes, engine: Engine | None = None) -> None:
        self.manifest = manifest
        self.folder = folder
        self.inner = InnerTrainer(manifest.model, manifest.training, private_seed, engine=engine)
        self.feedback = ErrorFeedback(manifest.training.error_feedback_decay)
        self._staged = False
        finish_save(folder)
        self.inner.load(folder / INNER)
        self.feedback.load(folder / FEEDBACK)
        self.last_losses: list[float] = []
        self.overlaps = manifest.training.overlap_rounds > 0
        self.ahead = WorkAhead()
        if self.overlaps:
            self.ahead.load(folder / AHEAD, parameter_count(manifest.model))

    def work(self, task: Task) -> SparseUpdate | None:
        """Train H steps, where they were not done ahead, and return the compressed pseudo-gradient."""
        delta = self.ahead.take(task.round, task.seed)
        if delta is None:
            result = self.inner.run_round(
                task.round, task.values, task.sequences, on_step=task.on_step, should_stop=task.should_stop
            )
            if task.should_stop():
                return None
            self.last_losses, delta = result.losses, result.delta
        if self.overlaps:
            self.ahead.in_flight = RoundDelta(task.round, task.seed, delta)
        update = self._compress(task.round, delta)
        self._stage()
        return update

    def work_ahead(self, task: Task) -> None:
        """Train the H steps of the next round, once, from the settled state and the own work that is in flight."""
        if self.ahead.has(task.round, task.seed):
            return
        result = self.inner.run_round(
            task.round,
            task.values,
            task.sequences,
            on_step=task.on_step,
            should_stop=task.should_stop,
            progress=self.ahead.progress(task.round),
        )
        if result.stopped:
            return
        self.last_losses = result.losses
        self.ahead.done = RoundDelta(task.round, task.seed, result.delta)
        self.save()

    def _compress(self, round_number: int, delta: np.ndarray) -> SparseUpdate:
        spec = self.manifest.codec
        codec, k = integer_codec(spec.name), spec.k_in(round_number)
        return self.feedback.compress(delta, codec, spec.chunk, k, round_number)

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Give the sent part back to the error feedback: it was not applied."""
        if self.feedback.give_back(update, round_number):
            self.save()

    def forget(self) -> None:
        """Drop what was not sent yet and what was done ahead; the optimiser keeps its moments."""
        self.feedback = ErrorFeedback(self.manifest.training.error_feedback_decay)
        self.ahead = WorkAhead()
        self._staged = False
        self.save()

    def save(self) -> None:
        """Write optimiser state, error feedback and what was done ahead; all survive a restart, bit for bit."""
        if not self._staged:
            self._stage()
        _take_over(self.folder)
        self._staged = False

    def _stage(self) -> None:
        self.inner.save(_staged(self.folder / INNER))
        if self.overlaps:
            self.ahead.save(_staged(self.folder / AHEAD))
        self.feedback.save(_staged(self.folder / FEEDBACK))
        self._staged = True


def finish_save(folder: Path) -> None:
    """After a crash, finish a save whose update was kept, or whose files had begun to move; drop any other.

    The error feedback is written last and moves last: where its staged file is, all of them are, or were, complete.
    """
    pending, feedback = load_pending(folder), ErrorFeedback(0.0)
    try:
        is_whole = feedback.load(_staged(folder / FEEDBACK))
    except StateError:
        is_whole = False
    has_begun_to_move = not _staged(folder / INNER).exists()
    if is_whole and (has_begun_to_move or (pending is not None and pending.round == feedback.sent_round)):
        _take_over(folder)
    for name in MEMORY:
        _staged(folder / name).unlink(missing_ok=True)


def _take_over(folder: Path) -> None:
    for name in MEMORY:
        if _staged(folder / name).exists():
            os.replace(_staged(folder / name), folder / name)


def _staged(path: Path) -> Path:
    return path.with_name(f"next-{path.name}")
