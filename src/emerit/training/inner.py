"""What a trainer does and keeps to itself: the inner loop of a round, its optimiser, its error feedback."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emerit.codec.interface import IntegerCodec
from emerit.codec.update import SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import StateError, UsageError
from emerit.model.table import parameter_count
from emerit.protocol.manifest import ModelSpec, TrainingSpec
from emerit.training.engine import Engine, WholeModel
from emerit.training.optimiser import moment_sizes, schedule_factor
from emerit.training.state import check_size, to_float
from emerit.training.storage import corrupt, read_tensors, write_tensors

_OPTIMISER_FORMAT = "emerit-optimiser-1"
_FEEDBACK_FORMAT = "emerit-feedback-1"
_ORDER_DOMAIN = b"emerit/private-order/v1"

OnStep = Callable[[int, int, float], None]
"""Called after each step with (steps done in this round, steps of a round, loss in nats per token)."""


@dataclass(frozen=True)
class InnerResult:
    """Outcome of one round: delta = weights at the start - local weights, float32[P]; one loss per step.

    `stopped` says that `should_stop` ended the round early; the delta is then that of the steps done.
    """

    delta: NDArray[np.float32]
    losses: list[float]
    seconds: float
    stopped: bool


class InnerTrainer:
    """Trains the model locally, round by round; the optimiser's moments stay with the trainer between rounds.

    `private_seed` decides the order in which the assigned sequences are used; nobody else knows it. `engine` computes
    the steps: the whole model on `device`, unless another is given (`emerit.training.sharded`).
    """

    def __init__(
        self,
        spec: ModelSpec,
        training: TrainingSpec,
        private_seed: bytes,
        device: str = "cpu",
        engine: Engine | None = None,
    ) -> None:
        self._spec = spec
        self._training = training
        self._private_seed = private_seed
        self._engine = WholeModel(spec, training, device) if engine is None else engine

    @property
    def steps_done(self) -> int:
        """Optimiser steps that this trainer has made in all rounds."""
        return self._engine.steps_done

    def run_round(
        self,
        round_index: int,
        start_values: NDArray[np.int32],
        sequences: Tokens,
        on_step: OnStep | None = None,
        should_stop: Callable[[], bool] | None = None,
        progress: NDArray[np.float32] | None = None,
    ) -> InnerResult:
        """Train `inner_steps` steps from the state `start_values` int32[P] on `sequences` [A, T + 1],
        uint8 or uint16.

        Each sequence is used equally often (differing by at most one use). `should_stop` is asked before each
        step. `progress` float32[P] is first taken off the state: own work that it does not have yet.

        Raises:
            StateError: `state-size` for a state of another model; `training-diverged` if a gradient is not
                finite (the optimiser is then as before that step).
            UsageError: `no-sequences` if A is 0.
        """
        began = time.perf_counter()
        check_size(start_values, parameter_count(self._spec))
        start = to_float(start_values)
        if progress is not None:
            start = start - progress
        self._engine.begin(start)
        steps, draws = self._training.inner_steps, self._training.inner_steps * self._training.batch_sequences
        order = usage_order(self._private_seed, round_index, len(sequences), draws)
        tokens = torch.from_numpy(sequences[order].astype(np.int64))
        losses: list[float] = []
        stopped = False
        for step, batch in enumerate(tokens.chunk(steps)):
            if should_stop is not None and should_stop():
                stopped = True
                break
            factor = schedule_factor(self._training, round_index, step, self.steps_done)
            losses.append(_finite(self._engine.step(batch, factor)))
            if on_step is not None:
                on_step(step + 1, steps, losses[-1])
        delta = start - self._engine.end()
        return InnerResult(delta, losses, time.perf_counter() - began, stopped)

    def save(self, path: Path) -> None:
        """Write the optimiser's moments and step count to `path`, replacing the old file atomically."""
        metadata = {"format": _OPTIMISER_FORMAT, "steps": str(self.steps_done)}
        write_tensors(path, self._engine.moments(), metadata)

    def load(self, path: Path) -> bool:
        """Take over what `save` wrote; return False, and change nothing, if there is no such file.

        Raises:
            StateError: `state-corrupt` if the file is damaged, of another model, or holds non-finite values.
        """
        if not path.exists():
            return False
        tensors, metadata = read_tensors(path)
        steps = metadata.get("steps", "")
        if metadata.get("format") != _OPTIMISER_FORMAT or not (steps.isascii() and steps.isdecimal()):
            raise corrupt(path, "it is not a saved optimiser")
        sizes = moment_sizes(self._spec, self._training) if int(steps) else {}
        if set(tensors) != set(sizes):
            raise corrupt(path, "it does not hold the moments of the run's optimiser")
        for name, moment in tensors.items():
            if moment.shape != (sizes[name],) or not _is_finite_float32(moment):
                raise corrupt(path, "it belongs to another model or holds values that are not finite")
        self._engine.restore(tensors, int(steps))
        return True


