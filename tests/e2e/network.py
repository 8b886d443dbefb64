"""A small network in separate processes, for end-to-end tests: started, killed and restarted at will."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from emerit.chain.deployment import Deployment
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.data import default_corpus_files
from emerit.devnet.accounts import devnet_account, fund
from emerit.devnet.devnet import Devnet
from emerit.devnet.processes import Child, python_module, start, stop_all
from emerit.ipfs.client import BlobStore
from emerit.keys.keystore import Keystore
from emerit.protocol.presets import RunClock
from emerit.protocol.types import Status
from emerit.run.create import RunPlan, create_run

PASSWORD = "only-for-tests"
CLOCK = RunClock(
    train_seconds=25,
    reveal_seconds=15,
    draw_delay_seconds=0,
    score_seconds=30,
    weight_reveal_seconds=15,
    settle_seconds=30,
    min_round_seconds=1,
    nominal_round_seconds=30,
    challenge_window_seconds=1,
    answer_seconds=5,
    claim_period_seconds=600,
    history_rounds=256,
    epoch_rounds=2,
    slash_rounds=3,
)


def get(url: str) -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@dataclass
class Network:
    """Devnet, run and nodes in `folder`; leaving the context stops everything.

    Attributes:
        modules: node's name -> the program to run instead of the usual one.
        devices: node's name -> processes that torchrun starts for it, where that is more than one.
        training, outer: what to change of the preset.
    """

    folder: Path
    trainers: int
    validators: int
    rounds: int
    children: dict[str, Child] = field(default_factory=dict)
    addresses: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    devices: dict[str, int] = field(default_factory=dict)
    training: dict[str, Any] = field(default_factory=dict)
    outer: dict[str, Any] = field(default_factory=dict)
    clock: RunClock = CLOCK
    rate_wei: int = 10**18

    def __enter__(self) -> Network:
        self.devnet = Devnet(self.folder)
        self.info = self.devnet.start()
        self.chain = self.devnet.chain()
        self.deployment = Deployment.load(Path(self.info.deployment))
        self.store = BlobStore(self.info.ipfs_validators_api)
        self._make_run()
        return self

    def __exit__(self, *_: object) -> None:
        stop_all(list(self.children.values()))
        self.devnet.stop()

    def _make_run(self) -> None:
        sponsor = Sender(self.chain, devnet_account())
        plan = RunPlan(
            name="test",
            paths=default_corpus_files()[:12],
            preset="tiny",
            clock=self.clock,
            seed=b"\x05" * 32,
            reward_rate_wei_per_second=self.rate_wei,
            max_rounds=self.rounds,
            min_trainers=self.trainers,
            min_validators=self.validators,
            expected_trainers=self.trainers,
            training=self.training,
            outer=self.outer,
        )
        made = create_run(sponsor, self.deployment, BlobStore(self.info.ipfs_trainers_api), plan)
        self.client: RunClient = made.client
        self.client.fund(sponsor, 10_000 * 10**18)

    def names(self) -> list[str]:
        return [f"t{n}" for n in range(self.trainers)] + [f"v{n}" for n in range(self.validators)]

    def make_wallets(self) -> None:
        keystore = Keystore(self.folder / "wallets")
        (self.folder / "password").write_text(PASSWORD)
        for name in self.names():
            self.addresses[name] = keystore.create(name, PASSWORD, light=True)
            fund(self.chain, self.deployment, self.addresses[name], ether_wei=10**18, tokens_wei=1_000 * 10**18)

    def start_all(self) -> None:
        if not self.addresses:
            self.make_wallets()
        for name in self.names():
            self.start(name)

    def start(self, name: str) -> None:
        module, api = ("emerit_node", self.info.ipfs_trainers_api)
        if name.startswith("v"):
            module, api = ("emerit_validator", self.info.ipfs_validators_api)
        launcher: list[str] = []
        if name in self.devices:
            processes = str(self.devices[name])
            launcher = ["torch.distributed.run", "--standalone", "--nproc-per-node", processes, "-m"]
        command = python_module(
            *launcher,
            self.modules.get(name, module),
            *("--rpc-url", self.info.rpc_url, "--ipfs-api", api, "--run-address", self.client.address),
            *("--wallet", name),
            *("--wallet-dir", self.folder / "wallets", "--password-file", self.folder / "password"),
            *("--data-dir", self.folder / "nodes" / name, "--poll-seconds", "0.2"),
        )
        self.children[name] = start(name, command, self.folder / "logs" / f"{name}.log")

    def kill(self, name: str) -> None:
        self.children[name].process.kill()
        self.children[name].process.wait(10)

    def wait(self, condition: Callable[[Status], bool], seconds: float, what: str) -> Status:
        """Return the status that fulfils the condition; fail after so long, or when a node ends with an error."""
        deadline = time.monotonic() + seconds
        while True:
            status = self.client.status()
            if condition(status):
                return status
            failed = [name for name, child in self.children.items() if (child.process.poll() or 0) > 0]
            if failed or time.monotonic() > deadline:
                tails = "\n".join(f"--- {name}\n{child.tail(6)}" for name, child in self.children.items())
                why = f"{failed} ended with errors" if failed else f"not within {seconds} s"
                raise AssertionError(f"{what}: {why}; status {status}\n{tails}")
            time.sleep(0.1)

    def outcomes(self, name: str) -> dict[int, dict[str, Any]]:
        return {record["round"]: record for record in self._lines(name, "rounds.jsonl")}

    def roots(self, name: str) -> dict[int, str]:
        return {record["round"]: record["root"] for record in self._lines(name, "roots.jsonl")}

    def _lines(self, name: str, file: str) -> list[dict[str, Any]]:
        paths = list((self.folder / "nodes" / name).glob(f"*/{file}"))
        return [json.loads(line) for path in paths for line in path.read_text().splitlines()]
