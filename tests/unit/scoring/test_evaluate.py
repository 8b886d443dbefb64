from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from emerit.codec import SparseUpdate, compress
from emerit.errors import StateError
from emerit.model import FlatModel
from emerit.protocol import minifloat
from emerit.protocol.presets import PRESETS
from emerit.scoring.evaluate import CommonStep, OneDevice, Trial, common_step, evaluate_round, health, trial_step
from emerit.scoring.losses import sequence_losses
from emerit.scoring.measurement import Measurement
from emerit.training.state import initial_values, to_float

TINY = PRESETS["tiny"]


def text(count: int, seed: int) -> NDArray[np.uint8]:
    """Sequences over few letters, so that a step along the gradient of some helps the others."""
    random = np.random.default_rng(seed)
    return random.choice(np.frombuffer(b"  aeinorst", np.uint8), (count, TINY.model.context + 1))


def start() -> FlatModel:
    model = FlatModel(TINY.model)
    model.load(to_float(initial_values(TINY.model, b"evaluate")))
    return model


def gradient(tokens: NDArray[np.uint8]) -> NDArray[np.float32]:
    model = FlatModel(TINY.model, trainable=True)
    model.load(to_float(initial_values(TINY.model, b"evaluate")))
    rows = torch.from_numpy(tokens.astype(np.int64))
    loss = F.cross_entropy(model.module(rows[:, :-1]).flatten(0, 1), rows[:, 1:].flatten())
    loss.backward()  # type: ignore[no-untyped-call]
    assert model.gradient is not None
    return model.gradient.numpy()


def sparse(dense: NDArray[np.float32]) -> SparseUpdate:
    return compress(dense, TINY.codec.chunk, TINY.codec.k)[0]


RANDOM, OWN = text(16, 1), text(8, 2)


def test_a_step_along_the_gradient_gains_and_its_opposite_loses() -> None:
    useful = sparse(gradient(OWN))
    updates = {3: useful, 5: replace(useful, levels=(-useful.levels).astype(np.int8))}
    result = evaluate_round(start(), updates, RANDOM, {3: OWN, 5: OWN}, TINY.scoring, TINY.outer)
    assert list(result.measurements) == [3, 5]
    assert result.measurements[3].random_gain > 2 * result.measurements[3].random_se > 0
    assert result.measurements[5].random_gain < -2 * result.measurements[5].random_se
    assert result.base_loss == result.base_losses.mean() == pytest.approx(math.log(256), abs=0.2)


def test_gains_are_paired_differences_at_the_trial_step() -> None:
    model, update = start(), sparse(gradient(OWN))
    result = evaluate_round(model, {0: update}, RANDOM, {0: OWN}, TINY.scoring, TINY.outer).measurements[0]
    moved = start()
    moved.load(to_float(initial_values(TINY.model, b"evaluate")) - np.float32(0.2) * update.dense())
    for tokens, gain, error in (
        (RANDOM, result.random_gain, result.random_se),
        (OWN, result.own_gain, result.own_se),
    ):
        difference = sequence_losses(model.module, tokens) - sequence_losses(moved.module, tokens)
        assert gain == pytest.approx(difference.mean(), rel=1e-4)
        assert error == pytest.approx(difference.std(ddof=1) / math.sqrt(len(tokens)), rel=1e-3)


def test_trial_step_is_the_fraction_of_the_outer_learning_rate() -> None:
    outer = replace(TINY.outer, lr_numerator=3, lr_denominator=4)
    assert trial_step(TINY.scoring, outer) == pytest.approx(0.15)


def test_parameters_are_the_same_to_the_bit_after_a_round() -> None:
    model = start()
    before = model.flat.numpy().tobytes()
    updates = {slot: sparse(gradient(text(4, slot))) for slot in range(3)}
    evaluate_round(model, updates, RANDOM, dict.fromkeys(updates, OWN), TINY.scoring, TINY.outer)
    assert model.flat.numpy().tobytes() == before


def test_gaps_are_adjusted_by_the_common_step_from_four_contributions_on() -> None:
    updates = {slot: sparse(gradient(text(4, slot))) for slot in range(4)}
    own = {slot: text(4, slot) for slot in updates}
    model = start()
    before = model.flat.numpy().tobytes()
    result = evaluate_round(model, updates, RANDOM, own, TINY.scoring, TINY.outer)
    assert all(item.adjusted is not None and item.finite for item in result.measurements.values())
    assert model.flat.numpy().tobytes() == before
    few = evaluate_round(model, {slot: updates[slot] for slot in range(3)}, RANDOM, own, TINY.scoring, TINY.outer)
    for slot, item in few.measurements.items():
        assert item.adjusted is None
        same = result.measurements[slot]
        assert (item.random_gain, item.own_gain) == (same.random_gain, same.own_gain)


def test_whom_the_last_consensus_paid_makes_the_common_step() -> None:
    updates = {slot: sparse(gradient(text(4, slot))) for slot in range(4)}
    crowd = updates | {slot: sparse(gradient(text(4, 50 + slot))) for slot in range(4, 13)}
    paid = dict.fromkeys(range(4), 9)
    alone = common_step(updates, paid, TINY.scoring, TINY.outer)
    amid = common_step(crowd, paid | {4: 1}, TINY.scoring, TINY.outer)
    assert alone is not None and amid is not None
    assert all(np.array_equal(first, second) for first, second in zip(alone.step, amid.step, strict=True))
    assert alone.members == amid.members == set(range(4))
    everybody = common_step(crowd, {}, TINY.scoring, TINY.outer)
    assert everybody is not None and len(everybody.step[0]) > len(alone.step[0])
    assert common_step(crowd, {0: 9, 1: 9, 2: 9}, TINY.scoring, TINY.outer) is None
    assert common_step({0: updates[0]}, paid, TINY.scoring, TINY.outer) is None


