"""A checkpoint: the whole state as a canonical safetensors file, alike at every node that has the state.

Every byte of the file follows from the model, the number of settled rounds and the state, so all validators publish one
CID, and a reader knows the length and the header before it has seen the file. What it takes from a stranger are the
values alone, and those must have the root that the settled header names.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.errors import RefusedError
from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec
from emerit.training.local_state import named_tensors
from emerit.training.state import check_size, state_root
from emerit.training.storage import canonical_header, tensor_bytes

FORMAT: Final = "emerit-checkpoint-1"


def checkpoint_bytes(spec: ModelSpec, values: NDArray[np.int32], settled: int, root: bytes) -> bytes:
    """Return the checkpoint of the state int32[P] after `settled` settled rounds: int32 tensors by name.

    Raises StateError `state-size` for a state of another model.
    """
    check_size(values, parameter_count(spec))
    return tensor_bytes(named_tensors(spec, values), _metadata(settled, root))


def checkpoint_size(spec: ModelSpec, settled: int) -> int:
    """Return the length of that checkpoint in bytes."""
    return len(_header(spec, settled, bytes(32))) + 4 * parameter_count(spec)


def read_checkpoint(spec: ModelSpec, data: bytes, settled: int, root: bytes) -> NDArray[np.int32]:
    """Return the state int32[P] with this root, after `settled` settled rounds, from its checkpoint.

    Raises:
        RefusedError: `checkpoint-invalid` for any other bytes than `checkpoint_bytes` gives for that state.
    """
    header = _header(spec, settled, root)
    if len(data) != len(header) + 4 * parameter_count(spec) or not data.startswith(header):
        raise _invalid("It has another length or header than the checkpoint of that state.")
    values = np.frombuffer(data, dtype="<i4", offset=len(header)).astype(np.int32)
    if state_root(values, table_hash(spec)) != root:
        raise _invalid("Its values do not have the root that was settled.")
    return values


def _header(spec: ModelSpec, settled: int, root: bytes) -> bytes:
    shapes = {entry.name: ("int32", entry.shape) for entry in tensor_table(spec)}
    return canonical_header(shapes, _metadata(settled, root))


def _metadata(settled: int, root: bytes) -> dict[str, str]:
    return {"format": FORMAT, "settled_rounds": str(settled), "state_root": root.hex()}


def _invalid(cause: str) -> RefusedError:
    return RefusedError("checkpoint-invalid", cause, "Whoever named it lies; take another one.")
