"""Two thirds of the stake sign a payout to one of them; the honest validator takes it back and the run goes on."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from emerit.chain.transactions import Sender
from emerit.devnet.accounts import devnet_account
from emerit.protocol.types import Fault, Phase
from emerit.run.ledger import Ledger
from tests.e2e.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
NO_LIMIT = 0
CROOKED_ROUND = 1


def test_a_theft_by_two_thirds_is_taken_back_and_costs_them_their_stake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Network(tmp_path, trainers=2, validators=3, rounds=NO_LIMIT) as net:
        net.modules = {"v0": "tests.e2e.crooked", "v1": "tests.e2e.crooked"}
        net.make_wallets()
        monkeypatch.setenv("CROOKED_ROUND", str(CROOKED_ROUND))
        monkeypatch.setenv("CROOKED_ACCOUNT", net.addresses["v0"])
        net.start_all()
        net.wait(lambda s: any(r.round == CROOKED_ROUND for r in net.client.pay_chain()), 150, "the theft")
        net.wait(lambda s: s.behind or bool(net.client.voided_headers()), 60, "the theft to be taken back")
        (voided,) = net.client.voided_headers()
        assert (voided.round, voided.fault, voided.by) == (CROOKED_ROUND, Fault.WITHHELD, net.addresses["v2"])
        net.wait(lambda s: not s.behind and s.last_settled_round > CROOKED_ROUND, 120, "rounds settled after it")
        (punished,) = net.client.punished_headers()
        assert punished.signer_mask & 0b100 == 0 and punished.slashed_wei > 0
        assert [item.attempt for item in net.client.pay_chain()][:2] == [0, 1]
        net.client.close(Sender(net.chain, devnet_account()))
        net.wait(lambda s: s.phase is Phase.FINISHED, 120, "the end of the run")
        for name in net.names():
            net.children[name].process.wait(60)
        ledger = Ledger(net.client)
        ledger.update()
        states = {item.round: "0x" + item.header.body.state_root.hex() for item in net.client.state_chain()}
        assert ledger.fault is None and [entry.round for entry in ledger.entries] == list(states)
        for name in net.names():
            assert net.roots(name) == states, f"{name} has other state roots"
        for name in ("t0", "t1"):
            outcomes = net.outcomes(name)
            assert {outcomes[number]["outcome"] for number in states} == {"submitted"}, outcomes
    assert os.environ["CROOKED_ROUND"] == str(CROOKED_ROUND)
