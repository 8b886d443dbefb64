"""Voided headers, punishments, demands and fines as the API tells them, and what the reputation gateway answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from eth_abi.abi import decode

from emerit.api import dispute_views, views
from emerit.api.dispute_views import EVENT_OF_KIND
from emerit.api.snapshot import Snapshot
from emerit.chain.artifacts import load_abi
from emerit.protocol.settlement_tree import verify
from emerit.protocol.types import ZERO_ADDRESS, Fault, Header, Leaf, OpenedTree
from tests.unit.api.builders import (
    RUN,
    FakeRun,
    address,
    copies,
    epoch_row,
    registry,
    row,
    settled_entry,
    settled_row,
    status,
    voided_row,
)
from tests.unit.api.test_app import FixedSource, app_of, get

MEMBERS = registry(trainers=3, validators=3)
ENTRY = settled_entry(MEMBERS, 0, [(300, 100, 1)] * 3)
SEATS = {0: 3, 1: 4, 2: 5}
_DEMANDED: dict[str, Any] = {"from": address(96), "round": 0, "attempt": 0, "index": 4, "deadline": "3000"}
DEMAND = row(205, "Demanded", **_DEMANDED)


def header(number: int, attempt: int = 0) -> Header:
    head = ENTRY.onchain.header
    return replace(head, body=replace(head.body, round=number, attempt=attempt))


def fallen_run(*more: dict[str, Any]) -> FakeRun:
    """Rounds 0 to 2 settled; round 1 was taken back, and round 2 with it; only round 0 is in the ledger."""
    run = FakeRun(MEMBERS, [ENTRY])
    run.rows = [epoch_row(1, 0, 0, SEATS), *(settled_row(100 + n, header(n), log_index=n) for n in range(3))]
    run.rows += [voided_row(200, 1, fault=Fault.AMOUNT, index=2), *more]
    return run


def snapshot_of(run: FakeRun) -> Snapshot:
    return run.collector().collect()[0]


def told(run: FakeRun, *kinds: str, **page: Any) -> list[Any]:
    now, index = snapshot_of(run), run
    options = {"limit": 50, "before": None, **page}
    return dispute_views.challenges_answer(now, index, [*kinds], **options).challenges  # type: ignore[arg-type]


# ---- rounds that lost their pay


def test_rounds_that_lost_their_pay_are_still_shown() -> None:
    now = snapshot_of(fallen_run())
    rounds = views.rounds_answer(now, None, 10).rounds
    assert [(r.round, r.paid, r.recomputed, r.fault) for r in rounds] == [
        (0, True, True, None),
        (1, False, False, "amount"),
        (2, False, False, None),
    ]
    assert [r.signers for r in rounds] == [[MEMBERS[3].account, MEMBERS[4].account]] * 3
    assert (rounds[1].loss, rounds[1].earned_wei, rounds[1].final) == (None, None, False)
    run = views.run_answer(now)
    assert (run.settled_rounds, run.unpaid_rounds) == (1, 2)
    one = views.round_answer(now, 1)
    assert one is not None and not one.contributions and not one.validators
    assert (one.aggregate_cid, one.checkpoint_cid) == ("bafkqaaa", "bafkqaab")
    fault = one.settlements[0].fault
    assert fault is not None and (fault.fault, fault.index, fault.punished) == ("amount", 2, False)
    assert not one.settlements[0].stands and one.header.body.round == 1


def test_a_round_that_is_settled_again_has_both_settlements() -> None:
    again = settled_row(300, header(1, 1), mask=0b111)
    one = views.round_answer(snapshot_of(fallen_run(again)), 1)
    assert one is not None and (one.attempt, one.paid, one.fault, len(one.signers)) == (1, True, None, 3)
    assert [(s.attempt, s.stands, s.fault is not None) for s in one.settlements] == [(0, False, True), (1, True, False)]


def test_the_state_of_a_round_stays_when_its_pay_falls() -> None:
    later = settled_row(300, replace(header(1, 1), body=replace(header(1, 1).body, state_root=bytes([9]) * 32)))
    now = snapshot_of(fallen_run(later))
    assert views.run_answer(now).state_root == "0x" + "05" * 32


def test_pages_of_rounds_join_up() -> None:
    run = FakeRun(MEMBERS, copies(ENTRY, 25))
    run.rows = [row(7, "RoundVoided", round=number) for number in (30, 31)]
    now = snapshot_of(run)
    found, since = [], 0
    while True:
        page = views.rounds_answer(now, since, 7)
        found += [r.round for r in page.rounds]
        if page.next is None:
            break
        since = page.next
    assert found == list(range(25)) and page.void == [30, 31]
    assert [r.round for r in views.rounds_answer(now, None, 3).rounds] == [22, 23, 24]
    person = views.participant_answer(now, address(0), 20, 3)
    assert person is not None and ([r.round for r in person.rounds], person.next) == ([20, 21, 22], 23)
    people = views.participants_answer(now, 4, 1)
    assert (len(people.participants), people.next) == (1, 5)
    assert views.participants_answer(now, 5, 9).next is None


# ---- /v1/challenges


def test_a_voided_header_and_its_punishment() -> None:
    punished = row(201, "Punished", round=1, attempt=0, signerMask=3, slashedWei="900", challenger=address(99))
    (found,) = told(fallen_run(), "voided-header")
    assert (found.fault, found.index, found.account, found.by) == ("amount", 2, MEMBERS[2].account, address(99))
    assert (found.rounds, found.punished, found.settled_again) == ([1, 2], False, False)
    assert found.signers == [MEMBERS[3].account, MEMBERS[4].account]
    run = fallen_run(punished, settled_row(300, header(1, 1)))
    punishment, voided = told(run)
    assert (voided.punished, voided.settled_again) == (True, True)
    assert (punishment.slashed_wei, punishment.challenger) == ("900", address(99))
    assert punishment.signers == voided.signers


def test_who_signed_two_headers_and_is_slashed_for_it() -> None:
    rows = [
        row(201, "Equivocated", round=0, slot=2, by=address(98)),
        row(202, "Punished", round=0, attempt=0, signerMask=4, slashedWei="7", challenger=ZERO_ADDRESS),
    ]
    punishment, found = told(fallen_run(*rows), "equivocation", "punishment")
    assert (found.slot, found.account, found.by) == (2, MEMBERS[5].account, address(98))
    assert (punishment.signers, punishment.challenger) == ([MEMBERS[5].account], None)


@pytest.mark.parametrize(
    ("rows", "state"),
    [
        ([], "open"),
        ([row(210, "Answered", round=0, attempt=0, index=4, leaf=[], proof=[], by=address(97))], "answered"),
        ([row(210, "DemandReclaimed", round=0, attempt=0, index=4)], "reclaimed"),
        ([voided_row(210, 0, fault=Fault.WITHHELD, index=4)], "withheld"),
        ([voided_row(210, 0, fault=Fault.WITHHELD, index=3)], "open"),
    ],
)
def test_what_became_of_a_demand(rows: list[dict[str, Any]], state: str) -> None:
    (found,) = told(fallen_run(DEMAND, *rows), "demand")
    assert (found.state, found.deadline, found.by, found.account) == (state, 3_000, address(96), MEMBERS[4].account)
    assert found.answered_by == (address(97) if state == "answered" else None)


def test_a_demand_past_its_deadline_is_late() -> None:
    run = fallen_run(DEMAND)
    run.now = status(3_001)
    assert told(run, "demand")[0].state == "late"


def test_fines_name_the_member_of_the_round() -> None:
    rows = [
        row(205, "Fined", round=0, role=1, slot=1, amountWei="5"),
        row(206, "Fined", round=0, role=2, slot=1, amountWei="6"),
        row(207, "Fined", round=0, role=1, slot=200, amountWei="7"),
    ]
    found = told(fallen_run(*rows), "fine")
    assert [(f.role, f.account, f.amount_wei) for f in reversed(found)] == [
        ("trainer", MEMBERS[1].account, "5"),
        ("validator", MEMBERS[4].account, "6"),
        ("trainer", None, "7"),
    ]


def test_disputes_come_in_pages() -> None:
    rows = [row(300 + n, "Fined", round=0, role=1, slot=0, amountWei=str(n)) for n in range(5)]
    run = fallen_run(*rows)
    now, index = snapshot_of(run), run
    first = dispute_views.challenges_answer(now, index, [], 2, None)  # type: ignore[arg-type]
    assert first.next == "303:0" and len(first.challenges) == 2
    last = dispute_views.challenges_answer(now, index, [], 50, (303, 0))  # type: ignore[arg-type]
    assert last.next is None and [each.kind for each in last.challenges] == ["fine"] * 3 + ["voided-header"]


def test_kinds_are_events_of_the_contracts() -> None:
    assert set(EVENT_OF_KIND.values()) <= set(load_abi("TrainingRun").events)


def test_events_name_the_member_whose_slot_it_was() -> None:
    taken = replace(MEMBERS[1], active_until=2)
    heir = replace(MEMBERS[1], index=6, account=address(6), operator=address(60), active_from=2)
    run = FakeRun([MEMBERS[0], taken, *MEMBERS[2:], heir])
    run.rows = [
        epoch_row(1, 0, 0, SEATS),
        row(2, "ContributionCommitted", round=1, slot=1),
        row(3, "ContributionRevealed", round=2, slot=1),
        row(4, "WeightsRevealed", round=1, slot=1),
        row(5, "Attested", round=1, slot=2),
        row(6, "CheckedIn", round=1, role=1, slot=0),
        row(7, "CheckedIn", round=1, role=2, slot=0),
        row(8, "Left", "Stakes", index=2, run=RUN),
        row(9, "Drawn", round=1),
        row(10, "ContributionCommitted", undecodable="0x"),
    ]
    answer = views.events_answer(snapshot_of(run), run, [], 50, None)  # type: ignore[arg-type]
    found = {event.block_number: event.member for event in answer.events}
    want = {2: taken, 3: heir, 4: MEMBERS[4], 5: MEMBERS[5], 6: MEMBERS[0], 7: MEMBERS[3], 8: MEMBERS[2]}
    assert found == {1: None, **{block: entry.account for block, entry in want.items()}, 9: None, 10: None}


# ---- the gateway (ERC-3668)


def ask(now: Snapshot, account: str, sender: str = RUN, call: bytes | None = None) -> Any:
    data = load_abi("Reputation").functions["scoreOf"].encode(account) if call is None else call
    return get(app_of(FixedSource(now)), f"/v1/ccip/{sender}/0x{data.hex()}")


def test_the_gateway_proves_the_newest_final_leaf() -> None:
    entries = [ENTRY, *[replace(entry, final_at=99_999) for entry in copies(ENTRY, 3)[1:]]]
    reply = ask(snapshot_of(FakeRun(MEMBERS, entries)), MEMBERS[0].account, RUN.lower())
    assert reply.status_code == 200 and reply.headers["content-type"] == "application/json"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert list(reply.json()) == ["data"]
    kinds = (dispute_views._TREE, dispute_views._LEAF, "bytes32[]")
    tree, leaf, proof = decode(kinds, bytes.fromhex(reply.json()["data"][2:]))
    opened, shown = OpenedTree.from_abi(tree), Leaf.from_abi(leaf)
    assert opened.round == 0 and shown == ENTRY.settlement.leaves[0]
    assert verify(opened.tree, shown, proof)


@pytest.mark.parametrize(
    ("case", "status_code", "code"),
    [
        ({"account": address(77)}, 404, "not-found"),
        ({"account": MEMBERS[0].operator}, 404, "not-found"),
        ({"sender": address(5)}, 404, "not-found"),
        ({"sender": "0x12"}, 422, "request-invalid"),
        ({"call": b""}, 422, "request-invalid"),
        ({"call": bytes(36)}, 422, "request-invalid"),
        ({"call": dispute_views.SCORE_OF + b"\x01" * 32}, 422, "request-invalid"),
        ({"call": dispute_views.SCORE_OF + bytes(31)}, 422, "request-invalid"),
        ({"call": dispute_views.SCORE_OF + bytes(33)}, 422, "request-invalid"),
        ({"call": bytes(20_000)}, 422, "request-invalid"),
    ],
)
def test_the_gateway_answers_nothing_else(case: dict[str, Any], status_code: int, code: str) -> None:
    now = snapshot_of(FakeRun(MEMBERS, [ENTRY]))
    reply = ask(now, **{"account": MEMBERS[0].account, **case})
    assert (reply.status_code, reply.json()["code"]) == (status_code, code)
    assert reply.json()["message"] == reply.json()["title"] and reply.headers["access-control-allow-origin"] == "*"
    assert len(reply.content) < 1_000


def test_the_gateway_waits_for_a_final_header() -> None:
    run = FakeRun(MEMBERS, [ENTRY])
    run.not_final = {0}
    reply = ask(snapshot_of(run), MEMBERS[0].account)
    assert (reply.status_code, reply.json()["code"]) == (404, "nothing-settled")
