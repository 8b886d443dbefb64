"""The state transition: strangers' sparse updates become one integer step that everybody computes alike.

All arithmetic is on integers in units of 2^-24, so the result depends neither on the order of the updates
nor on threads, instruction sets or library versions. `aggregate` (numpy) and `aggregate_torch` are two
independent implementations of the same rule; tests hold them equal, and a GPU node may use the second.

The rule, per position p, where a sender of p is an update that keeps p in a chunk whose scale is not 0:

    total(p) = sum of level * scale over the senders of p, each of these clipped to +-(2^31 - 1)
    delta(p) = total(p) * lr_numerator / (max(number of senders of p, divisor_floor) * lr_denominator)

rounded half away from zero and saturated to +-(2^31 - 1); positions whose delta is 0 are left out. Before
that every chunk's scale is clipped to the lower median of that chunk's scales over the updates. Averaging
over the senders follows the released code of SparseLoCo (arXiv 2508.15706); the floor keeps a lone sender
from landing undiluted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerit.codec.combine import mean_of_senders
from emerit.codec.update import SparseUpdate
from emerit.errors import RefusedError, StateError
from emerit.protocol.manifest import OuterSpec
from emerit.training.state import INT32_MAX, INT32_MIN


def clip_scales(updates: Sequence[SparseUpdate]) -> list[SparseUpdate]:
    """Clip each chunk's scale to the lower median of that chunk over the given updates.

    Size then buys nothing. Minifloat codes grow with their values, so the codes themselves are compared. The
    result keeps the order given; an empty list stays empty. Raises RefusedError `aggregate-shape` if the
    updates are not of one shape.
    """
    if not updates:
        return []
    _check_shapes(updates)
    codes = np.stack([update.scales for update in updates])
    median = np.sort(codes, axis=0)[(len(updates) - 1) // 2]
    return [dataclasses.replace(update, scales=np.minimum(update.scales, median)) for update in updates]


def aggregate(
    updates: Sequence[SparseUpdate], outer: OuterSpec, threads: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Combine updates into one step: sorted positions int64[n] and nonzero deltas int32[n] to subtract.

    Clips the scales itself. No updates give an empty step. Large updates are summed by compiled kernels on `threads`
    threads (`emerit.codec.combine`), with the same result. Raises RefusedError `aggregate-shape` if the
    updates are not of one shape.
    """
    if not updates:
        return np.empty(0, np.int64), np.empty(0, np.int32)
    clipped = clip_scales(updates)
    step = mean_of_senders(clipped, outer.lr_numerator, outer.lr_denominator, outer.divisor_floor, threads)
    if step is not None:
        return step
    totals = np.zeros(clipped[0].size, dtype=np.int64)
    counts = np.zeros(clipped[0].size, dtype=np.int64)
    for update in clipped:
        totals[update.indices] += np.clip(update.values(), -INT32_MAX, INT32_MAX)
        counts[update.indices] += update.live()
    positions = np.flatnonzero(totals)
    total = totals[positions]
    divisor = np.maximum(counts[positions], outer.divisor_floor) * outer.lr_denominator
    magnitude = (2 * np.abs(total) * outer.lr_numerator + divisor) // (2 * divisor)
    deltas = (np.sign(total) * np.minimum(magnitude, INT32_MAX)).astype(np.int32)
    kept = deltas != 0
    return positions[kept], deltas[kept]


def apply_aggregate(
    values: NDArray[np.int32], positions: NDArray[np.int64], deltas: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Return the next state: `values` with the deltas subtracted at the positions, saturated to int32.

    Positions are strictly increasing; raises StateError `aggregate-position` if one lies outside the state.
    """
    if positions.size and not (positions[0] >= 0 and positions[-1] < values.size):
        raise StateError(
            "aggregate-position",
            f"The aggregate changes position {positions[-1]} of a state with {values.size} entries.",
            "Use an aggregate of this run.",
        )
    result = values.copy()
    moved = values[positions].astype(np.int64) - deltas
    result[positions] = np.clip(moved, INT32_MIN, INT32_MAX).astype(np.int32)
    return result


def aggregate_torch(updates: Sequence[SparseUpdate], outer: OuterSpec, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Compute `aggregate` on sorted index lists with torch: positions int64[n] and deltas int32[n]."""
    if not updates:
        return torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int32)
    _check_shapes(updates)
    codes = torch.tensor(np.stack([update.scales for update in updates]).astype(np.int32), device=device)
    median = codes.kthvalue((len(updates) + 1) // 2, dim=0).values
    scales = _decode_torch(torch.minimum(codes, median))
    indices = [torch.tensor(update.indices, device=device) for update in updates]
    amounts = [
        (torch.tensor(update.levels, device=device).long() * row[places // update.chunk]).clamp(-INT32_MAX, INT32_MAX)
        for update, row, places in zip(updates, scales, indices, strict=True)
    ]
    amount = torch.cat(amounts)
    sent = torch.cat([row[places // updates[0].chunk] != 0 for row, places in zip(scales, indices, strict=True)])
    positions, where, counts = torch.unique(torch.cat(indices)[sent], return_inverse=True, return_counts=True)
    totals = torch.zeros_like(positions).index_add_(0, where, amount[sent])
    divisor = counts.clamp(min=outer.divisor_floor) * outer.lr_denominator
    doubled = 2 * totals * outer.lr_numerator
    up = torch.div(doubled + divisor, 2 * divisor, rounding_mode="floor")
    down = -torch.div(divisor - doubled, 2 * divisor, rounding_mode="floor")
    deltas = torch.where(totals > 0, up, down).clamp(-INT32_MAX, INT32_MAX).int()
    kept = deltas != 0
    return positions[kept], deltas[kept]


def apply_aggregate_torch(values: Tensor, positions: Tensor, deltas: Tensor) -> Tensor:
    """Compute `apply_aggregate` with torch on a state int32[P]."""
    change = torch.zeros_like(values, dtype=torch.int64).index_add_(0, positions, deltas.long())
    return (values.long() - change).clamp(INT32_MIN, INT32_MAX).int()


def _decode_torch(codes: Tensor) -> Tensor:
    """Decode 16-bit minifloats (5-bit exponent, 11-bit mantissa) given as int32 to int64."""
    exponent, mantissa = codes.long() >> 11, codes.long() & 2047
    return torch.where(exponent == 0, mantissa, (2048 + mantissa) << (exponent - 1).clamp(min=0))


def _check_shapes(updates: Sequence[SparseUpdate]) -> None:
    shapes = {(update.size, update.chunk, update.k) for update in updates}
    if len(shapes) > 1:
        raise RefusedError(
            "aggregate-shape",
            f"Updates of different shapes cannot be combined: {sorted(shapes)} (size, chunk, k).",
            "Decode updates against the run's manifest before they are aggregated.",
        )
