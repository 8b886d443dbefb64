from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from emerit.codec.compress import compress
from emerit.errors import StateError, UsageError
from emerit.model import FlatModel, Gpt, flat_parameters, load_flat, parameter_count
from emerit.protocol.presets import preset
from emerit.training import ErrorFeedback, InnerTrainer, initial_values, learning_rate, to_float, usage_order
from emerit.training.optimiser import Optimiser
from emerit.training.storage import write_tensors

TINY = preset("tiny")
SPEC, TRAINING = TINY.model, TINY.training
START = initial_values(SPEC, b"seed")
TEXT = np.frombuffer(b"the quick brown fox jumps over the lazy dog; " * 40, dtype=np.uint8)
SEQUENCES = TEXT[: TRAINING.assigned_sequences * (SPEC.context + 1)].reshape(TRAINING.assigned_sequences, -1)


def _trainer(seed: bytes = b"private") -> InnerTrainer:
    return InnerTrainer(SPEC, TRAINING, seed)


def test_a_round_agrees_with_a_plain_training_loop() -> None:
    """The same steps on an ordinary module with the library's clipping, all tensors decayed separately."""
    result = _trainer().run_round(0, START, SEQUENCES)
    model = Gpt(SPEC)
    load_flat(model, to_float(START))
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": TRAINING.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim == 1], "weight_decay": 0.0},
    ]
    adamw = torch.optim.AdamW(groups, betas=(TRAINING.beta1, TRAINING.beta2))
    order = usage_order(b"private", 0, len(SEQUENCES), TRAINING.inner_steps * TRAINING.batch_sequences)
    losses = []
    for step, batch in enumerate(order.reshape(TRAINING.inner_steps, -1)):
        tokens = torch.from_numpy(SEQUENCES[batch].astype(np.int64))
        loss = F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:])
        adamw.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), TRAINING.clip_norm)
        for group in adamw.param_groups:
            group["lr"] = learning_rate(TRAINING, 0, step, step)
        adamw.step()
        losses.append(loss.item())
    np.testing.assert_allclose(result.losses, losses, rtol=1e-5)
    np.testing.assert_allclose(result.delta, to_float(START) - flat_parameters(model).numpy(), atol=2e-5)
    assert result.delta.dtype == np.float32
    assert not result.stopped


def test_training_lowers_the_loss_and_leaves_the_state_alone() -> None:
    trainer, values = _trainer(), START.copy()
    first = trainer.run_round(0, values, SEQUENCES)
    assert np.array_equal(values, START)
    for number in range(1, 6):
        values = values - np.rint(first.delta * 2**24).astype(np.int32)
        first = trainer.run_round(number, values, SEQUENCES)
    assert trainer.steps_done == 6 * TRAINING.inner_steps
    assert first.losses[-1] < math.log(256) - 0.5


def test_the_private_seed_and_the_round_decide_the_order() -> None:
    same = [_trainer().run_round(0, START, SEQUENCES).delta for _ in range(2)]
    assert np.array_equal(*same)
    assert not np.array_equal(same[0], _trainer(b"another").run_round(0, START, SEQUENCES).delta)
    orders = {usage_order(seed, number, 80, 160).tobytes() for seed in (b"a", b"b") for number in (0, 1)}
    assert len(orders) == 4


