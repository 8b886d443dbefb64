"""What the API says while headers fall and are settled again, and its reputation gateway, on a real chain."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import decode, encode

from emerit.api.dispute_answers import ChallengesAnswer, GatewayAnswer, GatewayProblem
from emerit.chain.artifacts import load_abi
from emerit.chain.transactions import Sender
from emerit.protocol.types import Header
from emerit.run.faults import Prosecutor
from tests.integration.rounds import Opinion, RunDriver
from tests.integration.served import ApiProcess, Stage, start_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

AGREED = dict.fromkeys(range(3), Opinion((300, 100, 1)))
REPUTATION = load_abi("Reputation")
LOOKUP = next(error for error in REPUTATION.errors.values() if error.name == "OffchainLookup")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    yield from start_stage(tmp_path, answer_seconds=11, history_rounds=200)


def settle_wrongly(driver: RunDriver) -> Header:
    """Let all validators sign for the open round that a wei less than the leaves have was earned."""
    number = driver.contribute()
    driver.weigh(number, AGREED)
    right = driver.settlement(number).header
    wrong = replace(right, tree=replace(right.tree, total_amount_wei=right.tree.total_amount_wei - 1))
    driver.attest(wrong, [0, 1, 2])
    return wrong


def pursue(driver: RunDriver, folder: Path, until: str) -> str:
    """Let an outsider prosecute until it has done that; returns its address."""
    ledger = driver.fresh_ledger()
    prosecutor = Prosecutor(ledger.client, Sender(driver.chain, driver.keys[-1]), ledger, folder)
    for _ in range(20):
        ledger.update()
        deed = prosecutor.step()
        if deed is not None and deed.what == until:
            return prosecutor.sender.address
        driver.tick()
    raise AssertionError(f"not {until}")


def up_to_date(api: ApiProcess, driver: RunDriver) -> None:
    """Wait until the API has the newest block."""
    head = driver.chain.head()
    api.wait(lambda: api.json("/v1/run")["as_of_block"] == head.number, "the newest block")
    api.wait(lambda: api.json("/v1/run")["timestamp"] == head.timestamp, "its time")


def mine_at(driver: RunDriver, timestamp: int) -> None:
    """Mine a block with this time, however much has passed since the last one; chain time goes on from there."""
    driver.chain.request("evm_setNextBlockTimestamp", [max(timestamp, driver.chain.timestamp() + 1)])
    driver.chain.request("evm_mine")


def rounds(api: ApiProcess) -> list[tuple[Any, ...]]:
    names = ("round", "attempt", "paid", "recomputed", "fault")
    return [tuple(each[name] for name in names) for each in api.json("/v1/rounds")["rounds"]]


def test_a_header_falls_and_its_round_is_settled_again(stage: Stage, tmp_path: Path) -> None:
    driver = stage.driver
    first = driver.play(AGREED)
    wrong = settle_wrongly(driver)
    signers = [member.account.address for member in driver.members[3:5]]
    with stage.api() as api:
        api.wait(lambda: api.get("/v1/run").status == 200, "an answer")
        assert api.json("/v1/run")["trouble"]["code"] == "settlement-mismatch"
        assert rounds(api) == [(0, 0, True, True, None), (1, 0, True, False, None)]
        before = driver.chain.request("evm_snapshot")

        outsider = pursue(driver, tmp_path, "challenged")
        up_to_date(api, driver)
        assert rounds(api) == [(0, 0, True, True, None), (1, 0, False, False, "sum")]
        run = api.json("/v1/run")
        assert (run["trouble"], run["settled_rounds"], run["unpaid_rounds"]) == (None, 1, 1)
        assert run["state_root"] == "0x" + wrong.body.state_root.hex()
        (voided,) = api.json("/v1/challenges")["challenges"]
        assert (voided["kind"], voided["round"], voided["fault"], voided["by"]) == ("voided-header", 1, "sum", outsider)
        assert voided["header_hash"] == "0x" + driver.client.settlements()[1].header_hash.hex()
        assert (voided["signers"], voided["rounds"]) == (signers, [1])
        assert (voided["punished"], voided["settled_again"]) == (False, False)

        pursue(driver, tmp_path, "punished")
        up_to_date(api, driver)
        punishment, voided = api.json("/v1/challenges")["challenges"]
        (onchain,) = driver.client.punished_headers()
        assert (punishment["kind"], punishment["slashed_wei"]) == ("punishment", str(onchain.slashed_wei))
        assert (punishment["signers"], punishment["challenger"]) == (signers, outsider) and voided["punished"]
        staked = {p["address"]: int(p["stake_wei"]) for p in api.json("/v1/participants")["participants"]}
        assert staked[signers[0]] < staked[driver.members[5].account.address]

        driver.ledger = driver.fresh_ledger()
        again = driver.attest_by(1, [0, 1, 2])
        third = driver.play(AGREED)
        up_to_date(api, driver)
        assert rounds(api) == [(0, 0, True, True, None), (1, 1, True, True, None), (2, 0, True, True, None)]
        one = api.json("/v1/rounds/1")
        assert one["header_hash"] == "0x" + again.header_hash.hex()
        assert [(s["attempt"], s["stands"], bool(s["fault"])) for s in one["settlements"]] == [
            (0, False, True),
            (1, True, False),
        ]
        assert one["settlements"][0]["fault"]["punished"]
        assert api.json("/v1/challenges?kind=voided-header")["challenges"][0]["settled_again"]
        ChallengesAnswer.model_validate_json(api.get("/v1/challenges").body, strict=True)
        assert api.json("/v1/run")["owed_wei"] == str(driver.client.settled_total_wei())
        claim_everything(api, driver)
        assert driver.client.claimed_total() == third.header.tree.total_amount_wei > first.header.tree.total_amount_wei

        driver.chain.request("evm_revert", [before])  # the challenge was never made
        driver.after_revert()
        up_to_date(api, driver)
        assert rounds(api) == [(0, 0, True, True, None), (1, 0, True, False, None)]
        assert api.json("/v1/challenges")["challenges"] == []
        assert api.json("/v1/run")["trouble"]["code"] == "settlement-mismatch"


def claim_everything(api: ApiProcess, driver: RunDriver) -> None:
    """Have everybody paid what the API says, with the proof that it gives, as a stranger would do it."""
    driver.tick(30)
    up_to_date(api, driver)
    token, claim = driver.client.token(), load_abi("Rewards").functions["claim"]
    for member in driver.members:
        answer = api.json(f"/v1/claims/{member.account.address}")
        assert answer["final"] and answer["pending_wei"] == "0"
        if answer["due_wei"] == "0":
            continue
        before_wei = token.balance_of(answer["address"])
        arguments = (answer["run"], given(answer["tree"]), given(answer["leaf"]), given(answer["proof"]))
        driver.sponsor.send(answer["rewards_contract"], claim.encode(*arguments))
        assert token.balance_of(answer["address"]) - before_wei == int(answer["due_wei"])


def given(value: Any) -> Any:
    """A list of the API as an ABI encoder wants it."""
    if isinstance(value, list):
        return tuple(given(item) for item in value)
    if isinstance(value, str) and value.startswith("0x"):
        return bytes.fromhex(value[2:]) if len(value) == 66 else value
    return int(value)


def test_a_demand_puts_off_what_can_be_claimed(stage: Stage) -> None:
    driver = stage.driver
    settled = driver.play(AGREED)
    outsider = Sender(driver.chain, driver.keys[-1])
    account = driver.members[0].account.address
    with stage.api() as api:
        api.wait_ready()
        final_at = driver.client.final_at(0)
        mine_at(driver, final_at - 3)
        driver.client.demand(outsider, settled.header, 2)
        mine_at(driver, final_at + 1)  # the window is over, the hold is not
        up_to_date(api, driver)
        assert driver.client.final_at(0) <= driver.chain.timestamp()
        answer = api.json(f"/v1/claims/{account}")
        assert (answer["final"], answer["due_wei"]) == (False, "0") and not driver.client.is_final(0)
        (demand,) = api.json("/v1/challenges?kind=demand")["challenges"]
        assert (demand["state"], demand["index"], demand["by"]) == ("open", 2, outsider.address)
        assert demand["account"] == driver.members[2].account.address

        driver.client.answer(driver.sponsor, settled.header, settled.leaves[2], settled.tree.proof(2))
        driver.tick(30)
        up_to_date(api, driver)
        (demand,) = api.json("/v1/challenges")["challenges"]
        assert (demand["state"], demand["answered_by"]) == ("answered", driver.sponsor.address)
        assert driver.client.is_final(0)
        claim_everything(api, driver)


# ---- the gateway


def test_the_gateway_gives_what_the_callback_accepts(stage: Stage) -> None:
    """As a client of ERC-3668 does it: call, look up, call back."""
    driver = stage.driver
    settled = driver.play(AGREED)
    member, reputation = driver.members[0].account.address, driver.client.reputation
    with stage.api() as api:
        api.wait_ready()
        reputation.write(driver.sponsor, "setGateways", [api.base + "/v1/ccip/{sender}/{data}"])
        assert looked_up(api, driver, member).status == 404  # nothing is final yet
        driver.tick(30)
        up_to_date(api, driver)
        reply = looked_up(api, driver, member)
        response = bytes.fromhex(GatewayAnswer.model_validate_json(reply.body, strict=True).data[2:])
        score = reputation.read("scoreOfCallback", response, encode(["address"], [member]))
        assert score == settled.leaves[0].detail.reputation > 0

        driver.play(AGREED)
        up_to_date(api, driver)
        reply = looked_up(api, driver, member)
        faded = reputation.read("scoreOfCallback", bytes.fromhex(reply.json["data"][2:]), encode(["address"], [member]))
        assert faded == score * 990_000_000 // 10**9, "the newest final round is one behind the head"


def looked_up(api: ApiProcess, driver: RunDriver, account: str) -> Any:
    """The gateway's reply to what the contract's OffchainLookup asks for."""
    to, data = driver.client.reputation_address, REPUTATION.functions["scoreOf"].encode(account)
    failure = driver.chain.ask("eth_call", [{"to": to, "data": "0x" + data.hex()}, "latest"]).failure
    assert failure is not None and failure.data is not None and failure.data[:4] == LOOKUP.selector
    kinds = ("address", "string[]", "bytes", "bytes4", "bytes")
    sender, urls, call_data, callback, extra = decode(kinds, failure.data[4:])
    assert sender.lower() == to.lower() and extra == encode(["address"], [account])
    assert callback == REPUTATION.functions["scoreOfCallback"].selector
    url = urls[0].replace("{sender}", sender.lower()).replace("{data}", "0x" + call_data.hex())
    reply = api.get(url.removeprefix(api.base))
    assert reply.headers["access-control-allow-origin"] == "*"
    return reply


def test_the_gateway_tells_clients_what_is_wrong(stage: Stage) -> None:
    stage.driver.play(AGREED)
    ours, stranger = stage.driver.client.reputation_address, "0x" + "12" * 20
    call = "0x" + REPUTATION.functions["scoreOf"].encode(stranger).hex()
    with stage.api() as api:
        api.wait_ready()
        for path, status in [
            (f"{stranger}/{call}", 404),
            (f"{ours}/{call}", 404),
            (f"{ours}/0x{'00' * 36}", 422),
            (f"{ours}/0x{'00' * 10_000}", 422),
            (f"{ours}/latest", 422),
        ]:
            reply = api.get(f"/v1/ccip/{path}")
            problem = GatewayProblem.model_validate_json(reply.body)
            assert reply.status == problem.status == status and problem.message == problem.title
            assert len(reply.body) < 1_000
