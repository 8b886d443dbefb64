"""A checkpoint: the whole state as a canonical safetensors file, alike at every node that has the state.

Every byte of the file follows from the model, the number of settled rounds and the state, so all validators publish one
CID, and a reader knows the length and the header before it has seen the file. What it takes from a stranger are the
values, and of the outer momentum where the run has one; those must have the root that the settled header names.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from emerit.errors import RefusedError
from emerit.model.table import parameter_count, table_hash, tensor_table
from emerit.protocol.manifest import ModelSpec
from emerit.training.local_state import named_tensors
from emerit.training.state import ModelState, check_size
from emerit.training.storage import canonical_header, tensor_bytes

FORMAT: Final = "emerit-checkpoint-1"
_MOMENTUM: Final = "momentum."


def checkpoint_bytes(spec: ModelSpec, state: ModelState, settled: int, root: bytes) -> bytes:
    """Return the checkpoint of the state after `settled` settled rounds: int32 tensors by name, the weights' first.

    Raises StateError `state-size` for a state of another model.
    """
    tensors: dict[str, NDArray[np.int32]] = {}
    for prefix, vector in (("", state.values), (_MOMENTUM, state.momentum)):
        if vector is not None:
            check_size(vector, parameter_count(spec))
            tensors |= {prefix + name: tensor for name, tensor in named_tensors(spec, vector).items()}
    return tensor_bytes(tensors, _metadata(settled, root))


def checkpoint_size(spec: ModelSpec, has_momentum: bool, settled: int) -> int:
    """Return the length of that checkpoint in bytes."""
    return len(_header(spec, has_momentum, settled, bytes(32))) + _data_bytes(spec, has_momentum)


def read_checkpoint(spec: ModelSpec, has_momentum: bool, data: bytes, settled: int, root: bytes) -> ModelState:
    """Return the state with this root, after `settled` settled rounds, from its checkpoint.

    Raises:
        RefusedError: `checkpoint-invalid` for any other bytes than `checkpoint_bytes` gives for that state.
    """
    header = _header(spec, has_momentum, settled, root)
    if len(data) != len(header) + _data_bytes(spec, has_momentum) or not data.startswith(header):
        raise _invalid("It has another length or header than the checkpoint of that state.")
    vectors = np.frombuffer(data, dtype="<i4", offset=len(header)).astype(np.int32).reshape(-1, parameter_count(spec))
    state = ModelState(vectors[0], vectors[1] if has_momentum else None)
    if state.root(table_hash(spec)) != root:
        raise _invalid("Its values do not have the root that was settled.")
    return state


def _data_bytes(spec: ModelSpec, has_momentum: bool) -> int:
    return 4 * parameter_count(spec) * (2 if has_momentum else 1)


def _header(spec: ModelSpec, has_momentum: bool, settled: int, root: bytes) -> bytes:
    prefixes = ("", _MOMENTUM) if has_momentum else ("",)
    shapes = {prefix + entry.name: ("int32", entry.shape) for prefix in prefixes for entry in tensor_table(spec)}
    return canonical_header(shapes, _metadata(settled, root))


def _metadata(settled: int, root: bytes) -> dict[str, str]:
    return {"format": FORMAT, "settled_rounds": str(settled), "state_root": root.hex()}


def _invalid(cause: str) -> RefusedError:
    return RefusedError("checkpoint-invalid", cause, "Whoever named it lies; take another one.")
