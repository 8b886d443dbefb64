"""The optimisers and schedules that a manifest can name."""

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

from emerit.errors import RefusedError, StateError
from emerit.model import Gpt, flat_parameters, load_flat, tensor_table
from emerit.protocol.manifest import TrainingSpec
from emerit.protocol.presets import preset
from emerit.training import InnerTrainer, initial_values, learning_rate, to_float, usage_order
from emerit.training.optimiser import moment_sizes, muon_entries, schedule_factor

TINY = preset("tiny")
SPEC, ADAMW = TINY.model, TINY.training
MUON = replace(ADAMW, optimiser="muon", muon_learning_rate=0.02, muon_momentum=0.9)
START = initial_values(SPEC, b"seed")
TEXT = np.frombuffer(b"the quick brown fox jumps over the lazy dog; " * 40, dtype=np.uint8)
SEQUENCES = TEXT[: ADAMW.assigned_sequences * (SPEC.context + 1)].reshape(ADAMW.assigned_sequences, -1)


def test_muon_agrees_with_the_library_s_two_optimisers_side_by_side() -> None:
    trainer = InnerTrainer(SPEC, MUON, b"private")
    results = [trainer.run_round(number, START, SEQUENCES) for number in range(2)]
    model = Gpt(SPEC)
    named = dict(model.named_parameters())
    hidden = [p for name, p in named.items() if name.startswith("blocks.") and p.ndim == 2]
    gains = [p for p in named.values() if p.ndim == 1]
    assert len(hidden) == 4 * SPEC.layers
    muon = torch.optim.Muon(hidden, weight_decay=0.1, momentum=0.9, adjust_lr_fn="match_rms_adamw")
    groups = [{"params": [named["embedding"]], "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, betas=(MUON.beta1, MUON.beta2))
    done = 0
    for number, result in enumerate(results):
        load_flat(model, to_float(START))
        order = usage_order(b"private", number, len(SEQUENCES), MUON.inner_steps * MUON.batch_sequences)
        for step, batch in enumerate(order.reshape(MUON.inner_steps, -1)):
            tokens = torch.from_numpy(SEQUENCES[batch].astype(np.int64))
            model.zero_grad()
            F.cross_entropy(model(tokens[:, :-1]).transpose(1, 2), tokens[:, 1:]).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), MUON.clip_norm)
            factor = schedule_factor(MUON, number, step, done)
            for optimiser, rate in ((muon, MUON.muon_learning_rate), (adamw, MUON.learning_rate)):
                for group in optimiser.param_groups:
                    group["lr"] = rate * factor
                optimiser.step()
            done += 1
        expected = to_float(START) - flat_parameters(model).numpy()
        # Muon multiplies in bfloat16, where the last bit of a gradient shows.
        error = np.linalg.norm(result.delta - expected) / np.linalg.norm(expected)
        assert error < 0.05


def test_muon_learns_and_its_rate_is_its_own() -> None:
    trainer = InnerTrainer(SPEC, MUON, b"private")
    values = START
    for number in range(6):
        result = trainer.run_round(number, values, SEQUENCES)
        values = values - np.rint(result.delta * 2**24).astype(np.int32)
    assert result.losses[-1] < math.log(256) - 0.5
    first = [
        InnerTrainer(SPEC, spec, b"private").run_round(0, START, SEQUENCES).delta
        for spec in (MUON, replace(MUON, muon_learning_rate=0.04), replace(MUON, muon_momentum=0.5), ADAMW)
    ]
    assert len({delta.tobytes() for delta in first}) == 4


@pytest.mark.parametrize("training", [ADAMW, MUON], ids=["adamw", "muon"])
def test_a_saved_optimiser_goes_on_to_the_bit(training: TrainingSpec, tmp_path: Path) -> None:
    trainer, resumed = (InnerTrainer(SPEC, training, b"private") for _ in range(2))
    for number in range(2):
        trainer.run_round(number, START, SEQUENCES)
    trainer.save(tmp_path / "inner.safetensors")
    assert resumed.load(tmp_path / "inner.safetensors")
    deltas = [each.run_round(2, START, SEQUENCES).delta for each in (trainer, resumed)]
    assert np.array_equal(*deltas)


def test_moments_of_another_optimiser_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "inner.safetensors"
    for made, other in ((ADAMW, MUON), (MUON, ADAMW)):
        trainer = InnerTrainer(SPEC, made, b"private")
        trainer.run_round(0, START, SEQUENCES)
        trainer.save(path)
        with pytest.raises(StateError, match="state-corrupt"):
            InnerTrainer(SPEC, other, b"private").load(path)


def test_muon_takes_the_matrices_of_the_layers() -> None:
    names = {entry.name: entry for entry in tensor_table(SPEC)}
    muon = muon_entries(SPEC, MUON)
    assert muon == {name for name in names if name.startswith("blocks.") and not name.endswith("norm")}
    assert muon_entries(SPEC, ADAMW) == frozenset()
    sizes = moment_sizes(SPEC, MUON)
    assert sizes["momentum_buffer"] == sum(names[name].size for name in muon)
    assert sizes["exp_avg"] + sizes["momentum_buffer"] == START.size
    assert moment_sizes(SPEC, ADAMW) == {"exp_avg": START.size, "exp_avg_sq": START.size}


def test_wsd_warms_up_stays_and_decays() -> None:
    training = replace(ADAMW, schedule="wsd", inner_steps=10, warmup_steps=20, planned_rounds=10, decay_fraction=0.4)
    fraction = training.final_lr_fraction
    assert schedule_factor(training, 0, 0, 0) == pytest.approx(1 / 20)
    assert schedule_factor(training, 0, 9, 19) == schedule_factor(training, 5, 9, 100) == 1
    assert schedule_factor(training, 7, 0, 100) == pytest.approx(fraction + (1 - fraction) * 0.5)
    assert schedule_factor(training, 10, 0, 100) == schedule_factor(training, 99, 9, 100) == pytest.approx(fraction)
    assert learning_rate(training, 7, 0, 100) == training.learning_rate * schedule_factor(training, 7, 0, 100)


@given(st.sampled_from(["cosine", "wsd"]), st.integers(1, 40), st.floats(0.001, 1), st.floats(0, 1), st.integers(0, 30))
def test_every_schedule_falls_and_stays_between_its_ends(
    name: str, planned: int, decay: float, final: float, warmup: int
) -> None:
    training = replace(
        ADAMW,
        schedule=name,
        planned_rounds=planned,
        decay_fraction=decay,
        final_lr_fraction=final,
        warmup_steps=warmup,
        inner_steps=4,
    )
    factors = [schedule_factor(training, step // 4, step % 4, 1000) for step in range(4 * planned + 8)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == 1 or decay == 1 or planned == 1
    assert all(final - 1e-12 <= factor <= 1 for factor in factors)
    assert factors[-1] == pytest.approx(final)
    assert schedule_factor(training, 0, 0, 0) <= factors[0] / max(1, warmup) + 1e-12


def test_unknown_names_are_refused() -> None:
    for field, value in (("optimiser", "sgd"), ("schedule", "linear"), ("overlap_rounds", 2), ("decay_fraction", 0.0)):
        with pytest.raises(RefusedError, match="manifest-invalid"):
            replace(ADAMW, **{field: value})
