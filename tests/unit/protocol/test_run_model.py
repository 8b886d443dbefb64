"""The reference model of the contracts: what members, disputes and money may do, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from emerit.protocol import minifloat
from emerit.protocol.challenges import find_fault
from emerit.protocol.eip712 import header_hash, opened
from emerit.protocol.run_model import Refusal
from emerit.protocol.run_model.base import DEAD
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import ZERO_HASH, Fault, Phase, Role, RoundStatus
from tests.unit.protocol.builders import address
from tests.unit.protocol.play import FUNDS_WEI, SALT, SPONSOR, Play

T, V = Role.TRAINER, Role.VALIDATOR
CHALLENGER = address(700)


def refused(name: str, act: Callable[..., Any], *arguments: Any) -> tuple[Any, ...]:
    with pytest.raises(Refusal) as caught:
        act(*arguments)
    assert caught.value.name == name, caught.value
    return caught.value.arguments


def challenge(play: Play, number: int) -> Fault:
    """Make the first challenge that is found in a settled header."""
    found = find_fault(play.settled[number], play.facts(number))
    assert found is not None
    snake = "".join("_" + c.lower() if c.isupper() else c for c in found.function)
    getattr(play.run, snake)(*found.arguments)
    return found.fault


def started(**change: Any) -> Play:
    play = Play(**change)
    play.run.start()
    return play


# Rounds


def test_rounds_settle_and_pay() -> None:
    play = started()
    play.play(3)
    run = play.run
    assert (run.memory.round, run.memory.paid_plus_one) == (3, 3)
    assert [run.round(n).status for n in range(4)] == [RoundStatus.SETTLED] * 3 + [RoundStatus.OPEN]
    earned = [leaf.cumulative_amount_wei for leaf in play.settled[2].leaves]
    assert sum(earned) == run.memory.settled_total_wei > 0
    assert earned[0] < earned[1] < earned[2]
    status = run.status()
    assert (status.last_settled_round, status.last_header_hash, status.behind) == (2, run.head_hash(), False)


def test_phases_end_early_when_all_who_are_expected_have_acted() -> None:
    play = started()
    play.play()
    run, began = play.run, play.world.now
    assert run.status().expected == 3
    play.contribute()
    assert play.world.now == began and run.phase()[0] == Phase.DRAW
    play.weigh()
    assert run.phase()[0] == Phase.SETTLE
    assert play.world.now == began + run.params.draw_delay_seconds + 1


def test_a_round_nobody_settles_is_void_and_pays_nothing() -> None:
    play = started()
    refused("WrongPhase", play.run.void_round, 0)
    play.until(Phase.EXPIRED)
    play.run.void_round(0)
    assert play.run.round(0).status == RoundStatus.VOID
    play.play()
    assert play.run.memory.paid_plus_one == 2
    assert play.run.round(1).previous_paid == 0


def test_acts_out_of_turn_are_refused() -> None:
    play = started()
    run = play.run
    trainer, validator = play.operators(T)[0], play.operators(V)[0]
    refused("WrongRound", run.commit, trainer, 1, bytes([1]) * 32)
    refused("WrongPhase", run.draw, 0)
    refused("NotOperator", run.commit, address(1), 0, bytes([1]) * 32)
    refused("WrongRole", run.commit, validator, 0, bytes([1]) * 32)
    refused("EmptyCommitment", run.commit, trainer, 0, bytes(18) + bytes([1]) * 14)
    run.commit(trainer, 0, play.commitment(trainer))
    refused("AlreadyCommitted", run.commit, trainer, 0, play.commitment(trainer))
    play.until(Phase.REVEAL)
    other = play.operators(T)[1]
    refused("NotCommitted", play.reveal, other)
    refused("BadOpening", run.reveal, 0, trainer, ZERO_HASH, "Qm", SALT)
    refused("CidTooLong", run.reveal, 0, trainer, ZERO_HASH, "Q" * 129, SALT)
    play.reveal(trainer)
    refused("WrongPhase", play.reveal, trainer)
    assert refused("TooEarly", run.draw, 0) == (play.world.now + 3,)


def test_a_batch_takes_what_it_can() -> None:
    play = started()
    run, (a, b, c) = play.run, play.operators(T)
    run.commit(a, 0, play.commitment(a))
    items = [(a, play.commitment(a)), (b, play.commitment(b)), (address(9), ZERO_HASH), (c, ZERO_HASH)]
    assert run.commit_batch(0, items) == 1
    assert run.round(0).commits == 2


# Members


def test_a_slot_is_used_again_after_withdrawal_only() -> None:
    play = started()
    world, run = play.world, play.run
    world.stakes.leave(address(0), run)
    assert world.stakes.registry(run).entries[0].active_until == 1
    newcomer = play.join(10, T, 1000)
    assert world.stakes.registry(run).entries[newcomer].slot == 3
    refused("StillActive", world.stakes.withdraw_for, run, address(0))
    play.play()
    refused("StillBonded", world.stakes.withdraw_for, run, address(0))
    world.now = world.stakes.withdrawable_at(run, 0)
    world.stakes.withdraw_for(run, address(0))
    assert world.token.wei[address(0)] == 1000
    refused("NotMember", world.stakes.withdraw_for, run, address(0))
    assert world.stakes.registry(run).entries[play.join(11, T, 1000)].slot == 0
    refused("AlreadyJoined", world.stakes.join, address(0), run, T, address(12), 1000)


def test_the_settlement_of_a_used_slot_pays_the_one_who_acts() -> None:
    play = started(history_rounds=64)
    play.world.stakes.leave(address(1), play.run)
    play.play()
    play.world.now = play.world.stakes.withdrawable_at(play.run, 1)
    play.world.stakes.withdraw_for(play.run, address(1))
    newcomer = play.join(10, T, 1000)
    play.until(Phase.EXPIRED)
    play.run.void_round(1)
    before = play.settled[0].leaves[1].cumulative_amount_wei
    play.play()
    leaves = play.settled[2].leaves
    assert leaves[1].cumulative_amount_wei == before
    assert leaves[newcomer].detail.weight == 2000
    assert find_fault(play.settled[2], play.facts(2)) is None


def test_who_brings_more_stake_takes_the_lowest_seat_at_the_next_epoch() -> None:
    play = started(stakes_wei=(4000,) * 15 + (3000,))
    world, run = play.world, play.run
    world.token.wei[address(200)] = 10_000
    refused("SeatsTaken", world.stakes.join, address(200), run, V, address(1200), 3000)
    index = world.stakes.join(address(200), run, V, address(1200), 3001)
    entries = world.stakes.registry(run).entries
    evicted = run.members_in(0).validator_in(15)
    assert evicted is not None
    assert (entries[index].slot, entries[index].active_from) == (15, 2)
    assert entries[evicted.index].active_until == 2
    play.play(2)
    assert [run.members_in(n).seats[15] for n in (1, 2)] == [evicted.index, index]


def test_a_new_key_acts_for_the_member() -> None:
    play = started()
    play.world.stakes.set_operator(address(0), play.run, address(3000))
    refused("NotOperator", play.run.commit, address(1000), 0, bytes([1]) * 32)
    play.run.commit(address(3000), 0, play.commitment(address(3000)))
    refused("OperatorTaken", play.world.stakes.set_operator, address(1), play.run, address(3000))
    refused("OperatorTaken", play.world.stakes.set_operator, address(1), play.run, address(1000))
    play.world.stakes.set_operator(address(0), play.run, address(1000))
    assert play.run.members[address(1000)].committed_in == 1


# Check-ins


def test_who_checks_in_and_does_nothing_waits_longer_each_time() -> None:
    play = started(history_rounds=64)
    operator = play.operators(T)[0]
    rest = play.operators(T)[1:]
    waits = []
    for _ in range(12):
        try:
            waits.append((play.run.memory.round, play.run.check_in(operator)))
        except Refusal as refusal:
            assert refusal.name == "CheckInFrom"
        play.contribute(rest)
        play.until(Phase.SCORE)
        play.weigh()
        play.settle(play.run.memory.round)
    assert [at for at, _ in waits] == [0, 2, 6]
    play.run.commit(operator, play.run.memory.round, play.commitment(operator))
    play.contribute(rest)
    play.weigh()
    play.settle(play.run.memory.round)
    assert play.run.check_in(operator) == play.run.memory.round


# Disputes


def test_a_wrong_header_falls_and_is_settled_again() -> None:
    play = started()
    play.play()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    play.settle(1, play.wrong(1))
    refused("NothingToPunish", play.run.punish, 1, None, SALT)
    digest = play.run.precommit_hash(1, 0, Fault.AMOUNT, 0, CHALLENGER, SALT)
    play.run.precommit(digest)
    play.world.wait(1)
    assert challenge(play, 1) == Fault.AMOUNT
    run, world = play.run, play.world
    assert (run.memory.paid_plus_one, run.memory.settled_plus_one, run.memory.round) == (1, 2, 2)
    assert run.memory.settled_total_wei == play.settled[0].header.tree.total_amount_wei
    assert run.status().behind_round == 1 and run.status().behind_attempt == 1
    refused("PunishFirst", play.settle, 1)
    stakes_before = [entry.stake_wei for entry in world.stakes.registry(run).entries]
    taken = run.punish(1, CHALLENGER, SALT)
    assert taken == 3 * 4000, "each has less than its part of the cap"
    assert run.slash_wei() == 2 * 1000 * 200
    assert world.token.wei[CHALLENGER] == 3 * 400
    assert world.token.wei[DEAD] == taken - 3 * 400
    stakes_after = [entry.stake_wei for entry in world.stakes.registry(run).entries]
    assert sum(stakes_before) - sum(stakes_after) == taken
    refused("NothingToPunish", run.punish, 1, CHALLENGER, SALT)
    play.settle(1)
    assert run.round(1).attempt == 1 and run.memory.paid_plus_one == 2
    assert find_fault(play.settled[1], play.facts(1)) is None
    refused("StillPaid", play.settle, 1)


def test_later_headers_fall_along_and_are_settled_again_in_order() -> None:
    play = started(slash_rounds=0)
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    play.settle(0, play.wrong(0))
    play.play(2)
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    challenge(play, 0)
    run = play.run
    assert run.memory.paid_plus_one == 0 and run.memory.round == 3
    refused("OutOfTurn", play.settle, 3)
    refused("OutOfTurn", play.settle, 1)
    play.world.wait(run.params.answer_seconds)
    assert run.punish(0, None, SALT) == 0
    for number in (0, 1, 2):
        play.settle(number)
        assert run.round(number).attempt == 1
    assert not run.is_behind()
    for number in (0, 1, 2):
        assert find_fault(play.settled[number], play.facts(number)) is None


def test_what_is_final_can_t_be_challenged() -> None:
    play = started()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    wrong = play.settle(0, play.wrong(0))
    play.world.now = play.run.round(0).final_at
    assert play.run.is_final(0)
    refused("HeaderIsFinal", challenge, play, 0)
    refused("HeaderIsFinal", play.run.demand, CHALLENGER, opened(wrong.header), 0, 64)


def test_nothing_can_be_shown_to_be_wrong_in_an_honest_header() -> None:
    play = started()
    play.play()
    settled = play.settled[0]
    tree, leaf, proof = opened(settled.header), settled.leaves[0], settled.tree.proof(0)
    run = play.run
    refused("NothingWrong", run.challenge_identity, tree, leaf, proof)
    refused("NothingWrong", run.challenge_weight, tree, leaf, proof)
    refused("NothingWrong", run.challenge_first_sum, tree, leaf, proof)
    refused("WrongLeafRole", run.challenge_coverage, tree, leaf, proof, leaf, proof)
    refused("NotTheEnd", run.challenge_last_sum, tree, leaf, proof)
    refused("NotNeighbours", run.challenge_sum, tree, leaf, proof, leaf, proof)
    refused("WrongVector", run.challenge_row, tree, leaf, proof, 0, b"")
    refused("NoSuchSlot", run.challenge_row, tree, leaf, proof, 16, b"")
    refused("LeafNotInTree", run.challenge_weight, tree, replace(leaf, cumulative_amount_wei=1), proof)
    refused("WrongHeader", run.challenge_weight, replace(tree, body_hash=ZERO_HASH), leaf, proof)
    refused("NoStandingHeader", run.challenge_weight, replace(tree, round=1), leaf, proof)
    refused("WrongRound", run.challenge_weight, replace(tree, round=2), leaf, proof)
    last = 5
    named = settled.leaves[last], settled.tree.proof(last)
    refused("NothingWrong", run.challenge_coverage, tree, *named, leaf, proof)
    assert run.round(0).header_hash == header_hash(settled.header) and not run.is_behind()


def test_a_leaf_withheld_costs_its_signers() -> None:
    play = started()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    settled = play.settle(0)
    tree, run, world = opened(settled.header), play.run, play.world
    world.coin.wei[CHALLENGER] = 1000
    refused("BondTooLow", run.demand, CHALLENGER, tree, 0, 63)
    refused("NoSuchLeaf", run.demand, CHALLENGER, tree, 6, 64)
    run.demand(CHALLENGER, tree, 0, 64)
    run.demand(CHALLENGER, tree, 1, 64)
    refused("AlreadyDemanded", run.demand, CHALLENGER, tree, 1, 64)
    run.answer(address(8), tree, settled.leaves[0], settled.tree.proof(0))
    assert (world.coin.wei[address(8)], world.coin.wei[DEAD]) == (32, 32)
    refused("NotDemanded", run.answer, address(8), tree, settled.leaves[0], settled.tree.proof(0))
    refused("TooEarly", run.timeout, 0, 1)
    refused("StillBinding", run.reclaim, 0, 0, 1)
    world.wait(31)
    refused("TooLate", run.answer, address(8), tree, settled.leaves[1], settled.tree.proof(1))
    run.timeout(0, 1)
    taken = run.punish(0, None, SALT)
    assert world.token.wei[CHALLENGER] == 3 * 400 and taken == 12_000
    run.reclaim(0, 0, 1)
    assert world.coin.wei[CHALLENGER] == 1000 - 64


def test_a_demand_holds_this_and_later_headers_up_but_not_for_ever() -> None:
    play = started()
    play.play(2)
    run, world = play.run, play.world
    world.coin.wei[CHALLENGER] = 10**9
    first, second = (run.round(n).final_at for n in (0, 1))
    world.now = second - 1
    assert run.is_final(0)
    run.demand(CHALLENGER, opened(play.settled[1].header), 0, 64)
    world.now = second
    assert run.is_final(0) and not run.is_final(1) and first < second
    world.wait(60)
    assert run.is_final(1)
    run.reclaim(1, 0, 0)
    assert world.coin.wei[CHALLENGER] == 10**9


def test_two_signed_headers_are_an_equivocation() -> None:
    play = started()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    honest, wrong = play.honest(0).header, play.wrong(0).header
    run, (operator, other, _) = play.run, play.operators(V)
    refused("NotContradictory", run.equivocation, honest, operator, honest, operator)
    refused("NotOneValidator", run.equivocation, honest, operator, wrong, other)
    stranger = address(9)
    refused("WrongRole", run.equivocation, honest, stranger, wrong, stranger)
    play.world.stakes.set_operator(address(100), run, address(3000))
    run.equivocation(honest, operator, wrong, operator)
    refused("AlreadyProven", run.equivocation, honest, operator, wrong, operator)
    refused("TooEarly", run.punish_equivocation, 0, 3, None, SALT)
    refused("NotPrecommitted", run.punish_equivocation, 0, 3, CHALLENGER, SALT)
    play.world.wait(30)
    assert run.punish_equivocation(0, 3, None, SALT) == 4000
    refused("NothingToPunish", run.punish_equivocation, 0, 3, None, SALT)


def test_missed_acts_cost_their_fine_once() -> None:
    play = started(stakes_wei=(4000, 5000, 4000))
    run, trainers, validators = play.run, play.operators(T), play.operators(V)
    for operator in trainers:
        run.commit(operator, 0, play.commitment(operator))
    play.until(Phase.REVEAL)
    for operator in trainers[1:]:
        play.reveal(operator)
    refused("TooEarly", run.fine_trainer, 0, trainers[0])
    play.weigh(silent=validators[:1])
    refused("TooEarly", run.fine_validator, 0, 0)
    play.until(Phase.SETTLE)
    assert run.fine_trainer(0, trainers[0]) == run.fine_validator(0, 0) == 50
    refused("NothingMissed", run.fine_trainer, 0, trainers[0])
    refused("NothingMissed", run.fine_trainer, 0, trainers[1])
    refused("NothingMissed", run.fine_validator, 0, 0)
    run.attest(validators[1], play.honest(0).header, "Qa")
    refused("NothingMissed", run.fine_validator, 0, 2)
    play.until(Phase.EXPIRED)
    refused("NothingMissed", run.fine_validator, 0, 2)
    run.void_round(0)
    refused("NothingMissed", run.fine_validator, 0, 1)
    assert run.fine_validator(0, 2) == 50
    assert play.world.token.wei[DEAD] == 150


def test_one_third_that_signs_alone_gets_nobody_fined() -> None:
    play = started()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    play.run.attest(play.operators(V)[0], play.honest(0).header, "Qa")
    play.until(Phase.EXPIRED)
    play.run.void_round(0)
    before = [entry.stake_wei for entry in play.world.stakes.registry(play.run).entries]
    refused("NothingMissed", play.run.fine_validator, 0, 1)
    assert [entry.stake_wei for entry in play.world.stakes.registry(play.run).entries] == before


# Attesting


def test_two_thirds_of_the_weight_settle_in_either_way() -> None:
    play = started(stakes_wei=(3000, 3000, 3000))
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    run, (a, b, c) = play.run, play.operators(V)
    header = play.honest(0).header
    refused("NoQuorum", run.settle_signed, header, "Qa", [a])
    refused("UnorderedSigners", run.settle_signed, header, "Qa", [b, a])
    refused("UnorderedSigners", run.settle_signed, header, "Qa", [a, a])
    run.attest(a, header, "Qa")
    refused("AlreadyAttested", run.attest, a, header, "Qa")
    assert run.memory.round == 0
    run.settle_signed(header, "Qa", [c])
    assert run.round(0).signer_mask == 0b101
    assert run.memory.round == 1


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("run", {"run": address(1)}),
        ("attempt", {"attempt": 1}),
        ("previous", {"previous": bytes([1]) * 32}),
        ("reveals", {"reveals": ZERO_HASH}),
        ("budgetWei", {"budget_wei": 1}),
    ],
)
def test_a_header_with_a_field_that_the_chain_knows_better_is_refused(name: str, change: dict[str, Any]) -> None:
    play = started()
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    header = play.honest(0).header
    wrong = replace(header, body=replace(header.body, **change))
    assert refused("HeaderMismatch", play.run.settle_signed, wrong, "Qa", play.operators(V))[0] == name
    short = replace(header, tree=replace(header.tree, leaf_count=5))
    assert refused("HeaderMismatch", play.run.settle_signed, short, "Qa", play.operators(V))[0] == "leafCount"
    rich = replace(header, tree=replace(header.tree, total_amount_wei=header.body.budget_wei + 1))
    refused("BudgetExceeded", play.run.settle_signed, rich, "Qa", play.operators(V))


def test_a_round_has_a_least_length() -> None:
    play = started(min_round_seconds=500)
    play.contribute()
    play.weigh()
    play.until(Phase.SETTLE)
    header = play.honest(0).header
    assert refused("TooEarly", play.run.settle_signed, header, "Qa", play.operators(V)) == (1_000_500,)
    play.world.now = 1_000_500
    play.run.settle_signed(header, "Qa", play.operators(V))


# Money


def test_claims_are_cumulative_and_refunds_wait_for_the_last_header() -> None:
    play = started()
    world, run = play.world, play.run
    rewards = world.rewards
    play.play(2)
    refused("NotFinished", rewards.refund, run)
    refused("NotSponsor", run.close, address(0))
    run.close(SPONSOR)
    refused("AlreadyClosed", run.close, SPONSOR)
    play.play()
    assert run.finished
    refused("NotCertain", rewards.refund, run)
    first, second, third = (play.settled[number] for number in range(3))
    leaf, proof = claim_leaf(first.leaves[0]), first.tree.proof(0)
    refused("NotFinal", rewards.claim, run, opened(first.header), leaf, proof)
    world.now = run.round(1).final_at
    refused("NoPurse", rewards.claim_next, run, 6, leaf, proof)
    paid = rewards.claim(run, opened(first.header), leaf, proof)
    assert paid == first.leaves[0].cumulative_amount_wei == world.token.wei[address(0)]
    refused("NothingToClaim", rewards.claim, run, opened(first.header), leaf, proof)
    one = claim_leaf(first.leaves[1])
    assert rewards.claim_next(run, 6, one, first.tree.proof(1)) == one.cumulative_amount_wei
    proofs = [second.tree.proof(leaf.index) for leaf in second.leaves]
    assert rewards.claim_many(run, opened(second.header), [claim_leaf(x) for x in second.leaves], proofs) > 0
    for member in second.leaves:
        assert rewards.pools[run.address].claimed[member.account] == member.cumulative_amount_wei
    refused("BadProof", rewards.claim, run, opened(second.header), leaf, second.tree.proof(0))
    world.now = run.round(2).final_at
    rewards.refund(run)
    assert world.token.wei[SPONSOR] == FUNDS_WEI - third.header.tree.total_amount_wei
    assert rewards.claim(run, opened(third.header), claim_leaf(third.leaves[0]), third.tree.proof(0)) > 0
    world.now = run.memory.finished_at + run.params.claim_period_seconds
    rewards.refund(run)
    refused("NothingToRefund", rewards.refund, run)
    claims = sum(rewards.pools[run.address].claimed.values())
    assert world.token.wei[SPONSOR] == FUNDS_WEI - claims
    late = opened(third.header), claim_leaf(third.leaves[1]), third.tree.proof(1)
    refused("PoolExceeded", rewards.claim, run, *late)


def test_a_run_finishes_where_its_ring_would_forget_the_head() -> None:
    play = started(history_rounds=4)
    play.play()
    for number in (1, 2, 3):
        play.until(Phase.EXPIRED)
        play.run.void_round(number)
    assert play.run.finished
    refused("RunHasFinished", play.run.check_in, play.operators(T)[0])


def test_a_validator_that_missed_all_earns_nothing() -> None:
    play = started()
    operator = play.operators(V)[2]
    blind = (minifloat.encode(3000), 0, *[minifloat.ABSTAIN] * 3)
    play.contribute()
    play.weigh({operator: blind})
    settled = play.settle(0)
    assert settled.leaves[5].detail.weight == 1
    assert settled.leaves[5].cumulative_amount_wei == 0 < settled.leaves[4].cumulative_amount_wei
