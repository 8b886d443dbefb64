"""A trainer's AdamW: its step, its learning rate, and its moments as named tensors.

AdamW: Loshchilov and Hutter, arXiv 1711.05101. Gains of norms are not decayed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emerit.model.flat import FlatModel
from emerit.model.table import tensor_table
from emerit.protocol.manifest import TrainingSpec

MOMENTS: Final = ("exp_avg", "exp_avg_sq")
"""Names of the optimiser's vectors: running means of the gradient and of its square."""


class Optimiser:
    """AdamW over a trainable flat model; `steps_done` counts the steps of all rounds."""

    def __init__(self, model: FlatModel, training: TrainingSpec) -> None:
        self._model = model
        self._training = training
        self.reset()

    def reset(self) -> None:
        """Forget all moments, as a trainer that just joined."""
        training = self._training
        parameters = list(self._model.module.parameters())
        groups = [
            {"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay},
            {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
        ]
        betas = (training.beta1, training.beta2)
        self._adamw = torch.optim.AdamW(groups, lr=training.learning_rate, betas=betas, fused=True)
        self.steps_done = 0

    def step(self, gradient: Tensor, rate: float) -> bool:
        """Clip the flat gradient to `clip_norm` and take one step; return False, unchanged, if not finite."""
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            return False
        if norm > self._training.clip_norm:
            gradient *= self._training.clip_norm / norm
        for group in self._adamw.param_groups:
            group["lr"] = rate
        self._adamw.step()
        self.steps_done += 1
        return True

    def moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the moments, float32[P] in the order of the tensor table; nothing before the first step."""
        if not self.steps_done:
            return {}
        states = [self._adamw.state[parameter] for parameter in self._parameters()]
        return {key: torch.cat([state[key].flatten() for state in states]).cpu().numpy() for key in MOMENTS}

    def restore(self, moments: Mapping[str, NDArray[np.float32]], steps_done: int) -> None:
        """Take over moments float32[P] that `moments` returned after `steps_done` steps."""
        self.reset()
        self.steps_done = steps_done
        if not steps_done:
            return
        device = self._model.flat.device
        sizes = [entry.size for entry in tensor_table(self._model.spec)]
        parts = {key: torch.split(torch.tensor(moments[key], device=device), sizes) for key in MOMENTS}
        for place, parameter in enumerate(self._parameters()):
            state = {key: parts[key][place].view(parameter.shape) for key in MOMENTS}
            state["step"] = torch.tensor(float(steps_done), device=device)
            self._adamw.state[parameter] = state

    def _parameters(self) -> list[Tensor]:
        named = dict(self._model.module.named_parameters())
        return [named[entry.name] for entry in tensor_table(self._model.spec)]


def learning_rate(training: TrainingSpec, round_index: int, step: int, steps_done: int) -> float:
    """Return the rate of step `step` of a round: linear warm-up times cosine decay.

    The warm-up counts the trainer's own steps (`steps_done` before this one), so that a late joiner's fresh
    optimiser warms up too. The cosine counts the run's rounds, from 1 down to `final_lr_fraction` at
    `planned_rounds`, and stays there.
    """
    warmup = min(1.0, (steps_done + 1) / max(1, training.warmup_steps))
    planned = training.planned_rounds * training.inner_steps
    done = min(1.0, (round_index * training.inner_steps + step) / planned)
    fraction = training.final_lr_fraction
    return training.learning_rate * warmup * (fraction + (1 - fraction) * (1 + math.cos(math.pi * done)) / 2)
