"""A trainer whose rounds overlap: it works while its last contribution is scored, and the next one is ready at once."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from emerit.codec.aggregate import encode_aggregate
from emerit.codec.blob import decode_blob
from emerit.codec.take_back import encode_take_back
from emerit.errors import StateError, UnavailableError
from emerit.ipfs.cid import cid_of
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, overlapped_seed
from emerit.protocol.types import Phase, Status
from emerit.run.ledger import Ledger
from emerit.run.pending import load_pending
from emerit.run.rollback import next_take_back
from emerit.run.rounds import RoundBook
from emerit.run.state import StateFollower
from emerit.run.work import work_seed
from emerit.telemetry import Metrics, RoundJournal
from emerit.training import aggregate, outer_step, state_root
from emerit_node import trainer as trainer_module
from emerit_node.trainer import TrainerNode
from emerit_node.worker import HonestWorker, Task
from tests.unit.validator.stage import REGISTRY, SIZE, TABLE, TINY, VALUES, Client, Store, context, loop

ENTRY = dataclasses.replace(REGISTRY[2], active_from=0)
ROUNDS = 3


def drawn(number: int) -> bytes:
    """The seed that the contract draws when a round opens."""
    return bytes([0x40 + number]) * 32


class Blobs(Store):
    """A store that can say a blob's CID without taking it."""

    def cid_of(self, data: bytes) -> str:
        return cid_of(data)


class Contract(Client):
    """The contract for one trainer, whose commitment ends the Train phase and whose reveal ends the next."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.round, self.phase, self.store = 0, Phase.TRAIN, store
        self.committed: dict[int, bytes] = {}
        self.opened_blobs: dict[int, str] = {}
        self.expected_root = state_root(VALUES, TABLE)

    def status(self) -> Status:
        status = super().status()
        return dataclasses.replace(status, assign_seed=drawn(self.round))

    def opened(self, number: int) -> Any:
        return SimpleNamespace(assign_seed=drawn(number)) if number <= self.round else None

    def commit(self, sender: object, number: int, commitment: bytes) -> None:
        self._require(number, Phase.TRAIN)
        self.committed[number] = commitment
        self.phase = Phase.REVEAL

    def commits(self, number: int) -> list[Any]:
        return []

    def reveals(self, number: int) -> list[Any]:
        return []

    def attestations(self, number: int) -> list[Any]:
        return []

    def reveal(self, sender: object, number: int, account: str, digest: bytes, cid: str, salt: bytes) -> None:
        self._require(number, Phase.REVEAL)
        self.opened_blobs[number] = cid
        self.phase = Phase.SCORE

    def settle_round(self, node: TrainerNode) -> None:
        """Apply the one contribution, and open the next round."""
        data = self.store.blobs[self.opened_blobs[self.round]]
        expected = node.expectation(self.round, self.expected_root)
        update = decode_blob(data, expected, len(data))[1]
        positions, deltas = aggregate([update], TINY.outer)
        blob = encode_aggregate(self.round, SIZE, positions, deltas)
        after, _ = outer_step(node.follower.state, positions, deltas, TINY.outer)
        self.expected_root = after.root(TABLE)
        body = SimpleNamespace(state_root=self.expected_root, aggregate_hash=hashlib.sha256(blob).digest())
        header = SimpleNamespace(body=body)
        cid = self.store.add(blob)
        self.settled_rounds.append(SimpleNamespace(header=header, round=self.round, header_hash=b"", aggregate_cid=cid))
        self.round += 1
        self.phase = Phase.TRAIN

    def take_back(self, node: TrainerNode) -> None:
        """Take the last aggregate back, and open the next round."""
        item = next_take_back(self.settled_rounds, self.round, node.context.params.initial_state_root)
        assert item is not None
        self.expected_root = item.state_root
        digest = hashlib.sha256(encode_take_back(item)).digest()
        header = SimpleNamespace(body=SimpleNamespace(state_root=item.state_root, aggregate_hash=digest))
        self.settled_rounds.append(SimpleNamespace(header=header, round=self.round, header_hash=b"", aggregate_cid=""))
        self.round += 1
        self.phase = Phase.TRAIN


class Recorder(HonestWorker):
    """An honest worker that notes when it worked."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.notes: list[tuple[str, int, str]] = []
        self.phase: Callable[[], str] = str

    def _steps(self, task: Task, what: str) -> Task:
        def on_step(step: int, steps: int, loss: float) -> None:
            task.on_step(step, steps, loss)
            self.notes.append((what, task.round, self.phase()))

        return dataclasses.replace(task, on_step=on_step)

    def work(self, task: Task) -> Any:
        return super().work(self._steps(task, "work"))

    def work_ahead(self, task: Task) -> None:
        super().work_ahead(self._steps(task, "ahead"))


