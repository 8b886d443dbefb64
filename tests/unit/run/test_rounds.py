from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from emerit.errors import ChainError, StateError, UnavailableError
from emerit.run.rounds import MAX_CONSECUTIVE_FAILURES, RoundBook
from emerit.telemetry import Metrics, RoundJournal

ROUND_NOW = 99


def book_in(folder: Path) -> RoundBook:
    loop = SimpleNamespace(stop=threading.Event(), status=lambda: SimpleNamespace(round=ROUND_NOW))
    return RoundBook(loop, RoundJournal(folder / "rounds.jsonl"), Metrics("trainer"), structlog.get_logger())  # type: ignore[arg-type]


def raising(error: Exception):  # type: ignore[no-untyped-def]
    def action() -> tuple[str, str]:
        raise error

    return action


def test_a_round_is_played_once_and_has_one_outcome(tmp_path: Path) -> None:
    book, played = book_in(tmp_path), []
    for _ in range(2):
        book.play(3, lambda: (played.append(1), ("submitted", ""))[1])  # type: ignore[func-returns-value]
    assert played == [1]
    assert book.journal.outcome(3).outcome == "submitted"  # type: ignore[union-attr]


def test_a_service_that_does_not_answer_skips_the_round(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    book.play(0, raising(UnavailableError("ipfs-timeout", "Nobody delivered it.")))
    outcome = book.journal.outcome(0)
    assert (outcome.outcome, outcome.reason) == ("skipped", "ipfs-timeout")  # type: ignore[union-attr]


def test_the_fifth_failure_in_a_row_stops_the_node_with_its_reason(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    error = ChainError("bad-opening", "It does not open.")
    for number in range(MAX_CONSECUTIVE_FAILURES - 1):
        book.play(number, raising(error))
    with pytest.raises(ChainError) as caught:
        book.play(MAX_CONSECUTIVE_FAILURES - 1, raising(error))
    assert caught.value is error


def test_a_success_in_between_starts_the_count_again(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    for number in range(3 * MAX_CONSECUTIVE_FAILURES):
        failing = number % MAX_CONSECUTIVE_FAILURES != 0
        book.play(number, raising(ChainError("x", "y")) if failing else lambda: ("submitted", ""))
    assert len(book.journal.outcomes()) == 3 * MAX_CONSECUTIVE_FAILURES


def test_a_wrong_state_root_stops_at_once(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    with pytest.raises(StateError):
        book.play(0, raising(StateError("state-root-mismatch", "Another root.")))
    assert book.journal.outcome(0) is None


def test_a_round_left_on_stop_can_be_played_after_a_restart(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    book.loop.stop.set()
    book.play(0, lambda: ("skipped", "stopped"))
    assert book_in(tmp_path).journal.outcome(0) is None


def test_an_outage_is_waited_out_while_the_round_lasts(tmp_path: Path) -> None:
    book, tries = book_in(tmp_path), []

    def action() -> tuple[str, str]:
        tries.append(1)
        if len(tries) < 2:
            raise UnavailableError("rpc-timeout", "The chain did not answer.")
        return "submitted", ""

    book.play(ROUND_NOW, action)
    assert len(tries) == 2
    assert book.journal.outcome(ROUND_NOW).outcome == "submitted"  # type: ignore[union-attr]
