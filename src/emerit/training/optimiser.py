"""A trainer's optimiser: its step, its learning rate, and its moments as named vectors.

AdamW: Loshchilov and Hutter, arXiv 1711.05101; gains of norms are not decayed. Muon: Jordan et al. 2024, as torch has
it, with the step size scaled to the root mean square of AdamW's (Liu et al., arXiv 2502.16982).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emerit.model.flat import FlatModel
from emerit.model.table import TensorEntry, tensor_table
from emerit.protocol.manifest import ModelSpec, TrainingSpec

MOMENTS: Final = ("exp_avg", "exp_avg_sq")
"""Names of AdamW's vectors: running means of the gradient and of its square."""
MUON_MOMENT: Final = "momentum_buffer"
"""Name of Muon's vector: a running mean of the gradient."""


def muon_entries(spec: ModelSpec, training: TrainingSpec) -> frozenset[str]:
    """Return the names of the tensors that Muon steps: the layers' matrices, none with another optimiser.

    The embedding, which is the output matrix too, and the gains of norms are AdamW's.
    """
    if training.optimiser != "muon":
        return frozenset()
    return frozenset(e.name for e in tensor_table(spec) if len(e.shape) == 2 and e.name != "embedding")


def moment_sizes(spec: ModelSpec, training: TrainingSpec) -> dict[str, int]:
    """Return the names and lengths of the vectors that an optimiser keeps after its first step."""
    muon = muon_entries(spec, training)
    table = tensor_table(spec)
    sizes = dict.fromkeys(MOMENTS, sum(entry.size for entry in table if entry.name not in muon))
    if muon:
        sizes[MUON_MOMENT] = sum(entry.size for entry in table if entry.name in muon)
    return sizes


class _Part(NamedTuple):
    """A library optimiser, the tensors that it steps in the order of the table, and the names of its moments."""

    optimiser: torch.optim.Optimizer
    entries: tuple[TensorEntry, ...]
    moments: tuple[str, ...]
    rate: float


class Optimiser:
    """The manifest's optimiser over a trainable flat model; `steps_done` counts the steps of all rounds."""

    def __init__(self, model: FlatModel, training: TrainingSpec) -> None:
        self._model = model
        self._training = training
        self._named = dict(model.module.named_parameters())
        self.reset()

    def reset(self) -> None:
        """Forget all moments, as a trainer that just joined."""
        muon = muon_entries(self._model.spec, self._training)
        table = tensor_table(self._model.spec)
        self._parts = [self._adamw(tuple(entry for entry in table if entry.name not in muon))]
        if muon:
            self._parts.append(self._muon(tuple(entry for entry in table if entry.name in muon)))
        self.steps_done = 0

    def step(self, gradient: Tensor, factor: float) -> bool:
        """Clip the flat gradient to `clip_norm` and take one step; return False, unchanged, if not finite.

        The learning rates are the manifest's times `factor` (see `schedule_factor`).
        """
        norm = float(gradient.norm())
        if not math.isfinite(norm):
            return False
        if norm > self._training.clip_norm:
            gradient *= self._training.clip_norm / norm
        for part in self._parts:
            for group in part.optimiser.param_groups:
                group["lr"] = part.rate * factor
            part.optimiser.step()
        self.steps_done += 1
        return True

    def moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the moments, float32 in the order of the table, as `moment_sizes` has them; nothing before a step."""
        if not self.steps_done:
            return {}
        found = {}
        for part in self._parts:
            states = [part.optimiser.state[self._named[entry.name]] for entry in part.entries]
            for key in part.moments:
                found[key] = torch.cat([state[key].flatten() for state in states]).cpu().numpy()
        return found

    def restore(self, moments: Mapping[str, NDArray[np.float32]], steps_done: int) -> None:
        """Take over the moments that `moments` returned after `steps_done` steps."""
        self.reset()
        self.steps_done = steps_done
        if not steps_done:
            return
        device = self._model.flat.device
        for part in self._parts:
            sizes = [entry.size for entry in part.entries]
            cut = {key: torch.split(torch.tensor(moments[key], device=device), sizes) for key in part.moments}
            for place, entry in enumerate(part.entries):
                state = {key: cut[key][place].view(entry.shape) for key in part.moments}
                if MUON_MOMENT not in part.moments:
                    state["step"] = torch.tensor(float(steps_done), device=device)
                part.optimiser.state[self._named[entry.name]] = state

    def _adamw(self, entries: tuple[TensorEntry, ...]) -> _Part:
        training = self._training
        adamw = adamw_of([self._named[entry.name] for entry in entries], training)
        return _Part(adamw, entries, MOMENTS, training.learning_rate)

    def _muon(self, entries: tuple[TensorEntry, ...]) -> _Part:
        training = self._training
        muon = torch.optim.Muon(
            [self._named[entry.name] for entry in entries],
            lr=training.muon_learning_rate,
            weight_decay=training.weight_decay,
            momentum=training.muon_momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        return _Part(muon, entries, (MUON_MOMENT,), training.muon_learning_rate)


def adamw_of(parameters: Sequence[nn.Parameter], training: TrainingSpec) -> torch.optim.AdamW:
    """Return the manifest's AdamW over these parameters; vectors, which are gains of norms, are not decayed."""
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
    ]
    betas = (training.beta1, training.beta2)
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=betas, fused=True)


def learning_rate(training: TrainingSpec, round_index: int, step: int, steps_done: int) -> float:
    """Return AdamW's learning rate of step `step` of a round; Muon's is its own times the same factor."""
    return training.learning_rate * schedule_factor(training, round_index, step, steps_done)


def schedule_factor(training: TrainingSpec, round_index: int, step: int, steps_done: int) -> float:
    """Return the factor of the learning rate of step `step` of a round: linear warm-up times decay.

    The warm-up counts the trainer's own steps (`steps_done` before this one), so that a late joiner's fresh
    optimiser warms up too. The decay counts the run's rounds, from 1 down to `final_lr_fraction` at
    `planned_rounds`, and stays there: as a cosine, or with `wsd` 1 until the last `decay_fraction` of the planned
    rounds and then as 1 - sqrt (warm-up, stable, decay: Hu et al., arXiv 2404.06395; the form of the decay: Hägele
    et al., arXiv 2405.18392).
    """
    warmup = min(1.0, (steps_done + 1) / max(1, training.warmup_steps))
    planned = training.planned_rounds * training.inner_steps
    done = min(1.0, (round_index * training.inner_steps + step) / planned)
    fraction = training.final_lr_fraction
    if training.schedule == "wsd":
        decayed = max(0.0, done - (1 - training.decay_fraction)) / training.decay_fraction
        shape = 1 - math.sqrt(min(1.0, decayed))
    else:
        shape = (1 + math.cos(math.pi * done)) / 2
    return warmup * (fraction + (1 - fraction) * shape)
