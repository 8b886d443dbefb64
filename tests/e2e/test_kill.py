"""Trainers and validators that are killed in the middle of a round, and come back."""

from __future__ import annotations

from pathlib import Path

import pytest

from emerit.protocol.types import Phase
from tests.e2e.network import Network

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]
ROUNDS = 7


def test_killed_nodes_rejoin_with_the_right_state_and_the_run_never_stops(tmp_path: Path) -> None:
    with Network(tmp_path, trainers=3, validators=3, rounds=ROUNDS) as net:
        net.start_all()
        net.wait(lambda s: s.has_settled, 120, "the first settlement")
        status = net.wait(lambda s: s.phase is Phase.TRAIN, 60, "a training phase")
        net.kill("t0")
        net.kill("v0")
        net.wait(lambda s: s.round > status.round, 180, "a round without them")
        assert net.client.header_hash(status.round) is not None, "two of three validators are enough to settle"
        net.start("t0")
        net.start("v0")
        net.wait(lambda s: s.phase is Phase.FINISHED, 300, "the end of the run")
        settled = {item.header.round: "0x" + item.header.state_root.hex() for item in net.client.settled()}
        for name in net.names():
            net.children[name].process.wait(60)
            assert net.roots(name) == settled, f"{name} has other state roots"
        for name in ("t0", "v0"):
            submitted = {n for n, record in net.outcomes(name).items() if record["outcome"] == "submitted"}
            assert any(n > status.round for n in submitted), f"{name} did no round after it came back"
        index = net.client.entry_of(net.addresses["t0"]).index  # type: ignore[union-attr]
        assert any(r.index == index for n in settled if n > status.round for r in net.client.reveals(n))