@pytest.fixture
def make_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], TrainerNode]:
    monkeypatch.setattr(trainer_module, "still_member", lambda client, sender, entry: entry)
    monkeypatch.setattr(trainer_module, "check_in", lambda *_: None)

    def make(overlap: int) -> TrainerNode:
        store = Blobs()
        client = Contract(store)
        made = context(store, client)
        training = dataclasses.replace(made.manifest.training, overlap_rounds=overlap)
        manifest = dataclasses.replace(made.manifest, training=training)
        run = dataclasses.replace(made, manifest=manifest)
        folder = tmp_path / f"node-{overlap}"
        worker = Recorder(manifest, folder, b"private")
        node_loop = loop(client, folder)
        sender = SimpleNamespace(address=ENTRY.operator)
        node = TrainerNode(run, cast(Any, sender), folder, worker, node_loop, Metrics("trainer"))
        worker.phase = lambda: f"{client.round}-{client.phase.name}"
        node.entry = ENTRY
        node.book = RoundBook(node_loop, RoundJournal(folder / "rounds.jsonl"), node.metrics, trainer_module.log)
        node.follower = StateFollower.open(run, folder)
        node.dataset = run.dataset(folder / "corpus")
        ledger = SimpleNamespace(
            update=lambda: None, refuse_final_fault=lambda: None, fault=None, seen_hash=bytes(32), entries=[],
            data=lambda number: None, aggregated=lambda data, most: (ENTRY.slot,), refused=lambda *_: False,
        )  # fmt: skip
        node.ledger = cast(Ledger, ledger)
        return node

    return make


def play(node: TrainerNode, taking_back: int | None = None) -> Contract:
    """Play some rounds; each settles at the first poll in the Score phase once the node waits for it.

    Round `taking_back` takes the aggregate of the round before back.
    """
    client = cast(Contract, node.context.client)
    waits = node.loop.wait_until

    def wait(condition: Any, waiting_for: str, **options: Any) -> Any:
        if waiting_for == "the settlement of this round" and client.phase is Phase.SCORE:
            if client.round == taking_back:
                client.take_back(node)
            else:
                client.settle_round(node)
        return waits(condition, waiting_for, **options)

    node.loop.wait_until = wait  # type: ignore[method-assign]
    for _ in range(ROUNDS):
        node.play(client.status())
    return client


def notes(node: TrainerNode) -> list[tuple[str, int, str]]:
    return list(dict.fromkeys(cast(Recorder, node.worker).notes))


def test_it_works_while_the_last_round_is_scored(make_node: Callable[[int], TrainerNode]) -> None:
    node = make_node(1)
    client = play(node)
    assert notes(node) == [
        ("work", 0, "0-TRAIN"),
        ("ahead", 1, "0-SCORE"),
        ("ahead", 2, "1-SCORE"),
        ("ahead", 3, "2-SCORE"),
    ]
    assert sorted(client.opened_blobs) == [0, 1, 2]
    assert len(client.settled_rounds) == ROUNDS


