"""A node follows the state through restarts and reorganisations, with an outer momentum and without."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emerit.codec.aggregate import encode_aggregate
from emerit.errors import StateError
from emerit.protocol.manifest import OuterSpec
from emerit.run.context import RunContext
from emerit.run.state import LAST_STEP_FILE, StateFollower
from emerit.training import LocalState, ModelState, initial_state, outer_step
from tests.unit.validator.stage import SEED, SIZE, TABLE, TINY, Client, Store, context

PLAIN, NESTEROV = TINY.outer, OuterSpec(1, 1, 1, 16, 9, 10, True)
ROUNDS = 4


class Run:
    """A run of a few settled rounds, whose aggregates are in the store."""

    def __init__(self, outer: OuterSpec) -> None:
        store, client = Store(), Client()
        client.attestations = lambda number: []  # type: ignore[attr-defined]
        first = initial_state(TINY.model, SEED, outer)
        made = context(store, client)
        self.context: RunContext = dataclasses.replace(
            made,
            manifest=dataclasses.replace(made.manifest, outer=outer, initial_seed=SEED.hex()),
            params=dataclasses.replace(made.params, initial_state_root=first.root(TABLE)),
        )
        self.store, self.outer = store, outer
        self.states, self.settled = self.play(first, 3)
        self.fork, self.other = self.play(self.states[-2], 4, ROUNDS - 1)

    def play(self, state: ModelState, seed: int, first: int = 0) -> tuple[list[ModelState], list[Any]]:
        """Settle rounds `first` to ROUNDS; the last moves weights so far that they saturate."""
        random = np.random.default_rng(seed)
        states, settled = [state], []
        for number in range(first, ROUNDS):
            positions = np.flatnonzero(random.random(SIZE) < 0.05)
            high = 2**31 - 1 if number == ROUNDS - 1 else 2**20
            deltas = random.integers(1, high, len(positions)).astype(np.int32)
            blob = encode_aggregate(number, SIZE, positions, deltas)
            states.append(outer_step(states[-1], positions, deltas, self.outer)[0])
            body = SimpleNamespace(state_root=states[-1].root(TABLE), aggregate_hash=hashlib.sha256(blob).digest())
            header = SimpleNamespace(body=body)
            cid = self.store.add(blob)
            settled.append(SimpleNamespace(header=header, round=number, header_hash=b"", aggregate_cid=cid))
        return states, settled


@pytest.fixture(params=[PLAIN, NESTEROV], ids=["plain", "nesterov"])
def run(request: pytest.FixtureRequest) -> Run:
    return Run(request.param)


def is_at(follower: StateFollower, state: ModelState) -> bool:
    return follower.root == state.root(TABLE) == follower.state.root(TABLE)


def test_it_follows_and_goes_on_after_a_restart(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    assert is_at(follower, run.states[0]) and follower.last is None
    assert follower.advance(run.settled[:3]) == 3
    again = StateFollower.open(run.context, tmp_path)
    assert is_at(again, run.states[3])
    assert again.previous is not None and np.array_equal(again.previous, run.states[2].values)
    assert again.advance(run.settled) == 1
    assert is_at(again, run.states[4])
    assert (again.momentum is None) == (run.outer is PLAIN)


def test_an_aggregate_is_taken_back_to_the_bit_after_a_restart_too(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.settled)
    for each in (StateFollower.open(run.context, tmp_path), follower):
        each.take_back()
        assert is_at(each, run.states[3]) and each.settled == 3
        with pytest.raises(StateError, match="undo-unfit"):
            each.take_back()
    follower.save()
    assert not (tmp_path / LAST_STEP_FILE).exists()


def test_a_reorganisation_of_the_last_round_fetches_that_round_alone(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.settled)
    run.store.asked.clear()
    assert follower.advance([*run.settled[:-1], *run.other]) == 1
    assert is_at(follower, run.fork[-1])
    assert run.store.asked == [run.other[0].aggregate_cid]
    assert follower.advance(run.settled[:2]) == 2  # further back: from the start
    assert is_at(follower, run.states[2])
    assert len(run.store.asked) == 3


def test_a_damaged_or_foreign_last_step_is_done_without(run: Run, tmp_path: Path) -> None:
    follower = StateFollower.open(run.context, tmp_path)
    follower.advance(run.settled[:2])
    older = (tmp_path / LAST_STEP_FILE).read_bytes()
    follower.advance(run.settled)
    whole = (tmp_path / LAST_STEP_FILE).read_bytes()
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], older, whole[:-4] + b"\x7f" * 4):
        (tmp_path / LAST_STEP_FILE).write_bytes(damaged)
        again = StateFollower.open(run.context, tmp_path)
        assert is_at(again, run.states[4])
        assert again.last is None and again.previous is None


def test_a_saved_state_of_a_run_with_another_momentum_is_refused(run: Run, tmp_path: Path) -> None:
    state = run.states[0]
    momentum = None if state.momentum is not None else np.zeros(SIZE, np.int32)
    LocalState.of(TINY.model, 0, state.values, momentum=momentum).save(tmp_path / "state.safetensors")
    with pytest.raises(StateError, match="state-corrupt"):
        StateFollower.open(run.context, tmp_path)
