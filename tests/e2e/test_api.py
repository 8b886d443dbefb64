"""The API beside a network that has settled rounds: its answers, and that the contract accepts what it says."""

from __future__ import annotations

import urllib.request
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from emerit.chain.transactions import Sender
from emerit.devnet.accounts import devnet_account
from tests.e2e.conftest import ROUNDS
from tests.e2e.network import Network, get

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_the_answers_agree_with_the_chain(served: tuple[Network, str]) -> None:
    net, base = served
    settled = net.client.pay_chain()
    run = get(f"{base}/v1/run")[1]
    assert (run["run"], run["chain_id"]) == (net.client.address, net.info.chain_id)
    assert run["state_root"] == "0x" + settled[-1].header.body.state_root.hex()
    assert int(run["owed_wei"]) == settled[-1].header.tree.total_amount_wei
    rounds = get(f"{base}/v1/rounds")[1]["rounds"]
    assert [r["state_root"] for r in rounds] == ["0x" + s.header.body.state_root.hex() for s in settled]
    assert all(0 < r["loss"] < 10 for r in rounds)
    one = get(f"{base}/v1/rounds/0")[1]
    assert len(one["contributions"]) == 2
    assert all(c["verdicts"] for c in one["contributions"]), "evidence is shown with its reason"
    people = get(f"{base}/v1/participants")[1]["participants"]
    assert sum(int(p["earned_wei"]) for p in people) == settled[-1].header.tree.total_amount_wei
    assert all(r["paid"] and r["recomputed"] and len(r["signers"]) == 1 for r in rounds)
    assert get(f"{base}/v1/challenges")[1]["challenges"] == []


def test_every_participant_has_rounds_with_a_reason_and_a_reputation(served: tuple[Network, str]) -> None:
    net, base = served
    for name in net.names():
        address = net.addresses[name]
        person = get(f"{base}/v1/participants/{address}")[1]
        assert [r["round"] for r in person["rounds"]] == list(range(ROUNDS))
        assert sum(int(r["earned_wei"]) for r in person["rounds"]) == int(person["earned_wei"])
        assert all(r["reason"] for r in person["rounds"])
        reputation = get(f"{base}/v1/reputation/{address}")[1]
        assert len(reputation["history"]) == ROUNDS
        assert reputation["reputation"] == person["reputation"]


def test_trainers_measure_each_other_and_say_so_in_the_wide_graph(served: tuple[Network, str]) -> None:
    net, base = served
    account = {name: net.client.entry_of(net.addresses[name]).account for name in ("t0", "t1")}  # type: ignore[union-attr]
    sources = set()
    for name, other in (("t0", "t1"), ("t1", "t0")):
        plain = get(f"{base}/v1/reputation/{net.addresses[name]}")[1]
        wide = get(f"{base}/v1/reputation/{net.addresses[name]}?graph=wide")[1]["wide"]
        assert plain["wide"] is None and wide["ego"] == "seed"
        assert (wide["rounds"], wide["dropped"]) == (list(range(ROUNDS)), [])
        assert 0 < wide["reputation"] == wide["share"] - wide["connectivity_took"]
        assert wide["edges"] > 0, "no trainer has said anything of the other"
        sources |= {path["source"] for path in wide["paths"]}
        view = f"{base}/v1/reputation/{net.addresses[name]}?graph=wide&perspective={net.addresses[other]}"
        assert get(view)[1]["wide"]["ego"] == account[other]
    assert sources <= {"seed", net.client.entry_of(net.addresses["v0"]).account, *account.values()}  # type: ignore[union-attr]


def test_the_contract_pays_what_the_api_says_with_the_proof_it_gives(served: tuple[Network, str]) -> None:
    net, base = served
    address = net.addresses["v0"]
    answer = get(f"{base}/v1/claims/{address}")[1]
    assert int(answer["due_wei"]) > 0

    def given(value: Any) -> Any:
        if isinstance(value, list):
            return tuple(map(given, value))
        if isinstance(value, str) and value.startswith("0x") and len(value) == 66:
            return bytes.fromhex(value[2:])
        return int(value) if isinstance(value, str) and value.isdecimal() else value

    before = net.client.token().balance_of(address)
    arguments = (given(answer["tree"]), given(answer["leaf"]), [given(item) for item in answer["proof"]])
    net.client.rewards.write(Sender(net.chain, devnet_account()), "claim", net.client.address, *arguments)
    assert net.client.token().balance_of(address) - before == int(answer["due_wei"])


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/rounds/99", 404, "not-found"),
        ("/v1/rounds/x", 422, "request-invalid"),
        ("/v1/participants/0x12", 422, "request-invalid"),
        ("/v1/participants/" + Account.from_key(b"\x07" * 32).address, 404, "not-found"),
        ("/v1/claims/" + Account.from_key(b"\x07" * 32).address, 404, "not-found"),
        ("/v1/nothing", 404, "not-found"),
        ("/v1/events?limit=0", 422, "request-invalid"),
    ],
)
def test_errors_are_problems_with_a_code(served: tuple[Network, str], path: str, status: int, code: str) -> None:
    found, answer = get(served[1] + path)
    assert (found, answer["code"], answer["status"]) == (status, code, status)


def test_events_come_in_pages_without_gaps(served: tuple[Network, str]) -> None:
    base = served[1]
    whole = get(f"{base}/v1/events?limit=500")[1]["events"]
    paged, cursor = [], ""
    while True:
        page = get(f"{base}/v1/events?limit=7{cursor}")[1]
        paged += page["events"]
        if page["next"] is None:
            break
        cursor = f"&before={page['next']}"
    keys = [(e["block_number"], e["log_index"]) for e in paged]
    assert keys[-20:] == [(e["block_number"], e["log_index"]) for e in whole][-20:]
    assert len(set(keys)) == len(keys)
    assert {"Joined", "Settled", "ContributionRevealed", "WeightsRevealed"} <= {e["name"] for e in whole}


def test_operating_routes_answer(served: tuple[Network, str]) -> None:
    base = served[1]
    assert get(f"{base}/livez") == (200, {"alive": True})
    assert get(f"{base}/readyz")[1]["checks"] == {"refresh": "ok", "rpc": "ok", "ipfs": "ok"}
    with urllib.request.urlopen(f"{base}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert "emerit_indexer_head_block" in text
    assert 'role="api"' in text
    with urllib.request.urlopen(f"{base}/", timeout=20) as answer:
        assert "default-src 'self'" in answer.headers["content-security-policy"]
        assert b"app.js" in answer.read()


def test_the_folder_has_an_index_that_outlives_the_api(served: tuple[Network, str]) -> None:
    assert (Path(served[0].folder) / "index.sqlite").stat().st_size > 0
