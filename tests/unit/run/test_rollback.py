"""A state chain with rounds that took an aggregate back: who is where, to the bit, from wherever it starts."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog

from emerit.codec.aggregate import encode_aggregate
from emerit.codec.take_back import TakeBack, encode_take_back
from emerit.errors import RefusedError, StateError
from emerit.protocol.hints import Hint
from emerit.protocol.manifest import CheckpointSpec, OuterSpec
from emerit.run import checkpoints
from emerit.run.context import RunContext
from emerit.run.rollback import next_take_back, take_back_at, take_backs
from emerit.run.state import LAST_STEP_FILE, StateFollower
from emerit.training import ModelState, initial_state, outer_step
from tests.unit.validator.stage import SEED, SIZE, TABLE, TINY, Client, Store, context

PLAIN, NESTEROV = TINY.outer, OuterSpec(1, 1, 1, 16, 9, 10, True)
# What each round does: 0 takes the last aggregate back, any other number is the size of an aggregate that saturates.
SCRIPT = (3, 0, 5, 2**30, 0, 7)


class Run:
    """A run whose rounds follow a script."""

    def __init__(self, outer: OuterSpec = PLAIN, script: tuple[int, ...] = SCRIPT, every: int = 0) -> None:
        self.store, self.client, self.outer = Store(), Client(), outer
        self.client.attestations = lambda number: []  # type: ignore[attr-defined]
        self.store.over.set()
        first = initial_state(TINY.model, SEED, outer)
        made = context(self.store, self.client)
        manifest = dataclasses.replace(
            made.manifest, outer=outer, initial_seed=SEED.hex(), checkpoint=CheckpointSpec(every)
        )
        params = dataclasses.replace(made.params, initial_state_root=first.root(TABLE))
        self.context: RunContext = dataclasses.replace(made, manifest=manifest, params=params)
        self.first_root = first.root(TABLE)
        self.states: list[ModelState] = [first]
        self.chain: list[Any] = self.client.settled_rounds
        for place, what in enumerate(script):
            self.settle(2 * place, what)

    def settle(self, number: int, what: int) -> None:
        if what:
            positions = np.flatnonzero(np.random.default_rng(number).random(SIZE) < 0.05)
            deltas = np.random.default_rng(what).integers(1, what + 1, len(positions)).astype(np.int32)
            blob = encode_aggregate(number, SIZE, positions, deltas)
            self.states.append(outer_step(self.states[-1], positions, deltas, self.outer)[0])
            cid = self.store.add(blob)
        else:
            item = next_take_back(self.chain, number, self.first_root)
            assert item is not None and item.state_root == self.states[-2].root(TABLE)
            blob, cid = encode_take_back(item), "QmNobodyNeedsIt"
            self.states.append(self.states[-2])
        self.add(number, blob, cid, self.states[-1].root(TABLE))

    def add(self, number: int, blob: bytes, cid: str, root: bytes) -> None:
        body = SimpleNamespace(state_root=root, aggregate_hash=hashlib.sha256(blob).digest())
        header = SimpleNamespace(body=body)
        self.chain.append(SimpleNamespace(header=header, round=number, header_hash=b"", aggregate_cid=cid))

    def is_at(self, follower: StateFollower, settled: int) -> bool:
        root = self.states[settled].root(TABLE)
        return follower.settled == settled and follower.root == root == follower.state.root(TABLE)


@pytest.fixture(params=[PLAIN, NESTEROV], ids=["plain", "nesterov"])
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


def test_it_follows_from_the_chain_which_rounds_took_what_back(run: Run) -> None:
    assert take_backs(run.chain, run.first_root) == {2: 0, 8: 6}
    assert take_back_at(run.chain, 1, run.first_root) == TakeBack(2, 0, run.first_root)
    assert next_take_back([], 0, run.first_root) is None
    assert next_take_back(run.chain[:1], 9, run.first_root) == TakeBack(9, 0, run.first_root)
    assert next_take_back(run.chain[:2], 4, run.first_root) is None  # never twice in a row
    assert take_back_at(run.chain, 1, bytes(32)) is None


def test_who_follows_round_by_round_gets_back_to_the_bit(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    for settled in range(1, len(run.chain) + 1):
        assert follower.advance(run.chain[:settled]) == 1
        assert run.is_at(follower, settled)
        assert (follower.last is None) == (follower.previous is None) == (settled in (2, 5))
        follower = StateFollower.open(run.context, tmp_path)  # a restart after every round
        assert run.is_at(follower, settled)
    assert "QmNobodyNeedsIt" not in run.store.asked


def test_a_newcomer_neither_needs_nor_fetches_what_was_taken_back(run: Run, tmp_path: Path) -> None:
    for place in (0, 3):
        del run.store.blobs[run.chain[place].aggregate_cid]
    follower = StateFollower.open(run.context, tmp_path)
    assert follower.advance(run.chain) == 6
    assert run.is_at(follower, 6)
    assert len(set(run.store.asked)) == 2


def test_its_own_take_back_is_adopted(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.chain[:4])
    follower.adopt(run.chain[:5], b"whatever it computed")
    assert run.is_at(follower, 5)


def test_without_the_last_step_it_starts_before_what_was_taken_back(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.chain[:4])
    (tmp_path / LAST_STEP_FILE).write_bytes(b"damaged")
    again = StateFollower.open(run.context, tmp_path)
    assert again.last is None
    again.advance(run.chain)
    assert run.is_at(again, 6)


def test_a_reorganisation_that_drops_a_take_back_is_followed(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.chain[:5])
    follower.advance(run.chain[:4])
    assert run.is_at(follower, 4)
    follower.advance(run.chain)
    assert run.is_at(follower, 6)


def test_a_take_back_with_another_root_is_refused(run: Run, tmp_path: Path) -> None:
    for start, place in ((4, 4), (3, 4)):
        chain = [*run.chain[:place], SimpleNamespace(**vars(run.chain[place]))]
        body = SimpleNamespace(**vars(chain[place].header.body))
        body.state_root = bytes(32)
        chain[place].header = SimpleNamespace(body=body)
        follower = StateFollower.open(run.context, tmp_path / str(start))
        follower.advance(chain[:start])
        with pytest.raises(StateError, match="state-root-mismatch"):
            follower.advance(chain)


def test_a_second_one_in_a_row_is_no_aggregate(tmp_path: Path) -> None:
    run = Run(script=(3, 4, 0))
    blob = encode_take_back(TakeBack(6, 4, run.states[2].root(TABLE)))
    run.add(6, blob, run.store.add(blob), run.states[2].root(TABLE))
    assert take_backs(run.chain, run.first_root) == {4: 2}
    follower = StateFollower.open(run.context, tmp_path)
    with pytest.raises(RefusedError, match="aggregate-magic"):
        follower.advance(run.chain)


# ---- checkpoints


def publish(run: Run, settled: int) -> None:
    state = run.states[settled]
    cid = checkpoints.publish(run.store, TINY.model, state, settled, state.root(TABLE))[0]  # type: ignore[arg-type]
    run.chain[settled].aggregate_cid = str(Hint(run.chain[settled].aggregate_cid, cid))


def test_a_newcomer_starts_from_no_state_that_was_left_again(tmp_path: Path) -> None:
    run = Run(script=(1, 2, 3, 4, 0, 5, 6), every=2)
    for settled in (2, 4, 6):
        publish(run, settled)
    found = checkpoints.newest(run.context, run.chain[:5], 0)
    assert found is not None and found[0] == 2  # the state after four rounds is the bad one
    for settled, expected in ((5, 2), (7, 6)):
        run.store.asked.clear()
        with structlog.testing.capture_logs() as logs:
            follower = StateFollower.open(run.context, tmp_path / str(settled))
            follower.advance(run.chain[:settled])
        assert run.is_at(follower, settled)
        starts = [entry["settled"] for entry in logs if entry["event"] == "started from a checkpoint"]
        assert starts == [expected]


def test_who_cannot_undo_goes_back_to_the_checkpoint_before(tmp_path: Path) -> None:
    run = Run(script=(1, 2, 3, 4, 0, 5), every=2)
    publish(run, 2)
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.chain[:4])
    follower.last = None
    run.store.asked.clear()
    follower.advance(run.chain)
    assert run.is_at(follower, 6)
    named = [item.aggregate_cid.split()[0] for item in run.chain]
    assert [place for place, cid in enumerate(named) if cid in run.store.asked] == [2, 5]
