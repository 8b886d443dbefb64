"""Measuring on several devices: each takes whole contributions, so the figures are those of one device.

Rank 0 has contributions, text and state; the other ranks get what they need from it, a state once a round, as plain
tensors. Every rank computes the losses before a step itself, so that what is paired comes from one device. No sum is
split over ranks: on equal devices the figures are those of one process to the bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from emerit.codec.update import SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import StateError
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import Manifest, OuterSpec, ScoringSpec
from emerit.scoring.basis import FIGURES, figures_of, measurement_of
from emerit.scoring.evaluate import OneDevice, Step, Trial
from emerit.scoring.measurement import Measurement
from emerit.training.distributed import Act, Order, Ranks, told_when_lost

# Of a trial: its slot, the shape of its update, how many entries and chunks that has, the shape of the own sequences.
_HEAD: Final = 8
_NOBODY: Final = -1


class ManyDevices:
    """Rank 0's bench: as many contributions at once as there are ranks, one on each."""

    def __init__(self, model: FlatModel, scoring: ScoringSpec, outer: OuterSpec, ranks: Ranks) -> None:
        """`model` is on this rank's device and holds the state when a round begins; see `OneDevice`."""
        self._model = model
        self._ranks = ranks
        self._own = OneDevice(model, scoring, outer)
        self._token_bytes = 1

    @property
    def width(self) -> int:
        """One contribution for each rank."""
        return self._ranks.place.size

    def begin(
        self, random_tokens: Tokens, common: Step | None, base_losses: NDArray[np.float64] | None = None
    ) -> NDArray[np.float64]:
        """Give every rank the state, the random sequences and the common step; see `Bench.begin`.

        Raises:
            StateError: `ranks-lost`, when another rank ended or did not answer in time.
        """
        rows, columns = random_tokens.shape
        self._token_bytes = random_tokens.dtype.itemsize
        with told_when_lost():
            self._ranks.order(Order(Act.LOAD, self._token_bytes, rows, columns))
            dist.broadcast(self._model.flat, 0)
            _broadcast_bytes(self._ranks, random_tokens.tobytes())
            _broadcast_step(self._ranks, common)
        return self._own.begin(random_tokens, common, base_losses)

    def measure(self, trials: Sequence[Trial]) -> list[Measurement]:
        """Measure one contribution on each rank; see `Bench.measure`. Raises as `begin`."""
        heads, data = packed(trials, self.width)
        with told_when_lost():
            self._ranks.order(Order(Act.MEASURE, 0, len(data)))
            dist.broadcast(torch.from_numpy(heads).to(self._ranks.device), 0)
            _broadcast_bytes(self._ranks, data)
            found = _gathered(self._ranks, self._own.measure(trials[:1]))
        return [measurement_of(trial.slot, found[rank]) for rank, trial in enumerate(trials)]


def follow(manifest: Manifest, ranks: Ranks) -> None:
    """Measure on this rank what rank 0's `ManyDevices` gives it, until it says that there is no more.

    Raises:
        StateError: `ranks-lost`: another rank ended or did not answer in the middle of something.
        UnavailableError: `leader-lost`: rank 0 is gone.
    """
    model = FlatModel(manifest.model, device=str(ranks.device))
    bench = OneDevice(model, manifest.scoring, manifest.outer)
    token_bytes = 1
    while (order := ranks.next_order()).act is not Act.QUIT:
        with told_when_lost():
            if order.act is Act.LOAD:
                token_bytes = order.steps
                dist.broadcast(model.flat, 0)
                data = _received_bytes(ranks, order.rows * order.columns * token_bytes)
                bench.begin(_tokens(data, order.columns, token_bytes), _received_step(ranks))
            elif order.act is Act.MEASURE:
                heads = torch.zeros(ranks.place.size, _HEAD, dtype=torch.int64, device=ranks.device)
                dist.broadcast(heads, 0)
                data = _received_bytes(ranks, order.rows)
                trial = unpacked(heads.cpu().numpy(), data, ranks.place.rank, token_bytes)
                _gathered(ranks, [] if trial is None else bench.measure([trial]))
            else:
                raise StateError("ranks-lost", f"Rank 0 asked a validator to {order.act.name}.", "Report this.")


