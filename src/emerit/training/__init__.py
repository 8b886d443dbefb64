"""Training: the integer state and its root, a trainer's inner loop, error feedback, the shared aggregate."""

from __future__ import annotations

from emerit.training.aggregate import (
    aggregate,
    aggregate_torch,
    apply_aggregate,
    apply_aggregate_torch,
    clip_scales,
)
from emerit.training.inner import ErrorFeedback, InnerResult, InnerTrainer, usage_order
from emerit.training.local_state import LocalState, named_tensors
from emerit.training.model_file import ModelFile, read_model, write_model
from emerit.training.optimiser import learning_rate
from emerit.training.state import initial_values, state_root, to_float
from emerit.training.state_proof import state_chunk, state_proof, verify_state_chunk
from emerit.training.threads import single_thread

__all__ = [
    "ErrorFeedback",
    "InnerResult",
    "InnerTrainer",
    "LocalState",
    "ModelFile",
    "aggregate",
    "aggregate_torch",
    "apply_aggregate",
    "apply_aggregate_torch",
    "clip_scales",
    "initial_values",
    "learning_rate",
    "named_tensors",
    "read_model",
    "single_thread",
    "state_chunk",
    "state_proof",
    "state_root",
    "to_float",
    "usage_order",
    "verify_state_chunk",
    "write_model",
]
