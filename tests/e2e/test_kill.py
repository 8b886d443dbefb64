"""Trainers and validators that are killed in the middle of a round, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from emerit.chain.transactions import Sender
from emerit.devnet.accounts import devnet_account
from emerit.protocol.types import Phase
from tests.e2e.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
NO_LIMIT = 0


def worked(net: Network, name: str, after: int) -> bool:
    """Whether a node has submitted in a round after that one."""
    return any(n > after and record["outcome"] == "submitted" for n, record in net.outcomes(name).items())


def test_killed_nodes_rejoin_with_the_right_state_and_the_run_never_stops(tmp_path: Path) -> None:
    with Network(tmp_path, trainers=3, validators=3, rounds=NO_LIMIT) as net:
        net.start_all()
        net.wait(lambda s: s.has_settled, 120, "the first settlement")
        status = net.wait(lambda s: s.phase is Phase.TRAIN, 60, "a training phase")
        net.kill("t0")
        net.kill("v0")
        net.wait(lambda s: s.round > status.round, 180, "a round without them")
        assert net.client.header_hash(status.round) is not None, "two of three validators are enough to settle"
        net.start("t0")
        net.start("v0")
        for name in ("t0", "v0"):
            net.wait(lambda _s, name=name: worked(net, name, status.round), 120, f"a round of {name} after its return")
        net.client.close(Sender(net.chain, devnet_account()))
        net.wait(lambda s: s.phase is Phase.FINISHED, 120, "the end of the run")
        settled = {item.round: "0x" + item.header.body.state_root.hex() for item in net.client.state_chain()}
        for name in net.names():
            net.children[name].process.wait(60)
            found = net.roots(name)
            # Who was away for long begins with a checkpoint, and has no roots of the rounds before it.
            first = min(found) if name in ("t0", "v0") else 0
            assert found == {n: root for n, root in settled.items() if n >= first}, f"{name} has other state roots"
        slot = net.client.entry_of(net.addresses["t0"]).slot  # type: ignore[union-attr]
        assert any(r.slot == slot for n in settled if n > status.round for r in net.client.reveals(n))
