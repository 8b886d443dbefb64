"""The API as a process, beside real rounds on a real chain and evidence on a real IPFS node."""

from __future__ import annotations

import itertools
import json
import os
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from pydantic import BaseModel

from emerit.api import answers
from emerit.api.dispute_answers import ChallengesAnswer
from emerit.chain.artifacts import load_abi
from emerit.protocol.eip712 import header_digest
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import Role
from tests.integration.conftest import ROOT
from tests.integration.rounds import Opinion
from tests.integration.served import LOSSES, ApiProcess, Stage, start_stage

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

# Little, yet less than what each that it might wait for would take: a fetch of evidence (5 s), a call of the chain.
ENDS_SECONDS = 4.5
STRANGER = Account.from_key(b"\x07" * 32).address


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    for made in start_stage(tmp_path_factory.mktemp("stage")):
        made.play_three()
        yield made


@pytest.fixture(scope="module")
def api(stage: Stage) -> Iterator[ApiProcess]:
    with stage.api() as process:
        process.wait_ready()
        process.wait(lambda: evidence_states(process, 1) == ["available", "available", "refused"], "evidence")
        yield process


@pytest.fixture
def own_stage(tmp_path: Path) -> Iterator[Stage]:
    """A stage for a test that breaks it; nothing has settled yet."""
    yield from start_stage(tmp_path)


def evidence_states(api: ApiProcess, number: int) -> list[str]:
    return [part["evidence"] for part in api.json(f"/v1/rounds/{number}")["validators"]]


# ---- the answers


def test_the_run(api: ApiProcess, stage: Stage) -> None:
    run, client = api.json("/v1/run"), stage.driver.client
    status = client.status()
    assert run["run"] == run["contracts"]["training_run"] == client.address and run["name"] == "rounds"
    assert run["contracts"]["token"] == stage.driver.deployment.token
    assert (run["phase"], run["round"], run["settled_rounds"], run["trouble"]) == ("train", 3, 3, None)
    assert run["timestamp"] == status.timestamp and run["as_of_block"] == status.block_number
    assert run["state_root"] == "0x" + stage.settled[-1].header.body.state_root.hex()
    assert int(run["owed_wei"]) == client.settled_total_wei() == stage.settled[-1].header.tree.total_amount_wei
    assert int(run["funded_wei"]) == client.funded() and (run["trainers"], run["validators"]) == (3, 3)
    assert run["loss"] == pytest.approx(LOSSES[-1], rel=1e-3)


def test_the_rounds(api: ApiProcess, stage: Stage) -> None:
    rounds = api.json("/v1/rounds")["rounds"]
    assert [r["round"] for r in rounds] == [0, 1, 2]
    assert [r["loss"] for r in rounds] == [pytest.approx(loss, rel=1e-3) for loss in LOSSES]
    assert [r["contributions"] for r in rounds] == [3, 3, 2]
    assert [r["accepted"] for r in rounds] == [3, 3, 1] and [r["rewarded"] for r in rounds] == [2, 2, 1]
    assert all(r["paid"] and r["recomputed"] and r["fault"] is None and r["attempt"] == 0 for r in rounds)
    assert [len(r["signers"]) for r in rounds] == [2, 2, 2]
    assert [int(r["earned_wei"]) for r in rounds] == [sum(s.amounts_wei) for s in stage.settled]
    assert [int(r["total_wei"]) for r in rounds] == [s.header.tree.total_amount_wei for s in stage.settled]
    assert [r["final"] for r in rounds] == [stage.driver.client.is_final(n) for n in range(3)]
    assert [r["final_at"] for r in rounds] == [stage.driver.client.final_at(n) for n in range(3)]
    assert [r["round"] for r in api.json("/v1/rounds?since=2")["rounds"]] == [2]


