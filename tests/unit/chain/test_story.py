"""The pay chain loses what a challenge takes back; the state chain does not. Held against a simple model."""

from __future__ import annotations

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emerit.chain.event_readers import StoryRecord
from emerit.chain.records import OpenedEpoch, OpenedRound, SettledRound, VoidedHeader
from emerit.chain.story import Story
from emerit.protocol.types import ZERO_ADDRESS, ZERO_HASH, Body, Fault, Header, Tree

TREE = Tree(ZERO_HASH, 0, 0, 1)


def settled(round: int, attempt: int, block: int) -> SettledRound:
    body = Body(ZERO_ADDRESS, round, attempt, ZERO_HASH, ZERO_HASH, 0, bytes([attempt]) * 32, ZERO_HASH)
    return SettledRound(Header(body, TREE), "", bytes([round, attempt]) * 16, 1, block, "0x")


def voided(round: int, attempt: int, block: int) -> VoidedHeader:
    return VoidedHeader(round, attempt, Fault.SUM, 0, ZERO_ADDRESS, block)


def opened(round: int, block: int) -> OpenedRound:
    return OpenedRound(round, block, ZERO_HASH, 3, 2, 2, 0)


def story(*records: Any) -> Story:
    return Story(tuple((record.block if hasattr(record, "block") else 0, record) for record in records))


def test_an_epoch_holds_until_the_next_one() -> None:
    seats = tuple(range(16))
    first, second = OpenedEpoch(0, 0, (100,) * 16, seats), OpenedEpoch(1, 2, (50,) * 16, seats)
    rounds = story(first, opened(0, 1), opened(1, 2), second, opened(2, 3)).opened
    assert [rounds[number].stake_lanes[0] for number in range(3)] == [100, 100, 50]
    assert rounds[2].seats == seats and 3 not in rounds


def test_where_a_rounds_events_are() -> None:
    events = [opened(0, 5), opened(1, 9), settled(0, 0, 9), opened(2, 14), settled(1, 0, 14)]
    told = story(OpenedEpoch(0, 0, (1,) * 16, (0,) * 16), *events)
    assert [told.span(number) for number in range(4)] == [(5, 9), (9, 14), (14, None), None]
    fallen = Story((*told.records, (20, voided(1, 0, 20))))
    assert fallen.span(0) == (5, 9) and fallen.span(1) == (9, None)  # it will be signed again
    again = Story((*fallen.records, (25, settled(1, 1, 25))))
    assert again.span(1) == (9, 25)


def test_a_reorganisation_takes_records_back() -> None:
    told = story(settled(0, 0, 4), settled(1, 0, 6), voided(0, 0, 8))
    assert told.pay_chain == () and len(told.until(7).pay_chain) == 2 and told.until(3) == Story()
    assert told.with_records([]) is told


@given(st.lists(st.integers(0, 3), max_size=40))
def test_the_chains_follow_the_contracts_rules(choices: list[int]) -> None:
    """A driver that settles the next round, settles again what fell, or challenges a standing header."""
    records: list[StoryRecord] = []
    standing: list[tuple[int, int]] = []
    attempts: dict[int, int] = {}
    first: dict[int, int] = {}
    for block, choice in enumerate(choices):
        if choice and standing:
            place = choice % len(standing)
            records.append(voided(*standing[place], block))
            standing = standing[:place]
            continue
        behind = [number for number in sorted(attempts) if number not in {each for each, _ in standing}]
        number = behind[0] if behind else len(attempts)
        attempts[number] = attempts.get(number, -1) + 1
        records.append(settled(number, attempts[number], block))
        standing.append((number, attempts[number]))
        first.setdefault(number, attempts[number])
    told = story(*records)
    assert [(item.round, item.attempt) for item in told.pay_chain] == standing
    assert [(item.round, item.attempt) for item in told.state_chain] == list(first.items())
    assert all(dataclasses.is_dataclass(item) for item in told.settlements)
