"""A run with what the manifest can choose besides the defaults; a trainer and a validator on two devices in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from emerit.protocol.types import HEALTH_LANE, Phase
from emerit.run.context import open_run
from emerit.run.ledger import Ledger
from emerit.run.rollback import take_backs
from emerit.training.threads import single_thread
from emerit_validator.replay import Replayer
from tests.e2e.alarmed import ALARMED_ROUND
from tests.e2e.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
ROUNDS = 5


def test_overlap_and_momentum_with_nodes_under_torchrun(tmp_path: Path) -> None:
    """All nodes have the signed roots, and who trains on two devices is paid as those on one.

    The validators say in round 2 that the aggregate of round 1 did harm: the run goes on from the state before it. What
    one process replays of the validator that measures on two devices is the same to the bit, but for that lie.
    """
    with Network(
        tmp_path,
        trainers=3,
        validators=2,
        rounds=ROUNDS,
        devices={"t0": 2, "v0": 2},
        modules=dict.fromkeys(("v0", "v1"), "tests.e2e.alarmed"),
        training={"schedule": "wsd", "overlap_rounds": 1},
        outer={"momentum_numerator": 1, "momentum_denominator": 2, "nesterov": True},
    ) as net:
        net.start_all()
        net.wait(lambda s: s.phase is Phase.FINISHED, 300, "the end of the run")
        settled = {item.round: "0x" + item.header.body.state_root.hex() for item in net.client.state_chain()}
        assert len(settled) == ROUNDS
        assert take_backs(net.client.state_chain(), net.client.params().initial_state_root) == {ALARMED_ROUND: 1}
        assert settled[ALARMED_ROUND] == settled[0] != settled[1]
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
        lies = [vote for vote in votes if vote.round == ALARMED_ROUND]
        assert all({(item.lane, item.what) for item in vote.beyond} == {(HEALTH_LANE, "health")} for vote in lies)
        honest = [vote for vote in votes if vote.round != ALARMED_ROUND]
        assert all(vote.identical for vote in honest), [vote.as_dict() for vote in honest if not vote.identical]
