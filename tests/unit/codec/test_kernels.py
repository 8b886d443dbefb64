"""The compiled kernels give the same bits as plain numpy, whatever the thread count."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec import CODECS, SparseUpdate, compress, kernels
from emerit.codec.combine import mean_of_senders
from emerit.codec.compress import largest_entries
from emerit.errors import RefusedError, StateError, UsageError
from tests.unit.codec.builders import updates
from tests.unit.codec.builders_all import kernels_are, made, vectors

TOPK = ("topk-sign", "topk-2bit")


@given(vectors(), st.data())
def test_selection_and_scales_are_the_same(dense: Any, data: st.DataObject) -> None:
    chunk = data.draw(st.integers(1, 90))
    k, threads = data.draw(st.integers(1, chunk)), data.draw(st.integers(1, 3))
    results = []
    for choice in ("numpy", "native"):
        with kernels_are(choice):
            update, sent = compress(dense, chunk, k, threads)
            results.append((update, sent.tobytes(), largest_entries(dense, chunk, k, threads).tobytes()))
    assert results[0] == results[1]


@given(vectors(), st.floats(0, 1, width=32), st.data())
def test_feedback_is_the_same(dense: Any, beta: float, data: st.DataObject) -> None:
    chunk = data.draw(st.integers(1, 90))
    k = data.draw(st.integers(1, chunk))
    buffers, sent = [], []
    for choice in ("numpy", "native"):
        buffer = np.roll(dense, 5)
        with kernels_are(choice):
            sent.append([CODECS["topk-sign"].feed(buffer, dense, beta, chunk, k) for _ in range(3)])
        buffers.append(buffer.tobytes())
    assert sent[0] == sent[1]
    assert buffers[0] == buffers[1]


@pytest.mark.parametrize("name", TOPK)
@given(data=st.data())
def test_bytes_are_the_same_both_ways(name: str, data: st.DataObject) -> None:
    case = data.draw(made(name))
    with kernels_are("numpy"):
        body = case.codec.encode(case.update)
    with kernels_are("native"):
        assert case.codec.encode(case.update) == body
        assert case.codec.decode(body, *case.shape) == case.update
    broken = bytearray(body)
    broken[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    outcomes = []
    for choice in ("numpy", "native"):
        with kernels_are(choice):
            try:
                outcomes.append(case.codec.decode(bytes(broken), *case.shape))
            except RefusedError as error:
                outcomes.append((error.code, error.cause))
    assert outcomes[0] == outcomes[1]


@given(updates(), st.integers(1, 7), st.integers(1, 9), st.integers(1, 6), st.integers(1, 3), st.data())
def test_the_mean_is_that_of_the_rule(
    first: SparseUpdate, numerator: int, denominator: int, floor: int, threads: int, data: st.DataObject
) -> None:
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    senders = []
    for _ in range(data.draw(st.integers(1, 5))):
        dense = random.standard_normal(first.size).astype(np.float32) * np.float32(random.choice([1, 1e-5, 1e30]))
        senders.append(compress(dense, first.chunk, first.k)[0])
    with kernels_are("native"):
        step = mean_of_senders(senders, numerator, denominator, floor, threads)
    assert step is not None
    totals, counts = [0] * first.size, [0] * first.size
    for each in senders:
        for index, value, live in zip(each.indices.tolist(), each.values().tolist(), each.live().tolist(), strict=True):
            totals[index] += max(-(2**31) + 1, min(2**31 - 1, value))
            counts[index] += live
    expected = {}
    for index, total in enumerate(totals):
        divisor = max(counts[index], floor) * denominator
        delta = min((2 * abs(total) * numerator + divisor) // (2 * divisor), 2**31 - 1)
        if delta:
            expected[index] = delta if total > 0 else -delta
    assert dict(zip(step[0].tolist(), step[1].tolist(), strict=True)) == expected
    assert step[0].tolist() == sorted(expected)
    assert (step[0].dtype, step[1].dtype) == (np.int64, np.int32)


def test_many_chunks_on_many_threads() -> None:
    """Enough chunks that ranges and blocks really are split."""
    dense = np.random.default_rng(1).standard_normal(70_001).astype(np.float32)
    dense[128:192] = 0
    with kernels_are("numpy"):
        expected = compress(dense, 64, 5)
        body = CODECS["topk-sign"].encode(expected[0])
    with kernels_are("native"):
        for threads in (1, 2, 5):
            update, sent = compress(dense, 64, 5, threads)
            assert update == expected[0] and np.array_equal(sent, expected[1])
            step = mean_of_senders([update], 1, 1, 1, threads)
            assert step is not None and len(step[0]) == np.count_nonzero(sent)
        assert CODECS["topk-sign"].encode(expected[0]) == body


def test_read_only_and_strided_input_is_not_written_to() -> None:
    dense = np.random.default_rng(2).standard_normal(2000).astype(np.float32)
    dense.flags.writeable = False
    with kernels_are("native"):
        assert compress(dense[::2], 64, 8)[0] == compress(dense[::2].copy(), 64, 8)[0]
        buffer = np.zeros(1000, dtype=np.float32)
        strided = np.zeros((1000, 2), dtype=np.float32)[:, 0]
        first = CODECS["topk-sign"].feed(buffer, dense[:1000], 0.5, 64, 8)
        assert CODECS["topk-sign"].feed(strided, dense[:1000], 0.5, 64, 8) == first
        assert np.array_equal(strided, buffer) and buffer.any()


def test_divergence_is_found_before_anything_is_taken_off() -> None:
    delta = np.ones(300, dtype=np.float32)
    delta[299] = np.inf
    for choice in ("numpy", "native"):
        buffer = np.ones(300, dtype=np.float32)
        with kernels_are(choice), pytest.raises(StateError, match="update-not-finite"):
            CODECS["topk-sign"].feed(buffer, delta, 0.5, 100, 10)
        assert np.array_equal(buffer[:299], np.full(299, 1.5, dtype=np.float32))


def test_the_choice_of_kernels() -> None:
    with kernels_are("fortran"), pytest.raises(UsageError, match="kernels-unknown"):
        kernels.native(10)
    with kernels_are("numpy"):
        assert kernels.native(1 << 30) is None
    with kernels_are("auto"):
        assert kernels.native(kernels.NATIVE_FROM - 1) is None
        assert kernels.native(kernels.NATIVE_FROM) is sys.modules["emerit.codec.native"]
    with kernels_are(""):
        assert kernels.native(1) is None


def test_without_numba_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "emerit.codec.native", None)
    monkeypatch.setattr(kernels, "_loaded", kernels._loaded.__wrapped__)
    with kernels_are("auto"):
        assert kernels.native(1 << 30) is None
    with kernels_are("native"), pytest.raises(UsageError, match="kernels-missing"):
        kernels.native(1)
