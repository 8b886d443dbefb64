"""A run with members on a chain whose time the test moves, and how tests wait for conditions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from emerit.chain.anvil import AnvilProcess
from emerit.chain.deployment import deploy_all
from emerit.chain.records import Receipt
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import EmeritError
from emerit.protocol.commitments import (
    contribution_commitment,
    pack_vector,
    weights_commitment,
)
from emerit.protocol.settlement_tree import SettlementTree
from emerit.protocol.types import Body, Header, Leaf, LeafDetail, ReputationParams, Role, RunParams, Tree

TOKEN = 10**18
ZERO = bytes(32)
CONDITION_SECONDS = 20.0


def until(condition: Callable[[], Any]) -> Any:
    """Ask until the answer is true; a condition that never comes is a failure."""
    expires = time.monotonic() + CONDITION_SECONDS
    while time.monotonic() < expires:
        if found := condition():
            return found
    raise AssertionError("the condition did not come true")


def error_of(call: Callable[[], Any]) -> EmeritError:
    with pytest.raises(EmeritError) as caught:
        call()
    return caught.value


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """Run a call beside the test; its result, or the error it raised, is put into the list."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(call())
        except EmeritError as error:
            results.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, results


def advance(chain: Chain, seconds: int) -> None:
    """Let chain time pass."""
    chain.request("evm_increaseTime", [seconds])
    chain.request("evm_mine")


def pending_count(chain: Chain) -> int:
    return int(chain.request("txpool_status")["pending"], 16)


# ---- a run with members


@dataclass
class Member:
    sender: Sender
    role: Role
    slot: int
    index: int


class Stage:
    """Contracts, one run and its members on a chain whose time the test moves."""

    def __init__(self, anvil: AnvilProcess, trainers: int = 2, validators: int = 2, **changes: Any) -> None:
        self.anvil = anvil
        self.chain = Chain(anvil.rpc_url, anvil.chain_id)
        self.sponsor = Sender(self.chain, anvil.dev_accounts()[0])
        self.deployment = deploy_all(self.chain, self.sponsor, 10**9 * TOKEN, 3600)
        self.params = replace(self._params(trainers, validators), **changes)
        self.run = RunClient.create(self.sponsor, self.deployment, self.params)
        self.token = self.run.token()
        self.trainers = [self._member(Role.TRAINER, n, n) for n in range(trainers)]
        self.validators = [self._member(Role.VALIDATOR, n, trainers + n) for n in range(validators)]
        self.token.mint(self.sponsor, self.sponsor.address, 10_000 * TOKEN)
        self.run.fund(self.sponsor, 1_000 * TOKEN)

    def _params(self, trainers: int, validators: int) -> RunParams:
        return RunParams(
            reward_token=self.deployment.token,
            manifest_hash=b"\x01" * 32,
            manifest_cid="bafymanifest",
            initial_state_root=b"\x02" * 32,
            train_seconds=1000,
            reveal_seconds=100,
            draw_delay_seconds=0,
            score_seconds=100,
            weight_reveal_seconds=100,
            settle_seconds=100,
            min_round_seconds=0,
            nominal_round_seconds=1000,
            challenge_window_seconds=50,
            answer_seconds=5,
            claim_period_seconds=1000,
            max_rounds=0,
            history_rounds=64,
            epoch_rounds=1,
            min_trainers=max(trainers, 1),
            min_validators=max(validators, 1),
            validator_share_bps=2000,
            slash_rounds=2,
            reward_rate_wei_per_second=TOKEN,
            min_trainer_bond_wei=10 * TOKEN,
            min_validator_stake_wei=100 * TOKEN,
            stake_unit_wei=TOKEN,
            miss_fine_wei=TOKEN,
            demand_bond_wei=10**15,
            reputation=ReputationParams(850_000_000, 900_000_000, 500_000_000, 200_000_000, 990_000_000, 4),
        )

    def funded_key(self, seed: int) -> Sender:
        account: LocalAccount = Account.from_key(seed.to_bytes(32, "big"))
        self.sponsor.transfer(account.address, TOKEN)
        return Sender(self.chain, account)

    def _member(self, role: Role, slot: int, index: int) -> Member:
        sender = self.funded_key(1000 + index)
        amount = (10 if role is Role.TRAINER else 100) * TOKEN
        self.token.mint(self.sponsor, sender.address, amount)
        self.run.join(sender, role, sender.address, amount)
        return Member(sender, role, slot, index)

    def start(self) -> None:
        for member in (*self.trainers, *self.validators):
            self.run.check_in(member.sender)
        self.run.start(self.sponsor)

    def commitment(self, member: Member, round: int) -> bytes:
        content, cid, salt = self.contribution(member, round)
        where = (self.chain.chain_id, self.run.address, round, member.slot)
        return contribution_commitment(*where, content, cid, salt)

    def contribution(self, member: Member, round: int) -> tuple[bytes, str, bytes]:
        return bytes([member.index + 1, round]) * 16, f"bafyblob{round}x{member.index}", b"\x05" * 32

    def commit(self, member: Member, round: int) -> Receipt:
        return self.run.commit(member.sender, round, self.commitment(member, round))

    def reveal(self, member: Member, round: int) -> Receipt:
        return self.run.reveal(member.sender, round, member.sender.address, *self.contribution(member, round))

    def play_until_settle(self, round: int) -> None:
        for trainer in self.trainers:
            self.commit(trainer, round)
        for trainer in self.trainers:
            self.reveal(trainer, round)
        self.weigh(round)

    def weigh(self, round: int) -> None:
        """Draw, and let the validators commit to and reveal their weights."""
        advance(self.chain, 2)
        self.run.draw(self.sponsor, round)
        vector = pack_vector([7, 8, *(1000 + n for n in range(len(self.trainers)))])
        opening = (vector, b"\x06" * 32, "bafyevidence", b"\x07" * 32)
        for validator in self.validators:
            where = (self.chain.chain_id, self.run.address, round, validator.slot)
            self.run.commit_weights(validator.sender, round, weights_commitment(*where, *opening))
        for validator in self.validators:
            self.run.reveal_weights(validator.sender, round, *opening)

    def leaf(self, member: Member, round: int) -> Leaf:
        """A made-up leaf: nothing that is checked on chain unless it is challenged."""
        detail = LeafDetail(10 + member.index, 5 * 10**8, ZERO, 0, 0)
        return Leaf(member.index, member.sender.address, (round + 1) * 1000 * (member.index + 1), detail)

    def settlement(self, round: int) -> tuple[Header, SettlementTree]:
        info = self.run.round_info(round)
        leaves = [self.leaf(member, round) for member in (*self.trainers, *self.validators)]
        tree = SettlementTree(leaves)
        body = Body(
            run=self.run.address,
            round=round,
            attempt=info.attempt,
            previous=self.run.status().last_header_hash,
            reveals=info.reveals_hash,
            budget_wei=self.run.budget_of(round),
            state_root=b"\x08" * 32,
            aggregate_hash=b"\x09" * 32,
        )
        total_wei = sum(leaf.cumulative_amount_wei for leaf in leaves)
        return Header(body, Tree(tree.root, sum(leaf.detail.weight for leaf in leaves), total_wei, len(leaves))), tree

    def play(self, round: int) -> tuple[Header, SettlementTree]:
        self.play_until_settle(round)
        header, tree = self.settlement(round)
        for validator in self.validators:
            self.run.attest(validator.sender, header, "bafyaggregate")
        return header, tree