def test_what_the_common_step_takes_of_its_members_gaps_is_given_back() -> None:
    item = Measurement(1, 0.1, 0.01, 0.2, 0.01, adjusted=(0.06, 0.02))
    common = CommonStep((np.array([0]), np.array([1.0])), frozenset(range(4)))
    assert common.given_back(item).adjusted == pytest.approx((0.08, 0.08 / 3))
    assert common.given_back(replace(item, slot=5)).adjusted == (0.06, 0.02)
    assert common.given_back(replace(item, adjusted=None)).adjusted is None


def test_base_losses_that_are_known_are_not_computed_again() -> None:
    updates = {slot: sparse(gradient(text(4, slot))) for slot in range(4)}
    own = dict.fromkeys(updates, OWN)
    found = evaluate_round(start(), updates, RANDOM, own, TINY.scoring, TINY.outer)
    again = evaluate_round(start(), updates, RANDOM, own, TINY.scoring, TINY.outer, base_losses=found.base_losses)
    assert again.measurements == found.measurements and again.base_losses is found.base_losses


def test_an_update_that_overshoots_gains_at_the_trial_step_and_loses_at_the_whole_one() -> None:
    update = sparse(gradient(OWN))
    large = replace(update, scales=(update.scales + 8 * 256).astype(np.uint16))
    item = evaluate_round(start(), {0: update, 1: large}, RANDOM, {0: OWN, 1: OWN}, TINY.scoring, TINY.outer)
    small, huge = item.measurements[0], item.measurements[1]
    assert small.whole_gain is not None and huge.whole_gain is not None
    assert small.gain == pytest.approx(small.random_gain, rel=0.1)
    assert huge.gain == huge.whole_gain < huge.random_gain


def test_progress_is_reported_and_stopping_leaves_the_rest_unmeasured() -> None:
    seen: list[tuple[int, int]] = []
    updates = {slot: sparse(gradient(OWN)) for slot in (4, 1, 7)}
    result = evaluate_round(
        start(),
        updates,
        RANDOM,
        dict.fromkeys(updates, OWN),
        TINY.scoring,
        TINY.outer,
        on_progress=lambda done, total: seen.append((done, total)),
        should_stop=lambda: len(seen) == 2,
    )
    assert seen == [(1, 3), (2, 3)]
    assert set(result.measurements) == {1, 4}


def test_an_order_says_who_is_measured_first() -> None:
    seen: list[tuple[int, int]] = []
    updates = {slot: sparse(gradient(OWN)) for slot in (1, 4, 7)}
    result = evaluate_round(
        start(),
        updates,
        RANDOM,
        dict.fromkeys(updates, OWN),
        TINY.scoring,
        TINY.outer,
        on_progress=lambda done, total: seen.append((done, total)),
        should_stop=lambda: len(seen) == 2,
        order=[7, 1, 4],
    )
    assert list(result.measurements) == [7, 1] and seen == [(1, 3), (2, 3)]


def test_the_largest_scale_that_can_be_sent_is_measured_as_harm_and_leaves_no_trace() -> None:
    model, update = start(), sparse(gradient(OWN))
    before = model.flat.numpy().tobytes()
    huge = replace(update, scales=np.full(len(update.scales), minifloat.MAX_CODE, np.uint16))
    result = evaluate_round(model, {0: huge}, RANDOM, {0: OWN}, TINY.scoring, TINY.outer).measurements[0]
    assert result.finite and result.random_gain < -100
    assert model.flat.numpy().tobytes() == before


def test_a_state_without_a_finite_loss_cannot_be_measured_against() -> None:
    model = start()
    model.flat[0] = math.nan
    with pytest.raises(StateError) as caught:
        evaluate_round(model, {}, text(2, 1) * 0, {}, TINY.scoring, TINY.outer)
    assert caught.value.code == "state-loss-not-finite"


def test_health_is_the_rise_beyond_two_errors() -> None:
    before = np.linspace(2.0, 3.0, 64)
    worse = before + np.where(np.arange(64) % 2, 0.06, 0.04)
    error = 0.01 * math.sqrt(64 / 63) / 8
    assert health(worse, before) == pytest.approx(0.05 - 2 * error)
    assert health(before, worse) == 0.0
    assert health(before, before) == 0.0
    assert health(before + np.where(np.arange(64) % 2, 1.0, -0.98), before) == 0.0


def test_a_common_step_without_a_finite_loss_leaves_the_plain_gap() -> None:
    model, update = start(), sparse(gradient(OWN))
    before = model.flat.numpy().tobytes()
    plain = evaluate_round(model, {0: update}, RANDOM, {0: OWN}, TINY.scoring, TINY.outer)
    bench = OneDevice(model, TINY.scoring, TINY.outer)
    bench.begin(RANDOM, (np.array([0]), np.array([np.inf])), plain.base_losses)
    assert bench.measure([Trial(0, update, OWN)]) == [plain.measurements[0]]
    assert plain.measurements[0].finite
    assert model.flat.numpy().tobytes() == before
