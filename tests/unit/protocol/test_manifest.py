from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.errors import RefusedError, UsageError
from emerit.protocol.manifest import (
    CODEC_NAMES,
    DENSE_CODEC_NAMES,
    LAB_CODEC_NAMES,
    CodecSpec,
    CorpusSpec,
    Manifest,
    ShardSpec,
)
from emerit.protocol.presets import CLOCKS, PRESETS, clock, preset
from emerit.protocol.types import RunParams


def corpus(context: int, train: int = 10, validation: int = 3, shard: int = 4) -> CorpusSpec:
    def shards(total: int) -> tuple[ShardSpec, ...]:
        sizes = [min(shard, total - at) for at in range(0, total, shard)]
        return tuple(ShardSpec(f"Qm{at}", f"{at:064x}", size) for at, size in enumerate(sizes))

    return CorpusSpec(context + 1, shard, train, validation, shards(train), shards(validation))


def manifest(name: str = "demo") -> Manifest:
    return preset(name).manifest("a-run", corpus(preset(name).model.context), bytes(32), bytes(range(32)))


def encoded(document: dict[str, Any]) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def with_change(change: Callable[[dict[str, Any]], object]) -> bytes:
    document = json.loads(manifest().to_bytes())
    change(document)
    return encoded(document)


@pytest.mark.parametrize("name", list(PRESETS))
def test_a_manifest_comes_back(name: str) -> None:
    value = manifest(name)
    data = value.to_bytes()
    assert Manifest.from_bytes(data) == value
    assert value.sha256() == hashlib.sha256(data).digest()
    assert value.initial_seed_bytes == bytes(32)
    assert value.initial_state_root_bytes == bytes(range(32))


def test_the_encoding_is_canonical() -> None:
    data = manifest().to_bytes()
    assert data == encoded(json.loads(data))
    assert data.isascii() and b" " not in data


def test_a_whole_number_in_a_float_field_is_written_as_a_float() -> None:
    value = manifest()
    value = replace(value, training=replace(value.training, clip_norm=2))
    assert b'"clip_norm":2.0' in value.to_bytes()
    assert Manifest.from_bytes(value.to_bytes()) == value


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("codec"),
        lambda d: d.update(extra=1),
        lambda d: d["codec"].update(extra=1),
        lambda d: d["codec"].pop("k"),
        lambda d: d["codec"].update(k=0),
        lambda d: d["codec"].update(k=4097),
        lambda d: d["codec"].update(k="256"),
        lambda d: d["codec"].update(k=256.0),
        lambda d: d["codec"].update(k=True),
        lambda d: d["codec"].update(name="pickle"),
        lambda d: d["training"].update(learning_rate=1),
        lambda d: d["training"].update(learning_rate=None),
        lambda d: d["training"].update(assigned_sequences=81),
        lambda d: d["scoring"].update(own_sequences=81),
        lambda d: d["model"].update(d_model=132),
        lambda d: d["model"].update(vocabulary=512),
        lambda d: d["model"].update(context=64),
        lambda d: d.update(protocol_version=1),
        lambda d: d.update(tokenizer="bpe"),
        lambda d: d.update(name="A Run"),
        lambda d: d.update(name="a-run\n"),
        lambda d: d.update(initial_seed="0x" + 62 * "0"),
        lambda d: d.update(initial_seed=64 * "A"),
        lambda d: d.update(model=[]),
        lambda d: d["corpus"].update(train_shards={}),
        lambda d: d["corpus"].update(train_sequences=11),
        lambda d: d["corpus"].update(validation_sequences=5),
        lambda d: d["corpus"]["train_shards"].pop(),
        lambda d: d["corpus"]["train_shards"][0].update(sequences=3),
        lambda d: d["corpus"]["train_shards"][0].update(cid="../etc"),
        lambda d: d["corpus"]["train_shards"].append(d["corpus"]["train_shards"][0]),
        lambda d: d["reputation"].update(continue_ppb=10**9 + 1),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(RefusedError, match="manifest-invalid"):
        Manifest.from_bytes(with_change(change))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"k":256', b'"k": 256'),
        (b'"k":256', b'"k":256,"k":256'),
        (b'"z":1.0', b'"z":1.00'),
        (b'"z":1.0', b'"z":NaN'),
        (b'"z":1.0', b'"z":1e400'),
        (b'"k":256', b'"k":' + b"9" * 5000),
        (b'"a-run"', b'"\\u0061-run"'),
        (b'"a-run"', '"ä-run"'.encode()),
        (b'"a-run"', b'"\xff"'),
    ],
)
def test_another_encoding_of_a_manifest_is_refused(old: bytes, new: bytes) -> None:
    data = manifest().to_bytes()
    assert old in data
    with pytest.raises(RefusedError, match="manifest-invalid"):
        Manifest.from_bytes(data.replace(old, new, 1))


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60).map(str.encode)))
def test_garbage_is_refused(data: bytes) -> None:
    with pytest.raises(RefusedError, match="manifest-invalid"):
        Manifest.from_bytes(data)


def test_deep_nesting_and_size_are_refused() -> None:
    with pytest.raises(RefusedError, match="manifest-invalid"):
        Manifest.from_bytes(b"[" * 200_000)
    with pytest.raises(RefusedError, match="manifest-invalid"):
        Manifest.from_bytes(b" " * ((16 << 20) + 1))


