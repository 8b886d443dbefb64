"""The outer step: from a state and a round's aggregate to the next state, and back.

All arithmetic is on integers in units of 2^-24. With delta the aggregate's change at a position (0 where it lists
none), mu = momentum_numerator / momentum_denominator, round() half away from zero, v the momentum and theta the weight:

    without momentum   theta <- sat(theta - delta)
    with momentum      v     <- sat'(round(mu * v) + delta)
                       theta <- sat(theta - v), or with Nesterov sat(theta - (delta + round(mu * v))), v the new one

sat clips to [-2^31, 2^31 - 1], sat' to +-(2^31 - 1). The aggregate has the outer learning rate in it already, as in
SGD with momentum where the rate is constant (DiLoCo, arXiv 2311.08105; Nesterov's form is that of Sutskever et al.,
2013). A settled round is one step, an empty aggregate included: the momentum moves on then too. A void round is none.

Rounding to the nearest lets a momentum of at most 1 / (2 * (1 - mu)) units stay for ever: 5 units, 3e-7, at mu = 0.9.

A step loses what rounding and saturation cut off. `outer_step` returns that as `Lost`, with which `undo_step` gives
the state before to the bit (remainders kept like this: Maclaurin et al., arXiv 1502.03492).
`emerit.training.outer_torch` is an independent implementation of the same rule; tests hold them equal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.errors import StateError
from emerit.protocol.manifest import OuterSpec
from emerit.training.state import INT32_MAX, INT32_MIN, ModelState

_BLOCK = 1 << 16


@dataclass(frozen=True, eq=False)
class Lost:
    """What an outer step cut off.

    `remainders`[P] are mu's numerator * v - denominator * round(mu * v) of the momentum before, in the smallest signed
    integers that hold half a denominator, None without momentum. Where something saturated, `weight_places` int64[n]
    and `momentum_places` int64[m] (increasing) name the positions and `weight_excess` int64[n], `momentum_excess`
    int64[m] what was clipped off: the unclipped value less the clipped one.
    """

    weight_places: NDArray[np.int64]
    weight_excess: NDArray[np.int64]
    momentum_places: NDArray[np.int64]
    momentum_excess: NDArray[np.int64]
    remainders: NDArray[np.signedinteger] | None = None


def outer_step(
    state: ModelState, positions: NDArray[np.int64], deltas: NDArray[np.int32], outer: OuterSpec
) -> tuple[ModelState, Lost]:
    """Return the state after an aggregate (positions int64[n] increasing, deltas int32[n]), and what that lost.

    Raises StateError `aggregate-position` if a position lies outside the state, `state-size` if the state has no
    momentum and the run has, or the other way round.
    """
    check_positions(positions, state.values.size)
    check_momentum(state, outer)
    before = state.values
    if state.momentum is None:
        values = before.copy()
        places, excess = _write(values, positions, before[positions].astype(np.int64) - deltas, INT32_MIN)
        return ModelState(values), Lost(places, excess, *_nothing())
    values, momentum = np.empty_like(before), np.empty_like(before)
    remainders = np.empty(before.size, dtype=remainder_type(outer))
    weights, velocities = [], []
    for part, delta in _blocks(before.size, positions, deltas):
        was = state.momentum[part].astype(np.int64)
        decayed = _decay(was, outer)
        remainders[part] = was * outer.momentum_numerator - decayed * outer.momentum_denominator
        velocities.append(_write(momentum, part, decayed + delta, -INT32_MAX))
        weights.append(_write(values, part, before[part] - _step(momentum[part], delta, outer), INT32_MIN))
    return ModelState(values, momentum), Lost(*_joined(weights), *_joined(velocities), remainders)


def undo_step(
    state: ModelState, positions: NDArray[np.int64], deltas: NDArray[np.int32], lost: Lost, outer: OuterSpec
) -> ModelState:
    """Return the state before an `outer_step` with this aggregate that led to `state` and lost `lost`, to the bit.

    Raises StateError `aggregate-position` if a position lies outside the state, `undo-unfit` if `lost` is of another
    step: it does not lead back to a state.
    """
    size = state.values.size
    for places in (positions, lost.weight_places, lost.momentum_places):
        check_positions(places, size)
    if state.momentum is None:
        wide = state.values.astype(np.int64)
        wide[positions] += deltas
        wide[lost.weight_places] += lost.weight_excess
        return ModelState(_as_int32(wide))
    if lost.remainders is None or lost.remainders.shape != (size,):
        raise _unfit()
    values, momentum = np.empty_like(state.values), np.empty_like(state.values)
    excess = _blocks(size, lost.weight_places, lost.weight_excess)
    velocity_excess = _blocks(size, lost.momentum_places, lost.momentum_excess)
    changes = _blocks(size, positions, deltas)
    for (part, delta), (_, off), (_, velocity_off) in zip(changes, excess, velocity_excess, strict=True):
        velocity = state.momentum[part]
        values[part] = _as_int32(state.values[part] + off + _step(velocity, delta, outer))
        decayed = velocity + velocity_off - delta
        scaled = decayed * outer.momentum_denominator + lost.remainders[part]
        if np.any(scaled % outer.momentum_numerator):
            raise _unfit()
        momentum[part] = _as_int32(scaled // outer.momentum_numerator)
    return ModelState(values, momentum)


def check_positions(positions: NDArray[np.int64], size: int) -> None:
    """Raise StateError `aggregate-position` unless increasing positions lie in [0, size)."""
    if positions.size and not (positions[0] >= 0 and positions[-1] < size):
        raise StateError(
            "aggregate-position",
            f"The aggregate changes position {positions[-1]} of a state with {size} entries.",
            "Use an aggregate of this run.",
        )


def check_momentum(state: ModelState, outer: OuterSpec) -> None:
    """Raise StateError `state-size` unless the state has a momentum exactly where the run has one."""
    momentum = state.momentum
    if (momentum is not None) == outer.has_momentum and (momentum is None or momentum.shape == state.values.shape):
        return
    raise StateError(
        "state-size",
        f"The state has {0 if momentum is None else momentum.size} entries of momentum, the run needs "
        f"{state.values.size if outer.has_momentum else 0}.",
        "Use the state of the run whose model this is.",
    )


def remainder_type(outer: OuterSpec) -> type[np.signedinteger]:
    """Return the smallest signed integer type that holds +-momentum_denominator / 2."""
    half = outer.momentum_denominator // 2
    return next(kind for kind in (np.int8, np.int16, np.int32) if half <= np.iinfo(kind).max)


def _step(velocity: NDArray[np.int32], delta: NDArray[np.int64], outer: OuterSpec) -> NDArray[np.int64]:
    """Return what is taken off the weights, int64, from the new momentum and the aggregate's change."""
    wide = velocity.astype(np.int64)
    return delta + _decay(wide, outer) if outer.nesterov else wide


