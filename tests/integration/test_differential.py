"""Histories on Anvil and on the model of the contracts: both take the same acts and remember the same."""

from __future__ import annotations

import random
from typing import Any

import pytest

from emerit.protocol.challenges import find_fault
from emerit.protocol.eip712 import opened
from emerit.protocol.run_model import Refusal
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import Fault, Phase, Role
from tests.integration.conftest import AnvilFactory
from tests.integration.mirror import MirroredPlay
from tests.unit.protocol.builders import address
from tests.unit.protocol.play import SALT, SPONSOR, Play
from tests.unit.protocol.test_run_histories import WATCHER, Histories

pytestmark = pytest.mark.integration

STEPS = 40
RULES = ["join", "leave", "check_in", "wait", *["finish"] * 4, "challenge", "challenge", "demand", *["again"] * 2]
RULES += ["claim", "claim", "close", "odd", "rotate", "fine"]
# A ring of eight rounds that a disputed header fits into.
SMALL = {"history_rounds": 8, "min_round_seconds": 60, "challenge_window_seconds": 200, "answer_seconds": 3}


def snake(function: str) -> str:
    return "".join("_" + c.lower() if c.isupper() else c for c in function)


class MirroredHistories(Histories):
    """The rules of the model's own histories, and some acts that make little sense."""

    def __init__(self, anvil: Any, chance: random.Random) -> None:
        self.anvil, self.chance = anvil, chance
        super().__init__()
        self.play.mirror.accounts.add(WATCHER)  # type: ignore[attr-defined]

    def new_play(self) -> Play:
        return MirroredPlay(self.anvil, trainers=3, stakes_wei=(4000, 5000, 6000), **SMALL)

    def odd(self) -> None:
        """Try something at a time that may be wrong for it."""
        run, chance = self.run, self.chance
        number = max(0, run.memory.round - chance.randrange(3))
        operator = chance.choice(sorted(run.members))
        slot = chance.randrange(4)
        acts: list[tuple[Any, ...]] = [
            (run.start,),
            (run.draw, number),
            (run.void_round, number),
            (run.commit, operator, number, bytes([chance.randrange(2)]) * 32),
            (run.commit_batch, number, [(operator, bytes([7]) * 32), (operator, bytes([8]) * 32)]),
            (run.commit_weights, operator, number, bytes([9]) * 32),
            (run.reveal, number, operator, SALT, "Qm", SALT),
            (run.reveal_weights, operator, number, bytes(2 * (2 + run.memory.trainer_slots)), SALT, "Qe", SALT),
            (run.fine_trainer, number, operator),
            (run.fine_validator, number, slot),
            (run.punish, number, chance.choice([None, address(700)]), SALT),
            (run.precommit, bytes([chance.randrange(256)]) * 32),
            (run.timeout, number, slot),
            (run.reclaim, number, 0, slot),
            (run.close, address(1)),
        ]
        act, *arguments = chance.choice(acts)
        self.attempt(act, *arguments)
        self.attest_or_equivocate()

    def attest_or_equivocate(self) -> None:
        run, play = self.run, self.play
        if run.finished or not play.phase_is(Phase.SETTLE) or run.is_behind():  # type: ignore[attr-defined]
            return
        number = run.memory.round
        operator = self.chance.choice(sorted(run.members))
        honest, wrong = play.honest(number).header, play.wrong(number).header
        self.attempt(run.attest, operator, honest if self.chance.random() < 0.7 else wrong, "Qa")
        self.attempt(run.equivocation, honest, operator, wrong, operator)
        self.attempt(run.punish_equivocation, number, self.chance.randrange(3), None, SALT)

    def rotate(self) -> None:
        entries = self.world.stakes.registry(self.run).entries
        entry = self.chance.choice(entries)
        self.joined += 1
        self.attempt(self.world.stakes.set_operator, entry.account, self.run, self.play.operator(8000 + self.joined))

    def step(self) -> None:
        chance = self.chance
        pick, rule = chance.randrange(1 << 16), chance.choice(RULES)
        if rule == "join":
            self.join(role=chance.choice([Role.TRAINER, Role.VALIDATOR]), stake=chance.randrange(900, 9000))
        elif rule == "leave":
            self.leave_or_withdraw(pick=pick, withdraws=chance.random() < 0.5)
        elif rule == "check_in":
            self.check_in(pick=pick)
        elif rule == "wait":
            self.wait(seconds=chance.choice([1, 30, 300, 6000]))
        elif rule == "finish" and self.open():
            cheats = chance.randrange(16)
            # The time may run out between its acts.
            self.attempt(lambda: self.finish_round(pick=pick, cheats=cheats))
        elif rule == "challenge":
            self.challenge(pick=pick)
        elif rule == "demand":
            self.demand_and_time_out()
        elif rule == "again":
            self.punish_and_settle_again()
        elif rule == "claim":
            self.claim(pick=pick)
        elif rule == "close":
            self.close_or_refund(closes=chance.randrange(20))
        elif rule == "fine":
            self.fine(pick=pick)
        elif rule == "odd":
            self.odd()
        elif rule == "rotate":
            self.rotate()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_histories_are_the_same_on_both(make_anvil: AnvilFactory, seed: int) -> None:
    anvil = make_anvil(block_time_seconds=None)
    histories = MirroredHistories(anvil, random.Random(seed))
    histories.run.start()
    for _ in range(STEPS):
        histories.step()
        histories.no_money_is_made_or_lost()
        histories.what_is_final_stays()
        histories.the_pay_chain_leads_back_and_grows()
    mirror = histories.play.mirror  # type: ignore[attr-defined]
    assert mirror.taken > STEPS


def test_a_fraud_from_beginning_to_end(make_anvil: AnvilFactory) -> None:
    """Two rounds fall with a wrong one, its signers pay, everything is settled again, claimed and refunded."""
    play = MirroredPlay(make_anvil(block_time_seconds=None), history_rounds=64)
    run, world = play.run, play.world
    run.start()
    play.play()
    challenger = address(700)
    play.mirror.accounts.add(challenger)
    play.contribute()
    play.weigh()
    play.settle(1, play.wrong(1))
    play.play()
    run.precommit(run.precommit_hash(1, 0, Fault.AMOUNT, 0, challenger, SALT))
    found = find_fault(play.settled[1], play.facts(1))
    assert found is not None and found.fault == Fault.AMOUNT
    getattr(run, snake(found.function))(*found.arguments)
    with pytest.raises(Refusal, match="PunishFirst"):
        play.settle(1)
    run.punish(1, challenger, SALT)
    assert world.token.wei[challenger] > 0
    play.settle(1)
    play.settle(2)
    run.close(SPONSOR)
    play.until(Phase.EXPIRED)
    run.void_round(3)
    world.now = run.round(2).final_at
    settled = play.settled[2]
    tree = opened(settled.header)
    for leaf in settled.leaves:
        world.rewards.claim(run, tree, claim_leaf(leaf), settled.tree.proof(leaf.index))
    world.rewards.refund(run)
    assert world.token.wei[world.rewards.address] == 0
