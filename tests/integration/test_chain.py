"""emerit.chain against a real Anvil and the real contracts."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port, port_taken
from emerit.chain.artifacts import load_abi
from emerit.chain.deployment import Deployment, deploy_all
from emerit.chain.factory import FactoryClient
from emerit.chain.records import Receipt
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError, EmeritError, PreconditionError, StateError, UnavailableError, UsageError
from emerit.protocol.commitments import (
    contribution_commitment,
    header_hash,
    pack_vector,
    reveals_hash,
    weights_commitment,
)
from emerit.protocol.merkle import MerkleSumTree
from emerit.protocol.types import Header, Leaf, Phase, Role, RoundStatus, RunParams, unpack_lanes

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
TOKEN = 10**18
ZERO = bytes(32)
CONDITION_SECONDS = 20.0
MakeAnvil = Callable[..., AnvilProcess]


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
            max_rounds=0,
            min_trainers=max(trainers, 1),
            min_validators=max(validators, 1),
            validator_share_bps=2000,
            reward_rate_wei_per_second=TOKEN,
            min_trainer_bond_wei=10 * TOKEN,
            min_validator_stake_wei=100 * TOKEN,
            stake_unit_wei=TOKEN,
            reputation_keep_ppb=990_000_000,
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
        where = (self.chain.chain_id, self.run.address, round, member.sender.address)
        return contribution_commitment(*where, content, cid, salt)

    def contribution(self, member: Member, round: int) -> tuple[bytes, str, bytes]:
        return bytes([member.index + 1, round]) * 16, f"bafyblob{round}x{member.index}", b"\x05" * 32

    def commit(self, member: Member, round: int) -> Receipt:
        return self.run.commit(member.sender, round, self.commitment(member, round))

    def play_until_settle(self, round: int) -> None:
        for trainer in self.trainers:
            self.commit(trainer, round)
        for trainer in self.trainers:
            self.run.reveal(trainer.sender, round, *self.contribution(trainer, round))
        advance(self.chain, 2)
        self.run.draw(self.sponsor, round)
        vector = pack_vector([7, 8, *(1000 + n for n in range(len(self.trainers)))])
        opening = (vector, b"\x06" * 32, "bafyevidence", b"\x07" * 32)
        for validator in self.validators:
            where = (self.chain.chain_id, self.run.address, round, validator.sender.address)
            self.run.commit_weights(validator.sender, round, weights_commitment(*where, *opening))
        for validator in self.validators:
            self.run.reveal_weights(validator.sender, round, *opening)

    def settlement(self, round: int) -> tuple[Header, MerkleSumTree]:
        info = self.run.round_info(round)
        members = [*self.trainers, *self.validators]
        leaves = [
            Leaf(m.index, m.sender.address, (round + 1) * 1000 * (m.index + 1), 10 + m.index, 5 * 10**8, ZERO)
            for m in members
        ]
        tree = MerkleSumTree(leaves)
        header = Header(
            run=self.run.address,
            round=round,
            attempt=0,
            previous=self.run.status().last_header_hash,
            reveals=info.reveals_hash,
            root=tree.root.hash,
            total_weight=tree.root.weight,
            total_amount_wei=tree.root.amount_wei,
            leaf_count=len(leaves),
            budget_wei=self.run.budget_of(round),
            state_root=b"\x08" * 32,
            aggregate_hash=b"\x09" * 32,
        )
        return header, tree

    def play(self, round: int) -> tuple[Header, MerkleSumTree]:
        self.play_until_settle(round)
        header, tree = self.settlement(round)
        for validator in self.validators:
            self.run.attest(validator.sender, header, "bafyaggregate")
        return header, tree


# ---- Anvil


def test_anvil_answers_keeps_wall_time_and_stops(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(chain_id=4242)
    chain = Chain(anvil.rpc_url, 4242)
    assert "anvil" in chain.client_version().lower()
    until(lambda: chain.block_number() >= 2)
    assert abs(chain.timestamp() - time.time()) < 5
    assert all(chain.balance_wei(account.address) > 0 for account in anvil.dev_accounts())
    pid = anvil.pid
    assert anvil.is_running() and os.getpgid(pid) != os.getpgid(0)
    anvil.stop()
    assert not anvil.is_running() and not port_taken(anvil.port)
    assert error_of(chain.block_number).code in ("rpc-unreachable", "rpc-timeout")
    assert error_of(lambda: anvil.pid).code == "anvil-not-running"
    anvil.stop()


def test_anvil_refuses_a_port_in_use(anvil: AnvilProcess, make_anvil: MakeAnvil) -> None:
    error = error_of(lambda: make_anvil(port=anvil.port))
    assert isinstance(error, PreconditionError) and error.code == "port-in-use"


def test_anvil_that_stops_at_once_says_why(make_anvil: MakeAnvil) -> None:
    error = error_of(lambda: make_anvil(hardfork="nonesuch"))
    assert error.code == "anvil-failed" and "nonesuch" in error.cause


def test_seed_and_mnemonic_fix_the_accounts(make_anvil: MakeAnvil) -> None:
    words = "test test test test test test test test test test test junk"
    known = make_anvil(mnemonic=words, accounts=2).dev_accounts()
    seeded = [make_anvil(seed=7, accounts=1).dev_accounts()[0].address for _ in range(2)]
    assert known[0].address == "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266" and len(known) == 2
    assert seeded[0] == seeded[1] != known[0].address


def test_state_survives_a_restart(make_anvil: MakeAnvil, tmp_path: Path) -> None:
    state = tmp_path / "folder" / "chain.json"
    anvil = make_anvil(state_path=state)
    chain = Chain(anvil.rpc_url, anvil.chain_id)
    sender = Sender(chain, anvil.dev_accounts()[0])
    file = tmp_path / "deployment.json"
    deployment = deploy_all(chain, sender, 10**9 * TOKEN, 3600, file)
    head, nonce = chain.head(), chain.nonce(sender.address)
    logs = chain.logs(deployment.token, 0, head.number)
    anvil.stop()
    assert state.stat().st_size > 0

    for _ in range(2):
        anvil.start()
        assert chain.block(head.number) == head
        assert chain.nonce(sender.address) == nonce
        assert chain.logs(deployment.token, 0, head.number) == logs and logs
        assert deploy_all(chain, sender, 10**9 * TOKEN, 3600, file) == deployment
        until(lambda past=head.number: chain.block_number() > past + 1)  # type: ignore[misc]
        assert abs(chain.timestamp() - time.time()) < 5
        sender.transfer(sender.address, 1)
        head, nonce = chain.head(), nonce + 1
        anvil.stop()


def test_a_state_that_was_not_written_is_an_error(make_anvil: MakeAnvil, tmp_path: Path) -> None:
    anvil = make_anvil(state_path=tmp_path / "folder" / "chain.json")
    (tmp_path / "folder").rmdir()
    (tmp_path / "folder").write_text("in the way")
    error = error_of(anvil.stop)
    assert isinstance(error, StateError) and error.code == "anvil-state-not-written"


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_anvil_ends_with_a_parent_that_is_killed() -> None:
    port = free_port()
    program = (
        "import signal, sys; from pathlib import Path; from emerit.chain.anvil import AnvilProcess\n"
        "AnvilProcess(port=int(sys.argv[1]), binary=Path(sys.argv[2])).start(); print('up', flush=True)\n"
        "signal.pause()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(port), str(find_anvil(ROOT))], stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None and child.stdout.readline() == b"up\n"
        assert port_taken(port)
        child.send_signal(signal.SIGKILL)
    until(lambda: not port_taken(port))


# ---- deployment


def test_deployment_is_idempotent_and_continues(still_anvil: AnvilProcess, tmp_path: Path) -> None:
    chain = Chain(still_anvil.rpc_url)
    sender = Sender(chain, still_anvil.dev_accounts()[0])
    path = tmp_path / "31337.json"
    steps: list[tuple[str, bool]] = []

    def on_step(name: str, _: str, reused: bool) -> None:
        steps.append((name, reused))

    whole = deploy_all(chain, sender, 5 * TOKEN, 60, path, on_step=on_step)
    nonce = chain.nonce(sender.address)
    assert [reused for _, reused in steps] == [False] * 6
    assert deploy_all(chain, sender, 5 * TOKEN, 60, path, on_step=on_step) == whole == Deployment.load(path)
    assert deploy_all(chain, sender, 5 * TOKEN, 60, existing=whole) == whole
    assert chain.nonce(sender.address) == nonce and [reused for _, reused in steps[6:]] == [True] * 6
    whole.verify(chain)

    half = {name: whole.addresses[name] for name in ("EmeritToken", "Stakes")}
    Deployment(whole.chain_id, whole.block, half, {}).save(path)
    again = deploy_all(chain, sender, 5 * TOKEN, 60, path)
    assert again.is_complete and again.token == whole.token and again.rewards != whole.rewards


def test_deployments_that_do_not_fit(still_anvil: AnvilProcess, tmp_path: Path) -> None:
    chain = Chain(still_anvil.rpc_url)
    sender = Sender(chain, still_anvil.dev_accounts()[0])
    clean = chain.request("evm_snapshot")
    whole = deploy_all(chain, sender, 5 * TOKEN, 60)

    def code(deployment: Deployment, cap: int = 5 * TOKEN, unbonding: int = 60) -> str:
        return error_of(lambda: deploy_all(chain, sender, cap, unbonding, existing=deployment)).code

    assert code(whole, cap=6 * TOKEN) == code(whole, unbonding=61) == "deployment-differs"
    swapped = {**whole.addresses, "Stakes": whole.rewards}
    assert code(replace(whole, addresses=swapped)) == "deployment-differs"
    assert code(replace(whole, chain_id=1)) == "wrong-chain"
    other = deploy_all(chain, sender, 5 * TOKEN, 60)
    mixed = {**whole.addresses, "Rewards": other.rewards}
    assert code(replace(whole, addresses=mixed)) == "deployment-differs"
    chain.request("evm_revert", [clean])
    assert code(whole) == "deployment-gone"
    assert error_of(lambda: whole.verify(chain)).code == "deployment-gone"


# ---- transactions


@pytest.fixture
def stage(still_anvil: AnvilProcess) -> Stage:
    return Stage(still_anvil)


def test_a_known_revert_costs_nothing(stage: Stage) -> None:
    stage.start()
    trainer = stage.trainers[0].sender
    nonce, balance = stage.chain.nonce(trainer.address), trainer.balance_wei()
    error = error_of(lambda: stage.run.reveal(trainer, 0, ZERO, "bafy", ZERO))
    assert isinstance(error, ChainError) and error.code == "wrong-phase"
    assert error.cause == "Round 0 is in phase train, but this belongs to phase reveal."
    assert error.fix
    assert (stage.chain.nonce(trainer.address), trainer.balance_wei()) == (nonce, balance)


def test_custom_errors_of_each_contract_are_decoded(stage: Stage) -> None:
    stranger = stage.funded_key(77)
    run, sponsor, trainer = stage.run, stage.sponsor, stage.trainers[0].sender
    early = error_of(lambda: run.close(stranger))
    assert early.code == "not-sponsor" and stranger.address in early.cause
    assert error_of(lambda: run.check_in(stranger)).code == "not-operator"
    assert error_of(lambda: run.leave(stranger)).code == "not-member"
    assert error_of(lambda: run.withdraw(trainer)).code == "not-left"
    assert error_of(lambda: run.refund(sponsor)).code == "not-finished"
    assert error_of(lambda: run.set_operator(trainer, stage.trainers[1].sender.address)).code == "operator-taken"
    assert error_of(lambda: run.add_stake(trainer, 0)).code == "zero-amount"
    assert error_of(lambda: stage.token.mint(stranger, stranger.address, 1)).code == "not-minter"
    assert error_of(lambda: stage.token.mint(sponsor, sponsor.address, 10**30)).code == "erc20-exceeded-cap"
    poor = error_of(lambda: run.join(stranger, Role.TRAINER, stranger.address, 10 * TOKEN))
    assert poor.code == "erc20-insufficient-balance" and stage.chain.nonce(stranger.address) == 0
    assert error_of(lambda: stage.token.transfer(stranger, sponsor.address, 1)).code == "erc20-insufficient-balance"
    stage.token.mint(sponsor, stranger.address, 10 * TOKEN)
    low = error_of(lambda: run.join(stranger, Role.TRAINER, stranger.address, TOKEN))
    assert low.code == "stake-too-low" and f"{10 * TOKEN} wei" in low.cause
    bad = error_of(lambda: RunClient.create(sponsor, stage.deployment, replace(stage.params, train_seconds=0)))
    assert bad.code == "bad-params" and "trainSeconds" in bad.cause
    assert error_of(lambda: run.join(stranger, Role.TRAINER, "0x12", TOKEN)).code == "address-invalid"
    header, tree = stage.settlement(0)
    leaf = Leaf(0, trainer.address, 1, 1, 1, ZERO)
    assert error_of(lambda: run.claim(trainer, header, leaf, tree.proof(0))).code == "unknown-header"
    assert error_of(lambda: run.materialise(trainer, header, leaf, tree.proof(0))).code == "unknown-header"


def test_an_address_without_a_run(stage: Stage) -> None:
    nothing = RunClient(stage.chain, "0x" + "12" * 20)
    assert error_of(nothing.status).code == "no-contract"
    assert error_of(lambda: RunClient(stage.chain, "12")).code == "address-invalid"
    token = RunClient(stage.chain, stage.deployment.token)
    assert error_of(token.status).code == "reverted"


def test_nonce_is_read_again_when_another_program_used_it(stage: Stage) -> None:
    account = stage.sponsor.account
    one, two = Sender(stage.chain, account), Sender(stage.chain, account)
    for sender in (one, two, two, one, two):
        sender.transfer(account.address, 1)
    assert stage.chain.nonce(account.address, "latest") == stage.chain.nonce(account.address)


def test_a_nonce_that_is_pending_elsewhere_is_stepped_over(stage: Stage) -> None:
    account = stage.sponsor.account
    first, second = Sender(stage.chain, account), Sender(stage.chain, account)
    first.transfer(account.address, 1)
    second.transfer(account.address, 1)
    stage.chain.request("evm_setAutomine", [False])
    # Different amounts: the same transaction of two programs would be one transaction.
    threads = [
        in_thread(lambda: second.transfer(account.address, 2)),
        in_thread(lambda: first.transfer(account.address, 3)),
    ]
    until(lambda: pending_count(stage.chain) == 2)
    stage.chain.request("evm_mine")
    for thread, results in threads:
        thread.join()
        assert isinstance(results[0], Receipt)


def test_threads_share_a_sender(stage: Stage) -> None:
    before = stage.chain.nonce(stage.sponsor.address)
    calls = [in_thread(lambda: stage.sponsor.transfer(stage.sponsor.address, 1)) for _ in range(12)]
    for thread, _ in calls:
        thread.join()
    receipts = [results[0] for _, results in calls]
    assert len({receipt.tx_hash for receipt in receipts}) == 12
    assert stage.chain.nonce(stage.sponsor.address) == before + 12


def test_no_funds_for_gas_says_who_needs_them(stage: Stage) -> None:
    broke: LocalAccount = Account.from_key(b"\x77" * 32)
    error = error_of(lambda: stage.run.start(Sender(stage.chain, broke)))
    assert isinstance(error, ChainError) and error.code == "insufficient-gas-funds"
    assert broke.address in error.cause and broke.address in error.fix
    assert "has 0 wei" in error.cause
    more = error_of(lambda: Sender(stage.chain, broke).transfer(stage.sponsor.address, 1))
    assert more.code == "insufficient-gas-funds"


def test_a_transaction_that_is_not_mined_is_replaced_not_repeated(stage: Stage) -> None:
    chain, account = stage.chain, stage.sponsor.account
    sender = Sender(chain, account, bump_after_seconds=0.2)
    nonce = chain.nonce(account.address)
    chain.request("evm_setAutomine", [False])
    thread, results = in_thread(lambda: sender.transfer(account.address, 1))

    def pending_fee() -> int:
        pending = chain.request("txpool_content")["pending"].values()
        return max((int(each["maxPriorityFeePerGas"], 16) for found in pending for each in found.values()), default=0)

    first = until(pending_fee)
    until(lambda: pending_fee() > first)
    assert pending_count(chain) == 1
    chain.request("evm_mine")
    thread.join()
    assert isinstance(results[0], Receipt)
    assert chain.nonce(account.address, "latest") == nonce + 1 and pending_count(chain) == 0


def test_a_transaction_displaced_by_another_program(stage: Stage) -> None:
    chain, account = stage.chain, stage.sponsor.account
    nonce = chain.nonce(account.address)
    chain.request("evm_setAutomine", [False])
    sender = Sender(chain, account, bump_after_seconds=0.2)
    thread, results = in_thread(lambda: sender.transfer(account.address, 1))
    until(lambda: pending_count(chain) == 1)
    rival = account.sign_transaction(
        {
            "to": account.address,
            "value": 2,
            "nonce": nonce,
            "gas": 21000,
            "chainId": chain.chain_id,
            "maxFeePerGas": 10**15,
            "maxPriorityFeePerGas": 10**14,
        }
    )
    chain.request("eth_sendRawTransaction", ["0x" + bytes(rival.raw_transaction).hex()])
    chain.request("evm_mine")
    thread.join()
    assert isinstance(results[0], ChainError) and results[0].code == "nonce-taken"
    chain.request("evm_setAutomine", [True])
    assert sender.transfer(account.address, 1).gas_used == 21000


def test_a_transaction_that_stays_pending_has_a_deadline(stage: Stage) -> None:
    stage.chain.request("evm_setAutomine", [False])
    sender = Sender(stage.chain, stage.sponsor.account, deadline_seconds=0.3)
    error = error_of(lambda: sender.transfer(sender.address, 1))
    assert isinstance(error, UnavailableError) and error.code == "transaction-pending"
    stage.chain.request("evm_mine")
    stage.chain.request("evm_setAutomine", [True])
    sender.transfer(sender.address, 1)


def test_a_revert_in_the_block_is_decoded_too(stage: Stage) -> None:
    stage.chain.request("evm_setAutomine", [False])
    others = [member.sender for member in stage.trainers]
    calls = [in_thread(lambda s=s: stage.run.start(s)) for s in others]  # type: ignore[misc]
    until(lambda: pending_count(stage.chain) == 2)
    stage.chain.request("evm_mine")
    for thread, _ in calls:
        thread.join()
    outcomes = [results[0] for _, results in calls]
    failed = next(each for each in outcomes if isinstance(each, ChainError))
    assert any(isinstance(each, Receipt) for each in outcomes)
    assert failed.code == "already-started" and "was mined in block" in failed.cause


def test_waiting_adapts_to_a_chain_with_a_block_time(make_anvil: MakeAnvil) -> None:
    anvil = make_anvil(block_time_seconds=1, mixed_mining=False)
    counted: list[str] = []
    chain = Chain(anvil.rpc_url, observe=lambda method, _: counted.append(method))
    sender = Sender(chain, anvil.dev_accounts()[0])
    receipt = sender.transfer(sender.address, 1)
    assert receipt.block >= 1
    assert counted.count("eth_getTransactionReceipt") < 20


# ---- a whole run


def test_a_round_from_start_to_claim(stage: Stage) -> None:
    run, chain = stage.run, stage.chain
    assert run.status().phase is Phase.NOT_STARTED and run.next_round() == 0
    assert run.commits(0) == [] and run.settled() == [] and run.round_info(0).status is RoundStatus.NONE
    assert run.params() == stage.params and run.sponsor() == stage.sponsor.address
    stage.start()
    status = run.status()
    assert (status.phase, status.round, status.expected) == (Phase.TRAIN, 0, 2)
    assert status.timestamp == chain.timestamp() and status.block_number == chain.block_number()

    stage.play_until_settle(0)
    assert run.status().phase is Phase.SETTLE
    assert [(c.index, c.slot) for c in run.commits(0)] == [(0, 0), (1, 1)]
    assert run.commits(0)[0].commitment == stage.commitment(stage.trainers[0], 0)
    reveals, weights = run.reveals(0), run.weight_reveals(0)
    assert [(r.slot, r.cid) for r in reveals] == [(0, "bafyblob0x0"), (1, "bafyblob0x1")]
    assert [w.slot for w in weights] == [0, 1] and weights[0].evidence_cid == "bafyevidence"
    info = run.round_info(0)
    assert reveals_hash(reveals, weights) == info.reveals_hash
    assert info.stakes() == (100, 100) and unpack_lanes(info.stake_lanes)[:3] == (100, 100, 0)

    header, tree = stage.settlement(0)
    tampered = replace(header, budget_wei=header.budget_wei + 1)
    mismatch = error_of(lambda: run.attest(stage.validators[0].sender, tampered, ""))
    assert mismatch.code == "header-mismatch" and "budget" in mismatch.cause
    for validator in stage.validators:
        run.attest(validator.sender, header, "bafyaggregate")
    assert [a.header_hash for a in run.attestations(0)] == [header_hash(header)] * 2
    (settled,) = run.settled()
    assert settled.header == header and settled.aggregate_cid == "bafyaggregate"
    assert settled.header_hash == header_hash(header) == run.header_hash(0) and run.header_hash(1) is None
    assert settled.block == run.round_info(0).settled_block
    assert run.settled(1) == [] and run.status().round == 1 and run.settled_total_wei() == header.total_amount_wei

    leaf = Leaf(1, stage.trainers[1].sender.address, 2000, 11, 5 * 10**8, ZERO)
    assert error_of(lambda: run.claim(stage.sponsor, header, leaf, tree.proof(1))).code == "not-final"
    advance(chain, max(0, run.final_at(0) - chain.timestamp()))
    run.claim(stage.sponsor, header, leaf, tree.proof(1))
    run.materialise(stage.sponsor, header, leaf, tree.proof(1))
    assert run.claimed(leaf.account) == run.claimed_total() == 2000 == stage.token.balance_of(leaf.account)
    assert run.reputation_of(leaf.account) == 5 * 10**8
    assert stage.token.transfers_from(run.rewards_address) == {leaf.account: 2000}
    assert stage.token.total_paid_wei(run.rewards_address) == 2000
    again = error_of(lambda: run.claim(stage.sponsor, header, leaf, tree.proof(1)))
    assert again.code == "nothing-to-claim" and "2000 wei" in again.cause
    wrong = replace(leaf, cumulative_amount_wei=2001)
    assert error_of(lambda: run.claim(stage.sponsor, header, wrong, tree.proof(1))).code == "bad-proof"


def test_the_attestation_that_settles_has_gas_for_it(stage: Stage) -> None:
    stage.start()
    stage.play_until_settle(0)
    header, _ = stage.settlement(0)
    stage.chain.request("evm_setAutomine", [False])
    calls = [in_thread(lambda v=v: stage.run.attest(v.sender, header, "")) for v in stage.validators]  # type: ignore[misc]
    until(lambda: pending_count(stage.chain) == 2)
    stage.chain.request("evm_mine")
    for thread, results in calls:
        thread.join()
        assert isinstance(results[0], Receipt)
    assert stage.run.status().round == 1


def test_void_close_refund_leave_and_withdraw(stage: Stage) -> None:
    run, chain = stage.run, stage.chain
    stage.start()
    assert error_of(lambda: run.void_round(stage.sponsor, 0)).code == "wrong-phase"
    advance(chain, 10_000)
    assert error_of(lambda: run.draw(stage.sponsor, 1)).code == "wrong-round"
    run.draw(stage.sponsor, 0)
    advance(chain, 10_000)
    assert run.status().phase is Phase.EXPIRED
    run.void_round(stage.sponsor, 0)
    assert run.round_info(0).status is RoundStatus.VOID and run.status().round == 1
    leaver = stage.trainers[0].sender
    run.leave(leaver)
    entry = run.entry_of(leaver.address)
    assert entry is not None and entry.active_until == 2
    assert error_of(lambda: run.withdraw(leaver)).code == "still-bonded"
    advance(chain, 3600)
    run.withdraw(leaver)
    assert stage.token.balance_of(leaver.address) == 10 * TOKEN
    run.close(stage.sponsor)
    assert run.status().closed and not run.finished()
    run.draw(stage.sponsor, 1)
    advance(chain, 10_000)
    run.void_round(stage.sponsor, 1)
    assert run.finished() and run.status().phase is Phase.FINISHED
    run.refund(stage.sponsor)
    assert run.refunded() == run.funded() == 1_000 * TOKEN
    assert stage.token.balance_of(stage.sponsor.address) == 10_000 * TOKEN


def test_members_are_found_by_account_and_by_operator(stage: Stage) -> None:
    run = stage.run
    owner, operator = stage.trainers[0].sender, stage.funded_key(555)
    run.set_operator(owner, operator.address)
    entry = run.entry_of(operator.address)
    assert entry is not None and entry == run.entry_of(owner.address) == run.entry_of_operator(operator.address)
    assert run.entry_of_account(operator.address) is None and run.entry_of_operator(owner.address) is None
    assert entry.account == owner.address and entry.operator == operator.address
    assert run.entry_of("0x" + "99" * 20) is None
    registry = run.registry()
    assert [e.index for e in registry] == [0, 1, 2, 3]
    assert [(e.role, e.slot) for e in registry] == [
        (Role.TRAINER, 0),
        (Role.TRAINER, 1),
        (Role.VALIDATOR, 0),
        (Role.VALIDATOR, 1),
    ]
    assert run.expected_in(0) == 2**32 - 1
    run.check_in(operator)
    assert run.expected_in(0) == 0


def test_a_long_registry_comes_in_pages(still_anvil: AnvilProcess) -> None:
    stage = Stage(still_anvil, trainers=0, validators=1, min_trainers=1)
    chain, count = stage.chain, 140
    chain.request("anvil_autoImpersonateAccount", [True])
    token, stakes = stage.token.address, stage.run.stakes_address
    join, approve = load_abi("Stakes").functions["join"], load_abi("EmeritToken").functions["approve"]
    mint = load_abi("EmeritToken").functions["mint"]
    for number in range(count):
        account = "0x" + (0xABC000 + number).to_bytes(20, "big").hex()
        chain.request("anvil_setBalance", [account, hex(TOKEN)])
        for sender, to, data in (
            (stage.sponsor.address, token, mint.encode(account, 10 * TOKEN)),
            (account, token, approve.encode(stakes, 10 * TOKEN)),
            (account, stakes, join.encode(stage.run.address, 1, account, 10 * TOKEN)),
        ):
            call = {"from": sender, "to": to, "data": "0x" + data.hex(), "gas": hex(1_000_000)}
            tx_hash = chain.request("eth_sendTransaction", [call])
            until(lambda tx=tx_hash: chain.request("eth_getTransactionReceipt", [tx]))  # type: ignore[misc]
    registry = stage.run.registry()
    assert [entry.index for entry in registry] == list(range(count + 1))


def test_runs_of_a_factory(stage: Stage) -> None:
    second = RunClient.create(stage.sponsor, stage.deployment, replace(stage.params, manifest_cid="bafyother"))
    runs = stage.deployment.runs(stage.chain)
    assert [item.run for item in runs] == [stage.run.address, second.address]
    assert [item.manifest_cid for item in runs] == ["bafymanifest", "bafyother"]
    assert runs[0].sponsor == stage.sponsor.address and runs[1].reputation == second.reputation_address
    factory = FactoryClient(stage.chain, stage.deployment.factory)
    assert factory.is_run(second.address) and not factory.is_run(stage.deployment.token)
    assert RunClient(stage.chain, second.address).start_block == runs[1].block


# ---- events and reorganisations


def fresh(stage: Stage) -> RunClient:
    return RunClient(stage.chain, stage.run.address)


def test_events_are_fetched_once(stage: Stage) -> None:
    stage.start()
    stage.commit(stage.trainers[0], 0)
    counted: list[str] = []
    chain = Chain(stage.chain._provider._url, observe=lambda method, _: counted.append(method))
    run = RunClient(chain, stage.run.address)
    assert len(run.reveals(0)) == 0
    counted.clear()
    for _ in range(5):
        run.reveals(0)
    assert counted == ["eth_getBlockByNumber"] * 5
    counted.clear()
    stage.chain.request("evm_mine")
    run.reveals(0)
    assert counted == ["eth_getBlockByNumber", "eth_getLogs"]
    counted.clear()
    for _ in range(3):
        stage.chain.request("evm_mine")
    run.reveals(0)
    assert counted == ["eth_getBlockByNumber", "eth_getBlockByNumber", "eth_getLogs", "eth_getBlockByNumber"]


def test_events_after_a_reorganisation(stage: Stage) -> None:
    stage.start()
    run, chain = stage.run, stage.chain
    stage.commit(stage.trainers[0], 0)
    assert len(run.commits(0)) == 1
    stage.commit(stage.trainers[1], 0)
    assert len(run.commits(0)) == 2
    chain.request("anvil_reorg", [1, []])
    assert [c.index for c in run.commits(0)] == [0] == [c.index for c in fresh(stage).commits(0)]
    stage.trainers[1].sender = Sender(chain, stage.trainers[1].sender.account)
    stage.commit(stage.trainers[1], 0)
    assert [c.index for c in run.commits(0)] == [0, 1]


def test_events_when_the_whole_run_is_reorganised_away(stage: Stage) -> None:
    before = stage.chain.request("evm_snapshot")
    stage.start()
    stage.commit(stage.trainers[0], 0)
    assert len(stage.run.commits(0)) == 1
    stage.chain.request("evm_revert", [before])
    assert stage.run.commits(0) == []
    for member in (*stage.trainers, *stage.validators):
        member.sender = Sender(stage.chain, member.sender.account)
    stage.sponsor = Sender(stage.chain, stage.sponsor.account)
    stage.start()
    stage.commit(stage.trainers[1], 0)
    assert [c.index for c in stage.run.commits(0)] == [1]


@pytest.mark.parametrize("seed", range(3))
def test_the_cache_equals_a_fresh_one_whatever_happens(still_anvil: AnvilProcess, seed: int) -> None:
    stage = Stage(still_anvil, trainers=5, validators=1)
    stage.start()
    chain, choose = stage.chain, random.Random(seed)
    floor = chain.block_number()
    for _ in range(30):
        act = choose.choice(("commit", "commit", "mine", "mine 3", "reorg", "look"))
        depth = chain.block_number() - floor
        if act == "commit":
            done = {c.index for c in fresh(stage).commits(0)}
            waiting = [t for t in stage.trainers[:4] if t.index not in done]
            if waiting:
                member = choose.choice(waiting)
                sender = Sender(chain, member.sender.account)
                stage.run.commit(sender, 0, stage.commitment(member, 0))
        elif act.startswith("mine"):
            for _ in range(3 if "3" in act else 1):
                chain.request("evm_mine")
        elif act == "reorg" and depth:
            chain.request("anvil_reorg", [choose.randint(1, min(depth, 4)), []])
        elif act == "look":
            stage.run.commits(0)
        if choose.random() < 0.5:
            assert stage.run.commits(0) == fresh(stage).commits(0)
    assert stage.run.commits(0) == fresh(stage).commits(0)


def test_old_rounds_are_let_go_and_fetched_again(stage: Stage) -> None:
    stage.start()
    short = RunClient(stage.chain, stage.run.address, keep_rounds=1)
    seen = []
    for round in range(3):
        stage.play(round)
        seen.append(short.reveals(round))
    assert [len(each) for each in seen] == [2, 2, 2]
    late = RunClient(stage.chain, stage.run.address, keep_rounds=1)
    for client in (short, late):
        assert [client.reveals(round) for round in range(3)] == seen
        assert [len(client.attestations(round)) for round in range(4)] == [2, 2, 2, 0]
        assert [c.slot for c in client.commits(0)] == [0, 1]
        assert [item.header.round for item in client.settled()] == [0, 1, 2]
        assert client.reveals(99) == []
        assert set(client._events._rounds) == {2}


# ---- what polling costs


def test_polling_the_status_costs_little_cpu(stage: Stage) -> None:
    stage.start()
    stage.run.status()
    polls = 200
    start = time.process_time()
    for _ in range(polls):
        stage.run.status()
    each = (time.process_time() - start) / polls
    print(f"status(): {each * 1000:.2f} ms of client CPU")
    assert each < 0.003


def test_the_usage_error_of_an_unknown_address_is_a_usage_error(stage: Stage) -> None:
    assert isinstance(error_of(lambda: RunClient(stage.chain, "")), UsageError)
