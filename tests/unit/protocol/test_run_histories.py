"""Random histories on the model of the contracts: whatever members do, these hold after every act."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emerit.protocol import minifloat
from emerit.protocol.challenges import Settled, find_fault
from emerit.protocol.eip712 import opened
from emerit.protocol.run_model import Refusal
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import Fault, Phase, Role, RoundStatus
from tests.unit.protocol.builders import address
from tests.unit.protocol.play import SALT, SPONSOR, Play

WATCHER = address(900)
picks = st.integers(0, 1 << 16)


class Histories(RuleBasedStateMachine):
    """Members act, leave and cheat at random; a watcher sometimes challenges what it finds."""

    def __init__(self) -> None:
        super().__init__()
        self.play = self.new_play()
        self.world, self.run = self.play.world, self.play.run
        self.joined = 0
        self.money = self.world.token.total()
        self.claimed: dict[str, int] = {}
        self.final: dict[int, bytes] = {}

    def new_play(self) -> Play:
        return Play(stakes_wei=(4000, 5000, 6000), history_rounds=8)

    @initialize()
    def start(self) -> None:
        self.run.start()

    def attempt(self, act: Any, *arguments: Any) -> bool:
        """Return whether an act was taken."""
        try:
            act(*arguments)
        except Refusal:
            return False
        return True

    def open(self) -> bool:
        return not self.run.finished

    # Members

    @rule(role=st.sampled_from([Role.TRAINER, Role.VALIDATOR]), stake=st.integers(900, 9000))
    def join(self, role: Role, stake: int) -> None:
        self.joined += 1
        account = address(2000 + self.joined)
        self.play.mint(account, stake)
        self.money += stake
        operator = self.play.operator(5000 + self.joined)
        self.attempt(self.world.stakes.join, account, self.run, role, operator, stake)

    @rule(pick=picks, withdraws=st.booleans())
    def leave_or_withdraw(self, pick: int, withdraws: bool) -> None:
        entries = self.world.stakes.registry(self.run).entries
        account = entries[pick % len(entries)].account
        staying = self.world.stakes.active_counts(self.run)
        if withdraws:
            self.attempt(self.world.stakes.withdraw_for, self.run, account)
        elif min(staying) > 1:
            self.attempt(self.world.stakes.leave, account, self.run)

    @rule(pick=picks)
    def check_in(self, pick: int) -> None:
        operators = sorted(self.run.members)
        self.attempt(self.run.check_in, operators[pick % len(operators)])

    @rule(seconds=st.sampled_from([1, 30, 1000, 6000]))
    def wait(self, seconds: int) -> None:
        self.world.wait(seconds)

    # Rounds

    @precondition(open)
    @rule(pick=picks, cheats=st.integers(0, 11))
    def finish_round(self, pick: int, cheats: int) -> None:
        """Play what is left of the open round; some are absent, some do not reveal, sometimes the header is wrong."""
        run, number = self.run, self.run.memory.round
        if run.phase()[0] == Phase.TRAIN:
            acting = [o for at, o in enumerate(self.play.operators(Role.TRAINER)) if pick >> at & 1]
            acting = [operator for operator in acting if operator in run.members]
            self.play.contribute(acting, acting[:1] if pick & 1024 else ())
        if run.phase()[0] in (Phase.REVEAL, Phase.DRAW):
            self.play.until(Phase.SCORE)
        if run.phase()[0] == Phase.SCORE and self.play.operators(Role.VALIDATOR):
            blind = self.play.operators(Role.VALIDATOR)[0]
            codes = (minifloat.encode(3000), 0, *[minifloat.ABSTAIN] * run.open_round().trainer_slots)
            silent = self.play.operators(Role.VALIDATOR)[-1:] if pick & 2048 else ()
            self.play.weigh({blind: codes} if pick & 256 else None, silent)
        if run.phase()[0] == Phase.EXPIRED:
            run.void_round(number)
        elif run.is_behind():
            self.play.until(Phase.EXPIRED)
            run.void_round(number)
        elif self.play.operators(Role.VALIDATOR):
            self.play.until(Phase.SETTLE)
            self.attempt(self.play.settle, number, self.cheat(number, pick, cheats))

    def cheat(self, number: int, pick: int, kind: int) -> Settled | None:
        """Return a wrong settlement for some kinds, None for an honest one."""
        leaves = self.play.honest(number).leaves
        faults = (Fault.IDENTITY, Fault.ROW, Fault.WEIGHT, Fault.REPUTATION, Fault.SUM)
        if kind < len(faults):
            return self.play.otherwise_wrong(number, pick % len(leaves), faults[kind])
        if kind == len(faults) and len(leaves) > 1 and leaves[-1].cumulative_amount_wei > 0:
            return self.play.wrong(number)
        return None

    @rule(pick=picks)
    def fine(self, pick: int) -> None:
        number = max(0, self.run.memory.round - pick % 2)
        for operator in sorted(self.run.members):
            self.attempt(self.run.fine_trainer, number, operator)
        for slot in range(4):
            self.attempt(self.run.fine_validator, number, slot)

    @rule(pick=picks)
    def challenge(self, pick: int) -> None:
        run = self.run
        for number in range(run.memory.paid_plus_one):
            if not run.stands(number) or run.is_final(number) or number not in self.play.settled:
                continue
            found = find_fault(self.play.settled[number], self.play.facts(number))
            if found is None or pick % 2:
                continue
            index, attempt = found.index, run.round(number).attempt
            if pick & 2:
                digest = run.precommit_hash(number, attempt, found.fault, index, WATCHER, SALT)
                self.attempt(run.precommit, digest)
                self.world.wait(1)
            if run.is_final(number):
                continue
            snake = "".join("_" + c.lower() if c.isupper() else c for c in found.function)
            getattr(run, snake)(*found.arguments)
            assert run.memory.paid_plus_one <= number
            return

    @rule()
    def demand_and_time_out(self) -> None:
        head = self.run.memory.paid_plus_one
        if head == 0 or head - 1 not in self.play.settled:
            return
        self.world.coin.wei[WATCHER] += 64
        tree = opened(self.play.settled[head - 1].header)
        if self.attempt(self.run.demand, WATCHER, tree, 0, 64):
            self.world.wait(self.run.params.answer_seconds + 1)
            if self.attempt(self.run.timeout, head - 1, 0):
                self.run.reclaim(head - 1, self.run.round(head - 1).attempt, 0)

    @rule()
    def punish_and_settle_again(self) -> None:
        run = self.run
        number = run.next_behind()
        if number is None:
            return
        found = run.round(number)
        if found.fault != Fault.NONE and not self.attempt(run.punish, number, WATCHER, SALT):
            self.world.now = max(self.world.now, found.fault_at + run.params.answer_seconds)
            run.punish(number, None, SALT)
        signers = self.play.operators(Role.VALIDATOR)
        if self.attempt(self.play.settle, number, None, [s for s in signers if s in run.members]):
            assert run.memory.paid_plus_one == number + 1

    # Money

    @rule(pick=picks)
    def claim(self, pick: int) -> None:
        settled = self.play.settled
        if not settled:
            return
        number = sorted(settled)[pick % len(settled)]
        leaf = settled[number].leaves[pick % len(settled[number].leaves)]
        tree, proof = opened(settled[number].header), settled[number].tree.proof(leaf.index)
        self.attempt(self.world.rewards.claim, self.run, tree, claim_leaf(leaf), proof)

    @rule(closes=st.integers(0, 9))
    def close_or_refund(self, closes: int) -> None:
        if closes == 0:
            self.attempt(self.run.close, SPONSOR)
        self.attempt(self.world.rewards.refund, self.run)

    # What holds

    @invariant()
    def no_money_is_made_or_lost(self) -> None:
        assert self.world.token.total() == self.money
        assert min(self.world.token.wei.values()) >= 0 <= min(self.world.coin.wei.values(), default=0)
        stakes = sum(entry.stake_wei for entry in self.world.stakes.registry(self.run).entries)
        assert self.world.token.wei[self.world.stakes.address] == stakes
        pool = self.world.rewards.pools[self.run.address]
        assert self.world.token.wei[self.world.rewards.address] == pool.funded_wei - pool.refunded_wei - pool.paid_wei
        assert pool.paid_wei == sum(pool.claimed.values())
        assert pool.left_wei <= self.world.token.wei[self.world.rewards.address]

    @invariant()
    def claims_never_fall(self) -> None:
        now = dict(self.world.rewards.pools[self.run.address].claimed)
        assert all(now.get(account, 0) >= wei for account, wei in self.claimed.items())
        self.claimed = now

    @invariant()
    def what_is_final_stays(self) -> None:
        for number, digest in list(self.final.items()):
            if self.run.kept(number) is None:
                del self.final[number]
            else:
                assert self.run.is_final(number) and self.run.round(number).header_hash == digest
        for number in range(self.run.memory.paid_plus_one):
            if self.run.is_final(number):
                self.final[number] = self.run.round(number).header_hash

    @invariant()
    def the_pay_chain_leads_back_and_grows(self) -> None:
        run = self.run
        after, total_wei = run.memory.paid_plus_one, run.memory.settled_total_wei
        while after and run.kept(after - 1) is not None:
            found = run.round(after - 1)
            assert found.status == RoundStatus.SETTLED and found.previous_paid < after
            assert found.total_amount_wei <= total_wei
            after, total_wei = found.previous_paid, found.total_amount_wei
        assert run.memory.settled_total_wei <= self.world.rewards.funded(run.address)


TestHistories = Histories.TestCase
TestHistories.settings = settings(
    max_examples=12,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
