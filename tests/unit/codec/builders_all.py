"""Updates of every codec for tests, and the switch between the kernels."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from emerit.codec import CODECS, Codec

NAMES = sorted(CODECS)


@contextmanager
def kernels_are(choice: str) -> Iterator[None]:
    with mock.patch.dict(os.environ, {"EMERIT_KERNELS": choice}):
        yield


@dataclass(frozen=True)
class Made:
    """An update with what it was made of."""

    codec: Codec[Any]
    dense: NDArray[np.float32]
    chunk: int
    k: int
    update: Any
    sent: NDArray[np.float32]

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.dense), self.chunk, self.k


@st.composite
def vectors(draw: st.DrawFn, most: int = 300) -> NDArray[np.float32]:
    """Vectors with ties, zeros of both signs, silent stretches and a wide range."""
    size = draw(st.integers(1, most))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dense = random.standard_normal(size).astype(np.float32)
    if draw(st.booleans()):
        dense = np.round(dense)
    scale = draw(st.sampled_from([1.0, 1e-3, 1e-6, 1e-8, 1e5, 1e30]))
    dense = (dense * np.float32(scale)).astype(np.float32)
    begin = draw(st.integers(0, size))
    dense[begin : begin + draw(st.integers(0, 60))] = draw(st.sampled_from([0.0, -0.0]))
    return dense


@st.composite
def made(draw: st.DrawFn, name: str) -> Made:
    codec, dense = CODECS[name], draw(vectors())
    if name == "dct-topk-sign":
        chunk = draw(st.integers(1, 10)) ** 2
    elif name == "low-rank":
        chunk = draw(st.integers(1, 9))
    else:
        chunk = draw(st.integers(1, 120))
    k = chunk if codec.dense_only else draw(st.integers(1, chunk))
    update, sent = codec.compress(dense, chunk, k)
    return Made(codec, dense, chunk, k, update, sent)
