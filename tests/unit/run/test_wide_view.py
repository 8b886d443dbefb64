"""The wide graph from settlements and headers: what is an edge, what is dropped, what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from emerit.codec import encode_blob
from emerit.errors import RefusedError
from emerit.protocol.feedback import DROPPED, MOST_VALUE, Feedback, PeerRing
from emerit.protocol.types import ContributionReveal
from emerit.reputation.seed_graph import SEED, SINK
from emerit.run.ledger import SettledEntry
from emerit.run.wide_view import ROUNDS, WideView, feedback_in, needed, wide_reputation, wide_view
from tests.unit.api.builders import REPUTATION, address, registry, settled_entry
from tests.unit.codec.builders import EXPECTED, uniform_update

TRAINERS = 6
MEMBERS = registry(trainers=TRAINERS, validators=3)
PEERS = 2
ROWS = [(300, 200, 100, 50, 20, 0)] * 3


def name_of(number: int, slot: int) -> bytes:
    return bytes([number + 1, slot + 1]) * 16


def settled(number: int, revealed: range = range(TRAINERS), rows: Any = ROWS) -> SettledEntry:
    entry = settled_entry(MEMBERS, number, rows, revealed=revealed)
    reveals = tuple(ContributionReveal(number, slot, name_of(number, slot), f"cid{slot}") for slot in revealed)
    return replace(entry, contributions=reveals, eval_seed=bytes([number + 1]) * 32)


ENTRIES = [settled(number) for number in range(3)]


def assigned(before: SettledEntry, index: int) -> tuple[int, ...]:
    return PeerRing(before.eval_seed, [reveal.slot for reveal in before.contributions]).peers_of(index, PEERS)


def view(entries: list[SettledEntry], said: Mapping[bytes, tuple[Feedback, ...]]) -> WideView:
    return wide_view(entries, said, MEMBERS, PEERS, REPUTATION)


def said_by_all(value: int = 1000) -> dict[bytes, tuple[Feedback, ...]]:
    return {
        name_of(number, slot): tuple(Feedback(peer, value) for peer in assigned(ENTRIES[number - 1], slot))
        for number in (1, 2)
        for slot in range(TRAINERS)
    }


def weights(found: WideView) -> dict[tuple[object, object], float]:
    graph = found.graph
    rows = zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True)
    return {(graph.nodes[source], graph.nodes[target]): weight for source, target, weight in rows}


def test_feedback_on_the_assigned_becomes_edges() -> None:
    found = view(ENTRIES, said_by_all())
    edges = weights(found)
    pairs = {
        (address(slot), address(peer))
        for number in (0, 1)
        for slot in range(5)
        for peer in assigned(ENTRIES[number], slot)
    }
    assert {ends for ends in edges if ends[0] in {address(slot) for slot in range(TRAINERS)}} == pairs
    assert found.edges == len(pairs) and found.rounds == (0, 1, 2)
    assert (found.missing, found.dropped) == (0, ())
    assert edges[SEED, address(TRAINERS)] == pytest.approx(1 / 3)
    assert edges[address(TRAINERS), address(0)] == pytest.approx(300 / 670, rel=0.01)


def test_a_contribution_that_is_not_admissible_says_nothing() -> None:
    wanted = needed(ENTRIES)
    assert {reveal.slot for reveal, _ in wanted} == set(range(TRAINERS - 1))
    assert [reveal.round for reveal, _ in wanted] == [2] * 5 + [1] * 5
    said = {name_of(2, 5): tuple(Feedback(peer, 9) for peer in assigned(ENTRIES[1], 5))}
    assert view(ENTRIES, said).edges == 0


def test_what_has_not_come_is_counted() -> None:
    assert view(ENTRIES, {}).missing == 10
    said = said_by_all()
    del said[name_of(1, 0)], said[name_of(2, 3)]
    assert view(ENTRIES, said).missing == 2


def test_dropped_feedback_has_a_code_and_the_rest_of_its_header_counts() -> None:
    right = assigned(ENTRIES[0], 0)
    other = next(index for index in range(1, TRAINERS) if index not in right)
    items = [Feedback(0, 5), Feedback(right[0], 7), Feedback(right[1], MOST_VALUE + 1), Feedback(other, 3)]
    said = {name_of(1, 0): (*sorted(items), Feedback(4_000_000_000, 1))}
    found = view(ENTRIES[:2], said)
    assert {(each.index, each.code) for each in found.dropped} == {
        (0, "feedback-self"),
        (right[1], "feedback-range"),
        (other, "feedback-unassigned"),
        (4_000_000_000, "feedback-unassigned"),
    }
    assert {each.about for each in found.dropped if each.index == 4_000_000_000} == {None}
    assert {ends for ends in weights(found) if ends[0] == address(0)} == {(address(0), address(right[0]))}
    told = wide_reputation(found, MEMBERS[0], None, REPUTATION)
    assert {(each["code"], each["why"]) for each in told["dropped"]} == set(DROPPED.items())
    assert wide_reputation(found, MEMBERS[1], None, REPUTATION)["dropped"] == []


def test_validators_are_not_peers_of_a_ring() -> None:
    """A registry index may be a validator's: it was never assigned."""
    found = view(ENTRIES[:2], {name_of(1, 0): (Feedback(TRAINERS, 3),)})
    assert [each.code for each in found.dropped] == ["feedback-unassigned"]


