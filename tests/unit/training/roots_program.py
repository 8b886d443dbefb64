"""Compute every root of tests/vectors/state_roots.json anew, in a process of its own, and print them as JSON.

Usage: python roots_program.py VECTORS THREADS. The processor's instruction set is chosen by the caller through
ATEN_CPU_CAPABILITY.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emerit.codec.update import SparseUpdate
from emerit.model import table_hash
from emerit.protocol.manifest import OuterSpec
from emerit.protocol.presets import preset
from emerit.training import (
    aggregate,
    aggregate_torch,
    apply_aggregate,
    apply_aggregate_torch,
    initial_values,
    state_root,
)


def updates_of(case: dict[str, Any], size: int) -> list[SparseUpdate]:
    """Build the case's updates for a state of `size` entries."""
    return [
        SparseUpdate(
            size,
            case["chunk"],
            case["k"],
            np.cumsum(update["index_gaps"], dtype=np.int64),
            np.array([1 if sign == "+" else -1 for sign in update["signs"]], dtype=np.int8),
            np.array(update["scales"], dtype=np.uint16),
        )
        for update in case["updates"]
    ]


def roots_of(vectors: dict[str, Any]) -> list[str]:
    """Return all roots in the order of the file, each state transition by both implementations."""
    roots = []
    for case in vectors["states"]:
        spec = preset(case["preset"]).model
        values = initial_values(spec, bytes.fromhex(case["seed"]))
        roots.append(state_root(values, table_hash(spec)).hex())
    for case in vectors["transitions"]:
        spec = preset(case["preset"]).model
        values = initial_values(spec, bytes.fromhex(case["seed"]))
        updates = updates_of(case, values.size)
        outer = OuterSpec(**case["outer"])
        moved = apply_aggregate(values, *aggregate(updates, outer))
        roots.append(state_root(moved, table_hash(spec)).hex())
        moved_torch = apply_aggregate_torch(torch.tensor(values), *aggregate_torch(updates, outer))
        roots.append(state_root(moved_torch.numpy(), table_hash(spec)).hex())
    return roots


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(roots_of(json.loads(Path(sys.argv[1]).read_text()))))
