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
    """The state at the start of round `round_index`, with its root; `values` is int32[P].

    So is `momentum`, in a run with an outer momentum; else it is None.
    """

    round_index: int
    values: NDArray[np.int32]
    root: bytes
    notes: Mapping[str, str] = field(default_factory=dict)
    momentum: NDArray[np.int32] | None = None

    @classmethod
    def of(
        cls,
        spec: ModelSpec,
        round_index: int,
        values: NDArray[np.int32],
        notes: Mapping[str, str] | None = None,
        momentum: NDArray[np.int32] | None = None,
    ) -> LocalState:
        """Build the local state of a model and compute its root; raises StateError `state-size`."""
        check_size(values, parameter_count(spec))
        if momentum is not None:
            check_size(momentum, parameter_count(spec))
        root = state_root(values, table_hash(spec), momentum)
        return cls(round_index, values, root, dict(notes or {}), momentum)

    def save(self, path: Path) -> None:
        """Write the state to `path`, replacing the old file atomically."""
        metadata = {
            "format": _FORMAT,
            "round": str(self.round_index),
            "root": self.root.hex(),
            "notes": json.dumps(dict(self.notes), sort_keys=True),
        }
        tensors = {"values": self.values}
        if self.momentum is not None:
            tensors["momentum"] = self.momentum
        write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: Path, spec: ModelSpec) -> LocalState:
        """Read a state and verify its root.

        Raises:
            StateError: `state-corrupt` if the file is missing, damaged or of another model, or its root does not
                match its values.
        """
        tensors, metadata = read_tensors(path)
        if metadata.get("format") != _FORMAT or set(tensors) - {"momentum"} != {"values"}:
            raise corrupt(path, "it is not a saved state")
        if any(each.dtype != np.int32 or each.shape != (parameter_count(spec),) for each in tensors.values()):
            raise corrupt(path, "it belongs to another model")
        values, momentum = tensors["values"], tensors.get("momentum")
        root = state_root(values, table_hash(spec), momentum)
        if metadata.get("root") != root.hex():
            raise corrupt(path, "its values do not match its root")
        try:
            return cls(int(metadata["round"]), values, root, json.loads(metadata["notes"]), momentum)
        except (KeyError, ValueError) as error:
            raise corrupt(path, "its description is damaged") from error


def named_tensors(spec: ModelSpec, flat: NDArray[Number]) -> dict[str, NDArray[Number]]:
    """Cut a flat vector [P] into the named, shaped tensors of the table (views, no copies)."""
    tensors, offset = {}, 0
    for entry in tensor_table(spec):
        tensors[entry.name] = flat[offset : offset + entry.size].reshape(entry.shape)
        offset += entry.size
    return tensors
