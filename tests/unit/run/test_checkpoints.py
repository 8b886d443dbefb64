"""A newcomer takes the newest checkpoint that has the settled root, whatever the hints say, and replays the rest."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from emerit.codec.aggregate import encode_aggregate
from emerit.errors import RefusedError, UnavailableError
from emerit.protocol.hints import Hint
from emerit.protocol.manifest import CheckpointSpec
from emerit.run import checkpoints
from emerit.run.checkpoints import is_due, newest, publish
from emerit.run.context import RunContext
from emerit.run.state import StateFollower
from emerit.training.aggregate import apply_aggregate
from emerit.training.checkpoint import checkpoint_bytes
from emerit.training.state import ModelState, state_root
from tests.unit.validator.stage import SIZE, TABLE, TINY, VALUES, Client, Store, context

EVERY = 3
HASH = b"\x01" * 32


class BoundedStore(Store):
    """Keeps the store's promise about sizes, and counts what was taken from it."""

    def __init__(self) -> None:
        super().__init__()
        self.over.set()  # what is absent is missed at once
        self.unpinned: list[str] = []

    def get(self, cid: str, max_bytes: int, deadline_seconds: float | None = None, *, canonical: bool = False) -> bytes:
        assert canonical
        data = super().get(cid, max_bytes, deadline_seconds or 0.0, canonical=canonical)
        if len(data) > max_bytes:
            raise RefusedError("blob-too-large", "Too large.")
        return data

    def unpin(self, cid: str) -> None:
        self.unpinned.append(cid)


@dataclass
class Run:
    """A run with real aggregates: `states[n]` is the state after n settled rounds."""

    rounds: int
    every: int = EVERY
    store: BoundedStore = field(default_factory=BoundedStore)
    client: Client = field(default_factory=Client)

    def __post_init__(self) -> None:
        self.states, self.roots = [VALUES], [state_root(VALUES, TABLE)]
        self.attestations: dict[int, list[Any]] = {}
        self.client.attestations = lambda number: self.attestations.get(number, [])  # type: ignore[attr-defined]
        made = context(self.store, self.client)
        manifest = dataclasses.replace(made.manifest, checkpoint=CheckpointSpec(self.every))
        self.context: RunContext = dataclasses.replace(made, manifest=manifest)
        for number in range(self.rounds):
            self.settle(number)

    def settle(self, number: int) -> None:
        places = np.unique(np.random.default_rng(number).integers(0, SIZE, 50)).astype(np.int64)
        deltas = np.full(len(places), 1000 + number, dtype=np.int32)
        self.states.append(apply_aggregate(self.states[-1], places, deltas))
        self.roots.append(state_root(self.states[-1], TABLE))
        blob = encode_aggregate(number, SIZE, places, deltas)
        body = SimpleNamespace(state_root=self.roots[-1], aggregate_hash=hashlib.sha256(blob).digest())
        item = SimpleNamespace(
            round=number, header=SimpleNamespace(body=body), header_hash=HASH, aggregate_cid=self.store.add(blob)
        )
        self.client.settled_rounds.append(item)

    @property
    def chain(self) -> list[Any]:
        return self.client.settled_rounds

    def publish(self, settled: int) -> str:
        """An honest checkpoint of the state after so many rounds, in the hint of the next one."""
        cid = publish(self.store, TINY.model, ModelState(self.states[settled]), settled, self.roots[settled])[0]  # type: ignore[arg-type]
        self.name(settled, cid)
        return cid

    def name(self, settled: int, cid: str) -> None:
        item = self.chain[settled]
        item.aggregate_cid = str(Hint(Hint.parse(item.aggregate_cid).aggregate_cid, cid))

    def attest(self, settled: int, cids: Sequence[str], header_hash: bytes = HASH) -> None:
        aggregate = Hint.parse(self.chain[settled].aggregate_cid).aggregate_cid
        hints = [SimpleNamespace(header_hash=header_hash, aggregate_cid=str(Hint(aggregate, cid))) for cid in cids]
        self.attestations[settled] = self.attestations.get(settled, []) + hints

    def newest(self, have: int = 0) -> int | None:
        found = newest(self.context, self.chain, have)
        if found is None:
            return None
        assert np.array_equal(found[1].values, self.states[found[0]])
        return found[0]


