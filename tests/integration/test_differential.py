"""Random histories of many rounds, act by act in the contracts on Anvil and in the Python model of their rules."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from inspect import signature
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pytest
from eth_utils.crypto import keccak
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import Phase as Stages
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port
from emerit.chain.deployment import deploy_all
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.protocol.challenges import previous_leaf
from emerit.protocol.eip712 import opened
from emerit.protocol.run_model import Refusal
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import Phase, Role
from tests.integration.mirror import MirrorPlay, Node
from tests.unit.protocol.builders import address
from tests.unit.protocol.play import SALT
from tests.unit.protocol.test_run_histories import WATCHER, Histories, picks

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
UNBONDING_SECONDS = 900
STRANGER = address(901)


class Stage:
    """Contracts on an Anvil to which every history goes back."""

    def __init__(self, anvil: AnvilProcess) -> None:
        self.chain = Chain(anvil.rpc_url, anvil.chain_id)
        self.sponsor = Sender(self.chain, anvil.dev_accounts()[0])
        self.deployment = deploy_all(self.chain, self.sponsor, 10**30, UNBONDING_SECONDS)
        self.node = Node(self.chain)
        self.snapshot = self.chain.request("evm_snapshot")
        self.acts: dict[str, list[int]] = {}

    def play(self) -> MirrorPlay:
        self.chain.request("evm_revert", [self.snapshot])
        self.snapshot = self.chain.request("evm_snapshot")
        sponsor = Sender(self.chain, self.sponsor.account)
        return MirrorPlay(
            self.node,
            sponsor,
            self.deployment,
            stakes_wei=(4000, 5000, 6000),
            challenge_window_seconds=100,
            answer_seconds=4,
            min_round_seconds=30,
            history_rounds=12,
        )

    def note(self, acts: dict[str, list[int]]) -> None:
        for name, (taken, refused) in acts.items():
            total = self.acts.setdefault(name, [0, 0])
            total[0] += taken
            total[1] += refused


class Differential(Histories):
    """The histories of the model's own tests, in both; and acts that those leave out."""

    stage: ClassVar[Stage]
    play: MirrorPlay

    def new_play(self) -> Any:
        return self.stage.play()

    def teardown(self) -> None:
        self.play.mirror.compare_all()
        self.stage.note(self.play.mirror.acts)

    # Members

    @rule(pick=picks)
    def change_key(self, pick: int) -> None:
        entries = self.world.stakes.registry(self.run).entries
        entry = entries[pick % len(entries)]
        known = entries[pick // 7 % len(entries)].operator
        fresh = self.play.operator(9000 + pick % 50)
        operator = known if pick % 5 == 0 and int(known, 16) else fresh
        self.attempt(self.world.stakes.set_operator, entry.account, self.run, operator)

    @rule(pick=picks, amount=st.integers(0, 3000))
    def add_stake(self, pick: int, amount: int) -> None:
        entries = self.world.stakes.registry(self.run).entries
        account = entries[pick % len(entries)].account
        self.play.mint(account, amount)
        self.money += amount
        self.attempt(self.world.stakes.add_stake, account, self.run, amount)

    @rule(pick=picks, amount=st.integers(0, 10**6))
    def fund(self, pick: int, amount: int) -> None:
        self.play.mint(STRANGER, amount)
        self.money += amount
        self.attempt(self.world.rewards.fund, STRANGER, self.run, amount)

    # Acts at a bad time or by the wrong member

    @rule(pick=picks, kind=st.integers(0, 9))
    def act_out_of_place(self, pick: int, kind: int) -> None:
        run, number = self.run, max(0, self.run.memory.round - (pick & 1))
        operators = [*sorted(run.members), STRANGER]
        who = operators[pick % len(operators)]
        digest = keccak(pick.to_bytes(4, "big"))
        vector = bytes(2 * (2 + self.run.memory.trainer_slots))
        acts: list[tuple[Any, ...]] = [
            (run.commit, who, number, digest if pick & 2 else bytes(32)),
            (run.reveal, number, who, digest, "Qm" * (1 + pick % 80), SALT),
            (run.draw, number),
            (run.commit_weights, who, number, digest),
            (run.reveal_weights, who, number, vector[: len(vector) - pick % 2], digest, "Qe", SALT),
            (run.void_round, number),
            (run.start,),
            (run.close, who),
            (run.timeout, number, pick % 9),
            (run.punish, number, who, digest),
        ]
        self.attempt(*acts[kind])

    @rule(pick=picks)
    def relay(self, pick: int) -> None:
        """A batch with what can be taken, a stranger's, and one twice."""
        number = self.run.memory.round
        signers = [who for who in sorted(self.run.members) if who in self.play.mirror.keys]
        chosen = [who for at, who in enumerate(signers) if pick >> at & 1]
        items = [(who, keccak(who.encode())) for who in [*chosen, *chosen[:1], self.play.operator(77)]]
        self.attempt(self.run.commit_batch, number, items)

    @rule(pick=picks)
    def attest(self, pick: int) -> None:
        run = self.run
        number = run.next_behind()
        number = run.memory.round if number is None else number
        if run.kept(number) is None or (pick & 3 and run.phase()[0] != Phase.SETTLE):
            return
        header = self.play.honest(number).header
        operators = sorted(run.members)
        if self.attempt(run.attest, operators[pick % len(operators)], header, "Qa") and run.stands(number):
            self.note_settled(number)

    def note_settled(self, number: int) -> None:
        """Keep what attestations settled; the honest leaves are those of the moment before."""
        self.play.settled.pop(number, None)

    # Disputes

    @rule(pick=picks)
    def challenge_the_honest(self, pick: int) -> None:
        """Every kind of challenge about random leaves of the head; most find nothing wrong."""
        run, head = self.run, self.run.memory.paid_plus_one - 1
        number = head - pick % 2
        if number < 0 or number not in self.play.settled or run.kept(number) is None:
            return
        settled = self.play.settled[number]
        leaves, tree = settled.leaves, opened(settled.header)
        at, other = pick % len(leaves), pick // 5 % len(leaves)
        leaf, proof = leaves[at], settled.tree.proof(at)
        before = run.round(number).previous_paid
        if before and before - 1 not in self.play.settled:
            return
        previous = previous_leaf(self.play.settled[before - 1] if before else None, at)
        shown = (tree, leaf, proof)
        second = (leaves[other], settled.tree.proof(other))
        vectors = self.play.facts(number).vectors
        slot = pick % 18
        acts: list[tuple[Any, ...]] = [
            (run.challenge_row, *shown, slot, vectors.get(slot, b"")),
            (run.challenge_weight, *shown),
            (run.challenge_coverage, *shown, *second),
            (run.challenge_amount, settled.header, leaf, proof, previous),
            (run.challenge_reputation, settled.header, leaf, proof, previous),
            (run.challenge_sum, *shown, *second),
            (run.challenge_first_sum, *shown),
            (run.challenge_last_sum, *shown),
            (run.challenge_identity, *shown),
        ]
        self.attempt(*acts[pick // 3 % len(acts)])

    @rule(pick=picks)
    def demand_and_answer(self, pick: int) -> None:
        run, head = self.run, self.run.memory.paid_plus_one - 1
        if head < 0 or head not in self.play.settled:
            return
        settled = self.play.settled[head]
        at = pick % (len(settled.leaves) + 1)
        tree = opened(settled.header)
        sent = 63 + pick % 4
        self.world.coin.wei[WATCHER] += sent
        if not self.attempt(run.demand, WATCHER, tree, at, sent):
            return
        self.world.wait(pick % 7)
        shown = at if pick & 8 else (at + 1) % len(settled.leaves)
        self.attempt(run.answer, STRANGER, tree, settled.leaves[shown], settled.tree.proof(at))

    @precondition(lambda self: not self.run.finished)
    @rule(pick=picks)
    def equivocate(self, pick: int) -> None:
        run, number = self.run, self.run.memory.round
        entries = self.world.stakes.registry(run).entries
        keys = sorted(self.play.mirror.keys)
        # Former keys too, and keys of trainers.
        signer = keys[pick % len(keys)]
        header = self.play.honest(number).header
        body = header.body
        changes: list[dict[str, Any]] = [
            {"state_root": keccak(b"other")},
            {"attempt": body.attempt + 1},
            {"previous": keccak(b"previous")},
            {"budget_wei": body.budget_wei + 1},
            {},
        ]
        changed = changes[pick // 11 % len(changes)]
        other = replace(header, body=replace(body, **changed))
        second = signer if pick & 64 else keys[pick // 3 % len(keys)]
        if not self.attempt(run.equivocation, header, signer, other, second):
            return
        index = self.world.stakes.registry(run).by_operator[signer]
        assert entries[index].role == Role.VALIDATOR
        self.world.wait(self.run.params.answer_seconds * (pick & 1))
        self.attempt(run.punish_equivocation, number, index, None, SALT)

    # Money

    @rule(pick=picks)
    def claim_many(self, pick: int) -> None:
        settled = self.play.settled
        if not settled:
            return
        number = sorted(settled)[pick % len(settled)]
        leaves = [leaf for leaf in settled[number].leaves if pick >> leaf.index % 12 & 1]
        proofs = [settled[number].tree.proof(leaf.index) for leaf in leaves]
        shown = [claim_leaf(leaf) for leaf in leaves]
        self.attempt(self.world.rewards.claim_many, self.run, opened(settled[number].header), shown, proofs)
        if leaves:
            count = len(settled[number].leaves)
            self.attempt(self.world.rewards.claim_next, self.run, count, shown[0], proofs[0])


WEIGHTS = {
    "finish_round": 14,
    "challenge": 4,
    "punish_and_settle_again": 5,
    "demand_and_time_out": 1,
    "demand_and_answer": 2,
    "challenge_the_honest": 4,
    "equivocate": 1,
    "fine": 2,
    "join": 2,
    "leave_or_withdraw": 3,
    "change_key": 1,
    "add_stake": 1,
    "fund": 1,
    "check_in": 3,
    "wait": 2,
    "relay": 1,
    "attest": 2,
    "act_out_of_place": 3,
    "claim": 3,
    "claim_many": 2,
    "close_or_refund": 1,
}
ONLY_OPEN = ("finish_round", "equivocate")
DRAWN: dict[str, Callable[[Random], Any]] = {
    "pick": lambda chance: chance.randrange(1 << 16),
    "cheats": lambda chance: chance.randrange(18),
    "kind": lambda chance: chance.randrange(10),
    "closes": lambda chance: chance.randrange(40),
    "role": lambda chance: chance.choice([Role.TRAINER, Role.VALIDATOR]),
    "stake": lambda chance: chance.randrange(900, 9000),
    "amount": lambda chance: chance.choice([0, 1, chance.randrange(3000)]),
    "seconds": lambda chance: chance.choice([1, 5, 30, 100, 1000]),
    "withdraws": lambda chance: chance.random() < 0.6,
}
CHECKS = ("no_money_is_made_or_lost", "claims_never_fall", "what_is_final_stays", "the_pay_chain_leads_back_and_grows")


def rule_arguments(name: str) -> Sequence[str]:
    """Return the names of a rule's arguments."""
    return list(signature(getattr(Differential, name)).parameters)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    log = tmp_path_factory.mktemp("differential") / "anvil.log"
    process = AnvilProcess(binary=find_anvil(ROOT), port=free_port(), log_path=log, block_time_seconds=None).start()
    yield Stage(process)
    process.stop()


def play_history(stage: Stage, seed: int, steps: int) -> None:
    """Play one history: rules of `Differential` in a random order, rounds more often than all else."""
    chance = Random(seed)
    Differential.stage = stage
    history = Differential()
    names = list(WEIGHTS)
    history.start()
    for step in range(steps):
        name = chance.choices(names, list(WEIGHTS.values()))[0]
        arguments = {key: draw(chance) for key, draw in DRAWN.items() if key in rule_arguments(name)}
        if name in ONLY_OPEN and not history.open():
            continue
        try:
            getattr(history, name)(**arguments)
        except Refusal:
            # In the middle of a round: the time ran out, or somebody had acted out of turn. Both refused it.
            assert name in ("finish_round", "punish_and_settle_again"), name
        except Exception as error:
            error.add_note(f"history {seed}, step {step}: {name}({arguments})")
            raise
        for check in CHECKS:
            getattr(history, check)()
    history.teardown()


def run_histories(stage: Stage, histories: int, steps: int) -> int:
    """Play so many histories and return how many acts both took; EMERIT_SEED makes them others than the usual ones."""

    @settings(
        max_examples=histories,
        deadline=None,
        derandomize="EMERIT_SEED" not in os.environ,
        database=None,
        # A history is known by its seed: there is nothing to shrink.
        phases=[Stages.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(1, (1 << 64) - 1))
    def histories_agree(number: int) -> None:
        play_history(stage, number, steps)

    if "EMERIT_SEED" in os.environ:
        histories_agree = seed(int(os.environ["EMERIT_SEED"]))(histories_agree)
    histories_agree()
    taken = sum(each[0] for each in stage.acts.values())
    print(f"{taken} acts taken, {sum(each[1] for each in stage.acts.values())} refused: {stage.acts}")
    return taken


def test_the_contracts_do_what_the_model_does(stage: Stage) -> None:
    assert run_histories(stage, 12, 50) > 50 * 12


@pytest.mark.deep
@pytest.mark.timeout(7200)
def test_the_contracts_do_what_the_model_does_in_long_histories(stage: Stage) -> None:
    assert run_histories(stage, 200, 150) > 50 * 200
