"""A trainer's computer: an optimiser and an error feedback that last for the run, and any text to train on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emerit.codec.registry import integer_codec
from emerit.codec.update import SparseUpdate
from emerit.lab.arena import Text
from emerit.model.flat import FlatModel
from emerit.protocol.manifest import Manifest
from emerit.training.inner import ErrorFeedback, InnerTrainer
from emerit.training.state import to_float


class Machine:
    """What an honest trainer has, with the compute of `share` of one: its batches are so much smaller."""

    def __init__(self, manifest: Manifest, private_seed: bytes, share: float = 1.0) -> None:
        """Start with no memory."""
        self.manifest = manifest
        batch = max(1, int(manifest.training.batch_sequences * share))
        training = replace(
            manifest.training, batch_sequences=batch, assigned_sequences=manifest.training.inner_steps * batch
        )
        self._inner = InnerTrainer(manifest.model, training, private_seed)
        self._feedback = ErrorFeedback(training.error_feedback_decay)

    def train(self, number: int, values: NDArray[np.int32], text: Text) -> NDArray[np.float32]:
        """Do a round's steps from a state int32[P] on sequences [A, T + 1]; return start less end, float32[P]."""
        return self._inner.run_round(number, values, text).delta

    def send(self, number: int, delta: NDArray[np.float32]) -> SparseUpdate:
        """Put a round's delta through error feedback and the run's codec, as nodes do."""
        codec = self.manifest.codec
        return self._feedback.compress(delta, integer_codec(codec.name), codec.chunk, codec.k_in(number), number)

    def buffered(self, delta: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return float32[P]: what error feedback would have sent from, with this delta added; changes nothing."""
        buffer = self._feedback.buffer
        return delta.copy() if buffer is None else buffer * np.float32(self._feedback.beta) + delta

    def work(self, number: int, values: NDArray[np.int32], text: Text) -> SparseUpdate:
        """Do a round's honest work."""
        return self.send(number, self.train(number, values, text))

    def returned(self, number: int, update: SparseUpdate) -> None:
        """Take back what a round sent and the run did not apply."""
        self._feedback.give_back(update, number)

    def forget(self) -> None:
        """Drop what was not sent yet: an aggregate was taken back."""
        self._feedback = ErrorFeedback(self._feedback.beta)


def compressed(manifest: Manifest, number: int, dense: NDArray[np.float32]) -> SparseUpdate:
    """Return what the run's codec makes of float32[P] in a round, without any memory."""
    codec = manifest.codec
    return integer_codec(codec.name).compress(dense, codec.chunk, codec.k_in(number))[0]


def gradient_of(manifest: Manifest, values: NDArray[np.int32], text: Text) -> NDArray[np.float32]:
    """Return float32[P]: the gradient of the mean loss of sequences [n, T + 1] at a state int32[P]."""
    model = FlatModel(manifest.model, trainable=True)
    model.load(to_float(values))
    tokens = torch.from_numpy(text.astype(np.int64))
    loss = F.cross_entropy(model.module(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.gradient is not None
    return model.gradient.numpy().copy()