def packed(trials: Sequence[Trial], width: int) -> tuple[NDArray[np.int64], bytes]:
    """Return what `unpacked` reads: int64[width, 8], a row for each rank, and the bytes of all trials in a row.

    The row of a rank without a trial begins with -1.
    """
    heads = np.full((width, _HEAD), _NOBODY, dtype=np.int64)
    parts: list[bytes] = []
    for rank, trial in enumerate(trials):
        update, own = trial.update, trial.own_tokens
        heads[rank] = (
            *(trial.slot, update.size, update.chunk, update.k),
            *(len(update.indices), len(update.scales), *own.shape),
        )
        parts += [part.tobytes() for part in (update.indices, update.levels, update.scales, own)]
    return heads, b"".join(parts)


def unpacked(heads: NDArray[np.int64], data: bytes, rank: int, token_bytes: int) -> Trial | None:
    """Return the trial of a rank from what `packed` wrote, None where it has none."""
    if heads[rank, 0] == _NOBODY:
        return None
    offset = sum(_length(row, token_bytes) for row in heads[:rank])
    slot, size, chunk, k, entries, chunks, rows, columns = map(int, heads[rank])

    def take(dtype: str, count: int) -> NDArray[np.generic]:
        nonlocal offset
        found = np.frombuffer(data, dtype=dtype, count=count, offset=offset)
        offset += found.nbytes
        return found.copy()

    indices, levels, scales = take("int64", entries), take("int8", entries), take("uint16", chunks)
    update = SparseUpdate(size, chunk, k, indices, levels, scales)  # type: ignore[arg-type]
    own = data[offset : offset + rows * columns * token_bytes]
    return Trial(slot, update, _tokens(own, columns, token_bytes))


def _length(row: NDArray[np.int64], token_bytes: int) -> int:
    """Bytes of one trial: 8 for a position, 1 for a level, 2 for a scale, and the tokens."""
    entries, chunks, rows, columns = map(int, row[4:])
    return 9 * entries + 2 * chunks + rows * columns * token_bytes


def _tokens(data: bytes, columns: int, token_bytes: int) -> Tokens:
    flat: Tokens = np.frombuffer(data, dtype=np.uint8 if token_bytes == 1 else np.uint16)
    return flat.reshape(-1, columns).copy()


def _broadcast_bytes(ranks: Ranks, data: bytes) -> None:
    dist.broadcast(torch.frombuffer(bytearray(data), dtype=torch.uint8).to(ranks.device), 0)


def _received_bytes(ranks: Ranks, count: int) -> bytes:
    room = torch.empty(count, dtype=torch.uint8, device=ranks.device)
    dist.broadcast(room, 0)
    return room.cpu().numpy().tobytes()


def _broadcast_step(ranks: Ranks, step: Step | None) -> None:
    count = _NOBODY if step is None else len(step[0])
    dist.broadcast(torch.tensor([count], dtype=torch.int64, device=ranks.device), 0)
    if step is not None and count:
        for part in step:
            dist.broadcast(torch.from_numpy(part).to(ranks.device), 0)


def _received_step(ranks: Ranks) -> Step | None:
    head = torch.zeros(1, dtype=torch.int64, device=ranks.device)
    dist.broadcast(head, 0)
    count = int(head)
    if count == _NOBODY:
        return None
    places = torch.zeros(count, dtype=torch.int64, device=ranks.device)
    change = torch.zeros(count, dtype=torch.float64, device=ranks.device)
    if count:
        dist.broadcast(places, 0)
        dist.broadcast(change, 0)
    return places.cpu().numpy(), change.cpu().numpy()


def _gathered(ranks: Ranks, own: Sequence[Measurement]) -> list[list[float | None]]:
    """Return the figures of every rank, each giving its own; None where there is none, and of who measured nothing."""
    figures: list[float | None] = figures_of(own[0]) if own else [None] * FIGURES
    rows = [[0.0 if each is None else each for each in figures], [float(each is not None) for each in figures]]
    mine = torch.tensor(rows, dtype=torch.float64, device=ranks.device)
    room: list[Tensor] = [torch.empty_like(mine) for _ in range(ranks.place.size)]
    dist.all_gather(room, mine)
    return [[value if there else None for value, there in zip(*part.tolist(), strict=True)] for part in room]
