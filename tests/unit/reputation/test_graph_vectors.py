"""The shared vectors of reputation on any graph."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emerit.reputation import compute

FILE = Path(__file__).resolve().parents[2] / "vectors" / "reputation_graph.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="ascii"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_reputation_of_every_node(case: dict[str, Any]) -> None:
    found = compute(case["edges"], case["ego"], **case["options"])
    assert [list(row) for row in found.ranking()] == case["reputation"]


def test_by_hand() -> None:
    found = {case["name"]: dict(map(tuple, case["reputation"])) for case in CASES}
    parts = [0.85**at for at in range(9)]
    assert found["chain"] == {at: round(part / sum(parts) * 10**9) for at, part in enumerate(parts)}
    assert found["ego without edges"] == {"a": 0, "b": 10**9}
    tie = found["tie"]
    assert tie["a"] == tie["b"] == tie["d"] == round(0.85 / 3 / 1.85 * 10**9)
    seed = found["seed graph, a friend of one validator"]
    # 0.85 * 0.9 goes to validator 0, which halves it between the two; the trainer gets the others' tenth as well.
    whole = 1 + 0.85 + 0.7225
    assert seed["friend"] == pytest.approx(0.7225 * 0.45 / whole / 2 * 10**9, abs=1)
    assert seed["trainer"] == pytest.approx(0.7225 * 0.55 / whole * 10**9, abs=1)
