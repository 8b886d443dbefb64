"""Evidence is fetched once, tried again with patience, and refused for good when it can never be right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from emerit.api.evidence import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, EvidenceBook
from emerit.errors import RefusedError, UnavailableError
from emerit.indexer.index import Index
from emerit.protocol.types import WeightReveal
from tests.unit.indexer.model_chain import CONTRACTS, ModelChain

GOOD = json.dumps({"trainers": {"0": {"reason": "paid", "s": 0.25, "more": "x" * 99}}, "else": 1}).encode()


def reveal(number: int, round_number: int = 0) -> WeightReveal:
    return WeightReveal(round_number, 0, b"", bytes([number]) * 32, f"cid{number}")


class Desk:
    """A book, the blobs that IPFS has, what was asked for, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.index = Index(f"sqlite:///{folder / 'index.sqlite'}", ModelChain(), CONTRACTS, 0)
        self.blobs: dict[bytes, bytes | Exception] = {}
        self.asked: list[str] = []
        self.now = 1_000.0
        self.book = self.new_book()

    def new_book(self) -> EvidenceBook:
        return EvidenceBook(self.index, self.fetch, lambda: self.now)

    def fetch(self, cid: str, sha256: bytes) -> bytes:
        self.asked.append(cid)
        found = self.blobs.get(sha256, UnavailableError("ipfs-timeout", "Nobody has it."))
        if isinstance(found, Exception):
            raise found
        return found

    def load_all_due(self) -> int:
        tries = 0
        while self.book.load_next():
            tries += 1
        return tries


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.index.close()


def test_what_is_there_is_fetched_once_and_cut_to_what_is_shown(desk: Desk) -> None:
    desk.blobs[bytes([1]) * 32] = GOOD
    desk.book.want([reveal(1), reveal(1)])
    assert desk.book.state(bytes([1]) * 32) == "missing"
    assert desk.load_all_due() == 1
    record = desk.book.records()[bytes([1]) * 32]
    assert record["trainers"]["0"]["s"] == 0.25 and "more" not in record["trainers"]["0"] and "else" not in record
    desk.book.want([reveal(1)])
    assert desk.load_all_due() == 0 and desk.asked == ["cid1"]
    assert desk.book.state(bytes([1]) * 32) == "available"


def test_after_a_restart_it_comes_from_the_index(desk: Desk) -> None:
    desk.blobs[bytes([1]) * 32] = GOOD
    desk.book.want([reveal(1)])
    desk.load_all_due()
    desk.book = desk.new_book()
    desk.book.want([reveal(1)])
    assert desk.load_all_due() == 1 and desk.asked == ["cid1"]


def test_pauses_double_up_to_a_limit(desk: Desk) -> None:
    desk.book.want([reveal(1)])
    pause = FIRST_PAUSE_SECONDS
    for _ in range(10):
        assert desk.load_all_due() == 1
        desk.now += pause - 0.5
        assert desk.load_all_due() == 0
        desk.now += 0.5
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    assert pause == LONGEST_PAUSE_SECONDS


def test_new_rounds_come_first_and_failures_do_not_stand_in_their_way(desk: Desk) -> None:
    desk.book.want([reveal(1, 1), reveal(2, 2), reveal(3, 3)])
    desk.load_all_due()
    assert desk.asked == ["cid3", "cid2", "cid1"]
    desk.now += FIRST_PAUSE_SECONDS
    desk.asked.clear()
    desk.book.want([reveal(4, 0)])
    desk.load_all_due()
    assert desk.asked[0] == "cid4"


@pytest.mark.parametrize(
    "blob",
    [
        RefusedError("content-hash-mismatch", "Other bytes."),
        b"[" * 100_000,
        b"{}",
        b'{"trainers": {"0": {"reason": "<b>"}}}',
        b'{"trainers": {"0": {"reason": "paid", "s": NaN}}}',
        b"\xff",
    ],
)
def test_what_can_never_be_right_is_not_asked_for_again(desk: Desk, blob: bytes | Exception) -> None:
    desk.blobs[bytes([1]) * 32] = blob
    desk.book.want([reveal(1)])
    assert desk.load_all_due() == 1
    desk.now += 10 * LONGEST_PAUSE_SECONDS
    assert desk.load_all_due() == 0
    assert desk.book.state(bytes([1]) * 32) == "refused" and desk.book.records() == {}
    assert desk.index.evidence(bytes([1]) * 32) is None
