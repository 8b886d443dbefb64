"""What the containers run at their start, run here against a real chain and a real IPFS node, without containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from emerit.chain.anvil import AnvilProcess, find_anvil
from emerit.devnet.processes import free_ports
from emerit.ipfs.process import LocalNode
from tests.unit.house.tree import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


@dataclass(frozen=True)
class Container:
    """Stands for a container: its working folder and environment."""

    folder: Path
    env: dict[str, str]

    def start(self, *command: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["sh", ROOT / "docker/start", *command],
            cwd=self.folder,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *command: str) -> str:
        process = self.start(*command)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output


@pytest.fixture(scope="module")
def container(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    folder = tmp_path_factory.mktemp("container")
    (folder / ".emerit/devnet").mkdir(parents=True)
    ports = free_ports(3)
    with AnvilProcess(port=ports[0], binary=find_anvil(ROOT)) as anvil:
        node = LocalNode(folder=folder / "ipfs", api_port=ports[1], swarm_port=ports[2])
        node.start()
        try:
            clean = {name: value for name, value in os.environ.items() if not name.startswith("EMERIT_")}
            yield Container(
                folder,
                clean
                | {
                    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                    "LOCAL_NETWORK": "1",
                    "CHAIN_ID": "31337",
                    "EMERIT_RPC_URL": anvil.rpc_url,
                    "EMERIT_IPFS_API": node.api_url,
                    "EMERIT_DEPLOYMENT": str(folder / ".emerit/devnet/deployment.json"),
                    "EMERIT_RUN": "",
                    "EMERIT_HOME": str(folder / "home"),
                    "EMERIT_WALLET": "trainer",
                    "EMERIT_PASSWORD": "a test's password",
                    "POOL_TOKENS": "500",
                },
            )
        finally:
            node.stop()


def heartbeat(folder: Path) -> dict[str, object]:
    found = list(folder.glob("home/nodes/*/heartbeat.json"))
    return json.loads(found[0].read_bytes()) if found else {}


def test_a_network_starts_once_and_starting_again_changes_nothing(container: Container) -> None:
    container.run("emerit", "deploy")
    deployed = (container.folder / ".emerit/devnet/deployment.json").read_text()
    container.run("emerit", "deploy")
    assert (container.folder / ".emerit/devnet/deployment.json").read_text() == deployed

    corpus = container.folder / "corpus.txt"
    corpus.write_text(
        "".join(f"It was the {n}th of May, and the {n * 7 % 31}th hour had come.\n" for n in range(20_000))
    )
    create = ("emerit", "run", "create", f"--corpus={corpus}", "--preset=tiny", "--clock=devnet", "--fund=500")
    container.run(*create)
    assert "nothing to do" in container.run(*create)
    assert len(json.loads(container.run("emerit", "run", "list", "--json"))) == 1
    shown = json.loads(container.run("emerit", "run", "show", "--json"))
    assert shown["funded_wei"] == str(500 * 10**18)

    for _ in range(2):
        trainer = container.start("emerit", "trainer", "start")
        began, deadline = time.time(), time.monotonic() + 90
        while heartbeat(container.folder).get("time", 0.0) < began:  # type: ignore[operator]
            assert trainer.poll() is None, trainer.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        trainer.send_signal(signal.SIGTERM)
        output, _ = trainer.communicate(timeout=60)
        assert trainer.returncode == 0, output
    wallets = json.loads(container.run("emerit", "wallet", "list", "--json"))
    assert [wallet["name"] for wallet in wallets] == ["trainer"]
    assert json.loads(container.run("emerit", "run", "show", "--json"))["trainers"] == 1
