"""Compute every root of state_roots.json and state_transition.json anew, in a process of its own; print them as JSON.

Usage: python roots_program.py FOLDER THREADS. The processor's instruction set is chosen by the caller through
ATEN_CPU_CAPABILITY and MKL_ENABLE_INSTRUCTIONS.
"""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emerit.codec.update import SparseUpdate
from emerit.model import table_hash
from emerit.protocol.manifest import OuterSpec
from emerit.protocol.presets import preset
from emerit.training import (
    ModelState,
    TorchState,
    aggregate,
    aggregate_torch,
    apply_aggregate,
    apply_aggregate_torch,
    initial_state,
    initial_values,
    outer_step,
    outer_step_torch,
    state_root,
    state_root_torch,
    undo_step,
    undo_step_torch,
)

FIELDS = tuple(field.name for field in fields(OuterSpec))


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


def unhex(text: str) -> bytes:
    """Return the bytes of hex with 0x."""
    return bytes.fromhex(text.removeprefix("0x"))


def outer_of(case: dict[str, Any]) -> OuterSpec:
    """Return the case's outer step; JSON has the names as the contracts spell names."""
    names = {"".join(part if not n else part.capitalize() for n, part in enumerate(f.split("_"))): f for f in FIELDS}
    return OuterSpec(**{names[key]: value for key, value in case["outer"].items()})


def start_of(case: dict[str, Any], outer: OuterSpec) -> ModelState:
    """Return the case's first state."""
    start = case["start"]
    if "seed" in start:
        return initial_state(preset(start["preset"]).model, unhex(start["seed"]), outer)
    momentum = None if start["momentum"] is None else np.array(start["momentum"], dtype=np.int32)
    return ModelState(np.array(start["values"], dtype=np.int32), momentum)


def sent_updates(case: dict[str, Any], entry: dict[str, Any], size: int) -> list[SparseUpdate]:
    """Build a round's updates."""
    return [
        SparseUpdate(
            size,
            case["chunk"],
            case["k"],
            np.array(update["indices"], dtype=np.int64),
            np.array(update["levels"], dtype=np.int8),
            np.array(update["scales"], dtype=np.uint16),
        )
        for update in entry["updates"]
    ]


def transition_roots(case: dict[str, Any], device: str = "cpu") -> list[str]:
    """Return the roots of a case there and back, each by both implementations."""
    outer, table = outer_of(case), unhex(case["tableHash"])
    state = start_of(case, outer)
    momentum = None if state.momentum is None else torch.tensor(state.momentum, device=device)
    other = TorchState(torch.tensor(state.values, device=device), momentum)
    roots = [state.root(table), state_root_torch(other, table)]
    done = []
    for entry in case["rounds"]:
        updates = sent_updates(case, entry, state.values.size)
        step, step_torch = aggregate(updates, outer), aggregate_torch(updates, outer, device)
        step_torch = (step_torch[0].to(device), step_torch[1].to(device))
        state, lost = outer_step(state, *step, outer)
        other, lost_torch = outer_step_torch(other, *step_torch, outer)
        done.append((step, lost, step_torch, lost_torch))
        roots += [state.root(table), state_root_torch(other, table)]
    for step, lost, step_torch, lost_torch in reversed(done):
        state = undo_step(state, *step, lost, outer)
        other = undo_step_torch(other, *step_torch, lost_torch, outer)
        roots += [state.root(table), state_root_torch(other, table)]
    return ["0x" + root.hex() for root in roots]


def main(folder: Path, threads: int) -> None:
    """Print the roots of both files."""
    torch.set_num_threads(threads)
    found = {"state_roots": roots_of(json.loads((folder / "state_roots.json").read_text()))}
    cases = json.loads((folder / "state_transition.json").read_text())["cases"]
    found |= {case["name"]: transition_roots(case) for case in cases}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
