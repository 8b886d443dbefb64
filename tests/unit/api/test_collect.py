"""Snapshots: what is read again, what is kept, and how fast answers come from a large run."""

from __future__ import annotations

import time
from dataclasses import replace
from types import SimpleNamespace

import pytest

from emerit.api import views
from emerit.errors import StateError, UnavailableError
from emerit.indexer.index import StepResult
from emerit.protocol.types import ZERO_ADDRESS
from emerit.run.ratings import Ratings
from tests.unit.api.builders import (
    FakeRun,
    address,
    copies,
    evidence_hash,
    evidence_record,
    registry,
    row,
    settled_entry,
    status,
)

MEMBERS = registry(trainers=3, validators=3)
ROW = (300, 100, 1)


def run_of(rounds: int) -> FakeRun:
    return FakeRun(MEMBERS, copies(settled_entry(MEMBERS, 0, [ROW] * 3), rounds))


def step(head: int, *contracts: str, kept: int | None = None, rolled_back: int = 0) -> StepResult:
    return StepResult(head, len(contracts), head if kept is None else kept, rolled_back, frozenset(contracts))


def test_registry_and_money_are_read_only_when_they_may_have_changed() -> None:
    run = run_of(2)
    collector = run.collector()
    collector.collect()
    assert run.asked == ["registry", "funded", "final 1"]
    run.now = status(1_000)  # so that nothing more may have become final
    for next_step, asked in [
        (step(501), []),
        (step(502, "TrainingRun"), []),
        (step(503, "Stakes"), ["registry"]),
        (step(504, "Rewards"), ["funded"]),
        (step(503, rolled_back=2), ["registry", "funded"]),
    ]:
        run.asked.clear()
        run.next_step = next_step
        snapshot, _ = collector.collect()
        assert (run.asked, snapshot.block) == (asked, next_step.head)


def test_a_read_that_fails_is_made_again() -> None:
    run = run_of(2)
    collector = run.collector()
    collector.collect()

    def fail() -> list[object]:
        raise UnavailableError("rpc-timeout", "No answer.")

    run.next_step = step(501, "Stakes")
    good, run.registry = run.registry, fail  # type: ignore[method-assign, assignment]
    with pytest.raises(UnavailableError):
        collector.collect()
    run.registry, run.next_step = good, step(502)  # type: ignore[method-assign]
    run.asked.clear()
    collector.collect()
    assert run.asked == ["registry"]


def test_a_read_that_another_failure_prevented_is_made_later() -> None:
    """The registry cannot be read in the very turn in which claims came in: they are not forgotten."""
    run = run_of(1)
    collector = run.collector()
    collector.collect()

    def fail() -> list[object]:
        raise UnavailableError("rpc-timeout", "No answer.")

    run.rows.append(row(501, "Claimed", "Rewards", account=address(0), amountWei="5"))
    run.next_step = step(501, "Stakes", "Rewards")
    good, run.registry = run.registry, fail  # type: ignore[method-assign, assignment]
    with pytest.raises(UnavailableError):
        collector.collect()
    run.registry, run.next_step = good, step(502)  # type: ignore[method-assign]
    assert collector.collect()[0].claimed_wei(address(0)) == 5


def test_claims_are_added_up_from_events() -> None:
    run = run_of(1)
    amounts = [(address(0), 5), (address(1), 7), (address(0).lower(), 6)]
    run.rows = [row(9, "Claimed", "Rewards", account=a, amountWei=str(w)) for a, w in amounts]
    snapshot, _ = run.collector().collect()
    assert [snapshot.claimed_wei(address(n)) for n in range(3)] == [11, 7, 0]
    assert views.run_answer(snapshot).claimed_wei == "18"


def test_rounds_that_settled_above_what_stayed_are_replayed() -> None:
    """Also where the index saw no reorganisation, because the ledger had read ahead of it."""
    run = run_of(3)  # settled in the blocks 100, 101 and 102
    collector = run.collector()
    run.next_step = step(102, kept=101)
    snapshot, _ = collector.collect()
    assert [item.number for item in snapshot.digests] == [0, 1]


def test_a_round_that_settled_above_the_index_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(3)  # settled in the blocks 100, 101 and 102
    collector, late = run.collector(), run.entries.pop()
    monkeypatch.setattr(collector._ledger, "update", lambda: run.entries.append(late))
    run.next_step = step(101, kept=101)  # block 102 comes between the index's reads and the ledger's
    snapshot, _ = collector.collect()
    assert [item.number for item in snapshot.digests] == [0, 1] and snapshot.block == 101
    run.next_step = step(102, kept=101)
    snapshot, _ = collector.collect()
    assert [item.number for item in snapshot.digests] == [0, 1, 2] and snapshot.block == 102