@pytest.fixture
def run() -> Run:
    return Run(11)


def test_which_states_are_published() -> None:
    assert [n for n in range(13) if is_due(n, 4)] == [4, 8, 12]
    assert not any(is_due(n, 0) for n in range(13))


def test_the_newest_comes_first(run: Run) -> None:
    for settled in (3, 6, 9):
        run.publish(settled)
    run.store.asked.clear()
    assert run.newest() == 9
    assert len(run.store.asked) == 1


def test_a_checkpoint_of_the_last_state_is_not_known_before_the_next_settlement() -> None:
    run = Run(9)
    for settled in (3, 6):
        run.publish(settled)
    assert run.newest() == 6


def test_who_is_near_replays(run: Run) -> None:
    for settled in (3, 6, 9):
        run.publish(settled)
    assert [run.newest(have) for have in (5, 6, 7, 11)] == [9, 9, None, None]


def lie_other_state(run: Run) -> str:
    return run.store.add(checkpoint_bytes(TINY.model, ModelState(run.states[8]), 9, run.roots[9]))


def lie_other_place(run: Run) -> str:
    return run.store.add(checkpoint_bytes(TINY.model, ModelState(run.states[6]), 6, run.roots[6]))


def lie_too_large(run: Run) -> str:
    return run.store.add(checkpoint_bytes(TINY.model, ModelState(run.states[9]), 9, run.roots[9]) + b"\0" * 1_000_000)


def lie_too_small(run: Run) -> str:
    return run.store.add(b"")


def lie_withheld(run: Run) -> str:
    return "QmNobodyHasThis"


def lie_aggregate(run: Run) -> str:
    return str(run.chain[9].aggregate_cid)


LIES = [lie_other_state, lie_other_place, lie_too_large, lie_too_small, lie_withheld, lie_aggregate]


@pytest.mark.parametrize("lie", LIES)
def test_a_wrong_one_is_passed_over_for_the_next_older(run: Run, lie: Callable[[Run], str]) -> None:
    for settled in (3, 6):
        run.publish(settled)
    cid = lie(run)
    run.name(9, cid)
    run.store.asked.clear()
    assert run.newest() == 6
    assert run.store.asked[0] == cid and len(run.store.asked) == 2


@pytest.mark.parametrize("lie", LIES)
def test_a_liar_settles_last_but_the_signers_name_the_right_one(run: Run, lie: Callable[[Run], str]) -> None:
    cid = run.publish(9)
    run.attest(9, [lie(run), cid, cid])
    run.name(9, lie(run))
    assert run.newest() == 9
    assert run.store.asked[-1] == cid and run.store.asked.count(lie(run)) <= 1


def test_signers_of_another_header_are_not_asked(run: Run) -> None:
    run.attest(9, ["QmLie"] * 5, header_hash=b"\x02" * 32)
    run.publish(9)
    assert run.newest() == 9
    assert "QmLie" not in run.store.asked


def test_how_much_a_node_tries_is_bounded() -> None:
    run = Run(32)
    for settled in range(3, 32, 3):
        run.attest(settled, [f"QmLie{settled}x{number}" for number in range(9)])
    run.store.asked.clear()
    assert run.newest() is None
    assert len(run.store.asked) == checkpoints.MOST_STATES * checkpoints.MOST_CIDS
    assert all("Lie30x" in cid for cid in run.store.asked[: checkpoints.MOST_CIDS])


def test_without_hints_nothing_is_fetched(run: Run) -> None:
    run.store.asked.clear()
    assert run.newest() is None and run.store.asked == []


