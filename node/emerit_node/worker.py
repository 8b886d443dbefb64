"""The work of an honest trainer: inner steps on the assigned sequences, error feedback, compression."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from emerit.codec.compress import compress
from emerit.codec.update import SparseUpdate
from emerit.errors import StateError
from emerit.protocol.manifest import Manifest
from emerit.run.pending import load_pending
from emerit.training.inner import ErrorFeedback, InnerTrainer

INNER: Final = "inner.safetensors"
FEEDBACK: Final = "feedback.safetensors"


@dataclass(frozen=True)
class Task:
    """What a round asks of a trainer.

    Attributes:
        values: int32[P], the settled state to start from, units of 2^-24.
        sequences: uint8[A, T+1], the trainer's assigned sequences.
    """

    round: int
    slot: int
    values: np.ndarray
    sequences: np.ndarray
    on_step: Callable[[int, int, float], None]
    should_stop: Callable[[], bool]


class Worker(Protocol):
    """Turns a task into an update; keeps what it must remember between rounds in its folder."""

    def work(self, task: Task) -> SparseUpdate | None:
        """Return the round's update, or None when told to stop."""

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Take back a round's update that was not applied (refused, void or never revealed)."""

    def save(self) -> None:
        """Write the worker's memory atomically."""


class HonestWorker:
    """AdamW for H steps, pseudo-gradient into error feedback, top-k with sign and chunk scale (SparseLoCo).

    Its memory is two files. A round's are written beside the old ones before the update is handed out, and take their
    place at `save`, which comes after the update is on disk as a `Pending`. So after a crash the memory is that from
    before the round, or from after it where the update was kept: never one without the other.
    """

    def __init__(self, manifest: Manifest, folder: Path, private_seed: bytes) -> None:
        self.manifest = manifest
        self.folder = folder
        self.inner = InnerTrainer(manifest.model, manifest.training, private_seed)
        self.feedback = ErrorFeedback(manifest.training.error_feedback_decay)
        self._staged = False
        finish_save(folder)
        self.inner.load(folder / INNER)
        self.feedback.load(folder / FEEDBACK)
        self.last_losses: list[float] = []

    def work(self, task: Task) -> SparseUpdate | None:
        """Train H steps and return the compressed pseudo-gradient."""
        result = self.inner.run_round(
            task.round, task.values, task.sequences, on_step=task.on_step, should_stop=task.should_stop
        )
        if task.should_stop():
            return None
        self.last_losses = result.losses
        codec = self.manifest.codec
        update, sent = compress(self.feedback.accumulate(result.delta), codec.chunk, codec.k)
        self.feedback.subtract(sent, task.round)
        self._stage()
        return update

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Give the sent part back to the error feedback: it was not applied."""
        if self.feedback.give_back(update, round_number):
            self.save()

    def save(self) -> None:
        """Write optimiser state and error feedback; both survive a restart, bit for bit."""
        if not self._staged:
            self._stage()
        _take_over(self.folder)
        self._staged = False

    def _stage(self) -> None:
        self.inner.save(_staged(self.folder / INNER))
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
    for name in (INNER, FEEDBACK):
        _staged(folder / name).unlink(missing_ok=True)


def _take_over(folder: Path) -> None:
    for name in (INNER, FEEDBACK):
        if _staged(folder / name).exists():
            os.replace(_staged(folder / name), folder / name)


def _staged(path: Path) -> Path:
    return path.with_name(f"next-{path.name}")
