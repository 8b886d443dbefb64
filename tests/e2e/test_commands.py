"""The commands of a trainer and of a sponsor on a run that has ended, each checked against the chain to the wei."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emerit.cli.main import run
from emerit.scoring.rating import Rating
from tests.e2e.conftest import ROUNDS
from tests.e2e.network import PASSWORD, Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture
def network(served: tuple[Network, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Network:
    """The network as a folder in which commands find its devnet by themselves."""
    net = served[0]
    (tmp_path / ".emerit").mkdir()
    (tmp_path / ".emerit/devnet").symlink_to(net.folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EMERIT_HOME", str(net.folder / "home"))
    monkeypatch.setenv("EMERIT_PASSWORD", PASSWORD)
    monkeypatch.setenv("EMERIT_RUN", net.client.address)
    return net


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert run([*words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_the_estimate_is_what_one_more_trainer_would_have_got(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    found = answer(capsys, "trainer", "estimate", "--token-price", "1")
    assert (found["basis"], found["looked_at_rounds"], found["trainers"]) == ("settled-rounds", ROUNDS, 2)
    assert found["open_for_members"] is False
    total = network.client.pay_chain()[-1].header.tree.total_amount_wei
    assert int(found["pool_left_wei"]) == network.client.funded() - total
    # Two trainers shared the pots; a third with the lower weight of the two gets at most a third of them.
    pots = sum(item.header.body.budget_wei * 8 // 10 for item in network.client.pay_chain())
    assert 0 < int(found["reward_per_round_wei"]) <= pots // ROUNDS // 3
    low, middle, high = map(int, found["others_per_round_wei"])
    assert 0 < low <= middle <= high
    assert int(found["net_per_round_wei"]) == int(found["reward_per_round_wei"]) - int(found["gas_per_round_wei"])
    assert run(["trainer", "estimate", "--last", "1"]) == 0
    assert "it has ended: do not join" in capsys.readouterr().out


def test_rewards_are_listed_and_claimed_once(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    address, token = network.addresses["t0"], network.client.token()
    listed = answer(capsys, "rewards", "list", address)
    assert [row["round"] for row in listed["rounds"]] == list(range(ROUNDS))
    earned_wei = sum(int(row["earned_wei"]) for row in listed["rounds"])
    assert earned_wei == int(listed["earned_wei"]) > 0
    before_wei = token.balance_of(address)
    claimed = answer(capsys, "rewards", "claim", address)
    assert (int(claimed["paid_wei"]), claimed["round"]) == (earned_wei, ROUNDS - 1)
    assert token.balance_of(address) - before_wei == earned_wei
    assert answer(capsys, "rewards", "claim", address)["paid_wei"] == "0"
    assert token.balance_of(address) - before_wei == earned_wei
    shown = answer(capsys, "reputation", "show", address, "--explain", "--perspective", network.addresses["v0"])
    assert shown["on_chain"] == shown["reputation"] == shown["explain"]["reputation"] > 0
    assert 0 < shown["rating_sigma"] < Rating().sigma and shown["rating"] != Rating().mu
    assert shown["explain"]["round"] == ROUNDS - 1
    assert shown["perspective"]["validator"].lower() == network.addresses["v0"].lower()
    seen = answer(capsys, "reputation", "show", address, "--graph", "wide", "--perspective", network.addresses["t1"])
    assert seen["wide"]["ego"].lower() == network.addresses["t1"].lower() and seen["wide"]["edges"] > 0
    assert (seen["wide"]["missing"], seen["reputation"]) == (0, shown["reputation"])
    assert run(["reputation", "show", address, "--graph", "wide", "--explain"]) == 0
    assert "feedback that nobody can verify" in capsys.readouterr().out
    outcomes = answer(capsys, "rewards", "list", network.addresses["v0"])
    assert {row["reason"] for row in outcomes["rounds"]} == {"paid"}


def test_reputation_can_be_asked_for_from_a_contract(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    url = "https://api.example/v1/ccip/{sender}/{data}"
    assert answer(capsys, "reputation", "gateways")["gateways"] == []
    assert answer(capsys, "reputation", "gateways", url)["gateways"] == [url]
    assert answer(capsys, "reputation", "gateways", "--clear")["gateways"] == []


def test_the_sponsor_gets_back_what_nobody_earned_and_no_more(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    client, token = network.client, network.client.token()
    free_wei = client.funded() - client.settled_total_wei()
    before_wei = token.balance_of(client.sponsor())
    closed = answer(capsys, "run", "close")
    assert closed["finished"] is True
    assert int(closed["refunded_wei"]) == free_wei > 0
    assert token.balance_of(client.sponsor()) - before_wei == free_wei
    assert closed["free_wei"] == "0"
    assert int(closed["promised_wei"]) == client.settled_total_wei() - client.claimed_total()
    assert closed["promised_from"] > client.chain.timestamp()
    again = answer(capsys, "run", "close")
    assert again["refunded_wei"] == "0"
    assert run(["run", "close"]) == 0
    assert "are promised and not claimed" in capsys.readouterr().out
    pool_wei = token.balance_of(client.rewards_address)
    assert pool_wei == client.settled_total_wei() - client.claimed_total(), "the pool still covers every claim"


def test_everybody_is_paid_in_one_transaction(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    client, token = network.client, network.client.token()
    leaves = network.client.pay_chain()[-1].header.tree
    before = {address: token.balance_of(address) for address in network.addresses.values()}
    paid = answer(capsys, "rewards", "claim", "--all")["paid_wei"]
    for address, had_wei in before.items():
        assert token.balance_of(address) - had_wei == int(paid.get(address, 0))
    assert client.claimed_total() == leaves.total_amount_wei
    assert answer(capsys, "rewards", "claim", "--all") == {"paid_wei": {}}


def test_who_missed_nothing_cannot_be_fined(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("t1", "v0"):
        refused = answer(capsys, "run", "fine", "0", network.addresses[name], code=1)
        assert refused["error"]["code"] == "nothing-missed"


def test_the_validators_weights_can_be_replayed_to_the_bit(
    network: Network, capsys: pytest.CaptureFixture[str]
) -> None:
    """From chain and IPFS alone, by another process: its history, health lane and evidence included."""
    found = answer(capsys, "validator", "replay", "--from-round", "0")
    assert found["agrees"] and [vote["round"] for vote in found["votes"]] == list(range(ROUNDS))
    for vote in found["votes"]:
        assert vote["identical"] and vote["differences"] == vote["notes"] == [], vote
        assert {lane["verdict"] for lane in vote["lanes"][2:]} == {"same"}
    assert [vote["lanes"][1]["verdict"] for vote in found["votes"]] == ["abstained", "same", "same"]
    one = answer(capsys, "validator", "replay", network.client.address, "--round", "1", "--validator", "0")
    assert one["votes"] == [found["votes"][1]], "a round alone, after later ones"
    assert run(["validator", "replay", "--validator", network.addresses["v0"]]) == 0
    assert "the same to the bit" in capsys.readouterr().out
    refused = answer(capsys, "validator", "replay", "--validator", network.addresses["t0"], code=2)
    assert refused["error"]["code"] == "no-weights-revealed", "a trainer votes on nothing"
    assert answer(capsys, "validator", "replay", "--round", "99", code=1)["error"]["code"] == "round-unknown"


def test_leaving_a_run_that_has_ended(network: Network, capsys: pytest.CaptureFixture[str]) -> None:
    wallet = ("--wallet", "t1", "--wallet-dir", str(network.folder / "wallets"))
    left = answer(capsys, "stake", "remove", *wallet)
    assert left["active_until"] is not None
    shown = answer(capsys, "stake", "show", network.addresses["t1"])
    assert shown["withdrawable_at"] > network.client.chain.timestamp()
    for words in (("withdraw", *wallet), ("withdraw", "--for", network.addresses["t1"])):
        assert answer(capsys, "stake", *words, code=1)["error"]["code"] == "still-bonded"
