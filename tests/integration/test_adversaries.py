"""Members, sponsor, clock and chain against the rules, on real contracts; each scenario ends with every balance.

What `test_faults` has is not here: wrong and withheld leaves, and the outsiders that take them back.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from emerit.chain.anvil import AnvilProcess
from emerit.chain.signing import sign_header
from emerit.chain.transactions import Sender
from emerit.protocol.challenges import Challenge
from emerit.protocol.eip712 import opened
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Fault, Header, Phase
from tests.integration.chain_stage import TOKEN, Member, Stage, advance, error_of

pytestmark = pytest.mark.integration

BURNED = "0x000000000000000000000000000000000000dEaD"
BOND_WEI, STAKE_WEI, POOL_WEI = 10 * TOKEN, 100 * TOKEN, 1_000 * TOKEN
SALT = b"\x0a" * 32


@pytest.fixture
def stage(still_anvil: AnvilProcess) -> Stage:
    made = Stage(still_anvil)
    made.start()
    return made


def balances(stage: Stage, **outsiders: str) -> dict[str, int]:
    """What everybody holds of the token: the contracts, the members, nobody (burned), and those who are named."""
    places = {"stakes": stage.run.stakes_address, "pool": stage.run.rewards_address, "burned": BURNED, **outsiders}
    members = {f"member {m.index}": m.sender.address for m in (*stage.trainers, *stage.validators)}
    return {name: stage.token.balance_of(address) for name, address in (places | members).items()}


def at_the_start(stage: Stage, changed: dict[str, int]) -> dict[str, int]:
    """The balances of a run in which only these have changed, by so much; who is not there held nothing."""
    stakes_wei = len(stage.trainers) * BOND_WEI + len(stage.validators) * STAKE_WEI
    found = {"stakes": stakes_wei, "pool": POOL_WEI, "burned": 0}
    found |= {f"member {m.index}": 0 for m in (*stage.trainers, *stage.validators)}
    return found | {name: found.get(name, 0) + wei for name, wei in changed.items()}


def slashed(amount_wei: int) -> dict[str, int]:
    """What a slashing moves besides the tenth for who showed the fault."""
    return {"stakes": -amount_wei, "burned": amount_wei - amount_wei // 10}


# ---- trainers


def test_a_copied_commitment_cannot_be_opened_and_costs_the_fine(stage: Stage) -> None:
    author, thief = stage.trainers
    commitment = stage.commitment(author, 0)
    stage.run.commit(author.sender, 0, commitment)
    stage.run.commit(thief.sender, 0, commitment)
    stage.reveal(author, 0)
    opening = stage.contribution(author, 0)
    stolen = error_of(lambda: stage.run.reveal(thief.sender, 0, thief.sender.address, *opening))
    assert stolen.code == "bad-opening", "the slot is part of what is committed to"
    advance(stage.chain, stage.params.reveal_seconds + 1)
    stage.weigh(0)
    assert [item.slot for item in stage.run.reveals(0)] == [author.slot]
    stage.run.fine_trainer(stage.sponsor, 0, thief.sender.address)
    again = error_of(lambda: stage.run.fine_trainer(stage.sponsor, 0, thief.sender.address))
    assert again.code == "nothing-missed"
    assert balances(stage) == at_the_start(stage, {"stakes": -TOKEN, "burned": TOKEN})


def test_revealing_late_or_twice_changes_nothing(stage: Stage) -> None:
    punctual, late = stage.trainers
    for trainer in stage.trainers:
        stage.commit(trainer, 0)
    stage.reveal(punctual, 0)
    reveals_hash = stage.run.round_info(0).reveals_hash
    assert error_of(lambda: stage.reveal(punctual, 0)).code in ("already-revealed", "not-committed")
    advance(stage.chain, stage.params.reveal_seconds + 1)
    assert error_of(lambda: stage.reveal(late, 0)).code == "wrong-phase"
    assert stage.run.round_info(0).reveals_hash == reveals_hash
    assert [item.slot for item in stage.run.reveals(0)] == [punctual.slot]
    assert balances(stage) == at_the_start(stage, {})


# ---- validators


def two_headers(stage: Stage) -> tuple[Header, Header]:
    """What was to be signed of round 0, and another answer to the same question that gives a stranger more."""
    stage.play_until_settle(0)
    honest, _tree = stage.settlement(0)
    root, more_wei = b"\x66" * 32, honest.tree.total_amount_wei + 1
    return honest, replace(honest, tree=replace(honest.tree, root=root, total_amount_wei=more_wei))


def test_who_signs_two_headers_loses_its_stake_and_a_tenth_goes_to_who_shows_it(stage: Stage) -> None:
    honest, other = two_headers(stage)
    cheat, loyal = stage.validators
    witness, run = stage.funded_key(77), stage.run
    chain_id = stage.chain.chain_id
    signatures = [sign_header(cheat.sender.account, chain_id, header) for header in (honest, other)]
    digest = run.precommit_hash(0, 0, Fault.EQUIVOCATION, cheat.index, witness.address, SALT)
    run.precommit(witness, digest)
    advance(stage.chain, 1)
    same = error_of(lambda: run.equivocation(witness, honest, signatures[0], honest, signatures[0]))
    assert same.code == "not-contradictory"
    foreign = sign_header(loyal.sender.account, chain_id, other)
    two = error_of(lambda: run.equivocation(witness, honest, signatures[0], other, foreign))
    assert two.code == "not-one-validator"
    run.equivocation(witness, honest, signatures[0], other, signatures[1])
    thief = stage.funded_key(78)
    robbed = error_of(lambda: run.punish_equivocation(thief, 0, cheat.slot, thief.address, SALT))
    assert robbed.code == "not-precommitted"
    run.punish_equivocation(witness, 0, cheat.slot, witness.address, SALT)
    twice = error_of(lambda: run.punish_equivocation(witness, 0, cheat.slot, witness.address, SALT))
    assert twice.code == "nothing-to-punish"
    slashed_wei = min(STAKE_WEI, 2 * stage.params.nominal_round_seconds * TOKEN)
    expected = at_the_start(stage, slashed(slashed_wei) | {"witness": slashed_wei // 10, "thief": 0})
    assert balances(stage, witness=witness.address, thief=thief.address) == expected
    assert run.registry()[cheat.index].stake_wei == STAKE_WEI - slashed_wei


def test_a_payout_to_a_stranger_is_taken_back_by_an_outsider(stage: Stage) -> None:
    stage.play_until_settle(0)
    stranger, run = stage.funded_key(79).address, stage.run
    header, _tree = stage.settlement(0)
    leaves = [stage.leaf(member, 0) for member in (*stage.trainers, *stage.validators)]
    leaves[0] = replace(leaves[0], account=stranger)
    wrong_tree = SettlementTree(leaves)
    wrong = replace(header, tree=replace(header.tree, root=wrong_tree.root))
    for validator in stage.validators:
        run.attest(validator.sender, wrong, "bafyaggregate")
    outsider = stage.funded_key(80)
    claim = (wrong, leaves[0], wrong_tree.proof(0))
    assert error_of(lambda: run.claim(outsider, *claim)).code == "not-final"
    digest = run.precommit_hash(0, 0, Fault.IDENTITY, 0, outsider.address, SALT)
    run.precommit(outsider, digest)
    advance(stage.chain, 1)
    arguments = (opened(wrong), leaves[0], wrong_tree.proof(0))
    run.challenge(outsider, Challenge(Fault.IDENTITY, 0, "challengeIdentity", arguments))
    run.punish(outsider, 0, outsider.address, SALT)
    advance(stage.chain, stage.params.challenge_window_seconds + 1)
    assert error_of(lambda: run.claim(outsider, *claim)).code == "unknown-header"
    most_wei = 2 * stage.params.nominal_round_seconds * TOKEN
    slashed_wei = min(2 * STAKE_WEI, most_wei)
    expected = at_the_start(stage, slashed(slashed_wei) | {"outsider": slashed_wei // 10, "stranger": 0})
    assert balances(stage, outsider=outsider.address, stranger=stranger) == expected


# ---- the sponsor


def test_a_sponsor_cannot_take_promised_money_back(stage: Stage) -> None:
    run, sponsor = stage.run, stage.sponsor
    header, tree = stage.play(0)
    promised_wei, before_wei = header.tree.total_amount_wei, stage.token.balance_of(sponsor.address)

    def refused() -> str:
        return error_of(lambda: run.refund(sponsor)).code

    assert refused() == "not-finished"
    assert error_of(lambda: run.close(stage.trainers[0].sender)).code == "not-sponsor"
    run.close(sponsor)
    assert refused() == "not-finished", "the open round may still settle"
    settled, tree = stage.play(1)
    promised_wei = settled.tree.total_amount_wei
    assert refused() == "not-certain"
    advance(stage.chain, stage.params.challenge_window_seconds + 1)
    run.refund(sponsor)
    assert refused() == "nothing-to-refund"
    assert stage.token.balance_of(sponsor.address) - before_wei == POOL_WEI - promised_wei
    everybody: list[Member] = [*stage.trainers, *stage.validators]
    for member in everybody:
        run.claim(sponsor, settled, stage.leaf(member, 1), tree.proof(member.index))
    earned = {f"member {m.index}": stage.leaf(m, 1).cumulative_amount_wei for m in everybody}
    assert sum(earned.values()) == promised_wei
    assert balances(stage) == at_the_start(stage, {"pool": -POOL_WEI} | earned)
    advance(stage.chain, stage.params.claim_period_seconds)
    assert refused() == "nothing-to-refund"


# ---- clock and chain


@pytest.mark.parametrize("days", [30, 400])
def test_a_clock_that_jumps_voids_a_round_and_pays_nothing_for_it(stage: Stage, days: int) -> None:
    run = stage.run
    header, tree = stage.play(0)
    stage.commit(stage.trainers[0], 1)
    advance(stage.chain, days * 86_400)
    assert error_of(lambda: stage.commit(stage.trainers[1], 1)).code == "wrong-phase"
    assert error_of(lambda: stage.reveal(stage.trainers[0], 1)).code == "wrong-phase"
    if run.status().phase is Phase.DRAW:  # a draw may come late, what comes after it may not
        run.draw(stage.sponsor, 1)
        advance(stage.chain, days * 86_400)
    assert run.status().phase is Phase.EXPIRED
    assert run.is_final(0)
    run.void_round(stage.sponsor, 1)
    assert run.voided_rounds() == [1]
    member = stage.trainers[1]
    run.claim(stage.sponsor, header, stage.leaf(member, 0), tree.proof(member.index))
    for each in (*stage.trainers, *stage.validators):
        run.check_in(each.sender)
    stage.play_until_settle(2)
    most_wei = stage.params.nominal_round_seconds * stage.params.reward_rate_wei_per_second
    assert 0 < run.budget_of(2) <= most_wei, "the time that was jumped over is not paid for"
    assert run.settled_total_wei() == header.tree.total_amount_wei
    claimed_wei = stage.leaf(member, 0).cumulative_amount_wei
    assert balances(stage) == at_the_start(stage, {"pool": -claimed_wei, f"member {member.index}": claimed_wei})


def test_a_reorganisation_takes_a_settlement_and_its_claims_back(stage: Stage) -> None:
    run = stage.run
    stage.play_until_settle(0)
    snapshot = stage.chain.request("evm_snapshot")
    header, tree = stage.settlement(0)
    for validator in stage.validators:
        run.attest(validator.sender, header, "bafyaggregate")
    advance(stage.chain, stage.params.challenge_window_seconds + 1)
    member = stage.trainers[0]
    claim = (header, stage.leaf(member, 0), tree.proof(member.index))
    run.claim(member.sender, *claim)
    paid_wei = claim[1].cumulative_amount_wei
    assert balances(stage) == at_the_start(stage, {"pool": -paid_wei, f"member {member.index}": paid_wei})

    assert stage.chain.request("evm_revert", [snapshot])
    assert balances(stage) == at_the_start(stage, {})
    assert run.pay_chain() == [] and run.status().round == 0
    for each in (*stage.trainers, *stage.validators):
        each.sender = Sender(stage.chain, each.sender.account)
    stage.sponsor = Sender(stage.chain, stage.sponsor.account)
    assert error_of(lambda: run.claim(stage.sponsor, *claim)).code == "unknown-header"
    other = replace(header, body=replace(header.body, state_root=b"\x18" * 32))
    for validator in stage.validators:
        run.attest(validator.sender, other, "bafyaggregate")
    advance(stage.chain, stage.params.challenge_window_seconds + 1)
    assert [item.header for item in run.pay_chain()] == [other]
    assert error_of(lambda: run.claim(stage.sponsor, *claim)).code == "unknown-header"
    run.claim(stage.sponsor, other, *claim[1:])
    again = error_of(lambda: run.claim(stage.sponsor, other, *claim[1:]))
    assert again.code == "nothing-to-claim"
    assert balances(stage) == at_the_start(stage, {"pool": -paid_wei, f"member {member.index}": paid_wei})
