"""The work of an honest trainer: inner steps on the assigned sequences, error feedback, compression."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from emerit.codec.registry import integer_codec
from emerit.codec.update import SparseUpdate
from emerit.protocol.manifest import Manifest
from emerit.training.inner import ErrorFeedback, InnerTrainer


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
    """AdamW for H steps, pseudo-gradient into error feedback, then the run's codec (SparseLoCo)."""

    def __init__(self, manifest: Manifest, folder: Path, private_seed: bytes) -> None:
        self.manifest = manifest
        self.folder = folder
        self.inner = InnerTrainer(manifest.model, manifest.training, private_seed)
        self.feedback = ErrorFeedback(manifest.training.error_feedback_decay)
        self.inner.load(folder / "inner.safetensors")
        self.feedback.load(folder / "feedback.safetensors")
        self.last_losses: list[float] = []

    def work(self, task: Task) -> SparseUpdate | None:
        """Train H steps and return the compressed pseudo-gradient."""
        result = self.inner.run_round(
            task.round, task.values, task.sequences, on_step=task.on_step, should_stop=task.should_stop
        )
        if task.should_stop():
            return None
        self.last_losses = result.losses
        spec = self.manifest.codec
        codec, k = integer_codec(spec.name), spec.k_in(task.round)
        return self.feedback.compress(result.delta, codec, spec.chunk, k, task.round)

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Give the sent part back to the error feedback: it was not applied."""
        if self.feedback.give_back(update, round_number):
            self.save()

    def save(self) -> None:
        """Write optimiser state and error feedback; both survive a restart."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.inner.save(self.folder / "inner.safetensors")
        self.feedback.save(self.folder / "feedback.safetensors")
