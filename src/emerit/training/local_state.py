"""A node's copy of the shared state on disk."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec
from emerit.training.state import check_size, state_root
from emerit.training.storage import corrupt, read_tensors, write_tensors

Number = TypeVar("Number", bound=np.generic)

_FORMAT = "emerit-state-1"


@dataclass(frozen=True)
class LocalState:
    """The state at the start of round `round_index`, with its root; `values` is int32[P]."""

    round_index: int
    values: NDArray[np.int32]
    root: bytes
    notes: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        round_index: int,
        values: NDArray[np.int32],
        notes: Mapping[str, str] | None = None,
    ) -> LocalState:
        """Build the local state of a model and compute its root; raises StateError `state-size`."""
        check_size(values, parameter_count(spec))
        return cls(round_index, values, state_root(values, table_hash(spec)), dict(notes or {}))

    def save(self, path: Path) -> None:
        """Write the state to `path`, replacing the old file atomically."""
        metadata = {
            "format": _FORMAT,
            "round": str(self.round_index),
            "root": self.root.hex(),
            "notes": json.dumps(dict(self.notes), sort_keys=True),
        }
        write_tensors(path, {"values": self.values}, metadata)

    @classmethod
    def load(cls, path: Path, spec: ModelSpec) -> LocalState:
        """Read a state and verify its root.

        Raises:
            StateError: `state-corrupt` if the file is missing, damaged or of another model, or its root does not
                match its values.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != _FORMAT or set(tensors) != {"values"}:
            raise corrupt(path, "it is not a saved state")
        values = tensors["values"]
        if values.dtype != np.int32 or values.shape != (parameter_count(spec),):
            raise corrupt(path, "it belongs to another model")
        root = state_root(values, table_hash(spec))
        if metadata.get("root") != root.hex():
            raise corrupt(path, "its values do not match its root")
        try:
            return cls(int(metadata["round"]), values, root, json.loads(metadata["notes"]))
        except (KeyError, ValueError) as error:
            raise corrupt(path, "its description is damaged") from error


def named_tensors(spec: ModelSpec, flat: NDArray[Number]) -> dict[str, NDArray[Number]]:
    """Cut a flat vector [P] into the named, shaped tensors of the table (views, no copies)."""
    tensors, offset = {}, 0
    for entry in tensor_table(spec):
        tensors[entry.name] = flat[offset : offset + entry.size].reshape(entry.shape)
        offset += entry.size
    return tensors
