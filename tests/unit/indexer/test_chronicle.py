"""The pay chain of an index: what stands, what fell, what was settled again, whatever the chain does meanwhile."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emerit.errors import UnavailableError
from emerit.indexer.chronicle import NAMES, Chronicle, Chronicler, chronicle_of
from emerit.indexer.follow import Spans
from emerit.indexer.index import Index
from emerit.protocol.eip712 import header_hash
from emerit.protocol.types import Fault, Header
from tests.unit.api.builders import epoch_row, registry, row, settled_entry, settled_row, voided_row
from tests.unit.indexer.model_chain import CONTRACTS, ModelChain, down

MEMBERS = registry(trainers=2, validators=2)
HEADER = settled_entry(MEMBERS, 0, [(3, 2)] * 2).onchain.header


def header(number: int, attempt: int = 0) -> Header:
    return replace(HEADER, body=replace(HEADER.body, round=number, attempt=attempt))


def test_a_challenge_takes_back_its_header_and_all_later_ones() -> None:
    rows = [epoch_row(1, 0, 0, {0: 2, 1: 3})]
    rows += [settled_row(10 + number, header(number)) for number in range(4)]
    rows += [voided_row(20, 1, fault=Fault.AMOUNT, index=3)]
    found = chronicle_of(rows)
    assert list(found.pay_chain) == [0]
    fallen = found.fallen[1, 0]
    assert (fallen.fault, fallen.index, fallen.rounds) == (Fault.AMOUNT, 3, (1, 2, 3))
    assert found.fault_of(1) == fallen and found.fault_of(2) is None and found.fault_of(0) is None
    assert [found.stands(found.settlements[number][0]) for number in range(4)] == [True, False, False, False]
    again = chronicle_of([*rows, settled_row(30, header(1, 1)), settled_row(31, header(2, 1))])
    assert list(again.pay_chain) == [0, 1, 2] and again.fault_of(1) is None
    assert [item.attempt for item in again.settlements[1]] == [(1, 0), (1, 1)]
    assert again.stands(again.settlements[1][1]) and not again.stands(again.settlements[1][0])


def test_the_states_of_rounds_stand() -> None:
    rows = [settled_row(10 + number, header(number)) for number in range(3)]
    rows += [voided_row(20, 2), settled_row(30, header(2, 1))]
    state = chronicle_of(rows).last_state
    assert state is not None and state.attempt == (2, 0)
    assert chronicle_of([]).last_state is None


def test_headers_come_back_as_they_were_signed() -> None:
    (item,) = chronicle_of([settled_row(10, HEADER)]).pay_chain.values()
    assert item.header == HEADER and item.header_hash == header_hash(HEADER) and item.position == (10, 0)


def test_signers_are_those_who_sat_there_when_it_settled() -> None:
    """A past round that is settled again is signed by the validators of the epoch of that moment."""
    rows = [
        epoch_row(1, 0, 0, {0: 2, 1: 3}),
        settled_row(5, header(0), mask=0b11),
        epoch_row(5, 1, 1, {0: 2, 1: 7, 4: 9}) | {"log_index": 1},
        voided_row(6, 0),
        settled_row(7, header(0, 1), mask=0b10010),
    ]
    found = chronicle_of(rows)
    assert [item.signers for item in found.settlements[0]] == [(2, 3), (7, 9)]
    assert found.seats_in(0) == {0: 2, 1: 3} and found.seats_in(3) == {0: 2, 1: 7, 4: 9}
    assert found.seats_at((0, 5)) == {}


def test_punishments_and_demands_are_kept_by_what_they_are_about() -> None:
    about: dict[str, Any] = {"round": 3, "attempt": 1}
    rows = [
        row(1, "Punished", **about, signerMask=3, slashedWei="5", challenger="0x"),
        row(2, "Answered", **about, index=4, leaf=[], proof=[], by="me"),
        row(3, "DemandReclaimed", **about, index=5),
        row(4, "RoundVoided", round=9),
        row(5, "RoundVoided", undecodable="0x"),
        row(6, "Drawn", round=1),
    ]
    found = chronicle_of(rows)
    assert (found.punished, found.answered, found.reclaimed) == ({(3, 1): [3]}, {(3, 1, 4): "me"}, {(3, 1, 5)})
    assert found.void == [9]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=25))
def test_the_chain_is_what_the_rules_say(acts: list[int | None]) -> None:
    """None settles what is next: the first round that lost its pay, else a new one; a number voids that round."""
    rows, chain, attempts, opened = [], list[int](), dict[int, int](), 0
    for block, act in enumerate(acts):
        if act is None:
            number = chain[-1] + 1 if chain else 0
            opened = max(opened, number + 1)
            rows.append(settled_row(block, header(number, attempts.get(number, 0))))
            attempts[number] = attempts.get(number, 0) + 1
            chain.append(number)
        elif act in chain:
            rows.append(voided_row(block, act, attempts[act] - 1))
            chain = [number for number in chain if number < act]
    found = chronicle_of(rows)
    assert list(found.pay_chain) == chain == sorted(chain)
    assert {number: len(items) for number, items in found.settlements.items()} == attempts
    assert sum(items[-1] != found.pay_chain.get(n) for n, items in found.settlements.items()) == opened - len(chain)


# ---- following an index


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    made = Index(f"sqlite:///{tmp_path / 'index.sqlite'}", ModelChain(), CONTRACTS, 0, Spans(near=3, kept=6, stride=8))
    yield made
    made.close()


def truth(index: Index) -> Chronicle:
    return chronicle_of(index.named(*NAMES))


@pytest.mark.parametrize("seed", range(4))
def test_it_follows_the_index_through_reorganisations_and_failures(index: Index, seed: int) -> None:
    chance = random.Random(seed)
    chain, chronicler, read = index.chain, Chronicler(index), index.named
    assert isinstance(chain, ModelChain)
    for _ in range(60):
        if chance.random() < 0.3:
            chain.reorganise(chance.randint(1, 9), [chance.choice(["v", "", "vv"])] * chance.randint(0, 9))
        else:
            chain.extend([chance.choice(["v", "c", "", "rv"]) for _ in range(chance.randint(0, 4))])
        if chance.random() < 0.2:  # another process takes in what is new
            index.step()
        step = index.step()
        if chance.random() < 0.2:

            def fail(*_: object, **__: object) -> list[dict[str, object]]:
                raise down()

            index.named = fail  # type: ignore[method-assign]
            try:
                chronicler.read(step)
            except UnavailableError:
                continue
            finally:
                index.named = read  # type: ignore[method-assign]
        assert chronicler.read(step).void == truth(index).void


def test_nothing_is_read_again_while_nothing_is_new(index: Index) -> None:
    assert isinstance(index.chain, ModelChain)
    index.chain.extend(["v", "v"])
    chronicler = Chronicler(index)
    first = chronicler.read(index.step())
    assert chronicler.read(index.step()) is first and len(first.void) == 2
    index.chain.extend(["c"])
    assert chronicler.read(index.step()) is first
