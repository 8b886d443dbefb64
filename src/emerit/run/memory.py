"""What a node needs of memory, by counting, and what the machine has: known before anything is allocated."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from emerit.errors import PreconditionError
from emerit.model.architecture import hidden_width
from emerit.model.table import parameter_count
from emerit.protocol.manifest import ModelSpec, OuterSpec, TrainingSpec

FLOAT_BYTES: Final = 4
PROGRAM_BYTES: Final = 400 << 20
"""Python, torch and the clients of chain and IPFS, before any model."""
SCORE_BATCH: Final = 16

# Vectors of one number a parameter. A trainer keeps the state and the one before it, the weights, their gradients, two
# moments and the error feedback. While it compresses there are also the start, the delta, its copy and work space.
_TRAINER_KEEPS: Final = 7
_COMPRESSING: Final = 6
# A validator keeps both states and the weights, and replaces one state while it applies an aggregate.
_VALIDATOR_KEEPS: Final = 4
# An outer momentum: the state's, the one that an aggregate makes of it, and the remainders that take that back.
_OUTER_MOMENTUM_KEEPS: Final = 3
# Overlapping rounds: the work done for the next round, that in flight, and the start that both make.
_OVERLAP_KEEPS: Final = 3
# Numbers a token that a layer keeps for the backward pass, in widths: norms, the three heads' inputs and their rotated
# forms, the attention's output, sums; and in hidden widths: both halves of the gate, its value, the product.
_LAYER_WIDTHS: Final = 17
_LAYER_HIDDEN: Final = 5
# Logits, their logarithms, their gradient, one copy. All are fitted to the peaks of real steps, on the safe side.
_LOGITS: Final = 4

_CGROUP: Final = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes that a node needs at most, program included: what grows with the model, and with the batch."""

    program_bytes: int
    parameter_bytes: int
    activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.program_bytes + self.parameter_bytes + self.activation_bytes


def trainer_need(spec: ModelSpec, training: TrainingSpec, outer: OuterSpec) -> MemoryNeed:
    """Return what a trainer needs; raises PreconditionError as `emerit.model.table.tensor_table`.

    Activations are counted for the built-in architecture; for another, of the same width and depth, they are a guess.
    Muon keeps one moment where AdamW keeps two: it is counted as AdamW.
    """
    vector = FLOAT_BYTES * parameter_count(spec)
    activations = activation_bytes(spec, training.batch_sequences)
    # The start is there while training, and with the compressor's vectors after it: never all at once.
    transient = max(vector + activations, _COMPRESSING * vector)
    keeps = _TRAINER_KEEPS + _momentum_keeps(outer) + _OVERLAP_KEEPS * training.overlap_rounds
    return MemoryNeed(PROGRAM_BYTES, keeps * vector, transient)


def validator_need(spec: ModelSpec, outer: OuterSpec) -> MemoryNeed:
    """Return what a validator needs, besides the round's contributions; raises as `trainer_need`."""
    vector = FLOAT_BYTES * parameter_count(spec)
    tokens = SCORE_BATCH * spec.context
    forward = FLOAT_BYTES * tokens * (8 * spec.d_model + 2 * hidden_width(spec) + 2 * spec.vocabulary)
    return MemoryNeed(PROGRAM_BYTES, (_VALIDATOR_KEEPS + _momentum_keeps(outer)) * vector, forward)


def _momentum_keeps(outer: OuterSpec) -> int:
    return _OUTER_MOMENTUM_KEEPS if outer.has_momentum else 0


def activation_bytes(spec: ModelSpec, sequences: int) -> int:
    """Return what a training step on so many sequences keeps for its backward pass."""
    layer = _LAYER_WIDTHS * spec.d_model + _LAYER_HIDDEN * hidden_width(spec)
    return FLOAT_BYTES * sequences * spec.context * (spec.layers * layer + _LOGITS * spec.vocabulary)


def memory_limit_bytes() -> int:
    """Return how much memory this process can have at most: the machine's, or its container's if that is less."""
    import psutil

    limits = [int(psutil.virtual_memory().total)]
    for path in _CGROUP:
        try:
            text = path.read_text().strip()
        except OSError:
            continue
        if text.isdecimal():
            limits.append(int(text))
    return min(limits)


def check_memory(need: MemoryNeed, role: str, limit_bytes: int | None = None) -> None:
    """Refuse to begin what cannot fit.

    Raises:
        PreconditionError: `memory-too-small`.
    """
    limit = memory_limit_bytes() if limit_bytes is None else limit_bytes
    if need.total_bytes > limit:
        raise PreconditionError(
            "memory-too-small",
            f"A {role} of this run needs about {gib(need.total_bytes)} of memory; this machine has {gib(limit)}.",
            "Take a machine with more memory, or a run with a smaller model (emerit doctor shows what each needs).",
        )


def gib(amount_bytes: int) -> str:
    """Return an amount of memory for people."""
    return f"{amount_bytes / (1 << 30):.1f} GiB"
