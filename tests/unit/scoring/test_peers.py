"""What a trainer measures of its peers: the validators' trial step on its own sequences, ended whenever it must."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emerit.model.flat import FlatModel
from emerit.protocol.presets import preset
from emerit.scoring.fast_checks import clip_scales
from emerit.scoring.losses import TrialStep, sequence_losses
from emerit.scoring.peers import peer_gains
from emerit.training.state import initial_values, to_float
from tests.unit.validator.stage import update

TINY = preset("tiny")
STEP = 0.2
UPDATES = {index: update(index) for index in (3, 5, 9)}
TOKENS = np.random.default_rng(1).integers(97, 123, (12, TINY.model.context + 1), dtype=np.uint8)


@pytest.fixture
def model() -> FlatModel:
    made = FlatModel(TINY.model)
    made.load(to_float(initial_values(TINY.model, bytes(32))))
    return made


def test_gains_are_what_the_validators_would_measure(model: FlatModel) -> None:
    before = model.flat.clone()
    found = peer_gains(model, UPDATES, (9, 3), TOKENS, STEP, lambda: False)
    assert model.flat.equal(before)
    base = sequence_losses(model.module, TOKENS)
    clipped = clip_scales(UPDATES, {})
    assert list(found) == [3, 9]
    for index, gain in found.items():
        with TrialStep(model.flat, clipped[index], STEP):
            assert gain == pytest.approx(float((base - sequence_losses(model.module, TOKENS)).mean()), abs=1e-9)
    assert len(set(found.values())) == 2


def test_size_buys_nothing_beyond_the_median(model: FlatModel) -> None:
    scales = np.minimum(UPDATES[3].scales.astype(np.int64) + 4096, 0xFFFE).astype(np.uint16)
    loud = {**UPDATES, 3: dataclasses.replace(UPDATES[3], scales=scales)}
    louder = {**loud, 3: dataclasses.replace(loud[3], scales=np.full_like(scales, 0xFFFE))}
    first, second = (peer_gains(model, each, (3,), TOKENS, STEP, lambda: False) for each in (loud, louder))
    assert first == second


def test_who_is_not_there_is_left_out(model: FlatModel) -> None:
    assert set(peer_gains(model, {3: UPDATES[3]}, (3, 5), TOKENS, STEP, lambda: False)) == {3}
    assert peer_gains(model, {}, (3, 5), TOKENS, STEP, lambda: False) == {}


def test_it_ends_when_it_must_and_leaves_no_trace(model: FlatModel) -> None:
    before, passes = model.flat.clone(), 2
    found = []
    for most in range(4 * passes):
        asked = iter([False] * most)
        gains = peer_gains(model, UPDATES, (3, 5, 9), TOKENS, STEP, lambda asked=asked: next(asked, True))  # type: ignore[misc]
        found.append(sorted(gains))
        assert model.flat.equal(before)
    assert found == [[]] * 4 + [[3]] * 2 + [[3, 5]] * 2
