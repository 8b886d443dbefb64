"""Attacks on the contracts from end to end, on a real Anvil: what everybody has afterwards, to the wei."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from eth_account import Account

from emerit.chain.signing import sign_header
from emerit.chain.transactions import Sender
from emerit.protocol.challenges import Settled, find_fault
from emerit.protocol.commitments import contribution_commitment
from emerit.protocol.eip712 import header_hash
from emerit.protocol.settlement import Settlement
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Fault, Leaf, Phase, Role
from emerit.run.claims import claim, claimable
from tests.integration.chain_stage import error_of
from tests.integration.conftest import AnvilFactory
from tests.integration.rounds import NEEDED_ACCOUNTS, POOL_WEI, RATE_WEI, SALT, STAKE_WEI, TOKEN, Opinion, RunDriver

pytestmark = pytest.mark.integration

BURNED = "0x000000000000000000000000000000000000dEaD"
SLASH_WEI = 2 * RATE_WEI * 30  # slashRounds nominal budgets
WINDOW, ANSWER, CLAIM_PERIOD = 20, 10, 1000


@pytest.fixture
def driver(make_anvil: AnvilFactory) -> RunDriver:
    """Three trainers, three validators, round 0 settled, and round 1 ready to be settled."""
    made = RunDriver(make_anvil(block_time_seconds=None, accounts=NEEDED_ACCOUNTS))
    made.join(trainers=3, validators=3)
    made.start()
    made.play(opinions(300, 100, 1))
    made.weigh(made.contribute(), opinions(10, 20, 30))
    return made


def opinions(*weights: int | None) -> dict[int, Opinion]:
    return {slot: Opinion(weights) for slot in range(3)}


@dataclass
class Money:
    """Who has how many tokens; `moved` says what changed since, and starts again."""

    driver: RunDriver
    others: dict[str, str] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        run = self.driver.client
        self.accounts = {
            "sponsor": self.driver.sponsor.address,
            "stakes": run.stakes_address,
            "rewards": run.rewards_address,
            "burned": BURNED,
            **{f"{m.role.name.lower()} {m.slot}": m.account.address for m in self.driver.members},
            **self.others,
        }
        self.before = self.now()

    def now(self) -> dict[str, int]:
        token = self.driver.client.token()
        have = {name: token.balance_of(address) for name, address in self.accounts.items()}
        for member in self.driver.members:
            entry = self.driver.client.entry_of_account(member.account.address)
            have[f"stake of {member.role.name.lower()} {member.slot}"] = entry.stake_wei if entry else 0
        return have

    def moved(self) -> dict[str, int]:
        before, self.before = self.before, self.now()
        return {name: self.before[name] - before[name] for name in before if self.before[name] != before[name]}


def outsider(driver: RunDriver) -> Sender:
    return Sender(driver.chain, driver.keys[-1])


def with_leaves(right: Settlement, leaves: list[Leaf]) -> Settled:
    """A header over other leaves, its running totals and sums put right: only what they say is wrong."""
    done: list[Leaf] = []
    for leaf in leaves:
        before_wei = sum(each.cumulative_amount_wei for each in done)
        done.append(replace(leaf, detail=replace(leaf.detail, amount_before_wei=before_wei)))
    total_wei = sum(each.cumulative_amount_wei for each in done)
    opened = replace(right.header.tree, root=SettlementTree(done).root, total_amount_wei=total_wei)
    return Settled(replace(right.header, tree=opened), tuple(done))


def convict(driver: RunDriver, by: Sender, wrong: Settled) -> Fault:
    """Pre-commit, challenge and punish as an outsider with the leaves at hand."""
    ledger, run = driver.fresh_ledger(), driver.client
    ledger.update()
    assert ledger.fault is not None
    challenge = find_fault(wrong, ledger.fault.facts)
    assert challenge is not None
    body = wrong.header.body
    where = (body.round, body.attempt, challenge.fault, challenge.index, by.address, SALT)
    run.precommit(by, run.precommit_hash(*where))
    driver.tick()
    run.challenge(by, challenge)
    run.punish(by, body.round, by.address, SALT)
    return challenge.fault


def coins(driver: RunDriver, address: str) -> int:
    """What an address has of the chain's own coin, in wei."""
    return int(driver.chain.request("eth_getBalance", [address, "latest"]), 16)


def claim_all(driver: RunDriver) -> dict[str, int]:
    """Have everybody claim, and return what each was promised."""
    ledger, promised = driver.fresh_ledger(), {}
    for member in driver.members:
        item = claimable(driver.client, ledger, member.account.address)
        promised[f"{member.role.name.lower()} {member.slot}"] = item.cumulative_wei
        assert claim(driver.client, driver.sponsor, item) == item.cumulative_wei
    return {name: wei for name, wei in promised.items() if wei}


