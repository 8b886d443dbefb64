"""Wrong settlements on a real chain: taken back by an outsider, their signers slashed, their rounds settled again."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.transactions import Sender
from emerit.cli.main import run as emerit
from emerit.keys.keystore import Keystore
from emerit.protocol.settlement import Settlement
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Fault, Header, Leaf, Role
from emerit.run.claims import claim, claimable
from emerit.run.faults import Answerer, Prosecutor
from emerit.run.ledger import Ledger
from tests.integration.conftest import AnvilFactory
from tests.integration.rounds import NEEDED_ACCOUNTS, RATE_WEI, Opinion, RunDriver

pytestmark = pytest.mark.integration
STEPS = 40
BURNED = "0x000000000000000000000000000000000000dEaD"


@pytest.fixture
def driver(make_anvil: AnvilFactory) -> RunDriver:
    """Three trainers, two validators, one settled round, and round 1 ready to be settled."""
    made = RunDriver(make_anvil(block_time_seconds=None, accounts=NEEDED_ACCOUNTS))
    made.join(trainers=3, validators=2)
    made.start()
    made.play(agreed(300, 100, 1))
    made.weigh(made.contribute(), agreed(10, 20, 30))
    return made


def agreed(*weights: int | None) -> dict[int, Opinion]:
    return {0: Opinion(weights), 1: Opinion(weights)}


def outsider(driver: RunDriver, folder: Path) -> Prosecutor:
    ledger = driver.fresh_ledger()
    return Prosecutor(ledger.client, Sender(driver.chain, driver.keys[-1]), ledger, folder)


def theft(right: Settlement, victim: int, thief: int, amount_wei: int) -> tuple[Header, tuple[Leaf, ...]]:
    """A settlement that gives a member what another one earned, its sums put right."""
    leaves, before_wei = [], 0
    for leaf in right.leaves:
        more = {thief: amount_wei, victim: -amount_wei}.get(leaf.index, 0)
        detail = replace(leaf.detail, amount_before_wei=before_wei)
        leaves.append(replace(leaf, cumulative_amount_wei=leaf.cumulative_amount_wei + more, detail=detail))
        before_wei += leaves[-1].cumulative_amount_wei
    tree = replace(right.header.tree, root=SettlementTree(leaves).root, total_amount_wei=before_wei)
    return replace(right.header, tree=tree), tuple(leaves)


def pursue(prosecutor: Prosecutor, other: Callable[[str | None], None] = lambda _done: None) -> list[str]:
    """Let the prosecutor do all that it can, with what the others do in between; chain time goes on."""
    done: list[str] = []
    for _ in range(STEPS):
        prosecutor.ledger.update()
        deed = prosecutor.step()
        step = None if deed is None else deed.what
        other(step)
        if step is not None:
            done.append(step)
        if step == "punished":
            return done
        prosecutor.client.chain.request("evm_increaseTime", [1])
        prosecutor.client.chain.request("evm_mine")
    raise AssertionError(f"not in {STEPS} steps: {done}")


def settle_again(driver: RunDriver, number: int) -> Settlement:
    driver.ledger = driver.fresh_ledger()
    return driver.attest_by(number, [0, 1])


def test_wrong_sums_are_taken_back_and_settled_again(driver: RunDriver, tmp_path: Path) -> None:
    right = driver.settlement(1)
    tree = replace(right.header.tree, total_amount_wei=right.header.tree.total_amount_wei - 1)
    driver.attest(replace(right.header, tree=tree), [0, 1])
    token, prosecutor = driver.client.token(), outsider(driver, tmp_path)
    client, burned_wei = driver.client, token.balance_of(BURNED)
    assert pursue(prosecutor) == ["precommitted", "challenged", "punished"]
    (voided,), (punished,) = client.voided_headers(), client.punished_headers()
    assert (voided.round, voided.attempt, voided.fault, voided.by) == (1, 0, Fault.SUM, prosecutor.sender.address)
    most_wei = 2 * RATE_WEI * 30
    assert (punished.signer_mask, punished.slashed_wei) == (0b11, min(most_wei, 2 * 100 * 10**18))
    rewarded_wei = token.balance_of(prosecutor.sender.address)
    assert rewarded_wei == punished.slashed_wei // 10
    assert token.balance_of(BURNED) - burned_wei == punished.slashed_wei - rewarded_wei
    assert [item.round for item in client.pay_chain()] == [0]
    assert [item.round for item in client.state_chain()] == [0, 1]
    status = client.status()
    assert (status.behind, status.behind_round, status.behind_attempt) == (True, 1, 1)

    again = settle_again(driver, 1)
    assert again.header.body.attempt == 1 and not client.status().behind
    assert [(item.round, item.attempt) for item in client.pay_chain()] == [(0, 0), (1, 1)]
    assert [item.attempt for item in client.state_chain()] == [0, 0]
    driver.play(agreed(5, 5, 5))
    ledger = driver.fresh_ledger()
    assert [entry.round for entry in ledger.update()] == [0, 1, 2] and ledger.fault is None
    assert len(driver.client.attestations(1)) == 4
    driver.tick(30)
    account = driver.members[0].account
    assert claim(driver.client, account, claimable(driver.client, ledger, account.address)) > 0


def test_rounds_on_top_of_a_wrong_one_fall_with_it(driver: RunDriver, tmp_path: Path) -> None:
    right = driver.settlement(1)
    tree = replace(right.header.tree, total_amount_wei=right.header.tree.total_amount_wei - 1)
    wrong = replace(right.header, tree=tree)
    driver.attest(wrong, [0, 1])
    driver.weigh(driver.contribute(), agreed(7, 8, 9))
    on_top = replace(right.header.body, round=2, previous=driver.client.status().last_header_hash)
    info = driver.client.round_info(2)
    body = replace(on_top, reveals=info.reveals_hash, budget_wei=driver.client.budget_of(2))
    driver.attest(Header(body, tree), [0, 1])
    ledger = driver.fresh_ledger()
    ledger.update()
    assert [entry.round for entry in ledger.entries] == [0]
    assert ledger.fault is not None and ledger.fault.onchain.round == 1
    pursue(outsider(driver, tmp_path))
    assert [item.round for item in driver.client.pay_chain()] == [0]
    for number in (1, 2):
        assert driver.client.status().behind_round == number
        settle_again(driver, number)
    ledger.update()
    assert [(entry.round, entry.onchain.attempt) for entry in ledger.entries] == [(0, 0), (1, 1), (2, 1)]
    assert ledger.fault is None


def test_leaves_that_are_withheld_are_demanded_until_the_wrong_one_shows(driver: RunDriver, tmp_path: Path) -> None:
    """The signers answer demands, since else they are slashed at once; so the stolen leaf comes to light."""
    right = driver.settlement(1)
    victim, thief = 1, 4
    header, leaves = theft(right, victim, thief, 10**18)
    driver.attest(header, [0, 1])
    tree, signer = SettlementTree(leaves), driver.of(Role.VALIDATOR)[0].operator

    def answers(step: str | None) -> None:
        if step == "demanded":
            index = driver.client.demands()[-1].index
            driver.client.answer(signer, header, leaves[index], tree.proof(index))

    done = pursue(outsider(driver, tmp_path), answers)
    assert done[-3:] == ["precommitted", "challenged", "punished"] and 0 < done.count("demanded") <= 4
    (voided,) = driver.client.voided_headers()
    assert voided.fault is Fault.AMOUNT and voided.index in (victim, thief)
    before_wei = driver.client.pay_chain()[-1].header.tree.total_amount_wei
    assert driver.client.settled_total_wei() == before_wei
    assert settle_again(driver, 1).header.tree.total_amount_wei > before_wei


def test_leaves_that_nobody_shows_void_the_header(driver: RunDriver, tmp_path: Path) -> None:
    header, _ = theft(driver.settlement(1), 1, 4, 10**18)
    driver.attest(header, [0, 1])
    prosecutor = outsider(driver, tmp_path)
    done = pursue(prosecutor)
    assert done == ["demanded", "timed-out", "punished"]
    assert driver.client.voided_headers()[0].fault is Fault.WITHHELD
    slashed_wei = driver.client.punished_headers()[0].slashed_wei
    assert driver.client.token().balance_of(prosecutor.sender.address) == slashed_wei // 10
    settle_again(driver, 1)


def test_demanded_leaves_of_a_right_header_are_shown(driver: RunDriver, tmp_path: Path) -> None:
    right = driver.attest_by(1, [0, 1])
    griefer, ledger = Sender(driver.chain, driver.keys[-2]), driver.fresh_ledger()
    helper = Answerer(driver.client, Sender(driver.chain, driver.keys[-1]), ledger)
    ledger.update()
    assert helper.due() is None
    driver.tick(12)
    driver.client.demand(griefer, right.header, 3)
    driver.tick(8)
    assert not driver.client.is_final(1)  # the demand puts it off
    assert helper.due() == (1, 3)
    for _ in range(2):  # that another was faster is no error
        helper.answer(1, 3)
    (answered,) = driver.client.answers()
    assert answered.leaf == right.leaves[3] and answered.by == helper.sender.address
    assert helper.due() is None
    driver.tick(20)
    assert driver.client.is_final(1)


def test_a_prosecutor_keeps_its_salts(driver: RunDriver, tmp_path: Path) -> None:
    right = driver.settlement(1)
    tree = replace(right.header.tree, total_amount_wei=right.header.tree.total_amount_wei - 1)
    driver.attest(replace(right.header, tree=tree), [0, 1])
    done: list[str] = []
    for _ in range(STEPS):
        prosecutor = outsider(driver, tmp_path)  # started anew each time
        prosecutor.ledger.update()
        deed = prosecutor.step()
        done += [] if deed is None else [deed.what]
        driver.tick()
        if done[-1:] == ["punished"]:
            break
    assert done == ["precommitted", "challenged", "punished"]
    assert driver.client.token().balance_of(driver.keys[-1].address) > 0


def test_a_reorganisation_takes_a_challenge_back(driver: RunDriver, tmp_path: Path) -> None:
    right = driver.settlement(1)
    tree = replace(right.header.tree, total_amount_wei=right.header.tree.total_amount_wei - 1)
    driver.attest(replace(right.header, tree=tree), [0, 1])
    ledger = driver.fresh_ledger()
    ledger.update()
    assert ledger.fault is not None
    snapshot = driver.chain.request("evm_snapshot")
    pursue(outsider(driver, tmp_path))
    ledger.update()
    assert ledger.fault is None and ledger.seen_hash == ledger.last_hash
    driver.chain.request("evm_revert", [snapshot])
    driver.after_revert()
    ledger.update()
    assert ledger.fault is not None and ledger.fault.onchain.round == 1


def test_rounds_that_the_contract_has_forgotten_are_read_from_events(make_anvil: AnvilFactory) -> None:
    """The ring of rounds wraps; ledger, members and claims do not notice."""
    short = {"min_round_seconds": 240, "nominal_round_seconds": 300, "history_rounds": 4}
    driver = RunDriver(make_anvil(block_time_seconds=None, accounts=NEEDED_ACCOUNTS), **short)
    driver.join(trainers=2, validators=1)
    driver.start()
    results = []
    for number in range(7):
        driver.weigh(driver.contribute(), {0: Opinion((100 + number, 50))})
        driver.tick(240)
        results.append(driver.attest_by(number, [0]))
    assert driver.client.round_info(0).opened_at == 0 and driver.client.header_hash(0) is None
    ledger = Ledger(driver.fresh_ledger().client)
    assert [entry.settlement.header for entry in ledger.update()] == [result.header for result in results]
    assert [entry.weight_of(0) for entry in ledger.entries] == [100 + number for number in range(7)]
    assert len(driver.client.reveals(0)) == 2 and driver.client.members_in(0).trainer_in(1) is not None
    driver.tick(30)
    item = claimable(driver.client, ledger, driver.members[0].account.address)
    assert item.header.body.round == 6 and claim(driver.client, driver.sponsor, item) == item.cumulative_wei


def test_an_outsider_audits_and_challenges_with_one_command(
    driver: RunDriver, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = driver.settlement(1)
    tree = replace(right.header.tree, total_amount_wei=right.header.tree.total_amount_wei - 1)
    driver.attest(replace(right.header, tree=tree), [0, 1])
    name, password = "outsider", "only-for-tests"
    address = Keystore(tmp_path).create(name, password, light=True)
    driver.sponsor.transfer(address, 10**18)
    monkeypatch.setenv("EMERIT_PASSWORD", password)
    monkeypatch.setenv("EMERIT_HOME", str(tmp_path))
    command = ["audit", "--rpc-url", driver.anvil.rpc_url, "--run", driver.client.address, "--no-state", "--json"]

    def audit(*more: str) -> tuple[int, dict[str, Any]]:
        code = emerit([*command, *more])
        return code, json.loads(capsys.readouterr().out)

    code, found = audit()
    assert code == 1 and found["settlements_checked"] == 1 and found["actions"] == []
    finding = found["findings"][-1]
    assert (finding["round"], finding["what"], finding["leaf"]) == (1, "sum", 4)
    have, want = (int(finding[side].split(" / ")[1]) for side in ("have", "want"))
    assert want - have == 1
    timer = Ticker(driver)
    with timer:
        code, found = audit("--challenge", "--wallet", name, "--wallet-dir", str(tmp_path))
    assert code == 0 and [deed["what"] for deed in found["actions"]] == ["precommitted", "challenged", "punished"]
    assert found["taken_back"] == [{"round": 1, "attempt": 0, "fault": "sum", "by": address}]
    assert driver.client.token().balance_of(address) == driver.client.punished_headers()[0].slashed_wei // 10
    code, found = audit()
    assert code == 0 and found["findings"] == []


class Ticker:
    """Lets chain time go on beside a command that waits for it."""

    def __init__(self, driver: RunDriver) -> None:
        self.driver, self.over = driver, threading.Event()
        self.thread = threading.Thread(target=self.run)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.thread.join()

    def run(self) -> None:
        while not self.over.wait(0.2):
            self.driver.tick()
