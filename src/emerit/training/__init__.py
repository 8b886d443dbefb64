"""Training: the integer state and its root, a trainer's inner loop, error feedback, the shared aggregate."""

from __future__ import annotations

from emerit.training.aggregate import (
    aggregate,
    aggregate_torch,
    apply_aggregate,
    apply_aggregate_torch,
    clip_scales,
)
from emerit.training.ahead import RoundDelta, WorkAhead
from emerit.training.inner import ErrorFeedback, InnerResult, InnerTrainer, usage_order
from emerit.training.local_state import LocalState, named_tensors
from emerit.training.model_file import ModelFile, read_model, write_model
from emerit.training.optimiser import learning_rate
from emerit.training.outer import Lost, outer_step, undo_step
from emerit.training.outer_torch import TorchLost, TorchState, outer_step_torch, state_root_torch, undo_step_torch
from emerit.training.state import (
    ModelState,
    initial_state,
    initial_values,
    root_with_momentum,
    state_root,
    to_float,
)
from emerit.training.state_proof import state_chunk, state_proof, verify_state_chunk
from emerit.training.threads import single_thread

__all__ = [
    "ErrorFeedback",
    "InnerResult",
    "InnerTrainer",
    "LocalState",
    "Lost",
    "ModelFile",
    "ModelState",
    "RoundDelta",
    "TorchLost",
    "TorchState",
    "WorkAhead",
    "aggregate",
    "aggregate_torch",
    "apply_aggregate",
    "apply_aggregate_torch",
    "clip_scales",
    "initial_state",
    "initial_values",
    "learning_rate",
    "named_tensors",
    "outer_step",
    "outer_step_torch",
    "read_model",
    "root_with_momentum",
    "single_thread",
    "state_chunk",
    "state_proof",
    "state_root",
    "state_root_torch",
    "to_float",
    "undo_step",
    "undo_step_torch",
    "usage_order",
    "verify_state_chunk",
    "write_model",
]
