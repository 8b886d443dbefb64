"""What contributions of others do to a trainer's own sequences: the trial step of the validators, by a trainer.

Figures for the wide graph alone (`emerit.protocol.feedback`): nobody can check them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from emerit.codec.update import SparseUpdate
from emerit.data.tokens import Tokens
from emerit.model.flat import FlatModel
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.losses import TrialStep, sequence_losses


def peer_gains(
    model: FlatModel,
    updates: Mapping[int, SparseUpdate],
    measured: Collection[int],
    tokens: Tokens,
    step: float,
    over: Callable[[], bool],
    batch: int = 8,
) -> dict[int, float]:
    """Return by how much each update alone lowers the mean loss of `tokens`, in nats a token, on the state in `model`.

    Chunk scales are first clipped (`clip_scales`) among all `updates`, so that size buys little: a trainer cannot
    fetch a whole round for the median that validators take. The model's weights are afterwards what they were.

    Args:
        model: Holds the state that the updates were made from.
        updates: By registry index, the measurer's own among them if it is at hand.
        measured: Those whose gains are wanted; in ascending order, while `over` lets them.
        tokens: uint8 or uint16 [n, T + 1].
        step: The share of an update that is tried (`emerit.scoring.evaluate.trial_step`).
        over: Asked before every batch; what is not complete then is left out.
        batch: How many sequences are measured at a time.

    Raises:
        RefusedError: `aggregate-shape` if the updates differ in shape.
        UsageError: `sequences-shape`.
    """
    clipped = clip_scales(updates, {})
    base = _losses(model, tokens, over, batch)
    gains: dict[int, float] = {}
    for index in sorted(measured):
        if base is None or index not in clipped:
            continue
        with TrialStep(model.flat, clipped[index], step):
            after = _losses(model, tokens, over, batch)
        if after is None:
            break
        gains[index] = float((base - after).mean())
    return gains


def _losses(model: FlatModel, tokens: Tokens, over: Callable[[], bool], batch: int) -> NDArray[np.float64] | None:
    """Return float64[n], None when there was no time for all of them."""
    parts = []
    for start in range(0, len(tokens), batch):
        if over():
            return None
        parts.append(sequence_losses(model.module, tokens[start : start + batch], batch))
    return np.concatenate(parts)
