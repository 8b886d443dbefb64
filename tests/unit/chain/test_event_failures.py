"""A call to the chain may fail at any point of a read; the next read must neither lose nor repeat an event."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from eth_abi import encode

from emerit.chain.artifacts import load_abi
from emerit.chain.events import RunEvents
from emerit.chain.records import Block, Log
from emerit.errors import UnavailableError
from emerit.protocol.types import ContributionReveal

ABI = load_abi("TrainingRun")
RUN = "0x" + "11" * 20


def block(number: int, fork: int = 0) -> Block:
    return Block(number, bytes([number, fork]) * 16, bytes([number - 1, fork]) * 16 if number else bytes(32), number)


def reveal(number: int, fork: int = 0) -> Log:
    data = encode(["bytes32", "string"], [bytes(32), "Qm"])
    topics = (ABI.events["ContributionRevealed"].topic, bytes(32), number.to_bytes(32, "big"))
    return Log(RUN, topics, data, number, block(number, fork).hash, "0x", 0)


@dataclass
class FlakyChain:
    """A chain with one reveal in every block; the n-th request fails once, for every n in `fails`."""

    height: int
    fails: set[int] = field(default_factory=set)
    fork: int = 0
    forked_from: int = 10**9
    requests: int = 0
    display_url: str = "test"

    def _request(self) -> None:
        self.requests += 1
        if self.requests in self.fails:
            raise UnavailableError("rpc-timeout", "No answer.")

    def _fork_of(self, number: int) -> int:
        return self.fork if number >= self.forked_from else 0

    def head(self) -> Block:
        self._request()
        return block(self.height, self._fork_of(self.height))

    def block(self, number: int) -> Block | None:
        self._request()
        return block(number, self._fork_of(number)) if number <= self.height else None

    def logs(self, _address: Any, start: int, end: int, _topics: Any = ()) -> list[Log]:
        self._request()
        return [reveal(n, self._fork_of(n)) for n in range(max(1, start), min(end, self.height) + 1)]

    def logs_of_block(self, _address: Any, block_hash: bytes, _topics: Any = ()) -> list[Log] | None:
        self._request()
        number = block_hash[0]
        return [reveal(number, self._fork_of(number))]


def read(chain: FlakyChain, events: RunEvents) -> list[int]:
    while True:
        try:
            return [item.slot for item in events.of_round(ContributionReveal, 0)]
        except UnavailableError:
            continue


@pytest.mark.parametrize("failing", range(1, 14))
def test_an_event_is_read_once_whatever_request_failed(failing: int) -> None:
    chain = FlakyChain(5, {failing})
    events = RunEvents(chain, RUN, ABI, lambda: 1, 8)  # type: ignore[arg-type]
    assert read(chain, events) == [1, 2, 3, 4, 5]
    chain.height = 8
    assert read(chain, events) == [1, 2, 3, 4, 5, 6, 7, 8]
    chain.height, chain.fork, chain.forked_from = 9, 1, 7
    assert read(chain, events) == list(range(1, 10))
