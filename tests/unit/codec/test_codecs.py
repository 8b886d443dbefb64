"""What every codec promises: round trip, one encoding, bounds, what is sent, error feedback, convergence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from emerit.codec import CODECS, INTEGER_CODECS, codec, decode_blob, encode_blob, integer_codec, largest_blob_bytes
from emerit.codec.registry import integer_codec_by_number
from emerit.errors import RefusedError, StateError, UsageError
from emerit.protocol.manifest import CODEC_NAMES, DENSE_CODEC_NAMES, LAB_CODEC_NAMES
from tests.unit.codec.builders import EXPECTED
from tests.unit.codec.builders_all import NAMES, Made, made

each_codec = pytest.mark.parametrize("name", NAMES)
Body = Callable[[bytes], None]


def test_the_names_are_those_of_the_manifest() -> None:
    assert tuple(INTEGER_CODECS) == CODEC_NAMES
    assert {name for name in CODECS if name not in INTEGER_CODECS} == set(LAB_CODEC_NAMES)
    assert {name for name in INTEGER_CODECS if CODECS[name].dense_only} == set(DENSE_CODEC_NAMES)
    assert len({each.number for each in CODECS.values()}) == len(CODECS)
    assert all(name == each.name and each.integer == (name in CODEC_NAMES) for name, each in CODECS.items())


def test_what_is_no_codec_of_a_run_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match=r"codec-unknown.*topk-sign"):
        codec("topk-sing")
    with pytest.raises(UsageError, match="codec-unknown"):
        integer_codec("")
    with pytest.raises(UsageError, match="codec-lab-only"):
        integer_codec("low-rank")
    with pytest.raises(UsageError, match="codec-unknown"):
        integer_codec_by_number(CODECS["dense-fp32"].number)
    assert integer_codec_by_number(2) is integer_codec("topk-2bit")


@each_codec
@given(data=st.data())
def test_an_update_comes_back(name: str, data: st.DataObject) -> None:
    case = data.draw(made(name))
    body = case.codec.encode(case.update)
    assert len(body) <= case.codec.largest_bytes(*case.shape)
    decoded = case.codec.decode(body, *case.shape)
    assert decoded == case.update
    assert case.codec.encode(decoded) == body
    assert np.array_equal(decoded.dense(), case.sent)
    assert case.sent.dtype == np.float32 and case.sent.shape == case.dense.shape


@each_codec
@settings(max_examples=60)
@given(data=st.data())
def test_other_bytes_are_refused_or_another_update(name: str, data: st.DataObject) -> None:
    case = data.draw(made(name))
    body = case.codec.encode(case.update)
    if body:
        at = data.draw(st.integers(0, len(body) - 1))
        refused_or_canonical(case, body[:at] + bytes([body[at] ^ data.draw(st.integers(1, 255))]) + body[at + 1 :])
        with pytest.raises(RefusedError, match="blob-"):
            case.codec.decode(body[: data.draw(st.integers(0, len(body) - 1))], *case.shape)
    with pytest.raises(RefusedError, match="blob-"):
        case.codec.decode(body + data.draw(st.binary(min_size=1, max_size=5)), *case.shape)
    refused_or_canonical(case, data.draw(st.binary(max_size=200)), other=False)


def refused_or_canonical(case: Made, data: bytes, *, other: bool = True) -> None:
    try:
        decoded = case.codec.decode(data, *case.shape)
    except RefusedError as error:
        assert error.code.startswith("blob-")
    else:
        assert case.codec.encode(decoded) == data
        assert not other or decoded != case.update


@each_codec
def test_what_cannot_be_compressed_is_refused(name: str) -> None:
    each, chunk = CODECS[name], 16
    k = chunk if each.dense_only else 4
    good = np.linspace(-1, 1, 40, dtype=np.float32)
    each.compress(good, chunk, k)
    for bad in (np.nan, np.inf, -np.inf):
        broken = good.copy()
        broken[7] = bad
        with pytest.raises(StateError, match="update-not-finite"):
            each.compress(broken, chunk, k)
    with pytest.raises(UsageError, match="codec-dtype"):
        each.compress(good.astype(np.float64), chunk, k)
    with pytest.raises(UsageError, match="codec-dtype"):
        each.compress(good.reshape(2, 20), chunk, k)
    for shape in ((0, chunk, k), (40, chunk, 0), (40, chunk, chunk + 1), (40, (1 << 20) + 1, k), (1 << 40, chunk, k)):
        with pytest.raises(UsageError, match="codec-shape"):
            each.largest_bytes(*shape)
        with pytest.raises(UsageError, match="codec-shape"):
            each.decode(b"", *shape)


@each_codec
def test_a_size_that_is_only_declared_allocates_nothing(name: str) -> None:
    each = CODECS[name]
    chunk = 4096 if name != "low-rank" else 64
    with pytest.raises(RefusedError, match="blob-truncated"):
        each.decode(bytes(100), 1 << 39, chunk, chunk if each.dense_only else 1)


@pytest.mark.parametrize("name", sorted({*CODECS} - {"low-rank", "dense-fp32"}))
def test_silence_takes_the_scales_only(name: str) -> None:
    each = CODECS[name]
    update, sent = each.compress(np.zeros(40, dtype=np.float32), 16, 16)
    assert each.encode(update) == bytes(6)
    assert not sent.any()


@each_codec
@given(data=st.data())
def test_error_feedback_keeps_what_is_not_sent(name: str, data: st.DataObject) -> None:
    case = data.draw(made(name))
    before = np.roll(case.dense, 3)
    buffer = before.copy()
    whole = before * np.float32(0.9)
    whole += case.dense
    update = case.codec.feed(buffer, case.dense, 0.9, case.chunk, case.k)
    again, sent = case.codec.compress(whole, case.chunk, case.k)
    assert update == again
    assert np.array_equal(buffer, whole - sent)


def shape_for(name: str, density: int = 8) -> tuple[int, int]:
    if name == "low-rank":
        return 16, 4
    return (64, 64) if CODECS[name].dense_only else (64, density)


@each_codec
def test_error_feedback_descends_to_the_minimum(name: str) -> None:
    """Gradient descent on an ill-conditioned quadratic comes as near to its minimum as with dense fp32."""
    random = np.random.default_rng(5)
    size, (chunk, k) = 512, shape_for(name)
    curvature = random.uniform(0.1, 1.0, size).astype(np.float32)
    target = random.standard_normal(size).astype(np.float32)

    def loss_after(steps: int, send: Callable[[NDArray[np.float32]], NDArray[np.float32]]) -> float:
        place = np.zeros(size, dtype=np.float32)
        for _ in range(steps):
            place -= send(np.float32(0.1) * curvature * (place - target))
        return float((curvature * (place - target) ** 2).mean())

    buffer = np.zeros(size, dtype=np.float32)
    start = loss_after(0, lambda delta: delta)
    dense = loss_after(600, lambda delta: delta)
    compressed = loss_after(600, lambda delta: CODECS[name].feed(buffer, delta, 1.0, chunk, k).dense())
    assert compressed < 0.01 * start
    assert compressed < dense + 0.002 * start


@each_codec
def test_the_error_of_one_update_is_below_its_bound(name: str) -> None:
    """Each codec is a contraction, without which error feedback need not converge."""
    dense = np.random.default_rng(8).standard_normal(4096).astype(np.float32)
    chunk, k = shape_for(name)
    _, sent = CODECS[name].compress(dense, chunk, k)
    error = float(((dense - sent) ** 2).sum() / (dense**2).sum())
    most = {"dense-fp32": 0.0, "dense-8bit": 1e-4, "ternary": 0.2, "dense-sign": 0.4}
    assert error <= most.get(name, 0.75)
    assert name not in ("topk-sign", "topk-2bit") or error < 0.6


def test_two_bits_err_less_than_one() -> None:
    dense = np.random.default_rng(9).standard_normal(1 << 16).astype(np.float32)
    errors = []
    for name in ("topk-sign", "topk-2bit"):
        update, sent = CODECS[name].compress(dense, 4096, 64)
        kept = update.indices
        errors.append(float(((dense - sent)[kept] ** 2).sum()))
    assert errors[1] < 0.5 * errors[0]


@pytest.mark.parametrize("name", sorted(INTEGER_CODECS))
@given(data=st.data())
def test_blobs_carry_every_codec_of_a_run(name: str, data: st.DataObject) -> None:
    case = data.draw(made(name))
    size, chunk, k = case.shape
    expected = replace(EXPECTED, size=size, chunk=chunk, k=k, codec_id=case.codec.number)
    blob = encode_blob(expected.header(), case.update)
    most = largest_blob_bytes(size, chunk, k, name)
    assert decode_blob(blob, expected, most) == (expected.header(), case.update)
    other = replace(expected, codec_id=1 if case.codec.number != 1 else 2, k=k)
    if not integer_codec_by_number(other.codec_id).dense_only:
        with pytest.raises(RefusedError, match="blob-codec"):
            decode_blob(blob, other, most)


def scales(*codes: int) -> bytes:
    return b"".join(code.to_bytes(2, "little") for code in codes)


# Six entries in chunks of four: one full, one of two.
HAND_MADE: list[tuple[str, bytes, str]] = [
    ("dense-sign", scales(5, 0) + b"\x0f", ""),
    ("dense-sign", scales(5, 7) + b"\x3f", ""),
    ("dense-sign", scales(5, 7) + b"\x40", "blob-padding"),
    ("dense-sign", scales(5, 0xFFFF) + b"\x00", "blob-scale"),
    ("dense-sign", scales(5, 7), "blob-truncated"),
    ("dense-sign", scales(0, 0) + b"\x00", "blob-too-large|blob-trailing"),
    ("dense-8bit", scales(1, 0xFFFE) + bytes([127, 0, 0, 0, 0x81, 5]), ""),
    ("dense-8bit", scales(1, 9) + bytes([126, 0, 0, 0, 127, 5]), "blob-level"),
    ("dense-8bit", scales(1, 9) + bytes([127, 0, 0, 0, 0x80, 127]), "blob-level"),
    ("dense-8bit", scales(1, 9) + bytes([127, 0, 0, 0, 127]), "blob-truncated"),
    ("dense-8bit", scales(0, 9) + bytes([127, 0]), ""),
    ("dense-8bit", scales(0, 9) + bytes([127, 0, 0]), "blob-trailing"),
    ("ternary", scales(3, 4) + bytes([2 + 3 + 9 + 27 + 81 * 2, 1]), ""),
    ("ternary", scales(3, 4) + bytes([2 + 3 + 9 + 27 + 81, 1]), "blob-level"),
    ("ternary", scales(3, 0) + bytes([0]), ""),
    ("ternary", scales(3, 0) + bytes([81]), "blob-padding"),
    ("ternary", scales(3, 0) + bytes([243]), "blob-level"),
    ("ternary", scales(3, 4) + bytes([0, 3]), "blob-padding"),
    ("ternary", scales(3, 4) + bytes([0]), "blob-truncated"),
]


@pytest.mark.parametrize(("name", "body", "code"), HAND_MADE)
def test_hand_made_dense_bodies(name: str, body: bytes, code: str) -> None:
    each: Any = CODECS[name]
    if code:
        with pytest.raises(RefusedError, match=code):
            each.decode(body, 6, 4, 4)
    else:
        assert each.encode(each.decode(body, 6, 4, 4)) == body


# Two of every four of six entries: r = 0, so that positions are bit masks; one of the last two.
TOPK: list[tuple[str, bytes, str]] = [
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x1c", ""),  # gaps 2, 0, then 0
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x2c", ""),  # the last one at its end
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x4c", "blob-gaps"),  # and behind it
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x38", "blob-gaps"),  # the fifth of four
    ("topk-sign", scales(5, 6) + b"\x0d" + b"\x1c", "blob-padding"),
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x5c", "blob-padding"),
    ("topk-sign", scales(5, 6) + b"\x05" + b"\x0c", "blob-gaps|blob-truncated"),
    ("topk-2bit", scales(5, 6) + b"\x5f\x00" + b"\x05\x02" + b"\x1c", ""),
    ("topk-2bit", scales(5, 6) + b"\x01\x00" + b"\x05\x01" + b"\x1c", ""),
    ("topk-2bit", scales(5, 6) + b"\x60\x00" + b"\x05\x02" + b"\x1c", "blob-level"),
    ("topk-2bit", scales(5, 6) + b"\x5f\x00" + b"\x05\x03" + b"\x1c", "blob-level"),
    ("topk-2bit", scales(5, 6) + b"\x5f\x00" + b"\x05\x00" + b"\x1c", "blob-level"),
    ("topk-2bit", scales(5, 6) + b"\x00\x00" + b"\x05\x02" + b"\x1c", "blob-level"),
    ("topk-2bit", scales(5, 6) + b"\x00\x01" + b"\x05\x04" + b"\x1c", "blob-level"),
    ("topk-2bit", scales(5, 6) + b"\x5f\x00" + b"\x05\x0a" + b"\x1c", "blob-padding"),
    ("topk-2bit", scales(5, 0) + b"\x07" + b"\x01\x02" + b"\x06", ""),
    ("topk-2bit", scales(5, 6) + b"\x07", "blob-truncated"),
]


@pytest.mark.parametrize("kernels", ["numpy", "native"])
@pytest.mark.parametrize(("name", "body", "code"), TOPK)
def test_hand_made_topk_bodies(
    name: str, body: bytes, code: str, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EMERIT_KERNELS", kernels)
    each: Any = CODECS[name]
    if code:
        with pytest.raises(RefusedError, match=code):
            each.decode(body, 6, 4, 2)
    else:
        assert each.encode(each.decode(body, 6, 4, 2)) == body


def test_floats_that_are_not_finite_are_refused() -> None:
    bad = np.array([1.0, np.nan], dtype="<f4").tobytes()
    with pytest.raises(RefusedError, match="blob-level"):
        CODECS["dense-fp32"].decode(bad, 2, 2, 2)
    with pytest.raises(RefusedError, match="blob-level"):
        CODECS["low-rank"].decode(bad, 1, 1, 1)
