"""Senders against a real Anvil and the real contracts: reverts, nonces, fees, waiting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from eth_account import Account
from eth_account.signers.local import LocalAccount

from emerit.chain.anvil import AnvilProcess
from emerit.chain.records import Receipt
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.errors import ChainError, UnavailableError
from emerit.protocol.types import Leaf, LeafDetail, Role
from tests.integration.chain_stage import (
    TOKEN,
    ZERO,
    Stage,
    error_of,
    in_thread,
    pending_count,
    until,
)

pytestmark = pytest.mark.integration

MakeAnvil = Callable[..., AnvilProcess]


@pytest.fixture
def stage(still_anvil: AnvilProcess) -> Stage:
    return Stage(still_anvil)


# ---- transactions


def test_a_known_revert_costs_nothing(stage: Stage) -> None:
    stage.start()
    trainer = stage.trainers[0].sender
    nonce, balance = stage.chain.nonce(trainer.address), trainer.balance_wei()
    error = error_of(lambda: stage.run.reveal(trainer, 0, trainer.address, ZERO, "bafy", ZERO))
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
    leaf = Leaf(0, trainer.address, 1, LeafDetail(1, 1, ZERO, 0, 0))
    assert error_of(lambda: run.claim(trainer, header, leaf, tree.proof(0))).code == "unknown-header"
    assert error_of(lambda: run.materialise(trainer, header, leaf, tree.proof(0))).code == "unknown-header"


def test_an_address_without_a_run(stage: Stage) -> None:
    nothing = RunClient(stage.chain, "0x" + "12" * 20)
    for read in (nothing.status, nothing.params):
        error = error_of(read)
        assert error.code == "no-contract"
        assert nothing.address in error.cause, "the error says where nothing is"
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
