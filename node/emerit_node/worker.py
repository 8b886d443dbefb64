"""The work of an honest trainer: inner steps on the assigned sequences, error feedback, compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from emerit.codec.registry import integer_codec
from emerit.codec.update import SparseUpdate
from emerit.model.table import parameter_count
from emerit.protocol.manifest import Manifest
from emerit.training.ahead import RoundDelta, WorkAhead
from emerit.training.inner import ErrorFeedback, InnerTrainer


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
        """Take back a round's update that was not applied (refused, void or never revealed)."""

    def save(self) -> None:
        """Write the worker's memory atomically."""


class HonestWorker:
    """H steps of the run's optimiser, pseudo-gradient into error feedback, then the run's codec (SparseLoCo)."""

    def __init__(self, manifest: Manifest, folder: Path, private_seed: bytes) -> None:
        self.manifest = manifest
        self.folder = folder
        self.inner = InnerTrainer(manifest.model, manifest.training, private_seed)
        self.feedback = ErrorFeedback(manifest.training.error_feedback_decay)
        self.inner.load(folder / "inner.safetensors")
        self.feedback.load(folder / "feedback.safetensors")
        self.last_losses: list[float] = []
        self.overlaps = manifest.training.overlap_rounds > 0
        self.ahead = WorkAhead()
        if self.overlaps:
            self.ahead.load(folder / "ahead.safetensors", parameter_count(manifest.model))

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
        return self._compress(task.round, delta)

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

    def save(self) -> None:
        """Write optimiser state, error feedback and what was done ahead; all survive a restart."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(self.folder / "inner.safetensors")
        self.feedback.save(self.folder / "feedback.safetensors")
        if self.overlaps:
            self.ahead.save(self.folder / "ahead.safetensors")
