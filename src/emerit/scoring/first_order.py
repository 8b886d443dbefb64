"""What the gradient alone says of every contribution, at the price of a sparse dot product each.

To first order a step along an update lowers the loss by step * <g, update>, with g the gradient of the mean loss of
the round's random sequences at the settled state. One backward pass serves all contributions. On real rounds this
orders contributions as their measured gains do (`scripts/bench scoring` has the rank correlation), yet it is a flag
only and never pays: among updates of one size the plain gradient would win it, which is not what H steps are worth.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emerit.codec.update import UNIT, SparseUpdate
from emerit.data.tokens import Tokens
from emerit.model.flat import FlatModel


def first_order_gains(
    model: FlatModel, updates: Mapping[int, SparseUpdate], tokens: Tokens, step: float
) -> dict[int, float]:
    """Return by how many nats a token `step` times each update would lower the loss of `tokens` [n, T + 1], by slot.

    The model's weights stay as they are. Takes memory for one gradient, float32[P].
    """
    gradient = loss_gradient(model, tokens)
    return {
        slot: step * UNIT * float(gradient[update.indices].astype(np.float64) @ update.values())
        for slot, update in sorted(updates.items())
    }


def loss_gradient(model: FlatModel, tokens: Tokens, batch: int = 16) -> NDArray[np.float32]:
    """Return float32[P], in the order of the flat vector: the gradient of the mean loss of `tokens` [n, T + 1].

    The model may be one that is not `trainable`, and is as before afterwards.
    """
    rows = torch.from_numpy(tokens.astype(np.int64)).to(model.flat.device)
    parameters = model.parameters()
    frozen = [each for each in parameters if not each.requires_grad]
    total = torch.zeros_like(model.flat)
    training = model.module.training
    model.module.eval()
    try:
        for each in frozen:
            each.requires_grad_(True)
        for part in torch.split(rows, batch):
            logits = model.module(part[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), part[:, 1:].flatten()) * (len(part) / len(rows))
            offset = 0
            for slope in torch.autograd.grad(loss, parameters):
                total[offset : offset + slope.numel()] += slope.flatten()
                offset += slope.numel()
    finally:
        for each in frozen:
            each.requires_grad_(False)
        model.module.train(training)
    return total.cpu().numpy()
