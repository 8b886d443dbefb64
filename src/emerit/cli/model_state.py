"""The torch side of `emerit model`: a run's state, and text from it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from emerit.cli.following import context_of, model_folder, settled_until
from emerit.cli.output import progress
from emerit.cli.place import Place
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import ModelSpec
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.training.state import to_float


def state_of(where: Place, round_number: int | None) -> tuple[RunContext, StateFollower]:
    """Follow a run to its last settled round, or to the one named; every root on the way is checked.

    Raises:
        UsageError: `round-not-settled`.
    """
    context = context_of(where, where.run_client(where.chain()))
    settled = settled_until(context.client, round_number)
    follower = StateFollower.open(context, model_folder(where, context.client))
    follower.advance(settled, on_step=progress("applying settled rounds:"))
    return context, follower


@torch.no_grad()
def sample_text(
    spec: ModelSpec, values: NDArray[np.int32], prompt: str, length: int, temperature: float, seed: int
) -> str:
    """Let the model write `length` bytes after `prompt`."""
    model = FlatModel(spec)
    model.load(to_float(values))
    generator = torch.Generator().manual_seed(seed)
    data = list(prompt.encode())
    start = len(data)
    for _ in range(length):
        window = torch.tensor([data[-spec.context :]], dtype=torch.int64)
        logits = model.module(window)[0, -1]
        if temperature <= 0:
            data.append(int(logits.argmax()))
        else:
            chances = torch.softmax(logits / temperature, dim=-1)
            data.append(int(torch.multinomial(chances, 1, generator=generator)))
    return bytes(data[start:]).decode(errors="replace")
