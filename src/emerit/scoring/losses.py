"""Losses of sequences under a model, and a trial step that leaves no trace."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from emerit.codec.update import UNIT, SparseUpdate
from emerit.data.tokens import Tokens
from emerit.errors import UsageError


def sequence_losses(model: torch.nn.Module, tokens: Tokens, batch: int = 8) -> NDArray[np.float64]:
    """Return the mean loss of each sequence in nats per token, float64[n].

    `tokens` is uint8 or uint16 [n, T + 1]: the model, int64[B, T] -> logits [B, T, V], predicts each token from those
    before it. The losses of single tokens are summed in float64. Every batch has `batch` rows, the last one filled up
    with rows of the beginning, so that a sequence's loss does not depend on how many others are measured.

    Raises UsageError `sequences-shape` when there is no sequence or `tokens` has another shape or type.
    """
    if tokens.ndim != 2 or tokens.dtype not in (np.uint8, np.uint16) or tokens.shape[0] < 1 or tokens.shape[1] < 2:
        raise UsageError(
            "sequences-shape",
            f"Losses need uint8 or uint16 [n, T + 1] with n and T at least 1, not {tokens.dtype}{list(tokens.shape)}.",
            "Pass at least one sequence of at least two tokens.",
        )
    device = next(model.parameters()).device
    rows = torch.from_numpy(np.resize(tokens, (-(-len(tokens) // batch) * batch, tokens.shape[1])).astype(np.int64))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            losses = [_batch_losses(model, part.to(device)) for part in torch.split(rows, batch)]
    finally:
        model.train(training)
    return torch.cat(losses).cpu().numpy()[: len(tokens)]


class Shift:
    """Within the context `flat`, float32[P], has `change` float64[n] taken off at `places` int64[n]; then no more.

    Only those places are touched, and they are restored bit for bit. Each new weight is computed in float64 and rounded
    once, so that it does not depend on whether the processor fuses multiplication and addition.
    """

    def __init__(self, flat: Tensor, places: NDArray[np.int64], change: NDArray[np.float64]) -> None:
        self._flat = flat
        self._places = torch.from_numpy(places).to(flat.device)
        self._change = torch.from_numpy(change).to(flat.device)
        self._saved: Tensor | None = None

    def __enter__(self) -> Self:
        """Apply the change."""
        with torch.no_grad():
            saved = self._flat[self._places]
            self._flat[self._places] = (saved.double() - self._change).float()
        self._saved = saved
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the saved weights back."""
        assert self._saved is not None
        with torch.no_grad():
            self._flat[self._places] = self._saved
        self._saved = None


class TrialStep(Shift):
    """Within the context `flat`, float32[P], is theta - step * update; after it, bit for bit what it was before.

    `step` is the fraction of the update that is applied (trial fraction times outer learning rate).
    """

    def __init__(self, flat: Tensor, update: SparseUpdate, step: float) -> None:
        super().__init__(flat, update.indices, (update.values() * (step * UNIT)).astype(np.float64))


def _batch_losses(model: torch.nn.Module, rows: Tensor) -> Tensor:
    """Return float64[B]: the mean loss of each row of int64[B, T + 1]."""
    logits = model(rows[:, :-1])
    tokens = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), reduction="none")
    return tokens.view(len(rows), -1).double().mean(dim=1)
