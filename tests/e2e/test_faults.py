"""Two thirds of the stake sign a payout to one of them; the honest validator takes it back and the run goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.transactions import Sender
from emerit.cli.main import run as emerit
from emerit.devnet.accounts import devnet_account
from emerit.keys.keystore import Keystore
from emerit.protocol.types import Fault, Phase, Role
from emerit.run.ledger import Ledger
from tests.e2e.network import CLOCK, PASSWORD, Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
NO_LIMIT = 0
CROOKED_ROUND = 1
TOKEN = 10**18
STAKE_WEI = 100 * TOKEN
BURNED = "0x000000000000000000000000000000000000dEaD"
DISPUTABLE = replace(CLOCK, challenge_window_seconds=60, claim_period_seconds=1200).fitted()
# Rounds that nobody signs are waited out, one after the other.
SIGNED_SOON = replace(DISPUTABLE, settle_seconds=15).fitted()


def test_a_theft_by_two_thirds_is_taken_back_and_costs_them_their_stake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Network(tmp_path, trainers=2, validators=3, rounds=NO_LIMIT, clock=DISPUTABLE) as net:
        net.modules = {"v0": "tests.e2e.crooked", "v1": "tests.e2e.crooked"}
        net.make_wallets()
        monkeypatch.setenv("CROOKED_ROUND", str(CROOKED_ROUND))
        monkeypatch.setenv("EMERIT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("CROOKED_ACCOUNT", net.addresses["v0"])
        net.start_all()
        net.wait(lambda s: any(r.round == CROOKED_ROUND for r in net.client.pay_chain()), 150, "the theft")
        net.wait(lambda s: s.behind or bool(net.client.voided_headers()), 60, "the theft to be taken back")
        (voided,) = net.client.voided_headers()
        assert (voided.round, voided.fault, voided.by) == (CROOKED_ROUND, Fault.WITHHELD, net.addresses["v2"])
        net.wait(lambda s: not s.behind and s.last_settled_round > CROOKED_ROUND, 120, "rounds settled after it")
        (punished,) = net.client.punished_headers()
        slots = {name: net.client.entry_of(net.addresses[name]).slot for name in ("v0", "v1", "v2")}  # type: ignore[union-attr]
        assert punished.signer_mask == 1 << slots["v0"] | 1 << slots["v1"] and punished.slashed_wei > 0
        reward_wei = net.client.token().balance_of(net.addresses["v2"]) - 900 * 10**18
        assert reward_wei == punished.slashed_wei // 10
        assert [item.attempt for item in net.client.pay_chain()][:2] == [0, 1]
        left_from = leave(net, "t1")
        net.client.close(Sender(net.chain, devnet_account()))
        net.wait(lambda s: s.phase is Phase.FINISHED, 120, "the end of the run")
        for name in net.names():
            net.children[name].process.wait(60)
        ledger = Ledger(net.client)
        ledger.update()
        states = {item.round: "0x" + item.header.body.state_root.hex() for item in net.client.state_chain()}
        assert ledger.fault is None and [entry.round for entry in ledger.entries] == list(states)
        for name in net.names():
            roots = net.roots(name)
            assert roots == {number: states[number] for number in roots}, f"{name} has other state roots"
            assert name == "t1" or len(roots) == len(states)
        found = audit(net, capsys)
        assert found["settlements_checked"] == found["states_checked"] == len(states)
        assert found["states_without_contributions"] == []
        assert [(item["round"], item["fault"]) for item in found["taken_back"]] == [(CROOKED_ROUND, "withheld")]
        for name, last in (("t0", max(states)), ("t1", left_from - 1)):
            outcomes = net.outcomes(name)
            assert {outcomes[number]["outcome"] for number in states if number <= last} == {"submitted"}, outcomes


def test_the_honest_third_settles_alone_what_the_thieves_will_not_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rate_wei = 10 * TOKEN  # three full rounds' budgets are more than two stakes: the thieves lose all their votes
    with Network(tmp_path, 2, 3, NO_LIMIT, clock=SIGNED_SOON, rate_wei=rate_wei) as net:
        net.modules = {"v0": "tests.e2e.crooked", "v1": "tests.e2e.crooked"}
        net.make_wallets()
        monkeypatch.setenv("CROOKED_ROUND", str(CROOKED_ROUND))
        monkeypatch.setenv("CROOKED_STUBBORN", "1")
        monkeypatch.setenv("CROOKED_ACCOUNT", net.addresses["v0"])
        net.start_all()
        client, token = net.client, net.client.token()
        net.wait(lambda _s: bool(client.punished_headers()), 240, "the theft to be punished")
        (wrong,) = [item for item in client.settlements() if item.round == CROOKED_ROUND]
        (punished,) = client.punished_headers()
        assert punished.signer_mask == wrong.signer_mask
        assert punished.slashed_wei == 2 * STAKE_WEI
        assert token.balance_of(net.addresses["v2"]) == 1_000 * TOKEN - STAKE_WEI + punished.slashed_wei // 10
        assert token.balance_of(BURNED) == punished.slashed_wei - punished.slashed_wei // 10
        stakes = {entry.account: entry.stake_wei for entry in client.registry() if entry.role is Role.VALIDATOR}
        assert stakes == {net.addresses["v0"]: 0, net.addresses["v1"]: 0, net.addresses["v2"]: STAKE_WEI}

        settled = net.wait(
            lambda s: not s.behind and s.last_settled_round > CROOKED_ROUND, 200, "rounds that one third settles alone"
        )
        again = next(item for item in client.pay_chain() if item.round == CROOKED_ROUND)
        alone = 1 << client.entry_of(net.addresses["v2"]).slot  # type: ignore[union-attr]
        assert (again.attempt, again.signer_mask) == (1, alone)
        assert settled.last_settled_round not in client.voided_rounds()
        assert token.balance_of(net.addresses["v0"]) == 1_000 * TOKEN - STAKE_WEI
        assert client.claimed_total() == 0


def audit(net: Network, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What a stranger with nothing but chain and IPFS finds."""
    command = ["audit", "--rpc-url", net.info.rpc_url, "--ipfs-api", net.info.ipfs_trainers_api]
    capsys.readouterr()
    code = emerit([*command, "--run", net.client.address, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert code == 0 and found["findings"] == [], found
    return found


def leave(net: Network, name: str) -> int:
    """End a member's membership; its node ends by itself after its last round. Returns its first round without it."""
    key = Keystore(net.folder / "wallets").load(name, PASSWORD)
    net.client.leave(Sender(net.chain, key))
    entry = net.client.entry_of(key.address)
    assert entry is not None and entry.left_at > 0
    net.wait(lambda s: s.round >= entry.active_until, 120, "the round after its last one")
    assert net.children[name].process.wait(60) == 0
    outcome = net.outcomes(name)[entry.active_until]
    assert (outcome["outcome"], outcome["reason"]) == ("skipped", "left")
    return entry.active_until
