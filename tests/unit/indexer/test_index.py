"""The index, case by case: a change of the chain before every single read, errors, foreign and broken databases."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.records import Log
from emerit.errors import EmeritError, UnavailableError
from emerit.indexer.follow import Spans
from emerit.indexer.index import Index
from emerit.indexer.rows import LogReader
from tests.unit.indexer.model_chain import ACCOUNT, CONTRACTS, OTHER_RUN, REWARDS, RUN, ModelChain, down, row_of

SPANS = Spans(near=3, kept=6, stride=8)
READER = LogReader(CONTRACTS)

Open = Callable[..., Index]


@pytest.fixture
def opened(tmp_path: Path) -> Any:
    """Open indexes on files in the test's folder; all are closed at the end."""
    indexes: list[Index] = []

    def make(chain: ModelChain, name: str = "index", start: int = 0, spans: Spans = SPANS) -> Index:
        indexes.append(Index(f"sqlite:///{tmp_path / name}.sqlite", chain, CONTRACTS, start, spans))
        return indexes[-1]

    yield make
    for each in indexes:
        each.close()


def rows(chain: ModelChain, tip: bytes, start: int = 0) -> list[dict[str, Any]]:
    """What an index that stands at this block must hold, the newest first."""
    found = [row_of(log) for log in chain.history(tip) if log.block_number >= start]
    return [row for row in found if row is not None][::-1]


def everything(index: Index) -> list[dict[str, Any]]:
    return index.events(limit=100_000)


def check(index: Index, chain: ModelChain) -> None:
    cursor = index._newest()
    assert everything(index) == ([] if cursor.is_origin else rows(chain, cursor.hash))


def reads_of_a_step(opened: Open, chain: ModelChain, name: str) -> int:
    before = chain.reads
    opened(chain, name).step()
    return chain.reads - before


@pytest.mark.parametrize(("knows_orphans", "content"), [(False, "r"), (True, "r"), (True, "")])
@pytest.mark.parametrize("gap", [1, 4, 21])
@pytest.mark.parametrize("depth", [1, 2, 5, 14, 29])
def test_the_chain_changes_before_any_read(
    opened: Open, knows_orphans: bool, content: str, gap: int, depth: int
) -> None:
    """The chain is `gap` blocks ahead of the index and is rewritten once, before read 0, 1, 2, ... of the step."""
    chain = ModelChain(knows_orphans)
    chain.extend(["rc", "", "o"] * 10)
    index = opened(chain)
    for when in itertools.count():
        index.step()
        chain.extend((["c", "r", "ro"] * 7)[:gap])
        rewrites = _rewrite_before(chain, when, depth, content)
        index.step()
        check(index, chain)
        chain.before_read = lambda _reads: None
        if not rewrites:
            break
        index.step()
        check(index, chain)
        assert index.head() == chain.blocks[-1].number
    assert when >= 2


def _rewrite_before(chain: ModelChain, when: int, depth: int, content: str) -> list[int]:
    """Let the chain be rewritten before its read number `when` from now on; the list tells whether it was."""
    last, done = chain.reads + when, []

    def rewrite(asked: int) -> None:
        if asked == last:
            done.append(asked)
            chain.reorganise(depth, [content] * (depth + 1))

    chain.before_read = rewrite
    return done


@pytest.mark.parametrize("later", [1, 2, 3])
def test_no_range_of_two_histories_is_ever_stored(opened: Open, later: int) -> None:
    """The chain is rewritten before any read, and stops answering soon after: what is there must be one history."""
    chain = ModelChain()
    chain.extend(["rc", "", "o"] * 10)
    index = opened(chain)
    for when in itertools.count():
        index.step()
        chain.extend(["c", "r", "ro"] * 7)
        last, rewrites = chain.reads + when, _rewrite_before(chain, when, 20, "")
        rewrite = chain.before_read

        def rewrite_then_fail(asked: int, last: int = last, rewrite: Callable[[int], None] = rewrite) -> None:
            rewrite(asked)
            if asked >= last + later:
                raise down()

        chain.before_read = rewrite_then_fail
        with contextlib.suppress(UnavailableError):
            index.step()
        chain.before_read = lambda _reads: None
        check(index, chain)
        if not rewrites:
            break