def test_a_payout_to_a_stranger_pays_nobody_but_the_outsider_who_voids_it(driver: RunDriver) -> None:
    """Two thirds of the stake sign a tree in which a trainer's earnings stand under a stranger's address."""
    right, stranger = driver.settlement(1), Account.create().address
    leaves = [replace(leaf, account=stranger) if leaf.index == 2 else leaf for leaf in right.leaves]
    wrong = with_leaves(right, leaves)
    by = outsider(driver)
    money = Money(driver, {"stranger": stranger, "outsider": by.address})
    driver.attest(wrong.header, [0, 1])
    assert driver.client.header_hash(1) == header_hash(wrong.header)  # two of three validators are enough
    stolen = (wrong.header, wrong.leaves[2], wrong.tree.proof(2))
    assert error_of(lambda: driver.client.claim(by, *stolen)).code == "not-final"

    assert convict(driver, by, wrong) is Fault.IDENTITY
    share_wei = min(SLASH_WEI // 2, STAKE_WEI[Role.VALIDATOR])
    assert money.moved() == {
        "stakes": -2 * share_wei,
        "stake of validator 0": -share_wei,
        "stake of validator 1": -share_wei,
        "outsider": 2 * share_wei // 10,
        "burned": 2 * share_wei - 2 * share_wei // 10,
    }
    driver.tick(WINDOW + 1)
    refused = error_of(lambda: driver.client.claim(by, *stolen))
    assert refused.code in ("unknown-header", "not-final")
    driver.ledger = driver.fresh_ledger()
    # Only validator 2 has its voting weight left when the next epoch begins; here all three still sign.
    driver.attest_by(1, [0, 1, 2])
    driver.tick(WINDOW + 1)
    promised = claim_all(driver)
    assert money.moved() == {**promised, "rewards": -sum(promised.values())}
    assert sum(promised.values()) == driver.client.settled_total_wei()


def test_leaves_that_their_signers_withhold_cost_them_their_stake(driver: RunDriver) -> None:
    right = driver.settlement(1)
    leaves = list(right.leaves)
    leaves[0] = replace(leaves[0], cumulative_amount_wei=leaves[0].cumulative_amount_wei - 1)
    leaves[1] = replace(leaves[1], cumulative_amount_wei=leaves[1].cumulative_amount_wei + 1)
    wrong = with_leaves(right, leaves)
    by = outsider(driver)
    money = Money(driver, {"outsider": by.address})
    driver.attest(wrong.header, [0, 1])
    run, bond_wei = driver.client, driver.client.demand_bond(1)
    run.demand(by, wrong.header, 0)
    assert coins(driver, run.address) == bond_wei
    assert error_of(lambda: run.timeout(by, 1, 0)).code == "too-early"
    driver.tick(ANSWER + 1)
    assert error_of(lambda: run.answer(by, wrong.header, wrong.leaves[0], wrong.tree.proof(0))).code == "too-late"
    run.timeout(by, 1, 0)
    run.punish(driver.sponsor, 1)  # whoever sends it, the demander has the bounty
    run.reclaim(driver.sponsor, 1, 0, 0)
    assert coins(driver, run.address) == 0
    share_wei = min(SLASH_WEI // 2, STAKE_WEI[Role.VALIDATOR])
    assert money.moved() == {
        "stakes": -2 * share_wei,
        "stake of validator 0": -share_wei,
        "stake of validator 1": -share_wei,
        "outsider": 2 * share_wei // 10,
        "burned": 2 * share_wei - 2 * share_wei // 10,
    }


def test_who_signs_two_headers_is_slashed_alone(driver: RunDriver) -> None:
    right = driver.settlement(1)
    other = replace(right.header, tree=replace(right.header.tree, total_weight=right.header.tree.total_weight + 1))
    cheat = driver.of(Role.VALIDATOR)[2]
    chain_id = driver.chain.chain_id
    both = [(header, sign_header(cheat.operator.account, chain_id, header)) for header in (right.header, other)]
    by = outsider(driver)
    money = Money(driver, {"outsider": by.address})
    driver.attest(right.header, [0, 1])
    run = driver.client
    run.precommit(by, run.precommit_hash(1, 0, Fault.EQUIVOCATION, cheat.index, by.address, SALT))
    driver.tick()
    run.equivocation(by, *both[0], *both[1])
    assert error_of(lambda: run.equivocation(by, *both[1], *both[0])).code == "already-proven"
    run.punish_equivocation(by, 1, cheat.index, by.address, SALT)
    taken_wei = min(SLASH_WEI, STAKE_WEI[Role.VALIDATOR])
    assert money.moved() == {
        "stakes": -taken_wei,
        "stake of validator 2": -taken_wei,
        "outsider": taken_wei // 10,
        "burned": taken_wei - taken_wei // 10,
    }
    assert run.header_hash(1) == header_hash(right.header)  # the header itself was right


def test_a_copied_commitment_a_late_and_a_second_reveal_gain_nothing(driver: RunDriver) -> None:
    driver.attest_by(1, [0, 1])
    run, number = driver.client, driver.client.status().round
    honest, thief, late = driver.of(Role.TRAINER)
    money = Money(driver)
    content, cid = b"\x0a" * 32, "bafkqaaa"

    def commitment(slot: int) -> bytes:
        return contribution_commitment(driver.chain.chain_id, run.address, number, slot, content, cid, SALT)

    run.commit(honest.operator, number, commitment(honest.slot))
    copied = run.commits(number)[0].commitment
    run.commit(thief.operator, number, copied)
    run.commit(late.operator, number, commitment(late.slot))
    run.reveal(honest.operator, number, honest.operator.address, content, cid, SALT)
    opening = (number, thief.operator.address, content, cid, SALT)
    assert error_of(lambda: run.reveal(thief.operator, *opening)).code == "bad-opening"
    twice = error_of(lambda: run.reveal(honest.operator, number, honest.operator.address, content, cid, SALT))
    assert twice.code == "already-revealed"
    assert error_of(lambda: run.fine_trainer(driver.sponsor, number, late.operator.address)).code == "too-early"
    driver.tick(601)
    last = error_of(lambda: run.reveal(late.operator, number, late.operator.address, content, cid, SALT))
    assert last.code == "wrong-phase"
    assert [item.slot for item in run.reveals(number)] == [honest.slot]
    for member in (thief, late):
        run.fine_trainer(driver.sponsor, number, member.operator.address)
        again = error_of(lambda m=member: run.fine_trainer(driver.sponsor, number, m.operator.address))
        assert again.code == "nothing-missed"
    assert money.moved() == {
        "stakes": -2 * TOKEN,
        "burned": 2 * TOKEN,
        "stake of trainer 1": -TOKEN,
        "stake of trainer 2": -TOKEN,
    }


def test_a_sponsor_gets_back_what_was_not_promised_and_later_what_nobody_claimed(driver: RunDriver) -> None:
    run, sponsor = driver.client, driver.sponsor
    money = Money(driver)
    assert error_of(lambda: run.refund(sponsor)).code == "not-finished"
    run.close(sponsor)
    assert error_of(lambda: run.refund(sponsor)).code == "not-finished"
    driver.attest_by(1, [0, 1, 2])
    assert run.finished()
    promised_wei = run.settled_total_wei()
    assert error_of(lambda: run.refund(sponsor)).code == "not-certain"
    driver.tick(WINDOW + 1)
    run.refund(sponsor)
    assert money.moved() == {"rewards": promised_wei - POOL_WEI, "sponsor": POOL_WEI - promised_wei}
    assert error_of(lambda: run.refund(sponsor)).code == "nothing-to-refund"
    ledger, first = driver.fresh_ledger(), driver.of(Role.TRAINER)[0]
    item = claimable(run, ledger, first.account.address)
    assert claim(run, sponsor, item) == item.cumulative_wei > 0
    driver.tick(CLAIM_PERIOD + 2 * WINDOW + 1)
    run.refund(sponsor)
    assert money.moved() == {
        "rewards": -promised_wei,
        "trainer 0": item.cumulative_wei,
        "sponsor": promised_wei - item.cumulative_wei,
    }


def test_a_clock_that_jumps_moves_no_money(driver: RunDriver) -> None:
    money = Money(driver)
    for days in (1, 400, 4000):
        driver.tick(days * 86_400)
        status = driver.client.status()
        if status.phase is Phase.DRAW:
            driver.client.draw(driver.sponsor, status.round)
            driver.tick(601)
        driver.tick(3 * 600)
        driver.client.void_round(driver.sponsor, driver.client.status().round)
        assert money.moved() == {}
    # Nobody is waited for any more; who comes back checks in, and the run goes on and pays.
    number = driver.client.status().round
    for member in driver.of(Role.TRAINER):
        driver.client.check_in(member.operator)
    driver.weigh(driver.contribute(), opinions(5, 6, 7))
    driver.attest_by(number, [0, 1, 2])
    driver.tick(WINDOW + 1)
    promised = claim_all(driver)
    assert money.moved() == {**promised, "rewards": -sum(promised.values())}


def test_a_reorganisation_takes_a_settlement_back_and_nothing_else(driver: RunDriver) -> None:
    money = Money(driver)
    first = driver.attest_by(1, [0, 1])
    assert driver.client.status().last_settled_round == 1
    depth = driver.chain.block_number() - driver.client.pay_chain()[-1].block + 1
    driver.chain.request("anvil_reorg", [depth, []])
    driver.after_revert()
    assert driver.client.header_hash(1) is None and driver.client.status().last_settled_round == 0
    assert [item.round for item in driver.fresh_ledger().update()] == [0]
    assert money.moved() == {}
    again = driver.settlement(1)
    assert again.header == first.header  # a function of what was revealed, wherever the block is
    driver.attest(again.header, [1, 2])
    driver.tick(WINDOW + 1)
    promised = claim_all(driver)
    assert money.moved() == {**promised, "rewards": -sum(promised.values())}
