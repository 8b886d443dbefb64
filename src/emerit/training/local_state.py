"""A node's copy of the shared state on disk, and the export of a model for everybody else."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec
from emerit.training.state import check_size, state_root, to_float
from emerit.training.storage import corrupt, read_tensors, replace_file, write_tensors

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


def named_tensors(spec: ModelSpec, flat: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
    """Cut float32[P] into the named, shaped tensors of the table (views, no copies)."""
    tensors, offset = {}, 0
    for entry in tensor_table(spec):
        tensors[entry.name] = flat[offset : offset + entry.size].reshape(entry.shape)
        offset += entry.size
    return tensors


def export_safetensors(
    path: Path,
    spec: ModelSpec,
    values: NDArray[np.int32],
    metadata: Mapping[str, str],
    momentum: NDArray[np.int32] | None = None,
) -> tuple[Path, Path]:
    """Write the float model to `path` and its configuration to the same name with `.json`.

    The outer momentum, of a run that has one, is not written; the state root covers it. Returns both paths.
    Raises StateError `state-size` if the values are not the model's.
    """
    check_size(values, parameter_count(spec))
    root = state_root(values, table_hash(spec), momentum)
    described = {**metadata, "format": "pt", "state_root": root.hex()}
    write_tensors(path, named_tensors(spec, to_float(values)), described)
    config_path = path.with_suffix(".json")
    config = {"model": dataclasses.asdict(spec), "metadata": described}
    replace_file(config_path, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())
    return path, config_path
