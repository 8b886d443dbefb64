"""`scripts/bench reputation` on a small graph: the keys, and figures that can be known."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, with the scripts folder where Python looks for it."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("bench_reputation")


def test_figures_of_a_small_graph(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--json", "--sizes", "60x300", "--repeats", "1", "--no-sybils"])
    figures = json.loads(capsys.readouterr().out)
    assert {"seconds", "speedup", "max_relative_error_top100", "peak_bytes", "sybil_gain"} <= figures.keys()
    errors = figures["max_relative_error_top100"]["60x300"]
    assert errors["visits"] < 1e-6
    assert errors["hitting"] < 1e-9
    assert 0 < errors["plain-walks"] < 2
    assert {"visits", "hitting", "walks", "change", "build", "plain-walks"} <= figures["seconds"]["60x300"].keys()


def test_people_get_lines(bench: Any, capsys: pytest.CaptureFixture[str]) -> None:
    bench.main(["--sizes", "30x100", "--repeats", "1", "--no-sybils"])
    assert "30x100" in capsys.readouterr().out


@pytest.mark.parametrize("attack", ["serial", "parallel", "bridge"])
def test_attacks_are_what_they_say(bench: Any, attack: str) -> None:
    graphs = importlib.import_module("reputation_graphs")
    honest = graphs.interactions(100, 500)
    attacker = graphs.attacker_of(honest)
    after = graphs.attacked(honest, attack, 12)
    assert after.size == 112
    into = (after.target >= 100) & (after.source < 100) & (after.source != attacker)
    assert into.sum() == (3 if attack == "bridge" else 0)
    assert set(after.target[after.source == attacker].tolist()) <= set(range(100, 112))
    assert (after.source != after.target).all()
    assert np.isfinite(after.weight).all()


def test_a_serial_attack_gains_what_powers_add_up_to(bench: Any) -> None:
    graphs, sybils = importlib.import_module("reputation_graphs"), importlib.import_module("reputation_sybils")
    honest = graphs.interactions(100, 500)
    silent = honest.without_edges_of(graphs.attacker_of(honest))
    for beta, found in zip(
        sybils.BETAS, sybils.gain(silent, graphs.attacked(silent, "serial", 10), "visits", 0.15), strict=True
    ):
        assert found == pytest.approx((1 - beta) * sum(0.85**k for k in range(1, 11)), abs=1e-6)


def test_the_lab_s_graph_has_what_trainers_measured(bench: Any) -> None:
    lab = importlib.import_module("reputation_lab")
    graph = lab.lab_graph(replace(lab.SETTINGS, trainers=4, validators=2, rounds=2))
    edges = set(zip(graph.source.tolist(), graph.target.tolist(), strict=True))
    seed, validators, trainers = {0}, {1, 2}, {3, 4, 5, 6}
    assert graph.size == 7
    assert {target for source, target in edges if source in seed} == validators
    assert {target for source, target in edges if source in validators} <= trainers
    said = {(source, target) for source, target in edges if source in trainers}
    assert said and all(target in trainers and target != source for source, target in said)
    assert (graph.weight > 0).all()
