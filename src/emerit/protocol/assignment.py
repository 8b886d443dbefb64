"""Which sequences a trainer trains on, and which a validator evaluates on.

One seeded permutation of the training split gives trainer slot s its positions [s * A, (s + 1) * A), so no two
identities share data in a round. Evaluation is drawn without replacement from the positions beyond those of
the last slot: nobody was given them. The evaluation seed is drawn after all reveals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.errors import UsageError
from emerit.protocol.seeds import derive, permute_many
from emerit.protocol.types import check_uint


def assigned_sequences(assign_seed: bytes, slot: int, per_trainer: int, train_sequences: int) -> NDArray[np.int64]:
    """Return the sequence numbers of a trainer slot: int64[per_trainer], each in [0, train_sequences).

    Raises:
        UsageError: `corpus-too-small`, when the training split ends before the slot's last position.
    """
    check_uint("slot", slot, 16)
    _check_room((slot + 1) * per_trainer, train_sequences)
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

    Raises:
        UsageError: `corpus-too-small`, when fewer than `count` sequences are left.
    """
    taken = trainer_slots * per_trainer
    _check_room(taken + count, train_sequences)
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


def _check_room(needed: int, available: int) -> None:
    if needed > available:
        raise UsageError(
            "corpus-too-small",
            f"The training split has {available} sequences; {needed} are needed.",
            "Use a larger corpus, or assign fewer sequences to each trainer.",
        )
