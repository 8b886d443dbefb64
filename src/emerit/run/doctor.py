"""What a run would ask of this machine: memory by counting, time by measuring a few steps. Nothing is sent."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import torch

from emerit.codec.registry import integer_codec
from emerit.data import Tokens
from emerit.model.flat import FlatModel
from emerit.model.table import parameter_count
from emerit.protocol.manifest import CodecSpec, ModelSpec, OuterSpec, ScoringSpec, TrainingSpec
from emerit.run.memory import MemoryNeed, activation_bytes, gib, memory_limit_bytes
from emerit.run.memory import trainer_need as trainer_memory
from emerit.run.memory import validator_need as validator_memory
from emerit.scoring.losses import sequence_losses
from emerit.training.inner import InnerTrainer

_STEPS: Final = 3
_WEIGHT_UNITS: Final = 1 << 18
_MARGIN: Final = 0.8
"""A node is in time when it needs at most this part of a phase: chain and IPFS want some of it too."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Workload:
    """What a run asks of its nodes; `trainers` is how many a validator has to measure."""

    model: ModelSpec
    training: TrainingSpec
    codec: CodecSpec
    outer: OuterSpec
    scoring: ScoringSpec
    train_seconds: int
    score_seconds: int
    trainers: int

    @property
    def scored_sequences(self) -> int:
        """Forward passes of a sequence that a validator makes in a round: base, health lane, then each trainer."""
        return self.scoring.random_sequences * (2 + self.trainers) + 2 * self.scoring.own_sequences * self.trainers


@dataclass(frozen=True)
class Speed:
    """What was measured: seconds of a step on `step_sequences` sequences, of one sequence's loss, of compression."""

    step_seconds: float
    step_sequences: int
    forward_seconds: float
    compress_seconds: float


@dataclass(frozen=True)
class RoleReport:
    """What a role needs against what there is; `seconds` is None when it could not be measured."""

    role: str
    need: MemoryNeed
    memory_limit_bytes: int
    seconds: float | None
    phase_seconds: int

    @property
    def problems(self) -> list[str]:
        """What does not fit, in words; empty when all does."""
        found = []
        if self.need.total_bytes > self.memory_limit_bytes:
            need, limit = gib(self.need.total_bytes), gib(self.memory_limit_bytes)
            found.append(f"a {self.role} needs {need} of memory, there is {limit}: use a smaller model")
        if self.seconds is not None and self.seconds > _MARGIN * self.phase_seconds:
            found.append(
                f"a {self.role} needs {self.seconds:.0f} s a round, its phase has {self.phase_seconds} s: "
                "use a faster machine, or a run with a longer phase or a smaller model"
            )
        return found


@dataclass(frozen=True)
class Diagnosis:
    """The whole answer."""

    parameters: int
    speed: Speed | None
    trainer: RoleReport
    validator: RoleReport

    @property
    def problems(self) -> list[str]:
        """What a trainer lacks; a validator's needs are told but concern nobody who only trains."""
        return self.trainer.problems


def diagnose(
    load: Workload, *, measure: bool = True, limit_bytes: int | None = None, timer: Clock = time.perf_counter
) -> Diagnosis:
    """Estimate memory and time of a round here; measuring is left out where the model would not fit.

    Raises:
        PreconditionError: as `emerit.model.table.tensor_table`.
    """
    limit = memory_limit_bytes() if limit_bytes is None else limit_bytes
    trainer = trainer_memory(load.model, load.training, load.outer)
    validator = validator_memory(load.model, load.outer)
    speed = measured(load, timer) if measure and _measurable(load, limit) else None
    return Diagnosis(
        parameters=parameter_count(load.model),
        speed=speed,
        trainer=RoleReport("trainer", trainer, limit, _trainer_seconds(load, speed), load.train_seconds),
        validator=RoleReport("validator", validator, limit, _validator_seconds(load, speed), load.score_seconds),
    )


def measured(load: Workload, timer: Clock = time.perf_counter) -> Speed:
    """Train `_STEPS` steps on one sequence each (the first is not counted), measure losses, compress once.

    A batch costs at most so many times a sequence, so the estimate errs on the safe side.
    """
    size = parameter_count(load.model)
    times = [timer()]
    training = replace(load.training, inner_steps=_STEPS, batch_sequences=1, assigned_sequences=_STEPS)
    trainer = InnerTrainer(load.model, training, bytes(32))
    start = np.full(size, _WEIGHT_UNITS, dtype=np.int32)
    times = [timer()]
    result = trainer.run_round(0, start, _tokens(load.model, _STEPS), lambda *_: times.append(timer()))
    steps = [after - before for before, after in pairwise(times[1:])]
    del trainer
    began = timer()
    integer_codec(load.codec.name).compress(result.delta, load.codec.chunk, max(load.codec.k, load.codec.early_k))
    compress_seconds = timer() - began
    return Speed(min(steps), 1, _forward_seconds(load.model, timer), compress_seconds)


@torch.no_grad()
def _forward_seconds(spec: ModelSpec, timer: Clock) -> float:
    model = FlatModel(spec)
    model.flat.fill_(_WEIGHT_UNITS / (1 << 24))
    tokens = _tokens(spec, 2)
    sequence_losses(model.module, tokens[:1], batch=1)
    began = timer()
    sequence_losses(model.module, tokens, batch=2)
    return (timer() - began) / 2


def _measurable(load: Workload, limit: int) -> bool:
    """Whether the measurement itself fits, which is on one sequence."""
    whole = trainer_memory(load.model, load.training, load.outer)
    return whole.program_bytes + whole.parameter_bytes + activation_bytes(load.model, 1) <= limit


def _tokens(spec: ModelSpec, count: int) -> Tokens:
    """Return sequences to measure with; what stands in them does not change how long they take."""
    places = np.arange(count * (spec.context + 1)) * 7919 % min(spec.vocabulary, 1 << 16)
    return places.reshape(count, spec.context + 1).astype(np.uint16)


def _trainer_seconds(load: Workload, speed: Speed | None) -> float | None:
    if speed is None:
        return None
    step = speed.step_seconds * load.training.batch_sequences / speed.step_sequences
    return load.training.inner_steps * step + speed.compress_seconds


def _validator_seconds(load: Workload, speed: Speed | None) -> float | None:
    return None if speed is None else speed.forward_seconds * load.scored_sequences