def test_without_checkpoints_in_the_manifest_none_is_looked_for() -> None:
    run = Run(7, every=0)
    run.name(6, "QmLie")
    assert run.newest() is None


# ---- in parts


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 30_000)


@pytest.mark.usefixtures("small_parts")
def test_a_large_one_is_published_and_fetched_in_parts(run: Run) -> None:
    model = TINY.model
    cids = publish(run.store, model, ModelState(run.states[9]), 9, run.roots[9])  # type: ignore[arg-type]
    size = len(checkpoint_bytes(model, ModelState(run.states[9]), 9, run.roots[9]))
    assert len(cids) == 1 + -(-size // 30_000) > 2
    run.name(9, cids[0])
    assert run.newest() == 9


@pytest.mark.usefixtures("small_parts")
def test_a_list_of_parts_that_is_none_is_refused(run: Run) -> None:
    cids = publish(run.store, TINY.model, ModelState(run.states[9]), 9, run.roots[9])  # type: ignore[arg-type]
    head, *names = run.store.blobs[cids[0]].decode().splitlines()
    run.publish(6)
    lists = [
        [head, *names[:-1]],
        [head, *names, names[0]],
        ["other", *names],
        [head, *names[:-1], "../x"],
        [head, *names[:-1], ""],
        [head, *reversed(names)],
        [head, *names[:-1], names[0]],
    ]
    for lines in [*lists, ["x" * 100_000]]:
        run.name(9, run.store.add("\n".join([*lines, ""]).encode()))
        assert run.newest() == 6
    run.name(9, run.store.add("\n".join([head, *names]).encode()))  # no newline at the end
    assert run.newest() == 6


# ---- a follower


def test_a_newcomer_starts_from_it_and_replays_the_rounds_since(run: Run, tmp_path: Path) -> None:
    run.publish(9)
    follower = StateFollower.open(run.context, tmp_path)
    run.store.asked.clear()
    seen: list[tuple[int, int]] = []
    assert follower.advance(run.chain, on_step=lambda done, total: seen.append((done, total))) == 2
    assert (follower.settled, follower.root) == (11, run.roots[11])
    assert np.array_equal(follower.values, run.states[11]) and np.array_equal(follower.previous, run.states[10])
    assert seen == [(10, 11), (11, 11)]
    assert len(run.store.asked) == 3
    again = StateFollower.open(run.context, tmp_path)
    assert (again.settled, again.root) == (11, run.roots[11])


def test_what_the_checkpoint_gave_survives_an_outage_right_after_it(run: Run, tmp_path: Path) -> None:
    run.publish(9)
    blob = run.store.blobs.pop(run.chain[9].aggregate_cid.split()[0])
    with pytest.raises(UnavailableError):
        StateFollower.open(run.context, tmp_path).advance(run.chain)
    assert blob
    assert StateFollower.open(run.context, tmp_path).settled == 9


def test_when_all_are_wrong_every_round_is_replayed(run: Run, tmp_path: Path) -> None:
    for settled in (3, 6, 9):
        run.name(settled, "QmNobodyHasThis")
    follower = StateFollower.open(run.context, tmp_path)
    assert follower.advance(run.chain) == 11
    assert follower.root == run.roots[11]


def test_an_auditor_skips_nothing(run: Run, tmp_path: Path) -> None:
    run.publish(9)
    follower = StateFollower.open(run.context, tmp_path, from_checkpoints=False)
    assert follower.advance(run.chain) == 11


def test_a_damaged_state_is_built_again(run: Run, tmp_path: Path) -> None:
    StateFollower.open(run.context, tmp_path).advance(run.chain)
    path = tmp_path / "state.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:5000] + b"\xff" + whole[5001:])
    follower = StateFollower.open(run.context, tmp_path)
    assert follower.settled == 0
    follower.advance(run.chain)
    assert follower.root == run.roots[11]