def test_one_round_in_full(api: ApiProcess, stage: Stage) -> None:
    one = api.json("/v1/rounds/1")
    header = stage.settled[1].header
    assert one["header_hash"] == "0x" + stage.driver.client.header_hash(1).hex()  # type: ignore[union-attr]
    assert one["header"]["tree"]["root"] == "0x" + header.tree.root.hex()
    assert one["header"]["tree"]["total_amount_wei"] == str(header.tree.total_amount_wei)
    assert one["digest"] == "0x" + header_digest(stage.driver.chain.chain_id, header).hex()
    assert [(s["attempt"], s["stands"], s["fault"]) for s in one["settlements"]] == [(0, True, None)]
    signed = [stage.driver.members[3 + slot].account.address for slot in range(2)]
    assert one["settlements"][0]["signers"] == one["signers"] == signed
    copies = [c for c in one["contributions"] if c["reason"] == "duplicate"]
    assert [c["address"] for c in copies] == [stage.driver.members[2].account.address]
    assert copies[0]["weight"] == 1 and copies[0]["earned_wei"] == "0" and "copy" in copies[0]["why"]
    assert [v["weight"] for v in copies[0]["verdicts"]] == [1, 1, 1]
    assert [v["reason"] for v in copies[0]["verdicts"]] == ["duplicate", "duplicate", None]
    assert "<script>" not in api.get("/v1/rounds/1").body.decode()
    assert [v["outcome"] for v in one["validators"]] == ["paid"] * 3


def test_a_round_with_an_absent_validator_and_a_silent_trainer(api: ApiProcess, stage: Stage) -> None:
    one = api.json("/v1/rounds/2")
    assert [v["outcome"] for v in one["validators"]] == ["paid", "paid", "no-reveal"]
    assert one["validators"][2]["evidence"] is None and one["validators"][2]["base_loss"] is None
    assert {c["slot"]: c["weight"] for c in one["contributions"]} == {0: 500, 2: 0}
    path = f"/v1/participants/{stage.driver.members[1].account.address}"
    api.wait(lambda: "evidence-missing" not in api.json(path)["reasons"], "the evidence of every round")
    silent = api.json(path)
    assert [r["took_part"] for r in silent["rounds"]] == [True, True, False]
    assert silent["rounds"][2]["reason"] == "not-revealed" and silent["last_round"] == 1
    assert silent["reasons"] == {"paid": 2, "not-revealed": 1}


def test_the_participants(api: ApiProcess, stage: Stage) -> None:
    people = api.json("/v1/participants")["participants"]
    assert [p["role"] for p in people] == ["trainer"] * 3 + ["validator"] * 3
    for role in ("trainer", "validator"):
        earned = [int(p["earned_wei"]) for p in people if p["role"] == role]
        assert earned == sorted(earned, reverse=True)
    for person in people:
        member = stage.driver.members[person["index"]]
        leaf = stage.settled[-1].leaves[member.index]
        assert (person["address"], person["operator"]) == (member.account.address, member.operator.address)
        assert (int(person["earned_wei"]), person["reputation"]) == (leaf.cumulative_amount_wei, leaf.detail.reputation)
        assert int(person["claimed_wei"]) == stage.driver.client.claimed(member.account.address)
        assert person["contributions"] == (2 if member.role is Role.TRAINER and member.slot == 1 else 3) - (
            member.role is Role.VALIDATOR and member.slot == 2
        )
    copier = next(p for p in people if p["index"] == 2)
    assert copier["reasons"] == {"low-gap": 2, "duplicate": 1} and copier["mean_score"] == pytest.approx(0.03)


def test_a_participant_is_found_by_account_and_by_operator(api: ApiProcess, stage: Stage) -> None:
    member = stage.driver.members[0]
    by_account = api.json(f"/v1/participants/{member.account.address}")
    assert by_account == api.json(f"/v1/participants/{member.operator.address.lower()}")
    amounts = [int(r["earned_wei"]) for r in by_account["rounds"]]
    assert amounts == [s.amounts_wei[0] for s in stage.settled]
    assert sum(amounts) == int(by_account["earned_wei"])
    assert [r["weight"] for r in by_account["rounds"]] == [s.weights[0] for s in stage.settled] == [300, 200, 500]
    assert payable(by_account["weight"]) == 500
    assert all(v["s"] == 0.01 for r in by_account["rounds"] for v in r["verdicts"] if v["reason"])


