"""A trainer measures its peers while a round is scored, and whatever goes wrong there costs it nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from emerit.codec import SparseUpdate, decode_blob, encode_blob
from emerit.data import Dataset
from emerit.ipfs.cid import cid_of
from emerit.model.flat import FlatModel
from emerit.protocol.assignment import assigned_sequences
from emerit.protocol.feedback import Feedback, assigned_peers, quantised
from emerit.protocol.types import ContributionReveal, Phase
from emerit.run.contributions import expected_blob
from emerit.run.state import StateFollower
from emerit.scoring.evaluate import trial_step
from emerit.scoring.peers import peer_gains
from emerit.training.state import to_float
from emerit_node.peers import PeerWatch
from tests.unit.node.test_trainer import Contract, make_node, play  # noqa: F401 (a fixture)
from tests.unit.validator.stage import REGISTRY, TINY, VALUES, Client, Store, context, loop, update

NUMBER = 4
SEED = bytes([1]) * 32  # the stage's evaluation seed
REVEALED = (0, 1, 2, 5)
ENTRY = dataclasses.replace(REGISTRY[2], active_from=0)
PEERS = assigned_peers(SEED, ENTRY.index, REVEALED, 2)


class Chain(Client):
    """A round in its Score phase in which some have revealed."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[ContributionReveal] = []

    def reveals(self, number: int) -> list[ContributionReveal]:
        return self.shown if number == NUMBER else []


class Scene:
    """A watch, and the contributions of the round that it looks at."""

    def __init__(self, folder: Path) -> None:
        self.store, self.client = Store(), Chain()
        self.context = context(self.store, self.client)
        # The deadline of a fetch is a share of the Train phase: here a twentieth of a second.
        params = dataclasses.replace(self.context.params, train_seconds=1)
        self.context = dataclasses.replace(self.context, params=params)
        self.follower = StateFollower.open(self.context, folder)
        self.dataset: Dataset = self.context.dataset(folder / "corpus")
        self.loop = loop(self.client, folder)
        self.loop.poll_seconds = 0.0
        self.watch = PeerWatch(self.context, self.loop)
        self.blobs = {slot: self.blob(slot) for slot in REVEALED}
        for slot, data in self.blobs.items():
            self.store.add(data)
            self.client.shown.append(ContributionReveal(NUMBER, slot, hashlib.sha256(data).digest(), cid_of(data)))

    def blob(self, slot: int, **changes: Any) -> bytes:
        expected = expected_blob(self.context, NUMBER, REGISTRY[slot].account, self.follower.root)
        return encode_blob(dataclasses.replace(expected, **changes).header(), update(slot))

    def lose(self, slot: int) -> None:
        del self.store.blobs[cid_of(self.blobs[slot])]

    def replace(self, slot: int, data: bytes) -> None:
        self.store.add(data)
        place = REVEALED.index(slot)
        self.client.shown[place] = ContributionReveal(NUMBER, slot, hashlib.sha256(data).digest(), cid_of(data))

    def look(self, number: int = NUMBER) -> tuple[Feedback, ...]:
        self.watch.watch(number, ENTRY, self.follower, self.dataset)
        return self.watch.feedback(number)

    def right(self, shown: tuple[int, ...] = REVEALED) -> tuple[Feedback, ...]:
        """What the watch should find of those whose contributions are there."""
        manifest = self.context.manifest
        spec = manifest.reputation
        count = manifest.training.assigned_sequences
        ids = assigned_sequences(bytes(32), ENTRY.slot, count, 300, TINY.scoring.random_sequences)
        model = FlatModel(manifest.model)
        model.load(to_float(VALUES))
        updates: dict[int, SparseUpdate] = {slot: update(slot) for slot in (*PEERS, ENTRY.slot) if slot in shown}
        tokens = self.dataset.sequences(ids[: spec.feedback_sequences])
        gains = peer_gains(model, updates, PEERS, tokens, trial_step(manifest.scoring, manifest.outer), lambda: False)
        return tuple(
            Feedback(peer, quantised(gain, manifest.scoring.loss_unit)) for peer, gain in sorted(gains.items())
        )


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_the_assigned_peers_are_measured_on_the_own_sequences(scene: Scene) -> None:
    assert len(PEERS) == 2 and ENTRY.index not in PEERS
    found = scene.look()
    assert [item.index for item in found] == list(PEERS)
    assert found == scene.right() and any(item.value for item in found)


def test_feedback_is_of_the_round_that_settled_or_none(scene: Scene) -> None:
    scene.look()
    assert scene.watch.feedback(NUMBER - 1) == () and scene.watch.feedback(-1) == ()


