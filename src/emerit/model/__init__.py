"""The model: its tensor table, the transformer itself, and the flat view that updates are applied to."""

from __future__ import annotations

from emerit.model.flat import FlatModel, flat_parameters, load_flat
from emerit.model.gpt import Gpt
from emerit.model.table import TensorEntry, hidden_width, parameter_count, table_hash, tensor_table

__all__ = [
    "FlatModel",
    "Gpt",
    "TensorEntry",
    "flat_parameters",
    "hidden_width",
    "load_flat",
    "parameter_count",
    "table_hash",
    "tensor_table",
]
