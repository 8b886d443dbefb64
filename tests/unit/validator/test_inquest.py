"""What was in an aggregate that was taken back is fetched again, all of it or nothing."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from emerit.codec.take_back import TakeBack, encode_take_back
from emerit.protocol import minifloat
from emerit.protocol.commitments import pack_vector
from emerit.protocol.types import WeightReveal
from emerit.run.ledger import Ledger
from emerit_validator.inquest import find_suspects
from emerit_validator.validator import ValidatorNode
from tests.unit.validator.stage import OWN, ROOT, SLOT, TRAINERS, Client, Store, blob, context, loop, reveal, update

BAD = 4
HARM = minifloat.encode(5_000_000)


class Chain(Client):
    """A run that settled round 4, whose aggregate round 5 took back."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.blobs = [blob(slot) for slot in range(3)]
        for data in self.blobs:
            store.add(data)
        take_back = encode_take_back(TakeBack(5, BAD, ROOT))
        self.settled_rounds = [item(BAD, b"aggregate", b"\1" * 32), item(5, take_back, ROOT)]
        self.weights = {BAD: (0, 0, 7, 0, 9), 5: (50, HARM)}

    def params(self) -> Any:
        return SimpleNamespace(initial_state_root=ROOT)

    def opened(self, number: int) -> Any:
        return SimpleNamespace(round=number)

    def reveals(self, number: int) -> list[Any]:
        return [reveal(slot, data) for slot, data in enumerate(self.blobs)] if number == BAD else []

    def weight_reveals(self, number: int) -> list[WeightReveal]:
        codes = self.weights.get(number, (50, 0))
        vector = pack_vector([*codes, *[0] * (2 + TRAINERS - len(codes))])
        return [WeightReveal(number, SLOT, vector, bytes(32), "")]

    def members_in(self, number: int, registry: object = None) -> Any:
        return super().members_in(number)


def item(number: int, data: bytes, root: bytes) -> Any:
    body = SimpleNamespace(state_root=root, aggregate_hash=hashlib.sha256(data).digest())
    return SimpleNamespace(header=SimpleNamespace(body=body), round=number)


def test_all_members_come_with_their_owners_or_none_does(tmp_path: Path) -> None:
    store = Store()
    client = Chain(store)
    run, ledger = context(store, client), Ledger(cast(Any, client))
    run = dataclasses.replace(run, params=dataclasses.replace(run.params, train_seconds=1))
    suspects = find_suspects(run, loop(client, tmp_path), ledger, 6, ROOT)
    assert suspects is not None and suspects.round == BAD
    assert sorted(suspects.updates) == [0, 2] and suspects.owners == {0: 0, 2: 2}
    assert np.array_equal(suspects.updates[2].indices, update(2).indices)
    assert find_suspects(run, loop(client, tmp_path), ledger, 5, ROOT) is None  # nothing was taken back before
    del store.blobs[reveal(2, client.blobs[2]).cid]
    assert find_suspects(run, loop(client, tmp_path), ledger, 6, ROOT) is None


def test_a_round_that_took_back_judged_nobody(tmp_path: Path) -> None:
    client = Chain(Store())
    ledger = Ledger(cast(Any, client))
    assert (ledger.last_judged(6), ledger.last_judged(5), ledger.last_judged(4)) == (BAD, BAD, None)
    assert {slot: weight for slot, weight in ledger.trust(6).items() if weight} == {0: 7, 2: 9}
    assert ledger.coverage(6) == (3, 3)
    assert ledger.taken_back_before(6) == TakeBack(5, BAD, ROOT) and ledger.taken_back_before(5) is None


@pytest.mark.parametrize(("number", "possible"), [(5, True), (6, False), (4, False)])
def test_the_validators_settle_it_by_the_rule_without_any_contribution(
    tmp_path: Path, number: int, possible: bool
) -> None:
    store = Store()
    client = Chain(store)
    client.weights[number] = (50, HARM)
    ledger = Ledger(cast(Any, client))
    limit = context(store, client).manifest.rollback_units
    found = ledger.take_back(ledger.data(number), limit)
    assert found == (TakeBack(5, BAD, ROOT) if possible else None)
    assert ledger.take_back(ledger.data(number), 0) is None
    if possible:
        node = ValidatorNode(context(store, client), cast(Any, None), tmp_path, loop(client, tmp_path), cast(Any, None))
        node.ledger, node.entry = ledger, OWN
        data, root = node.transition(ledger.data(number), cast(Any, None), number)
        assert hashlib.sha256(data).digest() == client.settled_rounds[1].header.body.aggregate_hash and root == ROOT
