"""The last outer step as a node keeps it on disk, so that it can be taken back after a restart too."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.errors import StateError
from emerit.protocol.manifest import OuterSpec
from emerit.training.outer import Lost, outer_step, undo_step
from emerit.training.state import ModelState
from emerit.training.storage import corrupt, read_tensors, write_tensors

_FORMAT = "emerit-last-step-1"
_KINDS = {
    "positions": np.int64,
    "deltas": np.int32,
    "weight_places": np.int64,
    "weight_excess": np.int64,
    "momentum_places": np.int64,
    "momentum_excess": np.int64,
}
_PLACES = ("positions", "weight_places", "momentum_places")
_AMOUNTS = ("deltas", "weight_excess", "momentum_excess")


@dataclass(frozen=True, eq=False)
class LastStep:
    """An aggregate (positions int64[n], deltas int32[n]) that was applied, what that lost, and the roots around it."""

    root_before: bytes
    root_after: bytes
    positions: NDArray[np.int64]
    deltas: NDArray[np.int32]
    lost: Lost

    @classmethod
    def take(
        cls,
        state: ModelState,
        positions: NDArray[np.int64],
        deltas: NDArray[np.int32],
        outer: OuterSpec,
        table_hash: bytes,
        root_before: bytes,
    ) -> tuple[ModelState, LastStep]:
        """Make an outer step; return the state after it, and the record that takes it back."""
        after, lost = outer_step(state, positions, deltas, outer)
        return after, cls(root_before, after.root(table_hash), positions, deltas, lost)

    def taken_back(self, state: ModelState, outer: OuterSpec, table_hash: bytes) -> ModelState:
        """Return the state before this step from the one after it.

        Raises StateError `undo-unfit` unless the result has the root of the state before.
        """
        before = undo_step(state, self.positions, self.deltas, self.lost, outer)
        if before.root(table_hash) != self.root_before:
            raise StateError(
                "undo-unfit",
                "What is kept to take the last aggregate back does not fit the state.",
                "Replay the state from the last checkpoint or from the start.",
            )
        return before

    def save(self, path: Path) -> None:
        """Write the record to `path`, replacing the old file atomically."""
        tensors: dict[str, NDArray[Any]] = {"positions": self.positions, "deltas": self.deltas}
        tensors |= {name: getattr(self.lost, name) for name in _KINDS if hasattr(self.lost, name)}
        if self.lost.remainders is not None:
            tensors["remainders"] = self.lost.remainders
        roots = {"before": self.root_before.hex(), "after": self.root_after.hex()}
        write_tensors(path, tensors, {"format": _FORMAT, **roots})

    @classmethod
    def load(cls, path: Path) -> LastStep | None:
        """Read what `save` wrote, None if there is no such file; whether it fits a state shows when it is used.

        Raises StateError `state-corrupt` if the file is damaged.
        """
        if not path.exists():
            return None
        tensors, metadata = read_tensors(path)
        remainders = tensors.pop("remainders", None)
        kinds = {name: tensor.dtype for name, tensor in tensors.items() if tensor.ndim == 1}
        if metadata.get("format") != _FORMAT or kinds != _KINDS:
            raise corrupt(path, "it is not a saved step")
        for places, amounts in zip(_PLACES, _AMOUNTS, strict=True):
            if len(tensors[places]) != len(tensors[amounts]) or np.any(np.diff(tensors[places]) <= 0):
                raise corrupt(path, "its positions do not increase")
        if remainders is not None and remainders.dtype not in (np.int8, np.int16, np.int32):
            raise corrupt(path, "its remainders are not small integers")
        try:
            roots = bytes.fromhex(metadata["before"]), bytes.fromhex(metadata["after"])
        except (KeyError, ValueError) as error:
            raise corrupt(path, "its description is damaged") from error
        positions, deltas = tensors.pop("positions"), tensors.pop("deltas")
        return cls(*roots, positions, deltas, Lost(**tensors, remainders=remainders))
