"""Trainers that cheat, for demos and tests: they follow the protocol to the letter and fake the work.

They are ordinary trainer processes with another worker. Nothing tells contracts, validators or API which is which.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from emerit.codec.registry import integer_codec
from emerit.codec.update import UNIT, SparseUpdate, kept_per_chunk
from emerit.model.table import parameter_count
from emerit.protocol.manifest import Manifest
from emerit.protocol.minifloat import encode
from emerit_node.worker import HonestWorker, Task

NOISE_SCALE = 40_000  # units of 2^-24: the size of an honest step, so that size does not give it away
SHARE_PATIENCE_SECONDS = 120.0


class NoiseWorker:
    """Free-rider: random places, random signs, an honest-looking scale; no training."""

    def __init__(self, manifest: Manifest, seed: int) -> None:
        self.manifest = manifest
        self.seed = seed

    def work(self, task: Task) -> SparseUpdate | None:
        """Return well-formed noise."""
        codec, size = self.manifest.codec, parameter_count(self.manifest.model)
        k, rng = codec.k_in(task.round), np.random.default_rng([self.seed, task.round])
        if codec.name != "topk-sign":
            noise = rng.standard_normal(size, dtype=np.float32) * np.float32(NOISE_SCALE * UNIT)
            return integer_codec(codec.name).compress(noise, codec.chunk, k)[0]
        indices, chunks = [], 0
        for start, count in _chunks(size, codec.chunk, k):
            length = min(codec.chunk, size - start)
            indices.append(start + np.sort(rng.choice(length, count, replace=False)))
            chunks += 1
        places = np.concatenate(indices).astype(np.int64)
        signs = rng.choice(np.array([-1, 1], dtype=np.int8), len(places))
        scales = np.full(chunks, encode(NOISE_SCALE), dtype=np.uint16)
        return SparseUpdate(size, codec.chunk, k, places, signs, scales)

    def work_ahead(self, task: Task) -> None:
        """Nothing to do ahead."""

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Nothing to take back."""

    def forget(self) -> None:
        """Nothing to forget."""

    def save(self) -> None:
        """Nothing to remember."""


class SybilLeader:
    """One worker behind several identities: trains honestly once and leaves its update for the others."""

    def __init__(self, honest: HonestWorker, share: Path, noise: float, seed: int) -> None:
        self.honest, self.share, self.noise, self.seed = honest, share, noise, seed

    def work(self, task: Task) -> SparseUpdate | None:
        """Train on the own assignment, share the update, publish it with a little noise."""
        update = self.honest.work(task)
        if update is None:
            return None
        self.share.mkdir(parents=True, exist_ok=True)
        temporary = self.share / f"round-{task.round}.{os.getpid()}.tmp"
        with temporary.open("wb") as handle:
            np.savez(handle, indices=update.indices, levels=update.levels, scales=update.scales)
        os.replace(temporary, self.share / f"round-{task.round}.npz")
        return perturb(update, self.noise, [self.seed, task.round])

    def work_ahead(self, task: Task) -> None:
        """Train honestly, as the round's own work is."""
        self.honest.work_ahead(task)

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """The honest part keeps its error feedback."""
        self.honest.returned(round_number, update)

    def forget(self) -> None:
        """The honest part forgets."""
        self.honest.forget()

    def save(self) -> None:
        """Keep the honest worker's memory."""
        self.honest.save()


class SybilFollower:
    """Another identity of the same worker: publishes the leader's update with noise of its own."""

    def __init__(self, manifest: Manifest, share: Path, noise: float, seed: int) -> None:
        self.manifest, self.share, self.noise, self.seed = manifest, share, noise, seed

    def work(self, task: Task) -> SparseUpdate | None:
        """Wait for the leader's update and perturb it."""
        path = self.share / f"round-{task.round}.npz"
        give_up = time.monotonic() + SHARE_PATIENCE_SECONDS
        while not path.exists():
            if task.should_stop() or time.monotonic() > give_up:
                return None
            time.sleep(0.1)
        codec = self.manifest.codec
        with np.load(path, allow_pickle=False) as data:
            update = SparseUpdate(
                parameter_count(self.manifest.model),
                codec.chunk,
                codec.k_in(task.round),
                data["indices"],
                data["levels"],
                data["scales"],
            )
        return perturb(update, self.noise, [self.seed, task.round])

    def work_ahead(self, task: Task) -> None:
        """Nothing to do ahead."""

    def returned(self, round_number: int, update: SparseUpdate) -> None:
        """Nothing to take back."""

    def forget(self) -> None:
        """Nothing to forget."""

    def save(self) -> None:
        """Nothing to remember."""


def perturb(update: SparseUpdate, noise: float, seed: list[int]) -> SparseUpdate:
    """Move a fraction `noise` of the kept entries to other places of their chunk, with random signs.

    Also jitters each chunk scale by a few per cent, so that neither bytes nor values repeat.
    """
    rng = np.random.default_rng(seed)
    indices, levels = update.indices.copy(), update.levels.copy()
    scales = update.scales.copy()
    offset = 0
    for start, count in _chunks(update.size, update.chunk, update.k):
        length = min(update.chunk, update.size - start)
        part = indices[offset : offset + count] - start
        moved = rng.random(count) < noise
        free = np.setdiff1d(np.arange(length), part, assume_unique=True)
        replace = min(int(moved.sum()), len(free))
        if replace:
            where = np.flatnonzero(moved)[:replace]
            part[where] = rng.choice(free, replace, replace=False)
            signs = rng.choice(np.array([-1, 1], dtype=np.int8), replace)
            levels[offset + where] = signs * np.abs(levels[offset + where])
        order = np.argsort(part)
        indices[offset : offset + count] = start + part[order]
        levels[offset : offset + count] = levels[offset : offset + count][order]
        offset += count
    jitter = rng.integers(-40, 41, len(scales))
    scales = np.clip(scales.astype(np.int64) + np.where(scales > 2048, jitter, 0), 0, 0xFFFE).astype(np.uint16)
    return SparseUpdate(update.size, update.chunk, update.k, indices, levels, scales)


def _chunks(size: int, chunk: int, k: int) -> list[tuple[int, int]]:
    """(start, kept entries) of every chunk."""
    return [
        (start, int(count)) for start, count in zip(range(0, size, chunk), kept_per_chunk(size, chunk, k), strict=True)
    ]
