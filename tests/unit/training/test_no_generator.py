"""A run draws nothing from the generators of the libraries, not even where they seed themselves."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from emerit.model import FlatModel
from emerit.protocol.manifest import OuterSpec
from emerit.scoring.losses import sequence_losses
from emerit.training import aggregate, initial_state, outer_step, to_float
from emerit_node.worker import HonestWorker, Task
from tests.unit.validator.stage import TINY, Store, manifest


def generators() -> tuple[object, bytes, bytes]:
    """The states of all global generators."""
    numpy_state = np.random.get_state()[1]
    return random.getstate(), np.asarray(numpy_state).tobytes(), torch.get_rng_state().numpy().tobytes()


def test_a_round_leaves_the_libraries_generators_alone(tmp_path: Path) -> None:
    made, outer = manifest(Store()), OuterSpec(1, 1, 1, 16, 9, 10, True)
    sequences = np.full((TINY.training.assigned_sequences, TINY.model.context + 1), 97, np.uint8)
    before, roots = generators(), set()
    for seed in (1, 2):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        before = generators()
        state = initial_state(made.model, b"seed", outer)
        for optimiser in ("adamw", "muon"):
            spec = replace(made, training=replace(made.training, optimiser=optimiser))
            worker = HonestWorker(spec, tmp_path / f"{optimiser}-{seed}", b"a")
            update = worker.work(Task(0, 0, state.values, sequences, lambda *_: None, lambda: False))
            assert update is not None
            state, _ = outer_step(state, *aggregate([update], outer), outer)
        model = FlatModel(made.model)
        model.load(to_float(state.values))
        sequence_losses(model.module, sequences)
        assert generators() == before
        roots.add(state.root(b"T" * 32))
    assert len(roots) == 1
