"""A small network that has finished its run, with the API beside it; shared by the tests of the API and of its page."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import pytest
import structlog

from emerit.devnet.processes import free_ports, start
from emerit.protocol.types import Phase
from tests.e2e.network import Network, get

ROUNDS = 3


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command that runs in this process logs to the streams of its test; the next test has its own."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Network, str]]:
    with Network(tmp_path_factory.mktemp("api"), trainers=2, validators=1, rounds=ROUNDS) as net:
        net.start_all()
        port = free_ports(1)[0]
        command = [sys.executable, "-m", "emerit.api", "--rpc-url", net.info.rpc_url, "--run", net.client.address]
        command += ["--ipfs-api", net.info.ipfs_validators_api, "--port", str(port)]
        command += ["--database", f"sqlite:///{net.folder / 'index.sqlite'}"]
        net.children["api"] = start("api", command, net.folder / "logs" / "api.log")
        net.wait(lambda s: s.phase is Phase.FINISHED, 200, "the end of the run")
        base = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 60
        while len(get(f"{base}/v1/rounds")[1]["rounds"]) < ROUNDS or not ready(base) or not complete(base):
            assert time.monotonic() < deadline, net.children["api"].tail(20)
            time.sleep(0.1)
        yield net, base


def ready(base: str) -> bool:
    status, answer = get(f"{base}/readyz")
    return status == 200 and bool(answer["ready"])


def complete(base: str) -> bool:
    """Whether the evidence of every round has come in, and what the trainers say of each other."""
    people = get(f"{base}/v1/participants")[1]["participants"]
    wide = get(f"{base}/v1/reputation/{people[0]['address']}?graph=wide")[1]["wide"]
    return all("evidence-missing" not in person["reasons"] for person in people) and wide["missing"] == 0