def test_without_overlap_it_works_in_the_train_phase_alone(make_node: Callable[[int], TrainerNode]) -> None:
    node = make_node(0)
    play(node)
    assert notes(node) == [("work", number, f"{number}-TRAIN") for number in range(ROUNDS)]


def test_the_sequences_are_those_that_validators_expect(make_node: Callable[[int], TrainerNode]) -> None:
    node = make_node(1)
    training = node.context.manifest.training
    client = cast(Contract, node.context.client)
    asked: list[tuple[int, np.ndarray]] = []
    sequences = node.dataset.sequences
    node.dataset.sequences = lambda ids: (asked.append((client.round, ids)), sequences(ids))[1]  # type: ignore[method-assign]
    play(node)
    for number in range(1, ROUNDS):
        client.round = number
        seed = work_seed(client, training, client.status())  # type: ignore[arg-type]
        assert seed == overlapped_seed(drawn(number - 1))
        expected = assigned_sequences(seed, ENTRY.slot, training.assigned_sequences, 300, TINY.scoring.random_sequences)
        ahead = [ids for at, ids in asked if at == number - 1][-1]
        assert np.array_equal(ahead, expected)
        fresh = evaluation_sequences(seed, bytes(32), 10, training.assigned_sequences, 300, 16)
        assert not set(fresh.tolist()) & set(expected.tolist())


def test_the_seed_of_a_round_s_work() -> None:
    client = Contract(Store())
    plain, overlapped = TINY.training, dataclasses.replace(TINY.training, overlap_rounds=1)
    for number in (0, 1, 5):
        client.round = number
        status = client.status()
        assert work_seed(client, plain, status) == drawn(number)  # type: ignore[arg-type]
        expected = overlapped_seed(drawn(number - 1)) if number else drawn(0)
        assert work_seed(client, overlapped, status) == expected  # type: ignore[arg-type]
    client.opened = lambda number: None  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="chain-unsettled"):
        work_seed(client, overlapped, status)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("number", "phase"), [(0, Phase.FINISHED), (1, Phase.REVEAL), (2, Phase.TRAIN)], ids=["finished", "reveal", "next"]
)
def test_work_ahead_ends_when_it_cannot_be_committed_to(
    make_node: Callable[[int], TrainerNode], number: int, phase: Phase
) -> None:
    node = make_node(1)
    client = cast(Contract, node.context.client)
    node.loop.poll_seconds = 0.0

    def too_late() -> None:
        client.round, client.phase = number, phase

    client.phase = Phase.SCORE
    client.events = [lambda: None] * 3 + [too_late]
    node.work_ahead(1)
    assert cast(Recorder, node.worker).ahead.done is None
    assert 0 < len(cast(Recorder, node.worker).notes) < TINY.training.inner_steps


def test_work_ahead_ends_when_the_node_is_to_stop_and_is_done_after_all(
    make_node: Callable[[int], TrainerNode],
) -> None:
    node = make_node(1)
    worker, client = cast(Recorder, node.worker), cast(Contract, node.context.client)
    client.phase = Phase.SCORE
    now, worker.phase = worker.phase, lambda: str(node.loop.stop.set())
    node.work_ahead(1)
    assert worker.ahead.done is None and len(worker.notes) == 1
    node.work_ahead(1)  # the stop is still set
    assert len(worker.notes) == 1
    node.loop.stop.clear()
    worker.phase = now
    node.work_ahead(1)
    assert worker.ahead.done is not None


