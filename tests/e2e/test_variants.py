"""A run with what the manifest can choose besides the defaults; a trainer and a validator on two devices in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emerit.protocol.types import Phase
from emerit.run.context import open_run
from emerit.run.ledger import Ledger
from emerit.training.threads import single_thread
from emerit_validator.replay import Replayer
from tests.e2e.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
ROUNDS = 4


def test_overlap_and_momentum_with_nodes_under_torchrun(tmp_path: Path) -> None:
    """All nodes have the signed roots, and who trains on two devices is paid as those on one.

    What one process replays of the validator that measures on two devices is the same to the bit.
    """
    with Network(
        tmp_path,
        trainers=3,
        validators=2,
        rounds=ROUNDS,
        devices={"t0": 2, "v0": 2},
        training={"schedule": "wsd", "overlap_rounds": 1},
        outer={"momentum_numerator": 1, "momentum_denominator": 2, "nesterov": True},
    ) as net:
        net.start_all()
        net.wait(lambda s: s.phase is Phase.FINISHED, 300, "the end of the run")
        settled = {item.round: "0x" + item.header.body.state_root.hex() for item in net.client.state_chain()}
        assert len(settled) == ROUNDS
        for name in net.names():
            assert net.children[name].process.wait(60) == 0, net.children[name].tail()
            assert net.roots(name) == settled, f"{name} has other state roots"
        submitted = [n for n, record in net.outcomes("t0").items() if record["outcome"] == "submitted"]
        assert len(submitted) >= ROUNDS - 1, net.children["t0"].tail()
        ledger = Ledger(net.client)
        ledger.update()
        earned_wei = {leaf.account: leaf.cumulative_amount_wei for leaf in ledger.leaves}
        t0, t1, t2 = (earned_wei[net.addresses[name]] for name in ("t0", "t1", "t2"))
        assert 2 * t0 > min(t1, t2) > 0, (t0, t1, t2)
        single_thread()
        context = open_run(net.client, net.store)
        replayer = Replayer(context, tmp_path / "replay", tmp_path / "corpus", lambda _: None)
        votes = [vote for number in range(ROUNDS) for vote in replayer.round(number)]
        assert len({vote.slot for vote in votes}) == 2 and len(votes) > ROUNDS
        assert all(vote.identical for vote in votes), [vote.as_dict() for vote in votes if not vote.identical]