def test_the_events_come_in_pages_without_gaps(api: ApiProcess) -> None:
    whole = api.json("/v1/events?limit=500")
    assert whole["next"] is None
    paged: list[Any] = []
    path = "/v1/events?limit=7"
    while True:
        page = api.json(path)
        paged += page["events"]
        if page["next"] is None:
            break
        path = f"/v1/events?limit=7&before={page['next']}"
    assert paged == whole["events"]
    positions = [(e["block_number"], e["log_index"]) for e in paged]
    assert positions == sorted(positions, reverse=True) and len(set(positions)) == len(positions)
    settled = api.json("/v1/events?name=Settled&name=Drawn")["events"]
    assert [(e["name"], e["arguments"]["round"]) for e in settled] == list(
        itertools.chain.from_iterable((("Settled", n), ("Drawn", n)) for n in (2, 1, 0))
    )
    assert settled[0]["arguments"]["header"]["tree"]["totalAmountWei"].isdecimal()


def test_the_events_name_who_acted(api: ApiProcess, stage: Stage) -> None:
    names = "name=ContributionRevealed&name=WeightsRevealed&name=Attested&name=CheckedIn"
    found = api.json(f"/v1/events?limit=500&{names}")["events"]
    by_slot = {(m.role, m.slot): m.account.address for m in stage.driver.members}
    assert len(found) > 20
    for event in found:
        trainers = event["name"] == "ContributionRevealed" or event["arguments"].get("role") == int(Role.TRAINER)
        role = Role.TRAINER if trainers else Role.VALIDATOR
        assert event["member"] == by_slot[role, event["arguments"]["slot"]], event


SHAPES: list[tuple[str, type[BaseModel]]] = [
    ("/v1/run", answers.RunAnswer),
    ("/v1/rounds", answers.RoundsAnswer),
    ("/v1/rounds/0", answers.RoundAnswer),
    ("/v1/rounds/2", answers.RoundAnswer),
    ("/v1/participants", answers.ParticipantsAnswer),
    ("/v1/participants/{0}", answers.ParticipantAnswer),
    ("/v1/participants/{5}", answers.ParticipantAnswer),
    ("/v1/reputation/{0}", answers.ReputationAnswer),
    ("/v1/reputation/{0}?perspective={5}", answers.ReputationAnswer),
    ("/v1/claims/{0}", answers.ClaimAnswer),
    ("/v1/events", answers.EventsAnswer),
    ("/v1/challenges", ChallengesAnswer),
    ("/livez", answers.Alive),
    ("/readyz", answers.Ready),
    ("/version", answers.Version),
]


@pytest.mark.parametrize(("path", "shape"), SHAPES)
def test_answers_have_the_documented_shape(api: ApiProcess, stage: Stage, path: str, shape: type[BaseModel]) -> None:
    reply = api.get(path.format(*(m.account.address for m in stage.driver.members)))
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    shape.model_validate_json(reply.body, strict=True)
    if path.startswith("/v1/"):
        assert reply.json["as_of_block"] <= stage.driver.chain.block_number()


# ---- claims


def from_json(parameter: dict[str, Any], value: Any) -> Any:
    """An answer's value as an ABI encoder wants it, by the parameter's type alone."""
    kind = parameter["type"]
    if kind.endswith("[]"):
        return [from_json({**parameter, "type": kind[:-2]}, item) for item in value]
    if kind == "tuple":
        parts = parameter["components"]
        return tuple(from_json(each, item) for each, item in zip(parts, value, strict=True))
    if kind.startswith("uint"):
        return int(value)
    return bytes.fromhex(value[2:]) if kind.startswith("bytes") else value


def claim_inputs() -> Sequence[dict[str, Any]]:
    path = ROOT / "src/emerit/chain/artifacts/Rewards.json"
    items = json.loads(path.read_text())["abi"]
    return next(item["inputs"] for item in items if item.get("name") == "claim")


def test_the_contract_accepts_exactly_what_the_api_answers(api: ApiProcess, stage: Stage) -> None:
    driver = stage.driver
    driver.tick(30)
    now = driver.client.status().timestamp
    api.wait(lambda: api.json("/v1/run")["timestamp"] == now, "the new block")
    token = driver.client.token()
    for member in driver.members:
        answer = api.json(f"/v1/claims/{member.account.address}")
        assert answer["final"] and answer["round"] == 2 and answer["pending_wei"] == "0"
        if member.index == 2:  # never earned anything
            assert answer["due_wei"] == answer["cumulative_wei"] == "0"
            continue
        values = [answer["run"], answer["tree"], answer["leaf"], answer["proof"]]
        arguments = [from_json(each, value) for each, value in zip(claim_inputs(), values, strict=True)]
        before_wei = token.balance_of(answer["address"])
        driver.sponsor.send(answer["rewards_contract"], load_abi("Rewards").functions["claim"].encode(*arguments))
        assert token.balance_of(answer["address"]) - before_wei == int(answer["due_wei"]) > 0
    paid_wei = driver.client.claimed_total()
    api.wait(lambda: int(api.json("/v1/run")["claimed_wei"]) == paid_wei, "the claims")
    after = api.json(f"/v1/claims/{driver.members[0].account.address}")
    assert after["due_wei"] == "0" and after["claimed_wei"] == after["cumulative_wei"]


