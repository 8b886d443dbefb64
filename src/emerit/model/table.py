"""The tensor table: which tensors a model has, in which order they lie in the flat parameter vector.

Everything that must agree between strangers (state roots, updates, aggregates) speaks of positions in one
flat vector. The table fixes that vector: tensors sorted by name, each in row-major order.
"""

from __future__ import annotations

import hashlib
import math
from typing import NamedTuple

from emerit.protocol.manifest import ModelSpec

_TABLE_DOMAIN = "emerit/table/v1"
_WIDTH_STEP = 32


class TensorEntry(NamedTuple):
    """One tensor of the model: its dotted name and its shape."""

    name: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of entries of the tensor."""
        return math.prod(self.shape)


def hidden_width(spec: ModelSpec) -> int:
    """Return the width of the gated feed-forward layer: 8/3 of `d_model`, rounded up to a multiple of 32.

    Two thirds of the usual factor 4, because the gated layer has three matrices instead of two
    (Shazeer, "GLU variants improve transformer", arXiv 2002.05202).
    """
    return _WIDTH_STEP * -(-8 * spec.d_model // (3 * _WIDTH_STEP))


def tensor_table(spec: ModelSpec) -> tuple[TensorEntry, ...]:
    """Return all tensors of the model sorted by name; the tied embedding appears once."""
    width, hidden = spec.d_model, hidden_width(spec)
    entries = [TensorEntry("embedding", (spec.vocabulary, width)), TensorEntry("final_norm", (width,))]
    for layer in range(spec.layers):
        prefix = f"blocks.{layer}."
        entries += [
            TensorEntry(prefix + "attention_norm", (width,)),
            TensorEntry(prefix + "attention_in", (3 * width, width)),
            TensorEntry(prefix + "attention_out", (width, width)),
            TensorEntry(prefix + "mlp_norm", (width,)),
            TensorEntry(prefix + "mlp_in", (2 * hidden, width)),
            TensorEntry(prefix + "mlp_out", (width, hidden)),
        ]
    return tuple(sorted(entries))


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
