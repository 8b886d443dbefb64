"""Evidence is fetched once, tried again with patience, and refused for good when it can never be right."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from emerit.api.evidence import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, EvidenceBook, FeedbackBook
from emerit.codec import FEEDBACK_BYTES, HEADER_BYTES, encode_blob
from emerit.errors import RefusedError, UnavailableError
from emerit.indexer.index import Index
from emerit.protocol.feedback import Feedback
from emerit.protocol.types import ContributionReveal, WeightReveal
from tests.unit.codec.builders import EXPECTED, uniform_update
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


CONTRIBUTION = replace(EXPECTED, most_feedback=2)
UPDATE = uniform_update(EXPECTED.size, EXPECTED.chunk, EXPECTED.k)
SAID = (Feedback(4, -3), Feedback(5, 9))


def contribution(number: int, round_number: int = EXPECTED.round) -> tuple[ContributionReveal, str]:
    return ContributionReveal(round_number, 0, bytes([number]) * 32, f"cid{number}"), EXPECTED.account


def feedback_book(desk: Desk, most: int = 2) -> FeedbackBook:
    return FeedbackBook(desk.index, desk.fetch, EXPECTED.run, most, lambda: desk.now)


def test_of_a_contribution_the_header_is_kept_and_nothing_else(desk: Desk) -> None:
    blob = encode_blob(CONTRIBUTION.header(SAID), UPDATE)
    desk.blobs[bytes([1]) * 32] = blob
    for _ in range(2):  # the second time from the index, as after a restart
        book = feedback_book(desk)
        book.want([contribution(1)])
        assert book.load_next() and not book.load_next()
        assert book.records() == {bytes([1]) * 32: SAID}
    assert desk.asked == ["cid1"]
    assert desk.index.header(bytes([1]) * 32) == blob[: HEADER_BYTES + 2 * FEEDBACK_BYTES]
    assert desk.index.evidence(bytes([1]) * 32) is None


def test_what_is_no_longer_wanted_is_forgotten(desk: Desk) -> None:
    desk.blobs[bytes([1]) * 32] = encode_blob(CONTRIBUTION.header(SAID), UPDATE)
    book = feedback_book(desk)
    book.want([contribution(1), contribution(2)])
    while book.load_next():
        pass
    assert (book.state(bytes([1]) * 32), book.state(bytes([2]) * 32)) == ("available", "missing")
    book.want([contribution(2)])
    assert book.records() == {}
    desk.now += FIRST_PAUSE_SECONDS
    desk.asked.clear()
    assert book.load_next() and not book.load_next()
    assert desk.asked == ["cid2"]


def test_a_contribution_of_somebody_else_is_refused_for_good(desk: Desk) -> None:
    desk.blobs[bytes([1]) * 32] = encode_blob(CONTRIBUTION.header(SAID), UPDATE)
    book = feedback_book(desk)
    book.want([contribution(1, EXPECTED.round + 1)])
    assert book.load_next()
    desk.now += 10 * LONGEST_PAUSE_SECONDS
    assert not book.load_next()
    assert book.state(bytes([1]) * 32) == "refused" and book.records() == {}


def test_a_run_without_feedback_asks_for_nothing(desk: Desk) -> None:
    book = feedback_book(desk, most=0)
    book.want([contribution(1)])
    assert not book.load_next() and desk.asked == []