def test_a_claim_before_the_last_round_is_final(own_stage: Stage) -> None:
    """The proof is against the newest round that the contract accepts; what came later is pending."""
    driver = own_stage.driver
    opinion = dict.fromkeys(range(3), Opinion((300, 100, 1)))
    address = driver.members[0].account.address
    with own_stage.api() as api:
        api.wait_ready()
        early = api.get(f"/v1/claims/{address}")
        assert (early.status, early.json["code"]) == (404, "nothing-settled")
        first = driver.play(opinion)
        api.wait(lambda: api.json("/v1/run")["settled_rounds"] == 1, "the first round")
        answer = api.json(f"/v1/claims/{address}")
        assert not answer["final"] and answer["final_at"] == driver.client.final_at(0)
        assert answer["due_wei"] == "0" and int(answer["pending_wei"]) == first.amounts_wei[0]
        driver.tick(30)
        second = driver.play(opinion)
        api.wait(lambda: api.json("/v1/run")["settled_rounds"] == 2, "the second round")
        answer = api.json(f"/v1/claims/{address}")
        assert answer["final"] and answer["round"] == 0
        assert int(answer["due_wei"]) == first.amounts_wei[0]
        assert int(answer["pending_wei"]) == second.amounts_wei[0]


def test_reputation_is_what_the_contract_answers(api: ApiProcess, stage: Stage) -> None:
    driver = stage.driver
    member = driver.members[0]
    answer = api.json(f"/v1/reputation/{member.account.address}")
    assert [point["reputation"] for point in answer["history"]] == [
        s.leaves[0].detail.reputation for s in stage.settled
    ]
    assert answer["reputation"] == answer["history"][-1]["reputation"] > 0 and answer["on_chain"] == 0
    entry = driver.fresh_ledger().update()[-1]
    driver.tick(30)
    driver.client.materialise(
        driver.sponsor, entry.onchain.header, entry.settlement.leaves[0], entry.settlement.tree.proof(0)
    )
    on_chain = driver.client.reputation_of(member.account.address)
    path = f"/v1/reputation/{member.account.address}"
    api.wait(lambda: api.json(path)["on_chain"] == on_chain > 0, "the reputation on chain")


# ---- errors, headers, caches


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/rounds/99", 404, "not-found"),
        ("/v1/rounds/x", 422, "request-invalid"),
        ("/v1/rounds/-1", 422, "request-invalid"),
        ("/v1/rounds/4294967296", 422, "request-invalid"),
        ("/v1/rounds?since=x", 422, "request-invalid"),
        ("/v1/participants/0x12", 422, "request-invalid"),
        (f"/v1/participants/{STRANGER}", 404, "not-found"),
        (f"/v1/reputation/{STRANGER}", 404, "not-found"),
        (f"/v1/reputation/{STRANGER}?perspective=v0", 422, "request-invalid"),
        (f"/v1/claims/{STRANGER}", 404, "not-found"),
        ("/v1/nothing", 404, "not-found"),
        ("/v1", 404, "not-found"),
        ("/nothing.js", 404, "not-found"),
        ("/../../etc/passwd", 404, "not-found"),
        ("/v1/events?limit=0", 422, "request-invalid"),
        ("/v1/events?limit=501", 422, "request-invalid"),
        ("/v1/events?before=7", 422, "request-invalid"),
        ("/v1/events?before=1:2:3", 422, "request-invalid"),
        ("/v1/challenges?kind=rumour", 422, "request-invalid"),
        ("/v1/challenges?limit=501", 422, "request-invalid"),
        ("/v1/rounds?limit=1001", 422, "request-invalid"),
    ],
)
def test_errors_are_problems(api: ApiProcess, path: str, status: int, code: str) -> None:
    reply = api.get(path)
    assert reply.status == status and reply.headers["content-type"] == "application/problem+json"
    problem = answers.Problem.model_validate_json(reply.body)
    assert (problem.status, problem.code, problem.type) == (status, code, f"urn:emerit:{code}")
    assert problem.title and problem.fix


