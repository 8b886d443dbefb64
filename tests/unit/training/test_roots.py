from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emerit.model import parameter_count, table_hash
from emerit.protocol.presets import preset
from emerit.training import aggregate, outer_step
from tests.unit.training.roots_program import outer_of, sent_updates, start_of, transition_roots

HERE = Path(__file__).parent
FOLDER = HERE.parents[1] / "vectors"
VECTORS = json.loads((FOLDER / "state_roots.json").read_text())
CASES = json.loads((FOLDER / "state_transition.json").read_text())["cases"]
SETTINGS = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def expected_roots(case: dict[str, Any]) -> list[str]:
    """The roots there and back, each twice."""
    there = [case["start"]["root"], *(entry["root"] for entry in case["rounds"])]
    return [root for root in there + there[-2::-1] for _ in range(2)]


def test_the_tables_are_those_of_the_vectors() -> None:
    for case in VECTORS["states"]:
        spec = preset(case["preset"]).model
        assert parameter_count(spec) == case["parameter_count"]
        assert table_hash(spec).hex() == case["table_hash"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_every_round_of_the_vectors(case: dict[str, Any]) -> None:
    assert transition_roots(case) == expected_roots(case)
    outer = outer_of(case)
    state = start_of(case, outer)
    for entry in case["rounds"]:
        updates = sent_updates(case, entry, state.values.size)
        for update in updates:
            update.check()
        positions, deltas = aggregate(updates, outer)
        state, _ = outer_step(state, positions, deltas, outer)
        if "values" in entry:
            assert (positions.tolist(), deltas.tolist()) == (entry["positions"], entry["deltas"])
            assert state.values.tolist() == entry["values"]
            assert entry["momentum"] is None if state.momentum is None else state.momentum.tolist() == entry["momentum"]


def test_the_vectors_reach_the_bounds() -> None:
    """Weights and momenta at both ends, deltas that saturate, rounds in which something is cut off."""
    low, high = -(2**31), 2**31 - 1
    entries = [entry for case in CASES if "values" in case["start"] for entry in case["rounds"]]
    weights = {value for entry in entries for value in entry["values"]}
    momenta = {value for entry in entries for value in entry["momentum"] or []}
    deltas = {value for entry in entries for value in entry["deltas"]}
    assert {low, high} <= weights and {-high, high} <= momenta and {-high, high} <= deltas
    for case in CASES[:4]:
        outer, cut = outer_of(case), 0
        state = start_of(case, outer)
        for entry in case["rounds"]:
            step = np.array(entry["positions"], np.int64), np.array(entry["deltas"], np.int32)
            state, lost = outer_step(state, *step, outer)
            cut += len(lost.weight_places)
        assert cut > 0, case["name"]


@pytest.mark.parametrize(
    ("capability", "mkl", "threads"),
    [
        ("default", "SSE4_2", 1),
        ("default", "AVX2", 2),
        ("avx2", "SSE4_2", 2),
        ("avx2", "AVX2", 1),
        (None, None, 1),
        (None, None, 2),
    ],
)
def test_roots_are_the_same_on_every_processor_and_thread_count(
    capability: str | None, mkl: str | None, threads: int
) -> None:
    """`default` stands for a processor without vector extensions, None for what this one has."""
    roots = [case["root"] for case in VECTORS["states"]]
    for case in VECTORS["transitions"]:
        roots += [case["root_after"]] * 2
    expected = {"state_roots": roots} | {case["name"]: expected_roots(case) for case in CASES}
    environment = {key: value for key, value in os.environ.items() if key not in SETTINGS}
    given = dict(zip(SETTINGS, (capability, mkl, str(threads), str(threads)), strict=True))
    environment |= {key: value for key, value in given.items() if value is not None}
    done = subprocess.run(
        [sys.executable, str(HERE / "roots_program.py"), str(FOLDER), str(threads)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == expected