def test_a_peer_whose_blob_is_not_there_is_left_out(scene: Scene) -> None:
    scene.lose(PEERS[0])
    shown = tuple(slot for slot in REVEALED if slot != PEERS[0])
    assert scene.look() == scene.right(shown)
    assert [item.index for item in scene.watch.feedback(NUMBER)] == [PEERS[1]]


def test_its_own_blob_is_not_needed(scene: Scene) -> None:
    scene.lose(ENTRY.slot)
    assert scene.look() == scene.right(tuple(PEERS))


@pytest.mark.parametrize("change", [{"base_state_root": bytes(32)}, {"round": 3}, {"k": 128}], ids=str)
def test_a_peer_whose_blob_is_wrong_is_left_out(scene: Scene, change: dict[str, Any]) -> None:
    if "k" in change:
        scene.replace(PEERS[1], b"EMRT" + bytes(200))
    else:
        scene.replace(PEERS[1], scene.blob(PEERS[1], **change))
    assert [item.index for item in scene.look()] == [PEERS[0]]


def test_nothing_is_said_when_no_peer_can_be_measured(scene: Scene) -> None:
    for peer in PEERS:
        scene.lose(peer)
    assert scene.look() == ()
    scene.client.shown.clear()
    assert scene.look() == ()


@pytest.mark.parametrize("asked", [2, 3, 4, 5])
def test_it_ends_with_the_round(scene: Scene, asked: int) -> None:
    """At whichever look at the chain the round is over, nothing is said that was not complete."""

    def over() -> None:
        scene.client.round, scene.client.phase = NUMBER + 1, Phase.TRAIN

    scene.client.events = [lambda: None] * (asked - 1) + [over]
    found = scene.look()
    assert scene.client.round == NUMBER + 1
    assert set(found) < set(scene.right())


@pytest.mark.parametrize("phase", [Phase.EXPIRED, Phase.FINISHED])
def test_a_round_that_is_over_is_not_measured(scene: Scene, phase: Phase) -> None:
    scene.client.phase = phase
    assert scene.look() == () and scene.store.asked == []


def test_it_waits_for_the_draw(scene: Scene) -> None:
    scene.client.phase = Phase.REVEAL

    def drawn() -> None:
        scene.client.phase = Phase.SCORE

    scene.client.events = [lambda: None] * 3 + [drawn]
    assert scene.look() == scene.right()


def test_a_node_that_is_told_to_stop_measures_nothing(scene: Scene) -> None:
    scene.loop.stop.set()
    assert scene.look() == () and scene.store.asked == []


def test_who_leaves_or_has_no_peers_assigned_does_not_measure(scene: Scene) -> None:
    scene.watch.watch(NUMBER, dataclasses.replace(ENTRY, active_until=NUMBER + 1), scene.follower, scene.dataset)
    manifest = scene.context.manifest
    silent = dataclasses.replace(manifest, reputation=dataclasses.replace(manifest.reputation, feedback_peers=0))
    scene.watch = PeerWatch(dataclasses.replace(scene.context, manifest=silent), scene.loop)
    assert scene.look() == () and scene.store.asked == []


def test_a_slot_without_room_or_an_outage_costs_nothing(scene: Scene) -> None:
    scene.watch.watch(NUMBER, dataclasses.replace(ENTRY, slot=200), scene.follower, scene.dataset)
    assert scene.watch.feedback(NUMBER) == ()


def test_a_trainer_sends_it_with_its_next_contribution(
    make_node: Callable[[int], Any],  # noqa: F811
) -> None:
    node = make_node(0)
    said = (Feedback(1, -4), Feedback(7, 1000))
    node.peers.measured_round, node.peers.found = 1, said
    node.peers.watch = lambda *_: None
    client = cast(Contract, play(node))
    headers = {}
    for number, cid in client.opened_blobs.items():
        data = node.context.store.blobs[cid]
        roots = [node.context.manifest.initial_state_root_bytes]
        roots += [item.header.body.state_root for item in client.settled_rounds]
        headers[number] = decode_blob(data, node.expectation(number, roots[number]), len(data))[0]
    assert {number: header.feedback for number, header in headers.items()} == {0: (), 1: (), 2: said}


def test_several_processes_measure_nobody(make_node: Callable[[int], Any]) -> None:  # noqa: F811
    node = make_node(0)
    node.measures_peers = False
    node.peers.watch = None  # would fail
    assert len(play(node).settled_rounds) == 3
