"""What a trainer has done beyond the settled state, where rounds overlap; it survives a restart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emerit.training.storage import corrupt, read_tensors, write_tensors

_FORMAT = "emerit-ahead-1"


@dataclass(frozen=True, eq=False)
class RoundDelta:
    """A round's pseudo-gradient float32[P] before error feedback, and the seed that assigned its sequences."""

    round: int
    seed: bytes
    delta: NDArray[np.float32]


class WorkAhead:
    """The work `done` for a round that has not opened, and what is `in_flight`: sent, and not settled.

    See `emerit.run.work` for how they are used.
    """

    def __init__(self) -> None:
        self.done: RoundDelta | None = None
        self.in_flight: RoundDelta | None = None

    def has(self, round_index: int, seed: bytes) -> bool:
        """Whether the work of this round, with these sequences, is done."""
        return self.done is not None and (self.done.round, self.done.seed) == (round_index, seed)

    def take(self, round_index: int, seed: bytes) -> NDArray[np.float32] | None:
        """Return the delta float32[P] done for this round's sequences and forget it; None if there is none."""
        found = self.done if self.has(round_index, seed) else None
        self.done = None
        return None if found is None else found.delta

    def progress(self, round_index: int) -> NDArray[np.float32] | None:
        """Return the delta float32[P] of the round before, if that is in flight."""
        sent = self.in_flight
        return sent.delta if sent is not None and sent.round == round_index - 1 else None

    def save(self, path: Path) -> None:
        """Write both to `path`, replacing the old file atomically."""
        tensors, metadata = {}, {"format": _FORMAT}
        for name, work in (("done", self.done), ("in_flight", self.in_flight)):
            if work is not None:
                tensors[name] = work.delta
                metadata |= {f"{name}_round": str(work.round), f"{name}_seed": work.seed.hex()}
        write_tensors(path, tensors, metadata)

    def load(self, path: Path, size: int) -> bool:
        """Take over what `save` wrote for a model of `size` entries; False, and nothing changed, without a file.

        Raises:
            StateError: `state-corrupt` if the file is damaged, of another model, or holds non-finite values.
        """
        if not path.exists():
            return False
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != _FORMAT or not set(tensors) <= {"done", "in_flight"}:
            raise corrupt(path, "it is not saved work")
        found: dict[str, RoundDelta] = {}
        for name, delta in tensors.items():
            if delta.dtype != np.float32 or delta.shape != (size,) or not np.isfinite(delta).all():
                raise corrupt(path, "it belongs to another model or holds values that are not finite")
            try:
                round_index, seed = int(metadata[f"{name}_round"]), bytes.fromhex(metadata[f"{name}_seed"])
            except (KeyError, ValueError) as error:
                raise corrupt(path, "its description is damaged") from error
            found[name] = RoundDelta(round_index, seed, delta)
        self.done, self.in_flight = found.get("done"), found.get("in_flight")
        return True