def _decay(velocity: NDArray[np.int64], outer: OuterSpec) -> NDArray[np.int64]:
    """Return round(mu * v), half away from zero."""
    doubled = np.abs(velocity) * (2 * outer.momentum_numerator)
    size = (doubled + outer.momentum_denominator) // (2 * outer.momentum_denominator)
    return np.where(velocity < 0, -size, size)


def _blocks(
    size: int, places: NDArray[np.int64], amounts: NDArray[np.int32] | NDArray[np.int64]
) -> Iterator[tuple[slice, NDArray[np.int64]]]:
    """Yield each block of a vector as a slice, and the sparse vector's int64 values in it, 0 where it has none.

    In blocks the int64 intermediates stay in cache, and need no memory to speak of.
    """
    edges = np.searchsorted(places, np.arange(0, size + _BLOCK, _BLOCK))
    for block, start in enumerate(range(0, size, _BLOCK)):
        part = slice(start, min(start + _BLOCK, size))
        dense = np.zeros(part.stop - start, dtype=np.int64)
        here = slice(edges[block], edges[block + 1])
        dense[places[here] - start] = amounts[here]
        yield part, dense


def _write(
    target: NDArray[np.int32], where: slice | NDArray[np.int64], wanted: NDArray[np.int64], low: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Store int64 values clipped to [low, 2^31 - 1]; return the positions that saturated and what was clipped off."""
    clipped = np.clip(wanted, low, INT32_MAX)
    target[where] = clipped
    over = np.flatnonzero(wanted != clipped)
    places = over + where.start if isinstance(where, slice) else where[over]
    return places, wanted[over] - clipped[over]


def _joined(parts: list[tuple[NDArray[np.int64], NDArray[np.int64]]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])


def _nothing() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)


def _as_int32(values: NDArray[np.int64]) -> NDArray[np.int32]:
    if values.size and (values.min() < INT32_MIN or values.max() > INT32_MAX):
        raise _unfit()
    return values.astype(np.int32)


def _unfit() -> StateError:
    return StateError(
        "undo-unfit",
        "What is kept to take the last aggregate back does not fit the state.",
        "Replay the state from the last checkpoint or from the start.",
    )
