"""Vectors of the state transition: aggregate, outer step with and without momentum, roots, and the way back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from vector_tools import camel, digest, hexed, number

from emerit.codec.update import SparseUpdate, kept_per_chunk
from emerit.model.table import table_hash
from emerit.protocol.manifest import OuterSpec
from emerit.protocol.presets import preset
from emerit.training import ModelState, aggregate, initial_state, outer_step

_LOW, _HIGH = -(1 << 31), (1 << 31) - 1
_SMALL, _CHUNK, _K = 40, 16, 4
_EDGES: Final = (_LOW, _LOW + 1, -15, -6, -5, -1, 0, 1, 4, 5, 15, _HIGH - 1, _HIGH)
_LARGEST_CODE: Final = 0xFFFE


def make_update(label: int, size: int, chunk: int, k: int, codes: tuple[int, int]) -> dict[str, list[int]]:
    """Return the parts of an update that never changes, its scales within `codes`, every seventh of them 0."""
    kept = kept_per_chunk(size, chunk, k)
    low, high = codes
    indices: list[int] = []
    levels: list[int] = []
    scales: list[int] = []
    for place, count in enumerate(kept.tolist()):
        length = min(chunk, size - place * chunk)
        silent = number(7, label, place, 1) == 0
        scales.append(0 if silent else low + number(high - low + 1, label, place, 2))
        order = sorted(range(length), key=lambda at: digest(label, place, at, 3))
        offsets = list(range(count)) if silent else sorted(order[:count])
        indices += [place * chunk + offset for offset in offsets]
        levels += [1 if silent or number(2, label, place, offset, 4) else -1 for offset in offsets]
    return {"indices": indices, "levels": levels, "scales": scales}


def _built(sent: dict[str, list[int]], size: int, chunk: int, k: int) -> SparseUpdate:
    return SparseUpdate(
        size,
        chunk,
        k,
        np.array(sent["indices"], dtype=np.int64),
        np.array(sent["levels"], dtype=np.int8),
        np.array(sent["scales"], dtype=np.uint16),
    )


def _small_state(label: int, outer: OuterSpec) -> ModelState:
    """Return a state with all edges among its weights and momenta."""
    values = [_EDGES[number(len(_EDGES), label, place, 5)] for place in range(_SMALL)]
    momentum = [max(-_HIGH, _EDGES[number(len(_EDGES), label, place, 6)]) for place in range(_SMALL)]
    return ModelState(
        np.array(values, dtype=np.int32), np.array(momentum, dtype=np.int32) if outer.has_momentum else None
    )


def _arrays(state: ModelState) -> dict[str, Any]:
    momentum = None if state.momentum is None else state.momentum.tolist()
    return {"values": state.values.tolist(), "momentum": momentum}


def _case(
    label: int, name: str, outer: OuterSpec, state: ModelState, table: bytes, senders: Sequence[int], small: bool
) -> dict[str, Any]:
    """Play one round for each number of `senders`."""
    chunk, k = (_CHUNK, _K) if small else (2048, 8)
    codes = (1, _LARGEST_CODE) if small else (16_000, 28_000)
    rounds = []
    made: dict[str, Any] = {"root": hexed(state.root(table))} | (_arrays(state) if small else {})
    for round_number, count in enumerate(senders):
        size = state.values.size
        sent = [make_update(1000 * label + 20 * round_number + at, size, chunk, k, codes) for at in range(count)]
        positions, deltas = aggregate([_built(each, size, chunk, k) for each in sent], outer)
        state, _ = outer_step(state, positions, deltas, outer)
        entry: dict[str, Any] = {"updates": sent, "root": hexed(state.root(table))}
        if small:
            entry |= {"positions": positions.tolist(), "deltas": deltas.tolist()} | _arrays(state)
        rounds.append(entry)
    settings = {camel(key): value for key, value in asdict(outer).items()}
    return {
        "name": name,
        "chunk": chunk,
        "k": k,
        "outer": settings,
        "tableHash": hexed(table),
        "start": made,
        "rounds": rounds,
    }


def transition_vectors() -> dict[str, Any]:
    """Small states at every bound, with all arrays; and one whole model from its seed, with roots alone."""
    outers = {
        "plain": OuterSpec(3, 2, 2, 16),
        "momentum": OuterSpec(1, 1, 1, 16, 1, 2, False),
        "nesterov": OuterSpec(7, 10, 2, 16, 9, 10, True),
        "slow": OuterSpec(1, 1, 1, 16, 65_535, 65_536, True),
    }
    cases = [
        _case(label, name, outer, _small_state(label, outer), digest(60, label), (3, 1, 0, 4), small=True)
        for label, (name, outer) in enumerate(outers.items())
    ]
    spec, seed, outer = preset("tiny").model, digest(61), outers["nesterov"]
    model = _case(9, "model", outer, initial_state(spec, seed, outer), table_hash(spec), (3, 0, 2), small=False)
    model["start"] |= {"preset": "tiny", "seed": hexed(seed)}
    return {"cases": [*cases, model]}
