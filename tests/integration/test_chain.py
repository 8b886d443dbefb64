"""Runs on a real Anvil with the real contracts: reads, acts, events across reorganisations."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from emerit.chain.anvil import AnvilProcess
from emerit.chain.artifacts import load_abi
from emerit.chain.factory import FactoryClient
from emerit.chain.records import Receipt
from emerit.chain.rpc import Answer, Chain
from emerit.chain.run_client import RunClient
from emerit.chain.signing import sign_commit, sign_header
from emerit.chain.transactions import Sender
from emerit.errors import UnavailableError, UsageError
from emerit.protocol.commitments import reveals_hash
from emerit.protocol.eip712 import header_hash
from emerit.protocol.types import Phase, Role, RoundStatus
from tests.integration.chain_stage import (
    TOKEN,
    Stage,
    advance,
    error_of,
    in_thread,
    pending_count,
    until,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def stage(still_anvil: AnvilProcess) -> Stage:
    return Stage(still_anvil)


# ---- a whole run


def test_a_round_from_start_to_claim(stage: Stage) -> None:
    run, chain = stage.run, stage.chain
    assert run.status().phase is Phase.NOT_STARTED and run.next_round() == 0
    assert (
        run.commits(0) == []
        and run.pay_chain() == []
        and run.opened(0) is None
        and run.round_info(0).status is RoundStatus.NONE
    )
    assert run.params() == stage.params and run.sponsor() == stage.sponsor.address
    stage.start()
    status = run.status()
    assert (status.phase, status.round, status.expected) == (Phase.TRAIN, 0, 2)
    assert status.timestamp == chain.timestamp() and status.block_number == chain.block_number()

    stage.play_until_settle(0)
    assert run.status().phase is Phase.SETTLE
    assert [c.slot for c in run.commits(0)] == [0, 1]
    assert run.commits(0)[0].commitment == stage.commitment(stage.trainers[0], 0)
    reveals, weights = run.reveals(0), run.weight_reveals(0)
    assert [(r.slot, r.cid) for r in reveals] == [(0, "bafyblob0x0"), (1, "bafyblob0x1")]
    assert [w.slot for w in weights] == [0, 1] and weights[0].evidence_cid == "bafyevidence"
    info = run.round_info(0)
    assert reveals_hash(run.address, 0, reveals, weights) == info.reveals_hash
    opened, members = run.opened(0), run.members_in(0)
    assert opened is not None and opened.stake_lanes == info.stakes() == (100, 100, *[0] * 14)
    assert (opened.registry_size, opened.trainer_slots, opened.seats[:2]) == (4, 2, (2, 3))
    assert (opened.held_wei, opened.assign_seed) == (1_000 * TOKEN, info.assign_seed)
    assert [each.index for each in members.active_trainers()] == [0, 1]
    assert [members.seat_of(entry) for entry in members.entries] == [None, None, 0, 1]

    header, tree = stage.settlement(0)
    tampered = replace(header, body=replace(header.body, budget_wei=header.body.budget_wei + 1))
    mismatch = error_of(lambda: run.attest(stage.validators[0].sender, tampered, ""))
    assert mismatch.code == "header-mismatch" and "budget" in mismatch.cause
    for validator in stage.validators:
        run.attest(validator.sender, header, "bafyaggregate")
    assert [a.header_hash for a in run.attestations(0)] == [header_hash(header)] * 2
    (settled,) = run.pay_chain()
    assert run.state_chain() == run.settlements() == [settled] and settled.signer_mask == 0b11
    assert (settled.round, settled.attempt) == (0, 0)
    assert settled.header == header and settled.aggregate_cid == "bafyaggregate"
    assert settled.header_hash == header_hash(header) == run.header_hash(0) and run.header_hash(1) is None
    assert run.status().round == 1 and run.settled_total_wei() == header.tree.total_amount_wei

    leaf = stage.leaf(stage.trainers[1], 0)
    assert error_of(lambda: run.claim(stage.sponsor, header, leaf, tree.proof(1))).code == "not-final"
    assert not run.is_final(0)
    advance(chain, max(0, run.final_at(0) - chain.timestamp()))
    assert run.is_final(0)
    run.claim(stage.sponsor, header, leaf, tree.proof(1))
    run.materialise(stage.sponsor, header, leaf, tree.proof(1))
    assert run.claimed(leaf.account) == run.claimed_total() == 2000 == stage.token.balance_of(leaf.account)
    assert run.reputation_of(leaf.account) == 5 * 10**8
    assert stage.token.transfers_from(run.rewards_address) == {leaf.account: 2000}
    assert stage.token.total_paid_wei(run.rewards_address) == 2000
    again = error_of(lambda: run.claim(stage.sponsor, header, leaf, tree.proof(1)))
    assert again.code == "nothing-to-claim" and "2000 wei" in again.cause
    wrong = replace(leaf, cumulative_amount_wei=2001)
    assert error_of(lambda: run.claim(stage.sponsor, header, wrong, tree.proof(1))).code == "no-purse"


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


def test_what_operators_sign_others_submit(stage: Stage) -> None:
    """Commitments through a relayer, openings by anybody, and a settlement in one transaction."""
    run, round = stage.run, 0
    stage.start()
    keys = [trainer.sender.account for trainer in stage.trainers]
    commits = [
        sign_commit(key, stage.chain.chain_id, run.address, round, stage.commitment(trainer, round))
        for key, trainer in zip(keys, stage.trainers, strict=True)
    ]
    forged = replace(commits[1], commitment=b"\x77" * 32)
    run.commit_batch(stage.sponsor, round, [commits[0], forged, commits[1]])
    assert [item.commitment for item in run.commits(round)] == [item.commitment for item in commits]
    for trainer in stage.trainers:
        run.reveal(stage.sponsor, round, trainer.sender.address, *stage.contribution(trainer, round))
    assert [item.slot for item in run.reveals(round)] == [0, 1]
    stage.weigh(round)
    header, _ = stage.settlement(round)
    signatures = [sign_header(v.sender.account, stage.chain.chain_id, header) for v in stage.validators]
    assert error_of(lambda: run.settle_signed(stage.sponsor, header, "c", signatures[1:])).code == "no-quorum"
    assert error_of(lambda: run.settle_signed(stage.sponsor, header, "c", signatures[::-1])).code == "unordered-signers"
    run.attest(stage.validators[0].sender, header, "bafyaggregate")
    run.settle_signed(stage.sponsor, header, "bafyaggregate", signatures[1:])
    assert [item.signer_mask for item in run.pay_chain()] == [0b11]


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
    assert entry is not None and entry.active_until == 2 and run.withdrawable_at(entry.index) == 0
    assert error_of(lambda: run.withdraw(leaver)).code == "still-active"
    run.close(stage.sponsor)
    assert run.status().closed and not run.finished()
    advance(chain, 3600)
    run.draw(stage.sponsor, 1)
    advance(chain, 10_000)
    run.void_round(stage.sponsor, 1)
    assert run.finished() and run.status().phase is Phase.FINISHED
    assert error_of(lambda: run.withdraw(leaver)).code == "still-bonded"
    assert run.withdrawable_at(entry.index) > chain.timestamp()
    advance(chain, 3600)
    run.withdraw_for(stage.sponsor, leaver.address)
    assert stage.token.balance_of(leaver.address) == 10 * TOKEN
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
    assert run.expected_in(operator.address) == 2**32 - 1
    run.check_in(operator)
    assert run.expected_in(operator.address) == 0


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


def test_only_runs_of_this_version_are_taken_for_runs(stage: Stage) -> None:
    stage.run.check_version()
    for address in (stage.token.address, stage.deployment.addresses["Settlement"], "0x" + "99" * 20):
        error = error_of(lambda address=address: RunClient(stage.chain, address).check_version())  # type: ignore[misc]
        assert error.code == "protocol-version"


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
    chain = Chain(stage.anvil.rpc_url, observe=lambda method, _: counted.append(method))
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
    assert [c.slot for c in run.commits(0)] == [0] == [c.slot for c in fresh(stage).commits(0)]
    stage.trainers[1].sender = Sender(chain, stage.trainers[1].sender.account)
    stage.commit(stage.trainers[1], 0)
    assert [c.slot for c in run.commits(0)] == [0, 1]


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
    assert [c.slot for c in stage.run.commits(0)] == [1]


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
            done = {c.slot for c in fresh(stage).commits(0)}
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


class FlakyChain(Chain):
    """A connection of which every third request is lost, at places that a seed chooses."""

    choose: random.Random | None = None

    def ask(self, method: str, params: Sequence[Any] = ()) -> Answer:
        if self.choose is not None and self.choose.random() < 1 / 3:
            raise UnavailableError("rpc-timeout", "Lost on the way.")
        return super().ask(method, params)


@pytest.mark.parametrize("seed", range(3))
def test_lost_requests_neither_lose_nor_double_events(still_anvil: AnvilProcess, seed: int) -> None:
    stage = Stage(still_anvil, trainers=6, validators=1)
    stage.start()
    chain = FlakyChain(stage.anvil.rpc_url)
    run = RunClient(chain, stage.run.address)
    chain.choose = random.Random(seed)
    for trainer in stage.trainers[:5]:
        trainer.sender = Sender(stage.chain, trainer.sender.account)
        stage.commit(trainer, 0)
        for _ in range(chain.choose.randint(0, 2)):
            stage.chain.request("evm_mine")
        if chain.choose.random() < 0.4:
            stage.chain.request("anvil_reorg", [1, []])
        with suppress(UnavailableError):
            run.commits(0)
    while True:
        with suppress(UnavailableError):
            found = run.commits(0)
            break
    assert found == fresh(stage).commits(0)


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
        assert [item.round for item in client.pay_chain()] == [0, 1, 2]
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
