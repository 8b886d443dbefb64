"""The ledger and the claims on a real chain: what settles is recomputed, what was not earned is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from emerit.chain.transactions import Sender
from emerit.errors import ChainError, StateError
from emerit.protocol.settlement_tree import verify
from emerit.protocol.types import Fault, Header, Leaf
from emerit.run.claims import claim, claimable
from emerit.run.faults import find_challenge
from emerit.run.ledger import SettledEntry
from tests.integration.conftest import AnvilFactory
from tests.integration.rounds import NEEDED_ACCOUNTS, RATE_WEI, Opinion, RunDriver

pytestmark = pytest.mark.integration


@pytest.fixture
def driver(make_anvil: AnvilFactory) -> RunDriver:
    """A run of three trainers and two validators, at the opening of round 0."""
    made = RunDriver(make_anvil(block_time_seconds=None, accounts=NEEDED_ACCOUNTS))
    made.join(trainers=3, validators=2)
    made.start()
    return made


def agreed(*weights: int | None) -> dict[int, Opinion]:
    return {0: Opinion(weights), 1: Opinion(weights)}


def test_the_ledger_replays_what_settled(driver: RunDriver) -> None:
    settled = [driver.play(agreed(300, 100, 1)), driver.play(agreed(50, 0, 50)), driver.play(agreed(7, None, 7))]
    ledger = driver.fresh_ledger()
    fresh = ledger.update()
    assert [entry.settlement.header for entry in fresh] == [result.header for result in settled]
    assert ledger.update() == []
    for before, entry in zip([None, *fresh], fresh, strict=False):
        header = entry.onchain.header
        assert driver.client.header_hash(entry.round) == entry.onchain.header_hash == entry.settlement.header_hash
        assert header.body.previous == (before.onchain.header_hash if before else bytes(32))
        assert all(verify(header.tree, leaf, ledger_proof) for leaf, ledger_proof in _proofs(entry))
    first = fresh[0].settlement
    assert [fresh[0].weight_of(slot) for slot in range(4)] == [300, 100, 1, 0]
    pot = first.header.body.budget_wei * 8_000 // 10_000
    assert first.amounts_wei[:3] == (pot * 300 // 400, pot * 100 // 400, 0)
    assert first.header.body.budget_wei <= RATE_WEI * 30
    assert ledger.last_hash == driver.client.status().last_header_hash


def _proofs(entry: SettledEntry) -> list[tuple[Leaf, tuple[bytes, ...]]]:
    return [(leaf, entry.settlement.tree.proof(leaf.index)) for leaf in entry.settlement.leaves]


WRONG: dict[str, Callable[[Header], Header]] = {
    "root": lambda h: replace(h, tree=replace(h.tree, root=b"\x66" * 32)),
    "state_root": lambda h: replace(h, body=replace(h.body, state_root=b"\x66" * 32)),
    "total_weight": lambda h: replace(h, tree=replace(h.tree, total_weight=h.tree.total_weight + 1)),
    "total_amount_wei": lambda h: replace(h, tree=replace(h.tree, total_amount_wei=h.tree.total_amount_wei - 1)),
}


@pytest.mark.parametrize("field", WRONG)
def test_a_signed_header_that_does_not_follow_is_a_fault(driver: RunDriver, field: str) -> None:
    """Whoever replays the run sees it; what comes on top of it does not count. (A state root is the signers' word.)"""
    driver.play(agreed(300, 100, 1))
    number = driver.contribute()
    driver.weigh(number, agreed(300, 100, 1))
    wrong = WRONG[field](driver.settlement(number).header)
    driver.attest(wrong, [0, 1])
    ledger = driver.fresh_ledger()
    if field == "state_root":
        assert len(ledger.update()) == 2 and ledger.fault is None
        return
    for _ in range(2):
        ledger.update()
        assert [entry.round for entry in ledger.entries] == [0]
        assert ledger.fault is not None and ledger.fault.onchain.header == wrong
        assert ledger.fault.error.code == "settlement-mismatch" and "Round 1" in ledger.fault.error.cause
        assert ledger.seen_hash == driver.client.status().last_header_hash != ledger.last_hash
    challenge = find_challenge(driver.client, ledger.fault)
    expected = {"root": None, "total_weight": Fault.AMOUNT, "total_amount_wei": Fault.SUM}
    found = None if challenge is None else challenge.fault
    assert found is expected[field]  # under a root of their own nobody knows the leaves


def test_a_wrong_header_that_nobody_took_back_ends_everything(driver: RunDriver) -> None:
    driver.play(agreed(300, 100, 1))
    driver.weigh(driver.contribute(), agreed(300, 100, 1))
    driver.attest(WRONG["total_amount_wei"](driver.settlement(1).header), [0, 1])
    ledger = driver.fresh_ledger()
    ledger.update()
    ledger.refuse_final_fault()
    driver.tick(30)
    with pytest.raises(StateError, match="wrong-settlement-final"):
        ledger.refuse_final_fault()


def test_who_joins_later_has_a_leaf_later(driver: RunDriver) -> None:
    number = driver.contribute()
    driver.join(trainers=1, validators=0)
    driver.weigh(number, agreed(300, 100, 1))
    driver.attest_by(number, [0, 1])
    ledger = driver.fresh_ledger()
    ledger.update()
    assert len(ledger.leaves) == 5
    with pytest.raises(StateError) as caught:
        ledger.proof(5, ledger.entries[0])
    assert caught.value.code == "not-in-registry"
    driver.play(agreed(1, 1, 1, 500))
    ledger.update()
    leaf, proof = ledger.proof(5, ledger.entries[1])
    assert leaf.account == driver.members[5].account.address and leaf.cumulative_amount_wei > 0
    assert verify(ledger.entries[1].onchain.header.tree, leaf, proof)


def test_voided_rounds_are_passed_over(driver: RunDriver) -> None:
    driver.play(agreed(300, 100, 1))
    number = driver.contribute()
    driver.tick(3_000)
    driver.client.void_round(driver.sponsor, number)
    driver.play(agreed(1, 1, 400))
    ledger = driver.fresh_ledger()
    assert [entry.round for entry in ledger.update()] == [0, 2]
    assert ledger.entries[1].onchain.header.body.previous == ledger.entries[0].onchain.header_hash


def test_a_reorganisation_below_what_was_replayed(driver: RunDriver) -> None:
    driver.play(agreed(300, 100, 1))
    snapshot = driver.chain.request("evm_snapshot")
    driver.play(agreed(50, 0, 50))
    ledger = driver.fresh_ledger()
    ledger.update()
    driver.chain.request("evm_revert", [snapshot])
    driver.after_revert()
    ledger.update()
    assert [entry.round for entry in ledger.entries] == [0]
    other = driver.play(agreed(1, 1, 900))
    ledger.update()
    assert [entry.settlement.header for entry in ledger.entries][1:] == [other.header]


def test_claims_pay_once_what_was_earned(driver: RunDriver) -> None:
    driver.play(agreed(300, 100, 1))
    ledger = driver.fresh_ledger()
    member = driver.members[0]
    item = claimable(driver.client, ledger, member.account.address)
    with pytest.raises(ChainError) as caught:
        claim(driver.client, member.account, item)
    assert caught.value.code == "not-final"
    driver.tick(30)
    token = driver.client.token()
    before_wei = token.balance_of(member.account.address)
    assert claim(driver.client, driver.sponsor, item) == item.due_wei > 0  # anybody may send it
    assert token.balance_of(member.account.address) - before_wei == item.due_wei
    assert driver.client.reputation_of(member.account.address) == item.leaf.detail.reputation > 0
    again = claimable(driver.client, ledger, member.operator.address)
    assert again.due_wei == 0 and again.claimed_wei == again.cumulative_wei == item.due_wei
    with pytest.raises(ChainError) as caught:
        driver.client.claim(driver.sponsor, item.header, item.leaf, item.proof)
    assert caught.value.code == "nothing-to-claim"
    greedy = replace(item.leaf, cumulative_amount_wei=item.leaf.cumulative_amount_wei + 1)
    with pytest.raises(ChainError) as caught:
        driver.client.claim(driver.sponsor, item.header, greedy, item.proof)
    assert caught.value.code == "no-purse"  # the purse is kept under the right header


def test_a_claim_is_made_against_the_newest_final_round(driver: RunDriver) -> None:
    """Rounds may follow each other faster than their challenge windows end."""
    driver.play(agreed(300, 100, 1))
    driver.tick(30)
    driver.play(agreed(10, 90, 0))
    ledger = driver.fresh_ledger()
    account = driver.members[0].account
    item = claimable(driver.client, ledger, account.address)
    assert item.header.body.round == 0 and len(ledger.entries) == 2
    assert claim(driver.client, account, item) == item.due_wei > 0
    driver.tick(30)
    later = claimable(driver.client, ledger, account.address)
    assert later.header.body.round == 1 and later.claimed_wei == item.cumulative_wei
    assert claim(driver.client, account, later) == later.due_wei > 0


def test_claims_add_up_over_rounds(driver: RunDriver) -> None:
    driver.play(agreed(300, 100, 1))
    driver.tick(30)
    ledger = driver.fresh_ledger()
    account = driver.members[1].account
    first = claim(driver.client, account, claimable(driver.client, ledger, account.address))
    driver.play(agreed(10, 90, 0))
    driver.tick(30)
    item = claimable(driver.client, ledger, account.address)
    assert item.claimed_wei == first and item.due_wei == item.cumulative_wei - first > 0
    assert claim(driver.client, account, item) == item.due_wei
    assert driver.client.claimed(account.address) == item.cumulative_wei


def test_who_has_nothing_to_claim_is_told_why(driver: RunDriver) -> None:
    ledger = driver.fresh_ledger()
    with pytest.raises(StateError) as caught:
        claimable(driver.client, ledger, driver.members[0].account.address)
    assert caught.value.code == "nothing-settled"
    driver.play(agreed(300, 100, 1))
    with pytest.raises(StateError) as caught:
        claimable(driver.client, ledger, Sender(driver.chain, driver.keys[-1]).address)
    assert caught.value.code == "not-in-registry"
