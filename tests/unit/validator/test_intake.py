"""Blobs that come, blobs that are wrong, blobs that never come."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from emerit.codec import SparseUpdate, integer_codec
from emerit.codec.update import first_indices
from emerit.protocol.feedback import Feedback
from emerit.protocol.manifest import CodecSpec
from emerit_validator import intake as module
from emerit_validator.intake import Intake, intake_seconds
from tests.unit.validator.stage import ROOT, SIZE, TINY, Client, Store, blob, context, loop, reveal, update


class Desk:
    """A store and the intakes that a test opened on it; their threads have ended when the test has."""

    def __init__(self, folder: Path) -> None:
        self.store, self.folder, self.intakes = Store(), folder, list[Intake]()

    def open(self, trust: dict[int, int] | None = None, codec: CodecSpec = TINY.codec) -> Intake:
        client = Client()
        run = context(self.store, client, codec)
        self.intakes.append(Intake(run, loop(client, self.folder), 4, ROOT, trust or {}))
        return self.intakes[-1]

    def close(self) -> None:
        self.store.over.set()
        for intake in self.intakes:
            intake.close()
            intake._pool.shutdown(wait=True)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path)
    yield desk
    desk.close()


@pytest.mark.parametrize(("early_rounds", "due"), [(4, 64), (5, 512)])
def test_the_codec_and_the_density_are_those_of_the_round(desk: Desk, early_rounds: int, due: int) -> None:
    spec = CodecSpec(name="topk-2bit", chunk=4096, k=64, early_rounds=early_rounds, early_k=512)
    sender = integer_codec(spec.name)
    dense = np.random.default_rng(1).standard_normal(SIZE).astype(np.float32)
    blobs = {
        0: blob(0, sender.compress(dense, 4096, due)[0], codec_id=sender.number),
        1: blob(1, sender.compress(dense, 4096, 576 - due)[0], codec_id=sender.number),
        2: blob(2),
    }
    for data in blobs.values():
        desk.store.add(data)
    intake = desk.open(codec=spec)
    intake.take([reveal(slot, data) for slot, data in blobs.items()])
    intake.collect(2.0)
    assert [update.k for update in intake.accepted.values()] == [due]
    assert set(intake.accepted) == {0}
    # Where less is due, what is denser is larger than any good blob of the round, and is not even fetched whole.
    assert intake.refused[1] == ("blob-shape" if due == 512 else "blob-too-large")
    assert intake.refused[2] in ("blob-codec", "blob-too-large")


def test_feedback_makes_a_contribution_inadmissible_only_where_the_header_is_malformed(desk: Desk) -> None:
    """Whether a value counts in the wide graph is nothing to a validator; the format and its bound are."""
    odd = (Feedback(1, (1 << 31) - 1), Feedback(4_000_000_000, -5))  # of itself, of nobody, out of range
    good = blob(2, feedback=odd[:1])
    twice = good[:8] + (16).to_bytes(4, "little") + good[12:152] + good[144:152] + good[152:]
    blobs = {
        0: blob(0),
        1: blob(1, feedback=odd),
        2: twice,
        3: blob(3, feedback=(*odd, Feedback(4_000_000_001, 0))),
    }
    for data in blobs.values():
        desk.store.add(data)
    intake = desk.open()
    assert intake.context.manifest.reputation.feedback_peers == 2
    intake.take([reveal(slot, data) for slot, data in blobs.items()])
    intake.collect(2.0)
    assert {slot: intake.accepted[slot] == update(slot) for slot in intake.accepted} == {0: True, 1: True}
    assert intake.refused == {2: "blob-feedback", 3: "blob-extension"}


def silent(like: SparseUpdate) -> SparseUpdate:
    """An update whose scales are all zero, in its one form."""
    return dataclasses.replace(
        like,
        indices=first_indices(like.size, like.chunk, like.k),
        levels=np.ones_like(like.levels),
        scales=np.zeros_like(like.scales),
    )


def published(store: Store, slot: int) -> bytes:
    data = blob(slot)
    store.add(data)
    return data


def test_every_reveal_is_accepted_refused_with_a_code_or_unavailable(desk: Desk) -> None:
    blobs = {0: blob(0), 1: blob(1, round_number=3), 2: blob(2, silent(update(2))), 3: blob(3), 35: blob(35)}
    for slot in (0, 1, 2, 35):
        desk.store.add(blobs[slot])
    intake = desk.open()
    intake.take([reveal(slot, data) for slot, data in blobs.items()])
    intake.collect(0.5)
    assert intake.accepted == {0: update(0)}
    assert intake.refused == {1: "blob-wrong-round", 2: "blob-empty", 35: "no-room"}
    assert intake.unavailable == {3}
    assert set(intake.cids) == set(blobs)
    assert desk.store.pinned == [intake.cids[0]]
    assert intake.cids[35] not in desk.store.asked


def test_a_daemon_that_is_away_for_a_moment_is_asked_again(desk: Desk) -> None:
    data = published(desk.store, 0)
    intake = desk.open()
    desk.store.refusals = {reveal(0, data).cid: 2}
    intake.take([reveal(0, data)])
    intake.collect(10.0)
    assert set(intake.accepted) == {0} and not intake.unavailable
    assert len(desk.store.asked) == 3


def test_thirty_withheld_blobs_do_not_keep_a_paid_trainers_blob_from_coming(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FETCH_SECONDS", 0.3)
    intake = desk.open({33: 10**6})
    withheld = [reveal(slot, blob(slot)) for slot in range(30)]
    came = [reveal(slot, published(desk.store, slot)) for slot in (33, 34)]
    intake.take([*withheld, *came])
    intake.collect(5.0)
    assert set(intake.accepted) == {33, 34}
    # Two rows of withheld blobs at the most come before the newcomer; the paid one is in the second row at the latest.
    assert desk.store.asked.index(came[0].cid) < 2 * module.FETCH_WORKERS
    assert desk.store.asked.index(came[0].cid) <= desk.store.asked.index(came[1].cid)
    assert intake.unavailable == set(range(30))


def test_one_deadline_holds_for_all_and_what_comes_later_does_not_count(desk: Desk) -> None:
    intake = desk.open()
    data = blob(0)
    intake.take([reveal(0, data), *(reveal(slot, blob(slot)) for slot in range(1, 30))])
    began = time.monotonic()
    intake.collect(1.0)
    assert 1.0 <= time.monotonic() - began < 2.0
    assert intake.unavailable == set(range(30))
    desk.store.add(data)
    desk.store.over.set()
    assert intake.accepted == {}


def test_a_stop_signal_ends_the_waiting_within_a_second(desk: Desk) -> None:
    intake = desk.open()
    intake.take([reveal(0, blob(0))])
    threading.Timer(0.2, intake.loop.stop.set).start()
    began = time.monotonic()
    intake.collect(60.0)
    assert time.monotonic() - began < 1.5
    assert "1 contributions" in json.loads((desk.folder / "heartbeat.json").read_text())["waiting_for"]


def test_an_error_that_nobody_foresaw_is_not_taken_for_a_missing_blob(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = published(desk.store, 0)
    intake = desk.open()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "decode_blob", broken)
    intake.take([reveal(0, data)])
    with pytest.raises(ZeroDivisionError):
        intake.collect(0.3)


def test_the_wait_is_a_quarter_of_the_phase_from_the_draw_and_never_over_fifteen_seconds() -> None:
    assert [intake_seconds(phase) for phase in (8, 30, 60, 300)] == [2.0, 7.5, 15.0, 15.0]
    assert intake_seconds(300, 6) == 9.0
    assert intake_seconds(300, 100) == 2.0
    assert intake_seconds(4, 3) == 1.0
