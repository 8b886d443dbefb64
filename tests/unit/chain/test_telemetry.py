from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from emerit.errors import StateError, UsageError
from emerit.telemetry import Metrics, RoundJournal, bind_logger, mask_url, setup_logging, short_address

ADDRESS = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"


@pytest.fixture(autouse=True)
def reset_structlog() -> Iterator[None]:
    yield
    structlog.reset_defaults()


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("https://user:secret@node.example/rpc", "https://***@node.example/rpc"),
        ("https://node.example/v3/0123456789abcdef0123456789abcdef", "https://node.example/v3/***"),
        ("https://node.example/?apikey=abc&x=1", "https://node.example/?apikey=***&x=***"),
        ("http://[::1", "***"),
    ],
)
def test_mask_url(url: str, shown: str) -> None:
    assert mask_url(url) == shown


def test_json_lines_carry_context_and_hide_secrets() -> None:
    stream = io.StringIO()
    setup_logging(role="trainer", address=ADDRESS, stream=stream)
    logger = bind_logger(structlog.get_logger(), round=7)
    logger.info("committed", rpc="failed at https://me:pw@host/x", keystore_password="hunter2")
    logger.debug("not shown")
    line = json.loads(stream.getvalue())
    assert (line["event"], line["role"], line["round"], line["level"]) == ("committed", "trainer", 7, "info")
    assert line["address"] == short_address(ADDRESS) == "0x7099…79C8"
    assert line["rpc"] == "failed at https://***@host/x" and line["keystore_password"] == "***"


def test_role_is_on_the_lines_of_other_threads() -> None:
    stream = io.StringIO()
    setup_logging(role="validator", stream=stream)
    thread = threading.Thread(target=lambda: structlog.get_logger().warning("hello"))
    thread.start()
    thread.join()
    assert json.loads(stream.getvalue())["role"] == "validator"


def test_a_traceback_is_masked_too() -> None:
    stream = io.StringIO()
    logger = setup_logging(stream=stream)
    try:
        raise RuntimeError("no answer from http://me:pw@host")
    except RuntimeError:
        logger.exception("failed")
    assert "pw@" not in stream.getvalue() and "no answer" in stream.getvalue()


def test_console_format_is_for_people() -> None:
    stream = io.StringIO()
    setup_logging(log_format="console", stream=stream).info("hello", round=3)
    assert "hello" in stream.getvalue() and "{" not in stream.getvalue()


def test_unknown_level_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="log-level-unknown"):
        setup_logging(level="loud")


def test_metrics_have_the_documented_names() -> None:
    metrics = Metrics("trainer")
    metrics.progress(123.0)
    metrics.node_round.set(4)
    metrics.rounds_total.labels(outcome="submitted").inc()
    metrics.observe_rpc("eth_call", "ok")
    metrics.observe_ipfs("add", "ok")
    metrics.evaluations_total.labels(verdict="accepted").inc()
    metrics.indexer_head_block.set(9)
    metrics.indexer_reorgs_total.inc()
    text = metrics.render().decode()
    for line in (
        "emerit_build_info{",
        "emerit_node_last_progress_timestamp_seconds 123.0",
        "emerit_node_round 4.0",
        'emerit_node_rounds_total{outcome="submitted"} 1.0',
        'emerit_chain_rpc_requests_total{method="eth_call",outcome="ok"} 1.0',
        'emerit_ipfs_requests_total{op="add",outcome="ok"} 1.0',
        'emerit_validator_evaluations_total{verdict="accepted"} 1.0',
        "emerit_indexer_head_block 9.0",
        "emerit_indexer_reorgs_total 1.0",
    ):
        assert line in text
    assert Metrics("api").registry is not metrics.registry


def test_journal_survives_reopening(tmp_path: Path) -> None:
    path = tmp_path / "run" / "rounds.jsonl"
    journal = RoundJournal(path, clock=lambda: 100.5)
    journal.record(0, "submitted", cid="bafy", weight=3)
    journal.record(1, "skipped", "late-join")
    journal.record(2, "failed", "rpc-timeout")
    journal.record(3, "failed", "rpc-timeout")
    again = RoundJournal(path)
    assert again.outcomes() == journal.outcomes()
    first = again.outcome(0)
    assert first is not None and first.at_seconds == 100.5 and first.details == {"cid": "bafy", "weight": 3}
    assert again.has(1) and not again.has(4) and again.outcome(4) is None
    assert again.failures_in_a_row() == 2


def test_journal_refuses_a_second_outcome(tmp_path: Path) -> None:
    journal = RoundJournal(tmp_path / "rounds.jsonl")
    journal.record(5, "submitted")
    with pytest.raises(StateError, match="round-already-recorded"):
        journal.record(5, "failed", "x")
    with pytest.raises(StateError, match="round-already-recorded"):
        RoundJournal(journal.path).record(5, "submitted")
    assert len(journal.path.read_text().splitlines()) == 1


@pytest.mark.parametrize(("outcome", "reason"), [("skipped", ""), ("failed", ""), ("done", "x")])
def test_journal_refuses_what_is_no_outcome(tmp_path: Path, outcome: str, reason: str) -> None:
    with pytest.raises(ValueError, match="no outcome"):
        RoundJournal(tmp_path / "rounds.jsonl").record(1, outcome, reason)


def test_journal_drops_a_line_cut_off_by_a_crash(tmp_path: Path) -> None:
    journal = RoundJournal(tmp_path / "rounds.jsonl")
    journal.record(0, "submitted")
    with journal.path.open("ab") as file:
        file.write(b'{"round": 1, "outc')
    again = RoundJournal(journal.path)
    assert [each.round for each in again.outcomes()] == [0]
    again.record(1, "skipped", "crash")
    assert [each.round for each in RoundJournal(journal.path).outcomes()] == [0, 1]


@pytest.mark.parametrize("line", [b"nonsense", b'{"round": 0, "outcome": "submitted"}', b'{"round": "x"}', b"[]"])
def test_journal_refuses_other_damage(tmp_path: Path, line: bytes) -> None:
    journal = RoundJournal(tmp_path / "rounds.jsonl")
    journal.record(0, "submitted")
    with journal.path.open("ab") as file:
        file.write(line + b"\n")
    with pytest.raises(StateError, match="journal-corrupt"):
        RoundJournal(journal.path)


def test_journal_has_one_winner_among_threads(tmp_path: Path) -> None:
    journal = RoundJournal(tmp_path / "rounds.jsonl")
    refused: list[str] = []

    def record() -> None:
        try:
            journal.record(1, "submitted")
        except StateError as error:
            refused.append(error.code)

    threads = [threading.Thread(target=record) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["round-already-recorded"] * 7
    assert len(journal.path.read_text().splitlines()) == 1
