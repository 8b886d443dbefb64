"""Which sequences a trainer trains on, and which a validator evaluates on.

One seeded permutation of the training split gives trainer slot s its positions [s * A, (s + 1) * A), so no two
identities share data in a round. Evaluation is drawn without replacement from the positions beyond those of
the last slot: nobody was given them. The evaluation seed is drawn after all reveals.

Slots are never used again, so a run that lives long enough has more of them than its text has room for. What
evaluation needs is reserved: the first `trainer_capacity` slots have an assignment, those beyond it have none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.errors import UsageError
from emerit.protocol.seeds import derive, permute_many
from emerit.protocol.types import check_uint


def trainer_capacity(per_trainer: int, train_sequences: int, reserved: int) -> int:
    """Return how many trainer slots have an assignment, when `reserved` sequences are kept for evaluation."""
    return max(0, train_sequences - reserved) // per_trainer


def overlapped_seed(assign_seed: bytes) -> bytes:
    """Return the seed that assigns the next round's work where rounds overlap, from this round's (32 bytes each)."""
    return derive(assign_seed, "emerit/overlap/v1")


def assigned_sequences(
    assign_seed: bytes, slot: int, per_trainer: int, train_sequences: int, reserved: int = 0
) -> NDArray[np.int64]:
    """Return the sequence numbers of a trainer slot: int64[per_trainer], each in [0, train_sequences).

    `reserved` is the number of sequences that a round's evaluation draws (`ScoringSpec.random_sequences`); trainers
    and validators of a run must give the same.

    Raises:
        UsageError: `no-room`, when the slot lies beyond `trainer_capacity`.
    """
    check_uint("slot", slot, 16)
    capacity = trainer_capacity(per_trainer, train_sequences, reserved)
    if slot >= capacity:
        raise UsageError(
            "no-room",
            f"Trainer slot {slot} has no sequences: the training split has room for {capacity} slots.",
            "Train in a run with a larger corpus; this run gives slots out in the order of joining, and only once.",
        )
    positions = np.arange(slot * per_trainer, (slot + 1) * per_trainer, dtype=np.int64)
    return permute_many(derive(assign_seed, "emerit/train/v1"), train_sequences, positions)


def evaluation_sequences(
    assign_seed: bytes,
    eval_seed: bytes,
    trainer_slots: int,
    per_trainer: int,
    train_sequences: int,
    count: int,
) -> NDArray[np.int64]:
    """Return the random sequences of a round: int64[count], distinct, assigned to none of `trainer_slots`.

    Slots beyond the capacity that `count` leaves have no sequences, so however many join, `count` are there.

    Raises:
        UsageError: `corpus-too-small`, when the training split has fewer than `count` sequences.
    """
    if count > train_sequences:
        raise UsageError(
            "corpus-too-small",
            f"The training split has {train_sequences} sequences; a round is evaluated on {count}.",
            "Use a larger corpus, or evaluate on fewer sequences.",
        )
    taken = min(trainer_slots, trainer_capacity(per_trainer, train_sequences, count)) * per_trainer
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    drawn = permute_many(
        derive(eval_seed, "emerit/random/v1"), train_sequences - taken, np.arange(count, dtype=np.int64)
    )
    return permute_many(derive(assign_seed, "emerit/train/v1"), train_sequences, taken + drawn)


def own_sample(eval_seed: bytes, slot: int, assigned: NDArray[Any], count: int) -> NDArray[np.int64]:
    """Return `count` of a trainer's assigned sequences, drawn without replacement: int64[count].

    Raises:
        UsageError: `sample-too-large`, when fewer than `count` sequences are assigned.
    """
    if not 0 < count <= len(assigned):
        raise UsageError(
            "sample-too-large",
            f"Cannot draw {count} of {len(assigned)} assigned sequences.",
            "Set scoring.own_sequences to at most training.assigned_sequences.",
        )
    places = permute_many(derive(eval_seed, "emerit/own/v1", slot), len(assigned), np.arange(count, dtype=np.int64))
    return np.asarray(assigned, dtype=np.int64)[places]
