"""Let a model write: sampling that gives the same tokens for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emerit.errors import UsageError


@dataclass(frozen=True)
class WindowShape:
    """How many tokens a model reads at once, and how many there are: logits beyond them stand for nothing."""

    context: int
    vocabulary: int


class SeededUniforms:
    """Uniform numbers in [0, 1): the upper 53 bits of PCG64's words, whose stream numpy keeps the same for ever."""

    def __init__(self, seed: int) -> None:
        self._words = np.random.PCG64(seed)

    def draw(self) -> float:
        """Return the next number."""
        return int(self._words.random_raw() >> 11) * 2.0**-53


def pick_token(logits: NDArray[np.float64], temperature: float, uniform: float) -> int:
    """Return the token that `uniform` in [0, 1) falls on among the chances softmax(logits / temperature).

    Temperature 0 takes the likeliest token, the first of equals. Sums are in float64, in the order of the tokens.
    """
    if temperature <= 0:
        return int(logits.argmax())
    chances = np.exp((logits - logits.max()) / temperature).cumsum()
    return min(int(np.searchsorted(chances, uniform * chances[-1], side="right")), len(logits) - 1)


@torch.no_grad()
def sample_tokens(
    model: torch.nn.Module,
    shape: WindowShape,
    prompt: Sequence[int],
    count: int,
    temperature: float,
    seed: int,
    on_token: Callable[[int], None] | None = None,
) -> list[int]:
    """Return `count` tokens that the model writes after `prompt`, of which the last `context` are read.

    The same model, prompt and seed give the same tokens on one machine with one thread; between kinds of processors
    logits differ in their last bits, so that a token can fall otherwise once in a long while.

    Raises:
        UsageError: `prompt-empty`; `prompt-foreign` for a token that the model does not know.
    """
    vocabulary, tokens = shape.vocabulary, list(prompt)
    if not tokens:
        raise UsageError("prompt-empty", "The prompt is empty.", "Give at least one character with --prompt.")
    if min(tokens) < 0 or max(tokens) >= vocabulary:
        raise UsageError("prompt-foreign", f"The model knows only {vocabulary} tokens.", "Check its tokenizer.")
    uniforms = SeededUniforms(seed)
    for _ in range(count):
        window = torch.tensor([tokens[-shape.context :]], dtype=torch.int64)
        logits = model(window)[0, -1, :vocabulary].double().numpy()
        tokens.append(pick_token(logits, temperature, uniforms.draw()))
        if on_token is not None:
            on_token(tokens[-1])
    return tokens[len(prompt) :]