def test_another_method_is_refused(api: ApiProcess) -> None:
    reply = api.get("/v1/run", method="POST")
    assert (reply.status, reply.json["code"]) == (405, "method-not-allowed")


def test_what_has_not_changed_is_not_sent_again(api: ApiProcess) -> None:
    first = api.get("/v1/rounds")
    again = api.get("/v1/rounds", If_None_Match=first.headers["etag"])
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert api.get("/v1/rounds", If_None_Match='"other"').status == 200


def test_head_is_answered_without_a_body(api: ApiProcess) -> None:
    reply = api.get("/v1/rounds", method="HEAD")
    assert reply.status == 200 and reply.body == b"" and int(reply.headers["content-length"]) > 100


def test_browsers_are_told_what_is_allowed(api: ApiProcess) -> None:
    for path in ("/", "/v1/run", "/v1/nothing"):
        headers = api.get(path, Origin="https://elsewhere.example").headers
        assert "unsafe" not in headers["content-security-policy"]
        assert "default-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert not [name for name in headers if name.startswith("access-control")]


def test_metrics(api: ApiProcess, stage: Stage) -> None:
    head = f"emerit_indexer_head_block {float(stage.driver.chain.block_number())}"
    api.wait(lambda: head in api.get("/metrics").body.decode(), "the head of the index")
    text = api.get("/metrics").body.decode()
    assert "emerit_indexer_reorgs_total 0.0" in text
    assert 'emerit_chain_rpc_requests_total{method="eth_getLogs",outcome="ok"}' in text
    assert 'emerit_ipfs_requests_total{op="cat",outcome="ok"}' in text


# ---- what goes wrong


def test_reorganisations_are_followed_and_counted(own_stage: Stage) -> None:
    driver = own_stage.driver
    driver.play(dict.fromkeys(range(3), Opinion((300, 100, 1))))
    with own_stage.api() as api:
        api.wait_ready()
        snapshot = driver.chain.request("evm_snapshot")
        driver.play(dict.fromkeys(range(3), Opinion((10, 20, 30))))
        api.wait(lambda: api.json("/v1/run")["settled_rounds"] == 2, "the second round")
        driver.chain.request("evm_revert", [snapshot])
        driver.after_revert()
        api.wait(lambda: api.json("/v1/run")["settled_rounds"] == 1, "the reorganisation")
        driver.tick(60)
        other = driver.play(dict.fromkeys(range(3), Opinion((30, 20, 10))))
        api.wait(lambda: api.json("/v1/run")["settled_rounds"] == 2, "the other second round")
        assert api.json("/v1/rounds/1")["header_hash"] == "0x" + other.header_hash.hex()
        assert api.json("/v1/rounds")["rounds"][1]["final_at"] == driver.client.final_at(1)
        assert "emerit_indexer_reorgs_total 1.0" in api.get("/metrics").body.decode()
        pages = api.json("/v1/events?name=Settled")["events"]
        assert [e["arguments"]["round"] for e in pages] == [1, 0]


def test_a_settlement_that_does_not_follow_is_shown_as_trouble(own_stage: Stage) -> None:
    driver = own_stage.driver
    driver.play(dict.fromkeys(range(3), Opinion((300, 100, 1))))
    number = driver.contribute()
    driver.weigh(number, dict.fromkeys(range(3), Opinion((300, 100, 1))))
    right = driver.settlement(number).header
    wrong = replace(right, tree=replace(right.tree, root=b"\x66" * 32))
    driver.attest(wrong, [0, 1, 2])
    with own_stage.api() as api:
        api.wait(lambda: api.get("/v1/run").status == 200, "an answer")
        run = api.json("/v1/run")
        assert run["trouble"]["code"] == "settlement-mismatch" and "Round 1" in run["trouble"]["cause"]
        assert (run["settled_rounds"], run["unpaid_rounds"]) == (1, 0)
        one = api.json("/v1/rounds/1")
        assert (one["paid"], one["recomputed"], one["fault"], one["contributions"]) == (True, False, None, [])
        ready = api.get("/readyz")
        assert (ready.status, ready.json["checks"]["refresh"]) == (503, "settlement-mismatch")
        assert api.get("/livez").status == 200


