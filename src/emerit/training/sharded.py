"""A model over several devices: FSDP2 (Zhao et al., arXiv 2304.11277; torch's `fully_shard`), the same inner loop.

Each rank holds its part of every tensor, of its gradient and of its moments, and takes its part of each batch. The
gradient is that of the whole batch: each rank's loss is the sum over its sequences, divided by the tokens of the whole
batch, so a batch need not divide by the number of ranks. Clipping is by the norm of the whole gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from emerit.errors import EmeritError, StateError, UsageError
from emerit.model.architecture import architecture_of
from emerit.model.gpt import Gpt
from emerit.model.table import tensor_table
from emerit.protocol.manifest import ModelSpec, TrainingSpec
from emerit.training.distributed import Act, Order, Ranks, told_when_lost
from emerit.training.optimiser import MOMENTS, adamw_of


class ShardedModel:
    """One rank's part of model and optimiser; every method is called on all ranks, in the same order.

    Flat vectors are rank 0's, in the order of the tensor table; the other ranks give and get None.
    """

    def __init__(self, spec: ModelSpec, training: TrainingSpec, ranks: Ranks) -> None:
        """Build the model, all zero.

        Raises:
            UsageError: `muon-sharded`: Muon's step needs whole matrices, which no rank holds.
            PreconditionError: as `emerit.model.architecture.architecture_of`.
        """
        refuse_muon(training)
        self._table = tensor_table(spec)
        self._training = training
        self._ranks = ranks
        self._module = architecture_of(spec.architecture, spec.source_sha256).build(spec)
        if isinstance(self._module, Gpt):  # of another model it is not known what may be gathered by itself
            for block in self._module.blocks:
                fully_shard(block, mesh=ranks.mesh)
        fully_shard(self._module, mesh=ranks.mesh)
        named = dict(self._module.named_parameters())
        self._parameters = [named[entry.name] for entry in self._table]
        self._adamw = adamw_of(self._parameters, training)

    def load(self, weights: NDArray[np.float32] | None) -> None:
        """Give every rank its part of rank 0's weights, float32[P]."""
        with torch.no_grad():
            for parameter, part in zip(self._parameters, self._scattered(weights), strict=True):
                _local(parameter).copy_(_local(part))

    def restore(self, moments: Mapping[str, NDArray[np.float32]] | None, steps_done: int) -> None:
        """Give every rank its part of rank 0's moments, which are those after `steps_done` steps."""
        self._adamw = adamw_of(self._parameters, self._training)
        if not steps_done:
            return
        parts = {name: self._scattered(None if moments is None else moments[name]) for name in MOMENTS}
        for place, parameter in enumerate(self._parameters):
            state: dict[str, Tensor] = {name: parts[name][place] for name in MOMENTS}
            state["step"] = torch.tensor(float(steps_done), device=self._ranks.device)
            self._adamw.state[parameter] = state

    def step(self, batch: Tensor | None, rows: int, columns: int, factor: float) -> float:
        """Step once on rank 0's batch, int64[rows, columns]; see `Engine.step`. Every rank returns the same."""
        device = self._ranks.device
        tokens = torch.empty(rows, columns, dtype=torch.int64) if batch is None else batch
        tokens = tokens.to(device).contiguous()
        dist.broadcast(tokens, 0)
        self._module.zero_grad()
        loss = self._loss(tokens)
        size = self._ranks.place.size
        (loss * size).backward()  # type: ignore[no-untyped-call]  # FSDP takes the mean over the ranks
        gradients = self._gradients()
        squares = sum((part.double().square().sum() for part in gradients), torch.zeros((), device=device).double())
        totals = torch.stack((loss.detach().double(), squares))
        dist.all_reduce(totals)
        value, norm = float(totals[0]), math.sqrt(float(totals[1]))
        if not (math.isfinite(value) and math.isfinite(norm)):
            return math.nan
        if norm > self._training.clip_norm:
            for part in gradients:
                part *= self._training.clip_norm / norm
        for group in self._adamw.param_groups:
            group["lr"] = self._training.learning_rate * factor
        self._adamw.step()
        return value

    def gather(self) -> NDArray[np.float32] | None:
        """Return all weights, float32[P]."""
        return self._gathered([parameter.detach() for parameter in self._parameters])

    def gather_moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the moments, float32 vectors as `moment_sizes` has them; nothing before the first step."""
        found = {}
        for name in MOMENTS if self._adamw.state else ():
            vector = self._gathered([self._adamw.state[parameter][name] for parameter in self._parameters])
            if vector is not None:
                found[name] = vector
        return found

    def _loss(self, tokens: Tensor) -> Tensor:
        """Return this rank's share of the loss of the batch int64[B, T + 1]; the shares' sum is the batch's mean."""
        rank, size = self._ranks.place.rank, self._ranks.place.size
        own = tokens[len(tokens) * rank // size : len(tokens) * (rank + 1) // size]
        weight = 1.0 if len(own) else 0.0  # every rank takes part in every pass, with nothing to do as well
        own = own if len(own) else tokens[:1]
        logits = self._module(own[:, :-1])
        total = F.cross_entropy(logits.flatten(0, 1), own[:, 1:].flatten(), reduction="sum")
        return total * (weight / tokens[:, 1:].numel())

    def _gradients(self) -> list[Tensor]:
        """Return this rank's part of each gradient; one that the loss does not depend on is zero, as in one process."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        return [_local(parameter.grad) for parameter in self._parameters if parameter.grad is not None]

    def _scattered(self, vector: NDArray[np.float32] | None) -> list[Tensor]:
        """Return this rank's parts of rank 0's vector, float32[P], laid out as the parameters; tensor by tensor."""
        parts: list[Tensor] = []
        offset = 0
        for entry, parameter in zip(self._table, self._parameters, strict=True):
            if vector is None:
                whole = torch.empty(entry.shape)
            else:  # a copy: what is sent may become the very memory of the part
                whole = torch.tensor(vector[offset : offset + entry.size]).view(entry.shape)
            whole = whole.to(self._ranks.device)
            parts.append(distribute_tensor(whole, self._ranks.mesh, _dtensor(parameter).placements))
            offset += entry.size
        return parts

    def _gathered(self, parts: list[Tensor]) -> NDArray[np.float32] | None:
        """Return rank 0 the vector of these parts, float32[P]; one whole tensor at a time is on the others."""
        is_first = self._ranks.place.rank == 0
        found = np.empty(sum(entry.size for entry in self._table) if is_first else 0, dtype=np.float32)
        offset = 0
        for entry, part in zip(self._table, parts, strict=True):
            whole = _dtensor(part).full_tensor()
            if is_first:
                found[offset : offset + entry.size] = whole.flatten().cpu().numpy()
            offset += entry.size
        return found if is_first else None


class Leader:
    """Rank 0's engine: tells the other ranks what it does, so that all do it together.

    It keeps the moments of the last whole round, so that saving them needs nobody; when a rank is lost they are what
    is saved.
    """

    def __init__(self, spec: ModelSpec, training: TrainingSpec, ranks: Ranks) -> None:
        self._model = ShardedModel(spec, training, ranks)
        self._ranks = ranks
        self._kept: tuple[dict[str, NDArray[np.float32]], int] = ({}, 0)
        self._is_restored = True
        self._is_lost = False
        self.steps_done = 0

    def begin(self, weights: NDArray[np.float32]) -> None:
        """Start a round from these weights, float32[P]; restored moments go out with them."""
        restored = self._is_restored
        with self._together():
            self._ranks.order(Order(Act.BEGIN, self.steps_done if restored else -1))
            self._model.load(weights)
            if restored:
                self._model.restore(*self._kept)
        self._is_restored = False

    def step(self, batch: Tensor, factor: float) -> float:
        """Step once; see `Engine.step`."""
        rows, columns = batch.shape
        with self._together():
            self._ranks.order(Order(Act.STEP, 0, rows, columns, factor))
            value = self._model.step(batch, rows, columns, factor)
        if math.isfinite(value):
            self.steps_done += 1
        else:
            self.end()  # the moments before this step, which was not done
        return value

    def end(self) -> NDArray[np.float32]:
        """Return the weights after the round's steps, float32[P]."""
        with self._together():
            self._ranks.order(Order(Act.END))
            weights, moments = self._model.gather(), self._model.gather_moments()
        assert weights is not None
        self._kept = (moments, self.steps_done)
        return weights

    def moments(self) -> dict[str, NDArray[np.float32]]:
        """Return the moments after the last whole round."""
        return self._kept[0]

    def restore(self, moments: Mapping[str, NDArray[np.float32]], steps_done: int) -> None:
        """Take over saved moments; the others get theirs when the next round begins."""
        self._kept = (dict(moments), steps_done)
        self.steps_done = steps_done
        self._is_restored = True

    @contextmanager
    def _together(self) -> Iterator[None]:
        if self._is_lost:
            raise StateError(
                "ranks-lost", "Another process of this node ended, or did not answer in time.", "Start all again."
            )
        try:
            with told_when_lost():
                yield
        except EmeritError:
            self._is_lost = True
            self.steps_done = self._kept[1]
            raise


def follow(spec: ModelSpec, training: TrainingSpec, ranks: Ranks) -> None:
    """Do on this rank what rank 0's `Leader` orders, until it says that there is no more.

    Raises:
        StateError: `ranks-lost`: another rank ended or did not answer in the middle of something.
        UnavailableError: `leader-lost`: rank 0 is gone.
    """
    model = ShardedModel(spec, training, ranks)
    while (order := ranks.next_order()).act is not Act.QUIT:
        with told_when_lost():
            if order.act is Act.BEGIN:
                model.load(None)
                if order.steps >= 0:
                    model.restore(None, order.steps)
            elif order.act is Act.STEP:
                model.step(None, order.rows, order.columns, order.factor)
            else:
                model.gather()
                model.gather_moments()


def refuse_muon(training: TrainingSpec) -> None:
    """Raise UsageError `muon-sharded` where the run's optimiser is Muon."""
    if training.optimiser == "muon":
        raise UsageError(
            "muon-sharded",
            "This run trains with Muon, whose step needs whole matrices; over several devices no process has them.",
            "Start one process, without torchrun, or take a run with AdamW.",
        )


def _dtensor(tensor: Tensor) -> DTensor:
    assert isinstance(tensor, DTensor)
    return tensor


def _local(tensor: Tensor) -> Tensor:
    """Return this rank's part, to be changed in place."""
    return _dtensor(tensor)._local_tensor
