"""A validator publishes what is due, names it for the right round only, and lets go of what is old."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from emerit.errors import UnavailableError
from emerit.ipfs.cid import cid_of
from emerit.protocol.hints import Hint
from emerit.run import checkpoints
from emerit.run.state import StateFollower
from emerit.training.checkpoint import checkpoint_bytes
from emerit.training.state import ModelState
from emerit_validator.checkpoints import FILE, KEPT, CheckpointKeeper
from tests.unit.run.test_checkpoints import Run
from tests.unit.validator.stage import TINY


@pytest.fixture
def run() -> Run:
    return Run(13)


def at(run: Run, settled: int, folder: Path) -> StateFollower:
    return StateFollower(run.context, folder, run.states[settled], None, run.roots[settled], settled)


def cid_after(run: Run, settled: int) -> str:
    return cid_of(checkpoint_bytes(TINY.model, ModelState(run.states[settled]), settled, run.roots[settled]))


def test_what_is_due_is_published_once_and_named(run: Run, tmp_path: Path) -> None:
    keeper = CheckpointKeeper(run.context, tmp_path)
    state = at(run, 3, tmp_path)
    assert keeper.hint("QmA", state) == "QmA"
    keeper.tend(state)
    cid = cid_after(run, 3)
    assert Hint.parse(keeper.hint("QmA", state)) == Hint("QmA", cid) and cid in run.store.blobs
    del run.store.blobs[cid]
    keeper.tend(state)
    assert cid not in run.store.blobs, "it is not published again in every round that is played again"


def test_other_states_are_neither_published_nor_named(run: Run, tmp_path: Path) -> None:
    keeper = CheckpointKeeper(run.context, tmp_path)
    keeper.tend(at(run, 3, tmp_path))
    before = dict(run.store.blobs)
    for settled in (0, 1, 2, 4, 5):
        keeper.tend(at(run, settled, tmp_path))
        assert keeper.hint("QmA", at(run, settled, tmp_path)) == "QmA"
    assert run.store.blobs == before


def test_two_validators_name_the_same(run: Run, tmp_path: Path) -> None:
    hints = set()
    for name in ("one", "two"):
        keeper = CheckpointKeeper(run.context, tmp_path / name)
        keeper.tend(at(run, 6, tmp_path / name))
        hints.add(keeper.hint("QmA", at(run, 6, tmp_path / name)))
    assert len(hints) == 1


def test_the_last_two_stay_pinned_through_restarts(run: Run, tmp_path: Path) -> None:
    for settled in (3, 6, 9, 12):
        CheckpointKeeper(run.context, tmp_path).tend(at(run, settled, tmp_path))
    assert run.store.unpinned == [cid_after(run, 3), cid_after(run, 6)]
    assert json.loads((tmp_path / FILE).read_text()) == [[cid_after(run, 9)], [cid_after(run, 12)]]
    assert KEPT == 2


def test_a_round_played_again_after_a_restart_unpins_nothing(run: Run, tmp_path: Path) -> None:
    for settled in (3, 6, 6, 6):
        CheckpointKeeper(run.context, tmp_path).tend(at(run, settled, tmp_path))
    assert run.store.unpinned == []


def test_parts_that_the_next_one_shares_stay(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "PART_BYTES", 4096)
    for settled in (3, 6, 9, 12):
        CheckpointKeeper(run.context, tmp_path).tend(at(run, settled, tmp_path))
    kept = {cid for cids in json.loads((tmp_path / FILE).read_text()) for cid in cids}
    assert len(kept) > 2 * 2 and kept.isdisjoint(run.store.unpinned)
    assert kept < set(run.store.blobs)


def test_a_daemon_that_is_down_costs_the_checkpoint_and_not_the_round(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(data: bytes) -> str:
        raise UnavailableError("ipfs-unreachable", "No daemon.")

    keeper = CheckpointKeeper(run.context, tmp_path)
    state = at(run, 3, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(run.store, "add", down)
        keeper.tend(state)
        assert keeper.hint("QmA", state) == "QmA"
    keeper.tend(state)
    assert keeper.hint("QmA", state) != "QmA"


@pytest.mark.parametrize("text", ["", "{", "[1]", "5", '{"a": 1}'])
def test_a_damaged_record_is_no_reason_to_stop(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    keeper = CheckpointKeeper(run.context, tmp_path)
    for settled in (3, 6, 9):
        keeper.tend(at(run, settled, tmp_path))
    assert json.loads((tmp_path / FILE).read_text()) == [[cid_after(run, 6)], [cid_after(run, 9)]]