class ErrorFeedback:
    """What could not be sent is kept for the next round: e <- beta * e + delta, minus what was sent.

    The first `accumulate` fixes the size P. What was sent is given dense, float32[P] with zeros elsewhere, or
    as the update itself. `sent_round`, saved in the same file, says of which round the sent part is, so that after a
    crash it is given back once or not at all. Sources: Seide et al. 2014 (1-bit SGD); the decay is SparseLoCo's
    (arXiv 2508.15706).
    """

    def __init__(self, beta: float) -> None:
        self.beta = beta
        self.sent_round: int | None = None
        self._buffer: NDArray[np.float32] | None = None

    @property
    def buffer(self) -> NDArray[np.float32] | None:
        """What is still to be sent, float32[P]; None before the first round."""
        return self._buffer

    def accumulate(self, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        """Add a round's delta float32[P] to the decayed buffer; return a copy of the buffer, to compress."""
        if self._buffer is None:
            self._buffer = np.zeros(delta.size, dtype=np.float32)
        buffer = self._sized(delta)
        buffer *= np.float32(self.beta)
        buffer += delta
        return buffer.copy()

    def compress(
        self, delta: NDArray[np.float32], codec: IntegerCodec, chunk: int, k: int, round_index: int | None = None
    ) -> SparseUpdate:
        """Do all of a round: add its delta float32[P], return what the codec sends, and take that off the buffer.

        One pass over the memory where the codec can. Raises as `Codec.compress`.
        """
        if self._buffer is None:
            self._buffer = np.zeros(delta.size, dtype=np.float32)
        buffer = self._sized(delta)
        if not buffer.flags.writeable:
            buffer = self._buffer = buffer.copy()
        update = codec.feed(buffer, delta, self.beta, chunk, k, torch.get_num_threads())
        self.sent_round = round_index
        return update

    def subtract(self, sent: NDArray[np.float32] | SparseUpdate, round_index: int | None = None) -> None:
        """Take off what was sent in a round."""
        self.sent_round = round_index
        amount = sent.dense() if isinstance(sent, SparseUpdate) else sent
        buffer = self._sized(amount)
        buffer -= amount

    def give_back(self, sent: NDArray[np.float32] | SparseUpdate, round_index: int | None = None) -> bool:
        """Put back what was sent, after nobody judged the update, had room for it, or its round was void.

        Does nothing, and returns False, unless the last thing subtracted is of that round.
        """
        if round_index != self.sent_round:
            return False
        self.sent_round = None
        amount = sent.dense() if isinstance(sent, SparseUpdate) else sent
        buffer = self._sized(amount)
        buffer += amount
        return True

    def save(self, path: Path) -> None:
        """Write the buffer to `path`, replacing the old file atomically."""
        tensors = {} if self._buffer is None else {"buffer": self._buffer}
        sent_round = "" if self.sent_round is None else str(self.sent_round)
        write_tensors(path, tensors, {"format": _FEEDBACK_FORMAT, "sent_round": sent_round})

    def load(self, path: Path) -> bool:
        """Take over what `save` wrote; return False, and change nothing, if there is no such file.

        Raises:
            StateError: `state-corrupt` if the file is damaged or holds non-finite values.
        """
        if not path.exists():
            return False
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != _FEEDBACK_FORMAT or not set(tensors) <= {"buffer"}:
            raise corrupt(path, "it is not a saved error feedback")
        sent_round = metadata.get("sent_round", "")
        if sent_round and not (sent_round.isascii() and sent_round.isdecimal()):
            raise corrupt(path, "it does not say of which round the sent part is")
        buffer = tensors.get("buffer")
        if buffer is not None and (buffer.ndim != 1 or not _is_finite_float32(buffer)):
            raise corrupt(path, "it holds values that are not finite 32-bit floats")
        self._buffer = buffer
        self.sent_round = int(sent_round) if sent_round else None
        return True

    def _sized(self, amount: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._buffer is None or self._buffer.shape != amount.shape:
            have = 0 if self._buffer is None else self._buffer.size
            raise StateError(
                "feedback-size",
                f"The error feedback holds {have} values and was given {amount.size}.",
                "Keep one error feedback per run; its first call is accumulate.",
            )
        return self._buffer


def usage_order(private_seed: bytes, round_index: int, available: int, draws: int) -> NDArray[np.int64]:
    """Return int64[draws] indices below `available`, each used floor or ceil(draws / available) times.

    The order is a chain of permutations seeded by the private seed and the round. Raises UsageError
    `no-sequences` if nothing is available.
    """
    if available < 1:
        raise UsageError("no-sequences", "A round needs at least one assigned sequence.", "Check the assignment.")
    digest = hashlib.sha256(_ORDER_DOMAIN + round_index.to_bytes(8, "big") + private_seed).digest()
    random = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "big")))
    passes = [random.permutation(available) for _ in range(-(-draws // available))]
    return np.concatenate(passes)[:draws]


def _is_finite_float32(values: NDArray[np.float32]) -> bool:
    return values.dtype == np.float32 and bool(np.isfinite(values).all())


def _finite(loss: float) -> float:
    if not math.isfinite(loss):
        raise StateError(
            "training-diverged",
            "The loss or its gradient is no longer a finite number.",
            "Delete the trainer's optimiser and feedback files; it starts again from the settled state.",
        )
    return loss