def test_outages_are_named_and_the_last_answers_stay(own_stage: Stage) -> None:
    driver = own_stage.driver
    driver.play(dict.fromkeys(range(3), Opinion((300, 100, 1))))
    with own_stage.api() as api:
        api.wait_ready()
        before = api.json("/v1/rounds")
        driver.anvil.stop()
        api.wait(lambda: api.get("/readyz").status == 503, "the outage")
        api.wait(lambda: api.get("/readyz").json["checks"]["refresh"] == "rpc-unreachable", "its name")
        assert api.get("/readyz").json["checks"] == {
            "refresh": "rpc-unreachable",
            "rpc": "rpc-unreachable",
            "ipfs": "ok",
        }
        assert api.json("/v1/rounds") == before and api.get("/livez").status == 200
        address = driver.members[0].account.address
        failed = api.get(f"/v1/reputation/{address}")
        assert (failed.status, failed.json["code"]) == (503, "rpc-unreachable")
        code, seconds = api.end()
        assert code == 0 and seconds < ENDS_SECONDS, (code, seconds, api.log.read_text())


def test_evidence_that_nobody_has_delays_nothing(own_stage: Stage) -> None:
    driver = own_stage.driver
    driver.unpublished = True
    driver.play(dict.fromkeys(range(3), Opinion((300, 100, 1))))
    with own_stage.api() as api:
        api.wait(lambda: api.get("/v1/rounds/0").status == 200, "the round")
        one = api.json("/v1/rounds/0")
        assert [v["evidence"] for v in one["validators"]] == ["missing"] * 3
        assert [c["reason"] for c in one["contributions"]] == ["evidence-missing"] * 3
        assert [v["weight"] for v in one["contributions"][0]["verdicts"]] == [300] * 3
        assert api.get("/readyz").status == 200
        code, seconds = api.end(signal.SIGINT)
        assert code == 0 and seconds < ENDS_SECONDS, (code, seconds, api.log.read_text())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_quickly_and_cleanly(stage: Stage, number: signal.Signals) -> None:
    with stage.api(f"end-{number}") as api:
        api.wait_ready()
        code, seconds = api.end(number)
        log = api.log.read_text()
        assert code == 0 and seconds < ENDS_SECONDS, (code, seconds, log)
        assert "Traceback" not in log and '"stopped"' in log


def test_it_ends_while_the_chain_hangs(own_stage: Stage) -> None:
    with own_stage.api() as api:
        api.wait_ready()
        os.kill(own_stage.driver.anvil.pid, signal.SIGSTOP)
        try:
            api.wait(lambda: api.get("/readyz").json["checks"]["rpc"] == "rpc-timeout", "the hanging chain")
            code, seconds = api.end()
        finally:
            os.kill(own_stage.driver.anvil.pid, signal.SIGCONT)
        assert code == 0 and seconds < ENDS_SECONDS, (code, seconds, api.log.read_text())


def test_it_continues_from_its_index(stage: Stage) -> None:
    with stage.api("again") as api:
        api.wait_ready()
        whole = api.json("/v1/events?limit=500")["events"]
        api.end()
    with stage.api("again") as api:
        api.wait_ready()
        assert api.json("/v1/events?limit=500")["events"] == whole


def test_what_is_wrong_at_the_start_is_said(stage: Stage, tmp_path: Path) -> None:
    taken = stage.api("taken")
    with taken:
        taken.wait_ready()
        second = ApiProcess(tmp_path, stage.driver.anvil.rpc_url, stage.ipfs_api, stage.driver.client.address)
        second.command[second.command.index("--port") + 1] = str(taken.port)
        with second:
            assert second.process is not None and second.process.wait(60) == 3
        assert "port-in-use" in second.log.read_text()
    nowhere = ApiProcess(tmp_path, "http://127.0.0.1:9", stage.ipfs_api, stage.driver.client.address)
    with nowhere:
        assert nowhere.process is not None and nowhere.process.wait(60) == 75
    assert "rpc-unreachable" in nowhere.log.read_text()
