from __future__ import annotations

import numpy as np
import pytest

from emerit.scoring.evaluate import trial_step
from emerit.scoring.first_order import first_order_gains, loss_gradient
from emerit.scoring.losses import TrialStep, sequence_losses
from tests.unit.scoring.test_evaluate import OWN, RANDOM, TINY, gradient, sparse, start, text


def test_the_gradient_is_that_of_the_mean_loss_however_it_is_cut_into_batches() -> None:
    whole = gradient(RANDOM)
    for batch in (3, 8, 16):
        assert np.allclose(loss_gradient(start(), RANDOM, batch), whole, atol=1e-6)


def test_the_model_is_afterwards_what_it_was() -> None:
    model = start()
    before = model.flat.numpy().tobytes()
    first_order_gains(model, {0: sparse(gradient(OWN))}, RANDOM, 0.2)
    assert model.flat.numpy().tobytes() == before
    assert not any(parameter.requires_grad for parameter in model.module.parameters())


def test_a_small_step_gains_what_the_first_order_says() -> None:
    model = start()
    updates = {slot: sparse(gradient(text(4, slot))) for slot in range(4)}
    step = trial_step(TINY.scoring, TINY.outer) / 100
    predicted = first_order_gains(model, updates, RANDOM, step)
    base = sequence_losses(model.module, RANDOM)
    for slot, update in updates.items():
        with TrialStep(model.flat, update, step):
            gain = float((base - sequence_losses(model.module, RANDOM)).mean())
        assert predicted[slot] == pytest.approx(gain, rel=0.05) and gain > 0


def test_it_is_linear_in_the_step() -> None:
    updates = {3: sparse(gradient(OWN))}
    small, large = (first_order_gains(start(), updates, RANDOM, step)[3] for step in (0.1, 0.3))
    assert large == pytest.approx(3 * small)
