"""Error feedback with any codec of a run, and the density that a round asks for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emerit.codec import INTEGER_CODECS
from emerit.protocol.manifest import CodecSpec
from emerit.protocol.presets import preset
from emerit.training.inner import ErrorFeedback
from emerit.training.state import initial_values
from emerit_node.worker import HonestWorker, Task


@pytest.mark.parametrize("name", sorted(INTEGER_CODECS))
def test_what_is_sent_and_what_is_kept_make_the_whole(name: str, tmp_path: Path) -> None:
    codec, random = INTEGER_CODECS[name], np.random.default_rng(2)
    chunk, k = 64, 64 if INTEGER_CODECS[name].dense_only else 8
    deltas = random.standard_normal((3, 500)).astype(np.float32)
    feedback = ErrorFeedback(0.5)
    total = np.zeros(500)
    for number, delta in enumerate(deltas):
        total = 0.5 * total + delta
        update = feedback.compress(delta, codec, chunk, k, number)
        total -= update.dense()
        assert feedback.buffer is not None
        assert np.allclose(feedback.buffer, total, atol=1e-5)
    feedback.save(tmp_path / "f")
    again = ErrorFeedback(0.5)
    again.load(tmp_path / "f")
    assert again.compress(deltas[0], codec, chunk, k, 3) == feedback.compress(deltas[0], codec, chunk, k, 3)
    assert again.sent_round == 3
    with_sent = feedback.buffer.copy()
    assert feedback.give_back(update, 3)
    assert not np.array_equal(with_sent, feedback.buffer)


@pytest.mark.parametrize("name", ["topk-sign", "topk-2bit", "ternary"])
def test_the_worker_sends_what_the_round_asks_for(name: str, tmp_path: Path) -> None:
    k, early_k = (256, 256) if name == "ternary" else (4, 64)
    manifest_codec = CodecSpec(name=name, chunk=256, k=k, early_rounds=1, early_k=early_k)
    tiny = replace(preset("tiny"), codec=manifest_codec)
    worker = HonestWorker(tiny, tmp_path, bytes(32))  # type: ignore[arg-type]  # a preset has all that it reads
    values = initial_values(tiny.model, bytes(32))
    sequences = np.random.default_rng(0).integers(97, 120, (8, tiny.model.context + 1)).astype(np.uint8)
    for number in range(3):
        update = worker.work(Task(number, 0, values, sequences, lambda *_: None, lambda: False))
        assert update is not None
        assert update.k == manifest_codec.k_in(number)
        INTEGER_CODECS[name].check(update)
        assert worker.feedback.sent_round == number
