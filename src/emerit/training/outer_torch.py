"""The outer step, its undoing and the state root once more, with torch: independent of `emerit.training.outer`.

Written from the rule in that module's text, on whole tensors and on any device; the roots are hashed from the top down.
Tests hold the two implementations equal, to the bit.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor

from emerit.protocol.manifest import OuterSpec

_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
_CHUNK_ENTRIES = 16_384


@dataclass(frozen=True, eq=False)
class TorchState:
    """`values` int32[P] and, where the run has one, `momentum` int32[P]."""

    values: Tensor
    momentum: Tensor | None = None


@dataclass(frozen=True, eq=False)
class TorchLost:
    """What a step cut off: int64[P] each, mostly zeros; momentum and remainders None without momentum."""

    weights: Tensor
    momentum: Tensor | None = None
    remainders: Tensor | None = None


def outer_step_torch(
    state: TorchState, positions: Tensor, deltas: Tensor, outer: OuterSpec
) -> tuple[TorchState, TorchLost]:
    """Return the state after an aggregate (positions int64[n], deltas int32[n]), and what that lost."""
    delta = _dense(positions, deltas, state.values)
    if state.momentum is None:
        wanted = state.values.long() - delta
        values = wanted.clamp(_LOW, _HIGH)
        return TorchState(values.int()), TorchLost(wanted - values)
    scaled = state.momentum.long() * outer.momentum_numerator
    decayed = _divide(scaled, outer.momentum_denominator)
    velocity = (decayed + delta).clamp(-_HIGH, _HIGH)
    wanted = state.values.long() - _change(velocity, delta, outer)
    values = wanted.clamp(_LOW, _HIGH)
    lost = TorchLost(wanted - values, decayed + delta - velocity, scaled - decayed * outer.momentum_denominator)
    return TorchState(values.int(), velocity.int()), lost


def undo_step_torch(
    state: TorchState, positions: Tensor, deltas: Tensor, lost: TorchLost, outer: OuterSpec
) -> TorchState:
    """Return the state before the step that led to `state` and lost `lost`."""
    delta = _dense(positions, deltas, state.values)
    if state.momentum is None or lost.momentum is None or lost.remainders is None:
        return TorchState((state.values.long() + lost.weights + delta).int())
    velocity = state.momentum.long()
    values = state.values.long() + lost.weights + _change(velocity, delta, outer)
    scaled = (velocity + lost.momentum - delta) * outer.momentum_denominator + lost.remainders
    return TorchState(values.int(), torch.div(scaled, outer.momentum_numerator, rounding_mode="trunc").int())


def state_root_torch(state: TorchState, table_hash: bytes) -> bytes:
    """Compute `emerit.training.state.state_root` of a state on any device."""
    roots = [_root(each, table_hash) for each in (state.values, state.momentum) if each is not None]
    return roots[0] if len(roots) == 1 else hashlib.sha256(b"emerit/state-momentum/v1" + roots[0] + roots[1]).digest()


def _root(values: Tensor, table_hash: bytes) -> bytes:
    chunks = [_little_endian(chunk) for chunk in torch.split(values, _CHUNK_ENTRIES)]
    leaves = [hashlib.sha256(b"\x00" + chunk).digest() for chunk in chunks]
    size = values.numel().to_bytes(8, "big")
    return hashlib.sha256(b"emerit/state/v1" + table_hash + size + _top(leaves)).digest()


def _top(leaves: list[bytes]) -> bytes:
    """Split at the largest power of two below the length: the tree that pairing from below gives."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _top(leaves[:split]) + _top(leaves[split:])).digest()


def _little_endian(values: Tensor) -> bytes:
    """Return the bytes of int32[n], lowest byte first, whatever the machine's order."""
    return (
        torch.stack([values >> shift & 255 for shift in (0, 8, 16, 24)], dim=1).to(torch.uint8).cpu().numpy().tobytes()
    )


def _dense(positions: Tensor, deltas: Tensor, like: Tensor) -> Tensor:
    return torch.zeros_like(like, dtype=torch.int64).index_add_(0, positions, deltas.long())


def _change(velocity: Tensor, delta: Tensor, outer: OuterSpec) -> Tensor:
    if not outer.nesterov:
        return velocity
    return delta + _divide(velocity * outer.momentum_numerator, outer.momentum_denominator)


def _divide(amount: Tensor, divisor: int) -> Tensor:
    """Return amount / divisor, rounded half away from zero, by floor divisions of the two signs."""
    up = torch.div(2 * amount + divisor, 2 * divisor, rounding_mode="floor")
    down = -torch.div(divisor - 2 * amount, 2 * divisor, rounding_mode="floor")
    return torch.where(amount < 0, down, up)
