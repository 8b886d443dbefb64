"""A validator applies the aggregate that it computed itself when its header settles, and fetches any other."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from emerit.codec.aggregate import encode_aggregate
from emerit.errors import UnavailableError
from emerit.protocol.types import Phase
from emerit.run.state import StateFollower
from emerit.telemetry import Metrics
from emerit.training.aggregate import apply_aggregate
from emerit.training.state import state_root
from emerit_validator.chores import Turns
from emerit_validator.validator import OwnAggregate, ValidatorNode
from tests.unit.validator.stage import OWN, ROOT, SIZE, TABLE, VALUES, Client, Store, context, loop

POSITIONS, DELTAS = np.array([3, 70], dtype=np.int64), np.array([500, -7], dtype=np.int32)
BLOB = encode_aggregate(0, SIZE, POSITIONS, DELTAS)
AFTER = state_root(apply_aggregate(VALUES, POSITIONS, DELTAS), TABLE)


def settled(header_hash: bytes = b"\x01" * 32) -> Any:
    body = SimpleNamespace(state_root=AFTER, aggregate_hash=hashlib.sha256(BLOB).digest())
    header = SimpleNamespace(body=body)
    return SimpleNamespace(header=header, round=0, header_hash=header_hash, aggregate_cid="bafyabsent")


def node(folder: Path) -> tuple[ValidatorNode, Client, Store]:
    store, client = Store(), Client()
    client.attestations = lambda number: []  # type: ignore[attr-defined]
    run = context(store, client)
    validator = ValidatorNode(run, cast(Any, None), folder, loop(client, folder), Metrics("validator"))
    validator.follower = StateFollower(run, folder, VALUES, None, ROOT, 0)
    validator.ledger = cast(Any, SimpleNamespace(update=lambda: None, refuse_final_fault=lambda: None))
    validator.own = None
    validator.entry, validator.turns = OWN, Turns(0)
    store.asked.clear()
    store.over.set()  # what is absent is missed at once
    return validator, client, store


def test_its_own_aggregate_is_not_fetched(tmp_path: Path) -> None:
    validator, client, store = node(tmp_path)
    client.settled_rounds = [settled()]
    validator.own = OwnAggregate(b"\x01" * 32, ROOT, BLOB)
    validator.follow()
    assert validator.follower.root == AFTER and validator.follower.settled == 1
    assert store.asked == [] and validator.own is None
    validator.follow()
    assert validator.follower.settled == 1


@pytest.mark.parametrize(
    "own", [None, OwnAggregate(b"\x02" * 32, ROOT, BLOB), OwnAggregate(b"\x01" * 32, b"\x09" * 32, BLOB)]
)
def test_any_other_is_fetched(tmp_path: Path, own: OwnAggregate | None) -> None:
    validator, client, store = node(tmp_path)
    client.settled_rounds = [settled()]
    validator.own = own
    with pytest.raises(UnavailableError, match="aggregate-unavailable"):
        validator.follow()
    store.blobs["bafyabsent"] = BLOB
    validator.follow()
    assert validator.follower.root == AFTER


def test_a_run_is_started_by_the_first_in_turn_once_enough_have_joined(tmp_path: Path) -> None:
    validator, client, _ = node(tmp_path)
    counts, started = [(0, 1), (1, 0), (1, 1)], []
    client.active_counts = lambda: counts[0]  # type: ignore[attr-defined]
    client.start = lambda sender: started.append(counts[0])  # type: ignore[attr-defined]
    client.phase = Phase.NOT_STARTED
    while counts:
        assert not validator.started(client.status())
        counts.pop(0)
    assert started == [(1, 1)]
    client.phase = Phase.TRAIN
    assert validator.started(client.status())


def test_an_expired_round_is_voided_in_turn_although_its_phase_has_no_end(tmp_path: Path) -> None:
    validator, client, _ = node(tmp_path)
    now, voided = [0.0], []
    validator.turns = Turns(2, lambda: now[0])

    def void(sender: object, number: int) -> None:
        voided.append(now[0])
        client.round += 1

    def tick() -> None:
        now[0] += 1.0

    client.void_round = void  # type: ignore[attr-defined]
    client.phase, client.ends_in_seconds = Phase.EXPIRED, -1_000_000
    client.events = [tick] * 20
    validator.wait_for_next(client.round)
    assert voided == [5.0]  # seen at 1, and two slots of two seconds come first


def test_a_later_header_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    validator, _, _ = node(tmp_path)
    own = OwnAggregate(b"\x01" * 32, ROOT, BLOB)
    assert not own.is_next(validator.follower, [])
    assert own.is_next(validator.follower, [settled()])
    assert not own.is_next(validator.follower, [settled(b"\x05" * 32), settled()])
    assert not dataclasses.replace(own, base_state_root=AFTER).is_next(validator.follower, [settled()])
