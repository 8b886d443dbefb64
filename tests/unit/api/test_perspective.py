"""A reputation as one validator sees it: the answer, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from emerit.api.snapshot import Snapshot
from emerit.run.reputation_view import perspective
from tests.unit.api.builders import REPUTATION, FakeRun, address, copies, registry, settled_entry
from tests.unit.api.test_app import FixedSource, app_of, get

MEMBERS = registry(trainers=3, validators=3)
TRAINERS, VALIDATORS = MEMBERS[:3], MEMBERS[3:]
ENTRY = settled_entry(MEMBERS, 0, [(300, 200, 100), (300, None, 100), (300, 900, 0)])
NOBODY = address(77)


class Source(FixedSource):
    """A source with a contract that answers."""

    def reputation_on_chain(self, account: str) -> int:
        return len(account)


def snapshot_of(rounds: int) -> Snapshot:
    return FakeRun(MEMBERS, copies(ENTRY, rounds)).collector().collect()[0]


def ask(now: Snapshot, who: str, viewer: str | None) -> Any:
    return get(app_of(Source(now)), f"/v1/reputation/{who}" + (f"?perspective={viewer}" if viewer is not None else ""))


@pytest.mark.parametrize("trainer", TRAINERS, ids=lambda entry: f"trainer {entry.slot}")
@pytest.mark.parametrize("viewer", VALIDATORS, ids=lambda entry: f"validator {entry.slot}")
def test_a_perspective_is_of_the_last_round_and_of_one_validator(trainer: Any, viewer: Any) -> None:
    now = snapshot_of(3)
    reply = ask(now, trainer.account, viewer.account)
    visits = perspective(ENTRY, viewer, trainer, REPUTATION)
    assert reply.status_code == 200
    assert reply.json()["perspective"] == {"validator": viewer.account, "round": 2, "visits": visits}
    assert (visits == 0) == ((viewer.slot, trainer.slot) in {(1, 1), (2, 2)})
    plain = ask(now, trainer.account, None).json()
    assert plain["perspective"] is None
    assert {**reply.json(), "perspective": None} == plain


def test_what_a_validator_gives_beyond_the_consensus_does_not_count() -> None:
    now = snapshot_of(1)
    total = ENTRY.settlement.consensus.total_weight
    confirmed = ENTRY.settlement.leaves[1].detail.weight
    assert confirmed < 900
    seen = ask(now, TRAINERS[1].account, VALIDATORS[2].account).json()["perspective"]
    assert seen["visits"] == 850_000_000 * confirmed // total


def test_operators_and_any_case_will_do() -> None:
    now = snapshot_of(1)
    by_account = ask(now, TRAINERS[0].account, VALIDATORS[0].account).json()["perspective"]
    assert by_account["visits"] > 0
    for viewer in (VALIDATORS[0].operator, VALIDATORS[0].account.lower()):
        assert ask(now, TRAINERS[0].operator, viewer).json()["perspective"] == by_account


def test_before_the_first_round_there_is_none() -> None:
    reply = ask(snapshot_of(0), TRAINERS[0].account, VALIDATORS[0].account)
    assert (reply.status_code, reply.json()["perspective"]) == (200, None)


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize(
    ("who", "viewer", "status", "code"),
    [
        (TRAINERS[0].account, TRAINERS[1].account, 422, "perspective-invalid"),
        (TRAINERS[0].account, TRAINERS[0].account, 422, "perspective-invalid"),
        (VALIDATORS[0].account, VALIDATORS[1].account, 422, "perspective-invalid"),
        (TRAINERS[0].account, NOBODY, 404, "not-in-run"),
        (TRAINERS[0].account, f"0x{'0' * 40}", 404, "not-in-run"),
        (NOBODY, VALIDATORS[0].account, 404, "not-found"),
        (TRAINERS[0].account, "v0", 422, "request-invalid"),
        (TRAINERS[0].account, "", 422, "request-invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(rounds: int, who: str, viewer: str, status: int, code: str) -> None:
    reply = ask(snapshot_of(rounds), who, viewer)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.json()["title"] and reply.json()["fix"]
