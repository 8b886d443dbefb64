"""The wide graph and what explains a place in it."""

from __future__ import annotations

import ast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emerit.protocol.feedback import DROPPED
from emerit.protocol.reputation import REPUTATION_ONE
from emerit.reputation import compute
from emerit.reputation.seed_graph import SEED
from emerit.reputation.wide_graph import RoundVoices, explain_wide, wide_graph
from tests.unit.house.tree import shipped_python_files, source, syntax

SEEDS = ((SEED, "v", 3), (SEED, "w", 1), ("v", "a", 10), ("v", "b", 30), ("w", "a", 1))
NAMES = ("a", "b", "c", "d")

feedback = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(-(10**7), 10**7)), max_size=12
).map(tuple)
rounds = st.lists(feedback.map(lambda said: RoundVoices(SEEDS, said)), min_size=1, max_size=4)


def edges_of(*voices: RoundVoices, keep: float = 0.5) -> dict[tuple[object, object], float]:
    graph = wide_graph(voices, keep)
    ends = zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True)
    return {(graph.nodes[source], graph.nodes[target]): weight for source, target, weight in ends}


def test_every_source_says_one_in_all_and_dislikes_are_shares_of_it() -> None:
    found = edges_of(RoundVoices(SEEDS, (("a", "b", 3000), ("a", "c", -1000), ("b", "a", -5))))
    assert found == {
        (SEED, "v"): 0.75,
        (SEED, "w"): 0.25,
        ("v", "a"): 0.25,
        ("v", "b"): 0.75,
        ("w", "a"): 1.0,
        ("a", "b"): 0.75,
        ("a", "c"): -0.25,
        ("b", "a"): -1.0,
    }


def test_old_rounds_weigh_less() -> None:
    old, new = RoundVoices((("v", "a", 7),), (("a", "b", 4),)), RoundVoices((("v", "b", 100),), (("a", "c", 2),))
    found = edges_of(old, new, keep=0.5)
    # A round of the seed graph counts by its shares, so 7 and 100 are one each; feedback by what it says.
    assert found == pytest.approx({("v", "a"): 1 / 3, ("v", "b"): 2 / 3, ("a", "b"): 0.5, ("a", "c"): 0.5})
    assert edges_of(old, new, keep=0.0) == {("v", "b"): 1.0, ("a", "c"): 1.0}


def test_who_is_named_is_there_without_an_edge() -> None:
    graph = wide_graph([], 0.8, ["a"])
    assert list(graph.nodes) == ["a", SEED]
    assert explain_wide(compute(graph, SEED), "a").reputation == 0


@given(rounds, st.sampled_from((SEED, "v", *NAMES)), st.sampled_from((0.0, 0.5, 1.0)), st.sampled_from((0.9, 1.0)))
def test_an_explanation_adds_up(voices: list[RoundVoices], ego: str, decay: float, threshold: float) -> None:
    graph = wide_graph(voices, 0.8, NAMES)
    found = compute(graph, ego, connectivity_decay=decay, threshold=threshold)
    for node in (*NAMES, "v"):
        told = explain_wide(found, node)
        came = sum(path.visits for path in told.paths) + told.begins * REPUTATION_ONE
        assert abs(came - told.visits) <= len(told.paths) + 2
        assert told.share - told.disliked_took - told.connectivity_took == told.reputation == found[node]
        assert told.disliked_took >= 0 and told.connectivity_took >= 0
        assert told.reputation >= 0
        assert (told.through is None) or told.connectivity_took > 0 or decay == 0 or told.share == 0
        assert [path.visits for path in told.paths] == sorted((path.visits for path in told.paths), reverse=True)
    assert explain_wide(found, ego).begins == 1


@given(rounds)
def test_dislikes_count_for_their_author_alone(voices: list[RoundVoices]) -> None:
    graph = wide_graph(voices, 0.8, NAMES)
    assert all(explain_wide(compute(graph, SEED), node).disliked_took == 0 for node in NAMES)


def test_a_disliked_peer_is_lower_in_its_critics_eyes() -> None:
    kind = RoundVoices(SEEDS, (("a", "b", 100), ("b", "c", 50)))
    harsh = RoundVoices(SEEDS, (("a", "b", 100), ("b", "c", 50), ("a", "c", -100)))
    before, after = (compute(wide_graph([each], 0.8), "a") for each in (kind, harsh))
    assert explain_wide(after, "c").disliked_took > 0
    assert explain_wide(after, "c").reputation < explain_wide(before, "c").reputation


def test_who_hangs_on_one_other_is_cut_and_told_on_whom() -> None:
    found = compute(
        wide_graph([RoundVoices(SEEDS, (("b", "sybil", 9),))], 0.8), SEED, connectivity_decay=0.5, threshold=1.0
    )
    told = explain_wide(found, "sybil")
    assert told.through in ("b", "v") and told.connectivity_took == pytest.approx(told.share / 2, abs=2)
    assert [path.source for path in told.paths] == ["b"] and told.paths[0].said == REPUTATION_ONE


def test_nothing_that_pays_or_applies_knows_of_it() -> None:
    """Feedback is bytes in a header to everything but what sends it, reads it for people, and bounds it."""
    ours = {"emerit.protocol.feedback", "emerit.reputation.wide_graph", "emerit.run.wide_view", "emerit.scoring.peers"}
    found = set()
    for name in shipped_python_files():
        for node in ast.walk(syntax(name)):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else {module}
            if names & ours:
                found.add(name)
    assert found == {
        "node/emerit_node/peers.py",
        "src/emerit/api/evidence.py",
        "src/emerit/api/collect.py",
        "src/emerit/api/snapshot.py",
        "src/emerit/api/views.py",
        "src/emerit/cli/reputation_wide.py",
        "src/emerit/codec/blob.py",
        "src/emerit/protocol/manifest.py",
        "src/emerit/run/wide_view.py",
    }


def test_the_page_has_every_code_with_its_sentence() -> None:
    page = source("docs/reputation.md")
    for code, text in DROPPED.items():
        assert f"| `{code}` | {text} |" in page