def test_a_round_is_worked_out_again_only_when_its_evidence_comes() -> None:
    run = run_of(3)
    collector = run.collector()
    first, _ = collector.collect()
    run.records[evidence_hash(1, 0)] = evidence_record(ROW, s2="duplicate")
    second, _ = collector.collect()
    assert [a is b for a, b in zip(first.digests, second.digests, strict=True)] == [True, False, True]
    assert second.digests[1].parts[2].reason == "duplicate"
    third, _ = collector.collect()
    assert third.tallies is second.tallies and third.tallies is not first.tallies


def test_participants_have_the_ratings_that_the_settled_rounds_give() -> None:
    run = run_of(3)
    collector, expected = run.collector(), Ratings().after(run.entries)
    people = views.participants_answer(collector.collect()[0], 0, 10).participants
    rated = {person.index: person.rating for person in people if person.role == "trainer"}
    assert rated == {index: rating.mu for index, rating in expected.items()} and len(set(rated.values())) > 1
    assert {person.rating for person in people if person.role == "validator"} == {None}


def test_trouble_is_shown_with_the_rounds_before_it() -> None:
    run = run_of(2)
    collector = run.collector()

    error = StateError("settlement-mismatch", "Round 2 does not follow.", "Look.")
    collector._ledger.fault = SimpleNamespace(error=error)  # type: ignore[assignment]
    snapshot, _ = collector.collect()
    answer = views.run_answer(snapshot)
    assert answer.trouble is not None and answer.trouble.code == "settlement-mismatch"
    assert answer.settled_rounds == 2


def test_claims_before_and_after_the_window() -> None:
    run = run_of(2)
    run.entries[1] = replace(run.entries[1], final_at=5_000)
    collector = run.collector()
    for now, number, final in [(1_000, 1, False), (2_000, 0, True), (5_000, 1, True)]:
        run.now = status(now)
        answer = views.claim_answer(collector.collect()[0], address(0))
        assert answer is not None and (answer.round, answer.final) == (number, final)
        assert int(answer.due_wei) + int(answer.pending_wei) == int(answer.cumulative_wei) > 0
        assert (answer.due_wei == "0") is not final


def test_a_demand_puts_off_what_can_be_claimed() -> None:
    run = run_of(2)
    run.not_final = {1}
    snapshot, _ = run.collector().collect()
    answer = views.claim_answer(snapshot, address(0))
    assert answer is not None and (answer.round, answer.final) == (0, True)
    assert [item.final for item in views.rounds_answer(snapshot, None, 10).rounds] == [True, False]


def test_what_the_run_has_forgotten_is_final_but_not_claimed_against() -> None:
    run = run_of(2)
    run.context.params.history_rounds = 10
    run.now = replace(status(), round=11)
    snapshot, _ = run.collector().collect()
    answer = views.claim_answer(snapshot, address(0))
    assert answer is not None and (answer.round, answer.final, answer.due_wei) == (1, False, "0")
    assert snapshot.final == 2 and run.asked[-1] == "funded"


def test_an_address_is_an_account_before_it_is_an_operator() -> None:
    crossed = [replace(MEMBERS[0], operator=MEMBERS[1].account), *MEMBERS[1:]]
    snapshot, _ = FakeRun(crossed).collector().collect()
    for entry in crossed:
        found = snapshot.member(entry.account.lower())
        assert found is not None and found.index == entry.index
    assert snapshot.member(address(99)) is None


def test_nobody_is_found_by_the_operator_that_withdrawn_members_have() -> None:
    gone = replace(MEMBERS[0], operator=ZERO_ADDRESS)
    snapshot, _ = FakeRun([gone, *MEMBERS[1:]]).collector().collect()
    assert snapshot.member(ZERO_ADDRESS) is None


def fastest_seconds(call: object, times: int = 5) -> float:
    found = []
    for _ in range(times):
        began = time.process_time()
        call()  # type: ignore[operator]
        found.append(time.process_time() - began)
    return min(found)


def test_a_large_run_is_answered_fast() -> None:
    """256 trainers, 16 validators, 100 rounds, all evidence there."""
    members = registry(trainers=256, validators=16)
    row = tuple(range(2, 258))
    run = FakeRun(members, copies(settled_entry(members, 0, [row] * 16), 100))
    record = evidence_record(row)
    run.records = {evidence_hash(n, slot): record for n in range(100) for slot in range(16)}
    collector = run.collector()
    snapshot, _ = collector.collect()
    answers = {
        "participants": lambda: views.participants_answer(snapshot, 0, 1_000).model_dump_json(),
        "participant": lambda: views.participant_answer(snapshot, address(3), None, 500).model_dump_json(),  # type: ignore[union-attr]
        "rounds": lambda: views.rounds_answer(snapshot, None, 1_000).model_dump_json(),
        "one round": lambda: views.round_answer(snapshot, 50).model_dump_json(),  # type: ignore[union-attr]
        "claim": lambda: views.claim_answer(snapshot, address(3)).model_dump_json(),  # type: ignore[union-attr]
        "next snapshot": lambda: collector.collect(),
    }
    seconds = {name: fastest_seconds(call) for name, call in answers.items()}
    assert seconds["participants"] < 0.1, seconds
    assert max(seconds.values()) < 0.25, seconds