def test_a_refusal_names_the_field() -> None:
    with pytest.raises(RefusedError, match=r"codec.*k = 0"):
        Manifest.from_bytes(with_change(lambda d: d["codec"].update(k=0)))


def test_code_cannot_make_a_wrong_manifest_either() -> None:
    with pytest.raises(RefusedError, match="manifest-invalid"):
        replace(manifest().codec, k=0)
    with pytest.raises(RefusedError, match="manifest-invalid"):
        preset("tiny").manifest("a-run", corpus(33), bytes(32), bytes(32))


@pytest.mark.parametrize("name", CODEC_NAMES)
def test_a_run_may_use_every_integer_codec(name: str) -> None:
    k = 4096 if name in DENSE_CODEC_NAMES else 64
    codec = CodecSpec(name=name, chunk=4096, k=k, early_rounds=3, early_k=k)
    made = replace(manifest(), codec=codec)
    assert Manifest.from_bytes(made.to_bytes()).codec == codec


def test_codecs_of_the_lab_and_unknown_ones_are_refused_by_name() -> None:
    for name in LAB_CODEC_NAMES:
        with pytest.raises(RefusedError, match=rf"{name} decodes with floats, so it is for the lab"):
            replace(manifest().codec, name=name)
    with pytest.raises(RefusedError, match=r"topk-signs is no codec of a run: topk-sign, "):
        Manifest.from_bytes(with_change(lambda d: d["codec"].update(name="topk-signs")))


@pytest.mark.parametrize(
    "change",
    [{"k": 4097}, {"early_k": 4097}, {"early_k": 0}, {"early_rounds": -1}, {"early_rounds": 1 << 32}, {"chunk": 255}],
)
def test_a_codec_out_of_its_range_is_refused(change: dict[str, int]) -> None:
    with pytest.raises(RefusedError, match="manifest-invalid"):
        replace(manifest().codec, **change)


@pytest.mark.parametrize("field", ["k", "early_k"])
def test_dense_codecs_send_whole_chunks(field: str) -> None:
    spec = CodecSpec(name="ternary", chunk=64, k=64, early_rounds=1, early_k=64)
    with pytest.raises(RefusedError, match=rf"{field} = 63 must be the chunk"):
        replace(spec, **{field: 63})


def test_the_density_changes_once() -> None:
    spec = CodecSpec(name="topk-sign", chunk=4096, k=64, early_rounds=2, early_k=512)
    assert [spec.k_in(number) for number in range(4)] == [512, 512, 64, 64]
    assert all(replace(spec, early_rounds=0).k_in(number) == 64 for number in range(3))
    for demo in PRESETS.values():
        assert demo.codec.k_in(0) == demo.codec.k == 256


def test_a_clock_fits_the_run_s_parameters() -> None:
    names = {field.name for field in fields(RunParams)}
    for value in CLOCKS.values():
        assert set(asdict(value)) <= names
        assert value.min_round_seconds <= value.nominal_round_seconds
        assert value.fitted() == value


def test_every_clock_fits_the_unbonding_that_deployments_have_by_default() -> None:
    for name, value in CLOCKS.items():
        value.check(7 * 86_400 if name == "public" else 3_600)
    public = clock("public")
    assert public.draw_delay_seconds > 0
    assert public.challenge_window_seconds >= 3600


@pytest.mark.parametrize(
    ("changes", "unbonding", "words"),
    [
        ({"challenge_window_seconds": 0}, 3600, "window is zero"),
        ({"answer_seconds": 1}, 3600, "answer a demand is below two"),
        ({"claim_period_seconds": 431}, 3600, "in dispute for 216 s"),
        ({"history_rounds": 73}, 3600, "need 74"),
        ({"history_rounds": 63, "min_round_seconds": 0}, 3600, "need 64"),
        ({"challenge_window_seconds": 3 * 4096, "claim_period_seconds": 10**6}, 10**6, "more than the 4096"),
        ({}, 215, "binds stakes for only 215 s"),
    ],
)
def test_times_that_do_not_fit_together_are_refused_before_anything_is_uploaded(
    changes: dict[str, int], unbonding: int, words: str
) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        replace(clock("demo"), **changes).check(unbonding)
    assert caught.value.code == "clock-unfit"


def test_a_longer_window_needs_a_longer_memory() -> None:
    longer = replace(clock("demo"), challenge_window_seconds=600)
    with pytest.raises(UsageError, match="clock-unfit"):
        longer.check(3600)
    longer.fitted().check(3600)
    assert replace(longer, min_round_seconds=0).fitted().history_rounds == 128


def test_the_demo_preset_is_what_was_measured() -> None:
    demo = preset("demo")
    assert (demo.model.d_model, demo.model.layers, demo.model.heads, demo.model.context) == (128, 4, 4, 128)
    assert (demo.codec.chunk, demo.codec.k) == (4096, 256)
    assert demo.training.inner_steps * demo.training.batch_sequences == 2 * demo.training.assigned_sequences
    assert demo.limits.max_blob_bytes == 4 * 1024 * 1024


def test_unknown_names_come_with_a_suggestion() -> None:
    with pytest.raises(UsageError, match=r"preset-unknown.*'demo'"):
        preset("dmeo")
    with pytest.raises(UsageError, match=r"clock-unknown.*'devnet'"):
        clock("devne")
    assert clock("demo").train_seconds == 60
