"""The index on a real chain with the real contracts: reorganisations, processes that die, and a fresh index's view."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.rpc import Chain
from emerit.indexer.follow import Spans
from emerit.indexer.index import Index
from tests.integration.conftest import AnvilFactory
from tests.integration.rounds import NEEDED_ACCOUNTS, Opinion, RunDriver

pytestmark = pytest.mark.integration

SPANS = Spans(near=4, kept=16, stride=32)
AGREED = dict.fromkeys(range(2), Opinion((300, 100)))


class Desk:
    """A driven run and indexes on files in one folder."""

    def __init__(self, folder: Path, driver: RunDriver) -> None:
        self.folder, self.driver = folder, driver
        self.opened: list[Index] = []
        client = driver.client
        self.contracts = {
            "TrainingRun": client.address,
            "Rewards": client.rewards_address,
            "Stakes": client.stakes_address,
            "Reputation": client.reputation_address,
        }

    def url(self, name: str) -> str:
        return f"sqlite:///{self.folder / name}.sqlite"

    def open(self, name: str, spans: Spans = SPANS) -> Index:
        chain = Chain(self.driver.anvil.rpc_url)
        self.opened.append(Index(self.url(name), chain, self.contracts, self.driver.client.start_block, spans))
        return self.opened[-1]

    def check(self, index: Index) -> list[dict[str, Any]]:
        """The index must hold what a fresh one holds, and what the receipts of the chain say."""
        fresh = self.open(f"fresh{len(self.opened)}", Spans())
        fresh.step()
        rows = index.events(limit=100_000)
        assert rows == fresh.events(limit=100_000)
        assert index.head() == self.driver.chain.block_number()
        return rows


@pytest.fixture
def desk(make_anvil: AnvilFactory, tmp_path: Path) -> Iterator[Desk]:
    driver = RunDriver(make_anvil(block_time_seconds=None, accounts=NEEDED_ACCOUNTS))
    driver.join(trainers=2, validators=2)
    driver.start()
    made = Desk(tmp_path, driver)
    yield made
    for index in made.opened:
        index.close()


def names(rows: list[dict[str, Any]]) -> list[str]:
    return [row["name"] for row in reversed(rows)]


def test_the_index_has_the_events_of_a_round_in_order(desk: Desk) -> None:
    index = desk.open("index")
    index.step()
    desk.driver.play(AGREED)
    index.step()
    rows = desk.check(index)
    expected = ["Initialized", "Funded", *["Joined"] * 4, *["CheckedIn"] * 4, "EpochOpened", "RoundOpened"]
    expected += [*["ContributionCommitted"] * 2, *["ContributionRevealed"] * 2, "Drawn"]
    expected += [*["WeightsCommitted"] * 2, *["WeightsRevealed"] * 2, "Attested", "Attested", "Settled"]
    expected += ["EpochOpened", "RoundOpened"]
    assert names(rows) == expected
    joined = [row["arguments"] for row in rows if row["name"] == "Joined"]
    assert {each["account"] for each in joined} == {m.account.address for m in desk.driver.members}
    settled = next(row for row in rows if row["name"] == "Settled")["arguments"]
    assert settled["headerHash"] == "0x" + desk.driver.client.status().last_header_hash.hex()
    assert settled["header"]["tree"]["totalAmountWei"] == str(desk.driver.client.settled_total_wei())


def test_events_of_another_run_of_the_same_deployment_are_not_ours(desk: Desk) -> None:
    index = desk.open("index")
    desk.driver.create_run("other")
    index.step()
    rows = desk.check(index)
    assert sum(row["name"] == "Funded" for row in rows) == 1


@pytest.mark.parametrize("depth_of_stride", [False, True])
def test_a_chain_that_goes_back_and_takes_another_way(desk: Desk, depth_of_stride: bool) -> None:
    """By evm_revert, both less and more deep than the marks of every block go."""
    index = desk.open("index")
    index.step()
    snapshot = desk.driver.chain.request("evm_snapshot")
    at = desk.driver.chain.block_number()
    desk.driver.play(AGREED)
    if depth_of_stride:
        desk.driver.chain.request("anvil_mine", [hex(150)])
        desk.driver.play(AGREED)
    first = index.step()
    gone = desk.check(index)
    desk.driver.chain.request("evm_revert", [snapshot])
    assert index.step().head == at
    desk.check(index)
    desk.driver.after_revert()
    desk.driver.play(dict.fromkeys(range(2), Opinion((1, 900))))
    desk.driver.chain.request("anvil_mine", [hex(40)])
    index.step()
    rows = desk.check(index)
    assert first.head > at and "Settled" in names(gone) and "Settled" in names(rows)
    assert {row["block_hash"] for row in rows if row["block_number"] > at}.isdisjoint(
        row["block_hash"] for row in gone if row["block_number"] > at
    )


def test_anvil_reorganises_under_the_index(desk: Desk) -> None:
    index = desk.open("index")
    desk.driver.play(AGREED)
    index.step()
    for depth in (1, 3, 12):
        desk.driver.chain.request("anvil_reorg", [depth, []])
        result = index.step()
        assert result.rolled_back_blocks >= depth
        desk.check(index)


STEP_FOREVER = """
import sys
from emerit.chain.rpc import Chain
from emerit.indexer.follow import Spans
from emerit.indexer.index import Index
rpc, url, start, *pairs = sys.argv[1:]
index = Index(url, Chain(rpc), dict(pair.split("=") for pair in pairs), int(start), Spans(4, 16, 32))
print("ready", flush=True)
while True:
    index.step()
"""


def test_a_process_that_is_killed_in_the_middle_leaves_a_whole_index(desk: Desk) -> None:
    """Killed again and again while the chain grows and goes back; what is there afterwards is continued."""
    pairs = [f"{name}={address}" for name, address in desk.contracts.items()]
    start = str(desk.driver.client.start_block)
    command = [sys.executable, "-c", STEP_FOREVER, desk.driver.anvil.rpc_url, desk.url("index"), start, *pairs]
    for turn in range(3):
        snapshot = desk.driver.chain.request("evm_snapshot")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
            desk.driver.play(AGREED)
            if turn == 1:
                desk.driver.chain.request("evm_revert", [snapshot])
                desk.driver.after_revert()
                desk.driver.tick()
            process.kill()
        index = desk.open("index")
        index.step()
        desk.check(index)


def test_two_processes_on_one_database(desk: Desk) -> None:
    pairs = [f"{name}={address}" for name, address in desk.contracts.items()]
    start = str(desk.driver.client.start_block)
    command = [sys.executable, "-c", STEP_FOREVER, desk.driver.anvil.rpc_url, desk.url("index"), start, *pairs]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)]
    try:
        for process in processes:
            assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        desk.driver.play(AGREED)
        assert [process.poll() for process in processes] == [None, None]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    index = desk.open("index")
    index.step()
    desk.check(index)