def test_only_the_last_rounds_make_the_graph() -> None:
    entries = [settled(number) for number in range(ROUNDS + 3)]
    found = view(entries, {})
    assert found.rounds == tuple(range(3, ROUNDS + 3))
    assert min(reveal.round for reveal, _ in needed(entries)) == 3
    assert found.missing == 5 * ROUNDS


def test_anybody_may_be_the_one_who_looks() -> None:
    found = view(ENTRIES, said_by_all())
    seen = {}
    for viewer in (None, *MEMBERS):
        told = {member.account: wide_reputation(found, member, viewer, REPUTATION) for member in MEMBERS}
        ego = SEED if viewer is None else viewer.account
        assert {each["ego"] for each in told.values()} == {ego}
        if viewer is not None:
            assert told[ego]["begins"] == 1 and told[ego]["reputation"] > 0
        seen[ego] = tuple(each["reputation"] for each in told.values())
    assert len(set(seen.values())) == len(seen)
    assert len({seen[member.account][:TRAINERS] for member in MEMBERS[TRAINERS:]}) == 1  # they gave the same weights
    assert all(seen[SEED][slot] > 0 for slot in range(5))


def test_a_newcomer_and_an_empty_run_have_nothing() -> None:
    empty = view([], {})
    assert (empty.rounds, empty.edges, empty.staked) == ((), 0, 0)
    told = wide_reputation(empty, MEMBERS[0], MEMBERS[1], REPUTATION)
    assert (told["reputation"], told["paths"]) == (0, [])
    assert SINK not in empty.graph.nodes


def test_connectivity_waits_for_enough_validators() -> None:
    """With three validators only who hangs on one other entirely is cut."""
    rows = [(300, 0, 0, 0, 0, 0), (300, 0, 0, 0, 0, 0), (300, 300, 0, 0, 0, 0)]
    alone = wide_reputation(view([settled(0, rows=rows)], {}), MEMBERS[1], None, REPUTATION)
    assert alone["reputation"] == 0  # the median is 0, so nothing is confirmed
    shared = wide_reputation(view(ENTRIES, said_by_all()), MEMBERS[0], None, REPUTATION)
    assert (shared["through"], shared["connectivity_took"]) == (None, 0)


def test_headers_of_others_are_refused() -> None:
    expected = replace(EXPECTED, most_feedback=2)
    items = (Feedback(3, 4),)
    blob = encode_blob(expected.header(items), uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k))
    assert feedback_in(blob, 2, EXPECTED.run, EXPECTED.account, EXPECTED.round) == items
    wrong = [
        (EXPECTED.account, EXPECTED.account, 7),
        (EXPECTED.run, EXPECTED.run, 7),
        (EXPECTED.run, EXPECTED.account, 8),
    ]
    for run, account, number in wrong:
        with pytest.raises(RefusedError, match="blob-wrong-author"):
            feedback_in(blob, 2, run, account, number)