def test_two_nodes_behind_one_address(opened: Open) -> None:
    """The head comes from a node on another branch than the node that answers the rest."""
    chain = ModelChain(knows_orphans=True)
    chain.extend(["r", "c", "r"])
    index = opened(chain)
    index.step()
    branch = list(chain.blocks)
    chain.reorganise(1, ["c", "c"])
    other, began = list(chain.blocks), chain.reads

    def answer(asked: int) -> None:
        chain.blocks = list(other if asked == began else branch)

    chain.before_read = answer
    index.step()
    check(index, chain)
    assert index.head() == 3


def test_an_endlessly_changing_chain_is_given_up(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r"] * 3)
    index = opened(chain)
    chain.before_read = lambda _reads: chain.reorganise(2, ["c", "c"])
    with pytest.raises(UnavailableError) as caught:
        index.step()
    assert caught.value.code == "chain-unsettled"
    chain.before_read = lambda _reads: None
    check(index, chain)
    assert index.step().head == 3


def test_depth_of_a_reorganisation_costs_little(opened: Open) -> None:
    """A reorganisation of 5,000 blocks is followed from the last mark below it, not from the start."""
    chain = ModelChain()
    chain.extend(["r"] * 9_999)
    index = opened(chain, spans=Spans(near=8, kept=64, stride=512))
    assert index.step().added == 9_999
    chain.reorganise(5_000, ["c"] * 5_100)
    began = chain.reads
    result = index.step()
    assert result.kept == 4_608 and result.rolled_back_blocks == 9_999 - 4_608
    assert result.head == 10_099
    assert chain.reads - began < 100
    check(index, chain)


def test_the_chain_may_become_shorter_than_the_run(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r"] * 10)
    index = opened(chain, start=5)
    assert index.step().added == 6
    chain.reorganise(9, [])
    result = index.step()
    assert (result.head, result.kept, result.added) == (4, 4, 0)
    assert index.head() == -1 and everything(index) == []
    chain.extend(["c"] * 8)
    assert index.step().added == 5


def test_a_step_tells_what_it_did(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r", "co"])
    index = opened(chain)
    first = index.step()
    assert (first.head, first.added, first.kept, first.rolled_back_blocks) == (2, 2, -1, 0)
    assert first.contracts == {"TrainingRun", "Rewards"}
    again = index.step()
    assert (again.head, again.added, again.kept, again.contracts) == (2, 0, 2, frozenset())
    chain.reorganise(1, ["r", ""])
    third = index.step()
    assert (third.head, third.added, third.kept, third.rolled_back_blocks) == (3, 1, 1, 1)


def test_nothing_is_asked_but_the_head_when_nothing_is_new(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r"] * 5)
    index = opened(chain)
    index.step()
    began = chain.reads
    index.step()
    assert chain.reads - began == 1
    chain.extend(["c"])
    index.step()
    assert chain.reads - began == 3  # head, head, the new block's logs


def test_a_failure_keeps_what_was_taken_in(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r"] * 40)
    needed = reads_of_a_step(opened, chain, "measured")
    for failing in range(needed):
        index = opened(chain, f"f{failing}")
        last = chain.reads + failing

        def fail(asked: int, last: int = last) -> None:
            if asked == last:
                raise down()

        chain.before_read = fail
        with pytest.raises(UnavailableError):
            index.step()
        check(index, chain)
        chain.before_read = lambda _reads: None
        index.step()
        assert index.head() == 40
        check(index, chain)


def test_pages_of_events_join_up(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["rcrcr", "", "ccc", "o", "rr"])
    index = opened(chain)
    index.step()
    whole = everything(index)
    assert len(whole) == 10
    for limit in (1, 2, 3, 7):
        paged: list[dict[str, Any]] = []
        before = None
        while page := index.events(limit=limit, before=before):
            paged += page
            before = (page[-1]["block_number"], page[-1]["log_index"])
        assert paged == whole
    assert [row["name"] for row in index.events(["Claimed"], limit=100)] == ["Claimed"] * 5
    assert [row["block_number"] for row in index.named("Claimed", after_block=1)] == [3, 3, 3]


def test_only_this_runs_events_are_kept(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["oucu"])
    index = opened(chain)
    assert index.step().added == 1
    (row,) = everything(index)
    assert row["arguments"]["run"].lower() == CONTRACTS["TrainingRun"] != OTHER_RUN
    assert row["arguments"]["account"].lower() == ACCOUNT


def test_amounts_are_decimal_strings_and_small_numbers_are_numbers(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["rc"])
    index = opened(chain)
    index.step()
    claimed, opening = (row["arguments"] for row in everything(index))
    assert claimed["amountWei"] == str(10**18 + chain.made)
    assert opening["heldWei"] == str(10**18) and (opening["round"], opening["registrySize"]) == (chain.made, 4)


@pytest.mark.parametrize("data", [b"", b"\xff" * 31, bytes(64), b"\x00" * 31 + b"\x40" + b"\xff" * 64])
def test_what_cannot_be_decoded_is_kept_raw(data: bytes) -> None:
    event = RUN["ContributionRevealed"]
    log = Log(CONTRACTS["TrainingRun"], (event.topic, bytes(32), bytes(32)), data, 1, bytes(32), "0x00", 0)
    row = READER.row(log)
    assert row is not None and row["arguments"] == {"undecodable": "0x" + data.hex()}


def test_what_cannot_be_decoded_is_nobodys_where_events_name_their_run() -> None:
    topics = (REWARDS["Claimed"].topic, bytes(32), bytes(32))
    assert READER.row(Log(CONTRACTS["Rewards"], topics, b"\xff", 1, bytes(32), "0x00", 0)) is None


def test_a_database_of_another_run_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'index.sqlite'}"
    Index(url, ModelChain(), CONTRACTS, 0).close()
    for other in (
        lambda: Index(url, ModelChain(chain_id=1), CONTRACTS, 0),
        lambda: Index(url, ModelChain(), {**CONTRACTS, "TrainingRun": OTHER_RUN}, 0),
    ):
        with pytest.raises(EmeritError) as caught:
            other()
        assert caught.value.code == "index-of-another-run" and caught.value.exit_code == 3


def test_another_start_begins_anew(opened: Open) -> None:
    chain = ModelChain()
    chain.extend(["r"] * 9)
    later = opened(chain, start=5)
    later.step()
    later.close()
    index = opened(chain, start=2)
    assert index.head() == -1
    index.step()
    assert everything(index) == rows(chain, chain.blocks[-1].hash, start=2)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "nosuch://x", "mysql+nosuch://x/y", "http://x:y:z"]
)
def test_bad_urls(url: str) -> None:
    with pytest.raises(EmeritError) as caught:
        Index(url, ModelChain(), CONTRACTS, 0)
    assert caught.value.code == "database-url-invalid" and caught.value.exit_code == 2


def test_no_password_in_an_error() -> None:
    with pytest.raises(EmeritError) as caught:
        Index("mysql+nosuch://me:hunter2@host/name", ModelChain(), CONTRACTS, 0)
    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "index.sqlite"
    path.write_bytes(b"something else" * 1_000)
    with pytest.raises(EmeritError) as caught:
        Index(f"sqlite:///{path}", ModelChain(), CONTRACTS, 0)
    assert caught.value.code == "database-unusable" and caught.value.exit_code == 3


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(EmeritError) as caught:
        Index(f"sqlite:///{tmp_path / 'file' / 'index.sqlite'}", ModelChain(), CONTRACTS, 0)
    assert caught.value.code == "database-url-invalid"


def test_a_locked_database_is_a_thing_to_try_again(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "index.sqlite"
    chain = ModelChain()
    chain.extend(["r"])
    index = Index(f"sqlite:///{path}", chain, CONTRACTS, 0)
    with index._engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(UnavailableError) as caught:
            index.step()
        assert caught.value.code == "database-unavailable"
        assert index.head() == -1
        other.execute("ROLLBACK")
    assert index.step().added == 1
    index.close()


def test_evidence_is_kept_once(opened: Open) -> None:
    index = opened(ModelChain())
    assert index.evidence(b"\x01" * 32) is None
    index.keep_evidence(b"\x01" * 32, b"{}")
    index.keep_evidence(b"\x01" * 32, b"{}")
    assert index.evidence(b"\x01" * 32) == b"{}"