def test_nothing_is_done_ahead_for_nothing(make_node: Callable[[int], TrainerNode]) -> None:
    node = make_node(1)
    client = cast(Contract, node.context.client)
    client.phase = Phase.SCORE
    node.work_ahead(2)  # that round's seed is not drawn yet
    node.context = dataclasses.replace(node.context, params=dataclasses.replace(node.context.params, max_rounds=1))
    node.work_ahead(1)  # the run has one round
    node.context = dataclasses.replace(node.context, params=dataclasses.replace(node.context.params, max_rounds=2))
    node.entry = dataclasses.replace(ENTRY, active_until=1)
    node.work_ahead(1)  # it has left by then
    node.entry = dataclasses.replace(ENTRY, slot=200)
    node.work_ahead(1)  # the corpus has no room for that slot
    assert notes(node) == []
    node.entry = ENTRY
    node.work_ahead(1)
    assert notes(node) == [("ahead", 1, "0-SCORE")]


def test_a_diverged_optimiser_stops_the_node(make_node: Callable[[int], TrainerNode]) -> None:
    node = make_node(1)
    cast(Contract, node.context.client).phase = Phase.SCORE
    model = cast(HonestWorker, node.worker).inner._engine.model.module
    model.register_forward_hook(lambda _module, _inputs, logits: logits * float("inf"))
    with pytest.raises(StateError, match="training-diverged"):
        node.work_ahead(1)


@pytest.mark.parametrize(
    ("applied", "refused", "back"), [(True, False, False), (False, True, False), (False, False, True)]
)
def test_only_what_nobody_judged_or_had_room_for_is_sent_again(
    make_node: Callable[[int], TrainerNode], applied: bool, refused: bool, back: bool
) -> None:
    node = make_node(0)
    play(node)
    ledger, worker = cast(Any, node.ledger), cast(Recorder, node.worker)
    ledger.aggregated = lambda data, most: (ENTRY.slot,) if applied else ()
    ledger.refused = lambda *_: refused
    pending = load_pending(node.folder)
    assert pending is not None and worker.feedback.buffer is not None
    expected = node.expectation(pending.round, pending.base_state_root)
    sent = decode_blob(pending.payload, expected, len(pending.payload))[1].dense()
    before = worker.feedback.buffer.copy()
    node.resolve(pending)
    assert np.array_equal(worker.feedback.buffer, before + sent if back else before)
    assert load_pending(node.folder) is None


@pytest.mark.parametrize("overlap", [0, 1])
def test_after_a_take_back_nothing_made_from_the_bad_state_is_left(
    make_node: Callable[[int], TrainerNode], overlap: int
) -> None:
    node = make_node(overlap)
    worker = cast(Recorder, node.worker)
    client = play(node, taking_back=ROUNDS - 1)
    done = worker.ahead.done
    assert (done is not None and done.round == ROUNDS) == bool(overlap)
    assert worker.feedback.buffer is not None and worker.feedback.buffer.any()
    node.sync()
    assert node.follower.root == client.settled_rounds[0].header.body.state_root
    assert worker.ahead.done is worker.ahead.in_flight is None
    assert worker.feedback.buffer is None
    assert load_pending(node.folder) is None
    again = HonestWorker(node.context.manifest, node.folder, b"private")
    assert again.feedback.buffer is None and again.ahead.done is None
    assert again.inner.steps_done == worker.inner.steps_done > 0  # the optimiser goes on

    node.play(client.status())  # from the restored state, in the Train phase
    assert notes(node)[-1 - overlap] == ("work", ROUNDS, f"{ROUNDS}-TRAIN")
    data = client.store.blobs[client.opened_blobs[ROUNDS]]
    assert decode_blob(data, node.expectation(ROUNDS, node.follower.root), len(data))


def test_work_of_the_round_that_took_back_is_dropped_after_a_restart_too(
    make_node: Callable[[int], TrainerNode],
) -> None:
    node = make_node(0)
    client = play(node, taking_back=ROUNDS - 1)
    pending = load_pending(node.folder)
    assert pending is not None and pending.round == ROUNDS - 1
    node.follower.advance(client.state_chain())  # it had followed before it was killed
    node.sync()
    assert cast(Recorder, node.worker).feedback.buffer is None and load_pending(node.folder) is None
