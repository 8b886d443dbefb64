"""What Sybils gain is bounded as docs/reputation.md says, however many there are and however they are wired."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.reputation import compute
from emerit.reputation.graph import WeightedEdge

HONEST: list[WeightedEdge] = [
    ("ego", "a", 3),
    ("ego", "b", 1),
    ("a", "b", 2),
    ("b", "a", 1),
    ("a", "attacker", 1),
    ("b", "attacker", 2),
]
REGION = ["attacker", *(f"sybil-{at}" for at in range(8))]


@st.composite
def wirings(draw: st.DrawFn) -> list[WeightedEdge]:
    """Edges within the attacker's region, any at all."""
    end = st.sampled_from(REGION)
    ends = draw(st.sets(st.tuples(end, end), max_size=40))
    return [(source, target, draw(st.integers(1, 20))) for source, target in sorted(ends)]


@settings(max_examples=60, deadline=None)
@given(wirings(), st.sampled_from(["visits", "hitting"]), st.sampled_from([0.3, 0.6, 0.85, 0.99]))
def test_all_sybils_together_stay_below_the_bound(wiring: list[WeightedEdge], base: str, continue_: float) -> None:
    held = compute(HONEST, "ego", base=base, continue_=continue_)
    before = float(held.measure[held.graph.place("attacker")])
    for decay in (0.0, 0.9):
        found = compute([*HONEST, *wiring], "ego", base=base, continue_=continue_, connectivity_decay=decay)
        places = [found.graph.place(name) for name in REGION[1:] if name in found.graph.nodes]
        whole = found.measure.sum()
        sybils = sum(float(found.scores[at]) for at in places) * float(whole)
        assert sybils <= continue_ / (1 - continue_) * before * (1 - decay) + 1e-8


@pytest.mark.parametrize("base", ["visits", "hitting"])
def test_a_chain_gains_powers_and_a_star_one_step(base: str) -> None:
    chain: list[WeightedEdge] = [(one, other, 1) for one, other in pairwise(REGION)]
    star: list[WeightedEdge] = [("attacker", name, 1) for name in REGION[1:]]
    for wiring, gain in ((chain, sum(0.85**k for k in range(1, 9))), (star, 0.85)):
        found = compute([*HONEST, *wiring], "ego", base=base)
        measure = {name: float(found.measure[found.graph.place(name)]) for name in REGION}
        assert sum(measure[name] for name in REGION[1:]) / measure["attacker"] == pytest.approx(gain, abs=1e-8)