@given(st.binary(max_size=8), st.integers(0, 2**40), st.integers(1, 50), st.integers(1, 200))
def test_every_sequence_is_used_equally_often(seed: bytes, number: int, available: int, draws: int) -> None:
    order = usage_order(seed, number, available, draws)
    uses = np.bincount(order, minlength=available)
    assert (len(order), len(uses)) == (draws, available)
    assert uses.max() - uses.min() <= 1
    if draws % available == 0:
        assert (uses == draws // available).all()


def test_no_sequences_are_refused() -> None:
    with pytest.raises(UsageError) as refused:
        _trainer().run_round(0, START, SEQUENCES[:0])
    assert refused.value.code == "no-sequences"


def test_progress_is_told_and_a_round_can_be_stopped() -> None:
    told: list[tuple[int, int, float]] = []
    result = _trainer().run_round(
        0, START, SEQUENCES, on_step=lambda *step: told.append(step), should_stop=lambda: len(told) == 2
    )
    assert result.stopped
    assert told == [(place + 1, TRAINING.inner_steps, loss) for place, loss in enumerate(result.losses)]
    assert len(told) == 2
    stopped = _trainer().run_round(0, START, SEQUENCES, should_stop=lambda: True)
    assert stopped.losses == []
    assert not stopped.delta.any()


def test_saved_optimiser_continues_as_if_never_stopped(tmp_path: Path) -> None:
    trainer = _trainer()
    trainer.run_round(0, START, SEQUENCES)
    trainer.save(tmp_path / "inner.safetensors")
    resumed = _trainer()
    assert resumed.load(tmp_path / "inner.safetensors")
    assert resumed.steps_done == TRAINING.inner_steps
    deltas = [each.run_round(1, START, SEQUENCES).delta for each in (trainer, resumed)]
    assert np.array_equal(*deltas)
    fresh = _trainer().run_round(1, START, SEQUENCES).delta
    assert not np.array_equal(deltas[0], fresh)


def test_an_unused_optimiser_can_be_saved_and_a_missing_file_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "inner.safetensors"
    assert not _trainer().load(path)
    _trainer().save(path)
    used = _trainer()
    used.run_round(0, START, SEQUENCES)
    assert used.load(path)
    assert used.steps_done == 0
    assert np.array_equal(used.run_round(0, START, SEQUENCES).delta, _trainer().run_round(0, START, SEQUENCES).delta)


def test_damaged_optimiser_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "inner.safetensors"
    size = parameter_count(SPEC)
    good = {"exp_avg": np.zeros(size, np.float32), "exp_avg_sq": np.zeros(size, np.float32)}
    description = {"format": "emerit-optimiser-1", "steps": "4"}
    path.write_bytes(b"not safetensors")
    _assert_corrupt(_trainer(), path)
    bad = [
        (good, {**description, "format": "other"}),
        (good, {**description, "steps": "-1"}),
        (good, {**description, "steps": "0"}),
        ({}, description),
        ({**good, "exp_avg": np.full(size, np.nan, np.float32)}, description),
        ({**good, "exp_avg": np.zeros(size - 1, np.float32)}, description),
        ({**good, "exp_avg": np.zeros(size, np.float64)}, description),
    ]
    for tensors, metadata in bad:
        write_tensors(path, tensors, metadata)
        _assert_corrupt(_trainer(), path)
    write_tensors(path, good, description)
    assert _trainer().load(path)


def test_divergence_has_a_name() -> None:
    trainer = _trainer()
    trainer._engine.model.module.register_forward_hook(lambda _module, _inputs, logits: logits * float("inf"))
    with pytest.raises(StateError) as refused:
        trainer.run_round(0, START, SEQUENCES)
    assert refused.value.code == "training-diverged"
    assert trainer.steps_done == 0


def test_optimiser_does_not_step_on_a_gradient_that_is_not_finite() -> None:
    model = FlatModel(SPEC, trainable=True)
    model.load(to_float(START))
    optimiser = Optimiser(model, TRAINING)
    assert model.gradient is not None
    model.gradient[5] = float("nan")
    assert not optimiser.step(model.gradient, 1e-3)
    assert np.array_equal(model.flat.numpy(), to_float(START))
    model.gradient[5] = 1e6
    assert optimiser.step(model.gradient, 1e-3)
    assert float(model.gradient.norm()) == pytest.approx(TRAINING.clip_norm)


def test_learning_rate_warms_up_and_falls() -> None:
    training = replace(TRAINING, inner_steps=10, warmup_steps=20, planned_rounds=10, final_lr_fraction=0.1)
    peak = training.learning_rate
    assert learning_rate(training, 0, 0, 0) == pytest.approx(peak / 20)
    assert learning_rate(training, 5, 0, 50) == pytest.approx(peak * 0.55)
    assert learning_rate(training, 5, 0, 0) == pytest.approx(peak * 0.55 / 20)
    assert learning_rate(training, 10, 0, 100) == pytest.approx(peak * 0.1)
    assert learning_rate(training, 99, 9, 100) == pytest.approx(peak * 0.1)
    assert learning_rate(replace(training, warmup_steps=0), 0, 0, 0) == pytest.approx(peak)
    steps = [learning_rate(training, step // 10, step % 10, 1000) for step in range(100)]
    assert steps == sorted(steps, reverse=True)


def test_error_feedback_keeps_what_was_not_sent() -> None:
    feedback, random = ErrorFeedback(0.5), np.random.default_rng(2)
    first, second = (random.normal(0, 1e-2, 1000).astype(np.float32) for _ in range(2))
    assert feedback.buffer is None
    assert np.array_equal(feedback.accumulate(first), first)
    update, sent = compress(first, 100, 10)
    feedback.subtract(sent)
    rest = first - sent
    assert feedback.buffer is not None
    assert np.array_equal(feedback.buffer, rest)
    expected = (rest * np.float32(0.5) + second).astype(np.float32)
    assert np.array_equal(feedback.accumulate(second), expected)
    feedback.give_back(update)
    np.testing.assert_allclose(feedback.buffer, expected + sent, atol=1e-8)
    feedback.subtract(update)
    np.testing.assert_allclose(feedback.buffer, expected, atol=1e-8)


def test_what_is_returned_can_be_changed_without_harm() -> None:
    feedback = ErrorFeedback(1.0)
    feedback.accumulate(np.ones(3, np.float32))[:] = 7
    assert feedback.buffer is not None
    assert feedback.buffer.tolist() == [1, 1, 1]


def test_error_feedback_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "feedback.safetensors"
    feedback = ErrorFeedback(0.9)
    assert not feedback.load(path)
    feedback.save(path)
    feedback.accumulate(np.arange(4, dtype=np.float32))
    again = ErrorFeedback(0.9)
    assert again.load(path)
    assert again.buffer is None
    feedback.save(path)
    assert again.load(path)
    assert again.buffer is not None
    assert again.buffer.tolist() == [0, 1, 2, 3]
    for tensors, name in (
        ({"buffer": np.full(4, np.inf, np.float32)}, "emerit-feedback-1"),
        ({"buffer": np.zeros(4, np.float64)}, "emerit-feedback-1"),
        ({"buffer": np.zeros((2, 2), np.float32)}, "emerit-feedback-1"),
        ({"other": np.zeros(4, np.float32)}, "emerit-feedback-1"),
        ({"buffer": np.zeros(4, np.float32)}, "other"),
    ):
        write_tensors(path, tensors, {"format": name})
        _assert_corrupt(again, path)
    assert again.buffer.tolist() == [0, 1, 2, 3]


def test_error_feedback_of_another_model_is_refused() -> None:
    feedback = ErrorFeedback(0.9)
    with pytest.raises(StateError, match="feedback-size"):
        feedback.subtract(np.zeros(3, np.float32))
    feedback.accumulate(np.zeros(3, np.float32))
    for call in (feedback.accumulate, feedback.subtract, feedback.give_back):
        with pytest.raises(StateError, match="feedback-size"):
            call(np.zeros(4, np.float32))


def _assert_corrupt(holder: InnerTrainer | ErrorFeedback, path: Path) -> None:
    with pytest.raises(StateError) as refused:
        holder.load(path)
    assert refused.value.code == "state-corrupt"
