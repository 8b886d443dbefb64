"""A reputation on the wide graph: the answer, whose view it may be, and that nothing else changes with it."""

from __future__ import annotations

from typing import Any

import pytest

from emerit.api.snapshot import Snapshot
from emerit.protocol.feedback import Feedback
from tests.unit.api.builders import FakeRun, address
from tests.unit.api.test_app import app_of, get
from tests.unit.api.test_perspective import Source
from tests.unit.run.test_wide_view import ENTRIES, MEMBERS, TRAINERS, name_of, said_by_all


def snapshot_of(rounds: int) -> Snapshot:
    run = FakeRun(MEMBERS, ENTRIES[:rounds])
    run.feedback = {**said_by_all(), name_of(1, 0): (Feedback(0, 1),)}
    return run.collector().collect()[0]


def ask(now: Snapshot, who: str, query: str = "") -> Any:
    return get(app_of(Source(now)), f"/v1/reputation/{who}{query}")


@pytest.mark.parametrize("viewer", [None, 1, TRAINERS], ids=["seed", "trainer", "validator"])
def test_anybody_s_view_of_anybody(viewer: int | None) -> None:
    now = snapshot_of(3)
    query = "?graph=wide" + ("" if viewer is None else f"&perspective={address(viewer)}")
    for member in MEMBERS:
        reply = ask(now, member.account, query)
        assert reply.status_code == 200
        answer = reply.json()
        wide = answer["wide"]
        assert wide["ego"] == ("seed" if viewer is None else address(viewer))
        assert (wide["rounds"], wide["missing"], wide["of"]) == ([0, 1, 2], 0, 10**9)
        assert wide["edges"] > 0
        assert {**answer, "wide": None} == ask(now, member.account).json()
    if viewer != TRAINERS:
        assert any(path["source"] in {address(at) for at in range(TRAINERS)} for path in wide_paths(now, query))


def wide_paths(now: Snapshot, query: str) -> list[dict[str, Any]]:
    return [path for at in range(TRAINERS) for path in ask(now, address(at), query).json()["wide"]["paths"]]


def test_what_was_left_out_is_said_with_its_code() -> None:
    now = snapshot_of(3)
    (dropped,) = ask(now, address(0), "?graph=wide").json()["wide"]["dropped"]
    assert (dropped["round"], dropped["author"], dropped["about"], dropped["value"]) == (1, address(0), address(0), 1)
    assert dropped["code"] == "feedback-self" and dropped["why"].endswith(".")
    assert ask(now, address(1), "?graph=wide").json()["wide"]["dropped"] == []


def test_before_the_first_round_everybody_has_nothing() -> None:
    wide = ask(snapshot_of(0), address(0), "?graph=wide").json()["wide"]
    assert (wide["reputation"], wide["rounds"], wide["paths"]) == (0, [], [])


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        (f"?graph=wide&perspective={address(77)}", 404, "not-in-run"),
        ("?graph=deep", 422, "request-invalid"),
        (f"?graph=seed&perspective={address(1)}", 422, "perspective-invalid"),
    ],
)
def test_what_makes_no_sense_is_refused(query: str, status: int, code: str) -> None:
    reply = ask(snapshot_of(1), address(0), query)
    assert (reply.status_code, reply.json()["code"]) == (status, code)


def test_the_graph_is_made_again_only_when_something_changed() -> None:
    run = FakeRun(MEMBERS, ENTRIES[:2])
    collector = run.collector()

    def made() -> int:
        return id(collector.collect()[0].trust)

    first = collector.collect()[0].trust
    assert made() == made() == id(first)
    run.feedback = said_by_all()
    second = collector.collect()[0].trust
    assert second is not first and made() == id(second)
    run.entries.append(ENTRIES[2])
    third = collector.collect()[0].trust
    assert third is not second and third.wide.rounds == (0, 1, 2)
    assert third.wide is third.wide
