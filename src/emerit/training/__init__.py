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
from emerit.training.local_state import LocalState, export_safetensors, named_tensors
from emerit.training.optimiser import learning_rate
from emerit.training.state import initial_values, state_root, to_float
from emerit.training.threads import single_thread

__all__ = [
    "ErrorFeedback",
    "InnerResult",
    "InnerTrainer",
    "LocalState",
    "aggregate",
    "aggregate_torch",
    "apply_aggregate",
    "apply_aggregate_torch",
    "clip_scales",
    "export_safetensors",
    "initial_values",
    "learning_rate",
    "named_tensors",
    "single_thread",
    "state_root",
    "to_float",
    "usage_order",
]
