"""The tensor table: which tensors a model has, in which order they lie in the flat parameter vector.

Everything that must agree between strangers (state roots, updates, aggregates) speaks of positions in one
flat vector. The table fixes that vector: tensors sorted by name, each in row-major order.
"""

from __future__ import annotations

import hashlib

from emerit.model.architecture import TensorEntry, checked_tensors, hidden_width
from emerit.protocol.manifest import ModelSpec

__all__ = ["TensorEntry", "hidden_width", "parameter_count", "table_hash", "tensor_table"]

_TABLE_DOMAIN = "emerit/table/v1"


def tensor_table(spec: ModelSpec) -> tuple[TensorEntry, ...]:
    """Return all tensors of the model sorted by name; raises as `emerit.model.architecture.checked_tensors`."""
    return checked_tensors(spec)


def parameter_count(spec: ModelSpec) -> int:
    """Return P, the number of entries of the flat parameter vector."""
    return sum(entry.size for entry in tensor_table(spec))


def table_hash(spec: ModelSpec) -> bytes:
    """Return the 32-byte SHA-256 of the canonical table.

    The preimage is ASCII text: the line `emerit/table/v1`, then a line `<name> <dim>x<dim>` per tensor in
    order, joined by line feeds.
    """
    lines = [f"{entry.name} {'x'.join(map(str, entry.shape))}" for entry in tensor_table(spec)]
    return hashlib.sha256("\n".join([_TABLE_DOMAIN, *lines]).encode("ascii")).digest()
