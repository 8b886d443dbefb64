"""The demo's stage: folder, devnet, wallets, run, processes; and following the run to its end."""

from __future__ import annotations

import json
import random
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
from eth_account.signers.local import LocalAccount
from rich.console import Console

from emerit.chain.deployment import Deployment
from emerit.chain.run_client import RunClient
from emerit.chain.transactions import Sender
from emerit.data import default_corpus_files
from emerit.devnet.accounts import devnet_account, fund
from emerit.devnet.devnet import Devnet, DevnetInfo
from emerit.devnet.processes import Child, free_ports, python_module, start, stop_all
from emerit.devnet.progress import Progress
from emerit.devnet.validation import HeldOut
from emerit.errors import PreconditionError, UnavailableError
from emerit.files import replace_file
from emerit.ipfs.client import BlobStore
from emerit.keys.keystore import Keystore
from emerit.protocol.presets import clock
from emerit.protocol.types import Phase
from emerit.run.context import RunContext, open_run
from emerit.run.create import RunPlan, create_run

if TYPE_CHECKING:
    from emerit.devnet.demo import DemoOptions

MARKER = ".emerit-demo"
NEEDED_MEMORY_BYTES = 3 * 1024**3
POOL_WEI = 1_000_000 * 10**18
RATE_WEI_PER_SECOND = 10 * 10**18
START_DEADLINE_SECONDS = 180.0
MAX_RESTARTS = 3
SYBIL_NOISE = 0.1


@dataclass(frozen=True)
class Actor:
    """One participant: what only the driver knows (`role`) beside its name and key."""

    name: str
    role: str
    account: LocalAccount

    @property
    def validator(self) -> bool:
        """Whether it validates."""
        return self.role == "validator"


class Stage:
    """Everything that a demo starts; leaving the context stops it all."""

    def __init__(self, options: DemoOptions, console: Console, stop: threading.Event) -> None:
        self.options, self.console, self.stop = options, console, stop
        self.folder = options.folder
        self.children: list[Child] = []
        self.commands: dict[str, list[str]] = {}
        self.restarts: dict[str, int] = {}
        self.actors: list[Actor] = []
        self.losses: list[float] = []
        self.peak_memory_bytes = 0
        self.seconds: dict[str, float] = {}
        self.devnet: Devnet | None = None
        self.api_url = ""

    def __enter__(self) -> Stage:
        """Claim the demo folder; what an older demo left there goes."""
        marker = self.folder / MARKER
        if self.folder.exists() and any(self.folder.iterdir()) and not marker.exists():
            raise PreconditionError(
                "demo-folder-foreign",
                f"{self.folder} holds something that is not a demo's.",
                "Name another folder with EMERIT_DEMO_DIR, or empty this one.",
            )
        if marker.exists() and _alive(marker):
            raise PreconditionError(
                "demo-running",
                f"Another demo runs in {self.folder}.",
                "Stop it, or give this one a folder of its own with EMERIT_DEMO_DIR.",
            )
        available = psutil.virtual_memory().available
        if available < NEEDED_MEMORY_BYTES:
            raise PreconditionError(
                "not-enough-memory",
                f"{available / 2**30:.1f} GiB of memory are free; the demo needs {NEEDED_MEMORY_BYTES / 2**30:.0f}.",
                "Close other programs, or run fewer nodes (--trainers 2 --validators 1 --sybils 0).",
            )
        if self.folder.exists():
            shutil.rmtree(self.folder)
        self.folder.mkdir(parents=True)
        process = psutil.Process()
        replace_file(marker, json.dumps({"pid": process.pid, "born": process.create_time()}).encode())
        return self

    def __exit__(self, *_: object) -> None:
        """Stop nodes and API first, then IPFS, then the chain."""
        stop_all(self.children)
        if self.devnet is not None:
            self.devnet.stop()

    def step(self, text: str) -> None:
        """Say what is going on."""
        self.console.print(f"· {text}", highlight=False)

    def set_up(self, seed: bytes) -> None:
        """Chain, IPFS, contracts, wallets, corpus, run."""
        began = time.monotonic()
        self.devnet = Devnet(self.folder)
        self.info: DevnetInfo = self.devnet.start(self.step)
        self.chain = self.devnet.chain()
        self.deployment = Deployment.load(Path(self.info.deployment))
        self._make_wallets()
        corpus = [self.options.corpus] if self.options.corpus else default_corpus_files()
        trainers = [actor for actor in self.actors if not actor.validator]
        plan = RunPlan(
            name="demo",
            paths=corpus,
            preset=self.options.preset,
            clock=clock("demo"),
            seed=seed,
            reward_rate_wei_per_second=RATE_WEI_PER_SECOND,
            max_rounds=self.options.rounds,
            min_trainers=len(trainers),
            min_validators=self.options.validators,
            expected_trainers=len(trainers),
        )
        sponsor = Sender(self.chain, devnet_account())
        created = create_run(sponsor, self.deployment, BlobStore(self.info.ipfs_trainers_api), plan, on_step=self.step)
        self.step(f"run {created.client.address}: {created.train_sequences} training sequences")
        created.client.fund(sponsor, POOL_WEI)
        self.client: RunClient = created.client
        self.context: RunContext = open_run(self.client, BlobStore(self.info.ipfs_validators_api))
        self.held_out = HeldOut(self.context, self.folder / "driver")
        self.losses.append(self.held_out.loss())
        self.seconds["devnet"] = round(time.monotonic() - began, 2)

    def _make_wallets(self) -> None:
        """One key per participant, in an order that the seed permutes; names tell nothing."""
        self.step("making wallets and funding them")
        roles = (
            ["honest"] * self.options.trainers
            + ["free-rider"] * self.options.free_riders
            + ["sybil"] * self.options.sybils
            + ["validator"] * self.options.validators
        )
        random.Random(self.options.seed).shuffle(roles)
        password_file = self.folder / "wallets" / "password"
        replace_file(password_file, secrets.token_hex(16).encode())
        password = password_file.read_text()
        keystore = Keystore(self.folder / "wallets")
        for number, role in enumerate(roles):
            name = f"node-{number + 1:02d}"
            keystore.create(name, password, light=True)
            account = keystore.load(name, password)
            fund(self.chain, self.deployment, account.address, ether_wei=10 * 10**18, tokens_wei=1_000 * 10**18)
            self.actors.append(Actor(name, role, account))

    def start_nodes(self) -> None:
        """Start every node and the API; the run starts by itself once all have joined."""
        began = time.monotonic()
        self.step(f"starting {len(self.actors)} nodes and the API")
        port = free_ports(1)[0]
        self.api_url = f"http://127.0.0.1:{port}"
        self._spawn("api", python_module("emerit.api", *self._api_arguments(port)))
        sybils = [actor for actor in self.actors if actor.role == "sybil"]
        for number, actor in enumerate(self.actors):
            common = self._node_arguments(actor)
            if actor.validator:
                command = python_module("emerit_validator", *common)
            elif actor.role == "honest":
                command = python_module("emerit_node", *common)
            else:
                cheat = ["--seed", str(self.options.seed * 1_000 + number)]
                if actor.role == "sybil":
                    part = "leader" if actor is sybils[0] else "follower"
                    cheat += ["--share", str(self.folder / "driver" / "shared"), "--noise", str(SYBIL_NOISE)]
                    command = python_module("emerit.devnet.adversary", f"sybil-{part}", *cheat, *common)
                else:
                    command = python_module("emerit.devnet.adversary", "free-rider", *cheat, *common)
            self._spawn(actor.name, command)
        self._wait_started()
        self.seconds["joining"] = round(time.monotonic() - began, 2)

    def _spawn(self, name: str, command: list[str]) -> None:
        self.commands[name] = command
        self.children.append(start(name, command, self.folder / "logs" / f"{name}.log"))

    def _api_arguments(self, port: int) -> list[str]:
        return [
            "--rpc-url",
            self.info.rpc_url,
            "--ipfs-api",
            self.info.ipfs_validators_api,
            "--run",
            self.client.address,
            "--port",
            str(port),
            "--database",
            f"sqlite:///{self.folder / 'index.sqlite'}",
        ]

    def _node_arguments(self, actor: Actor) -> list[str]:
        ipfs = self.info.ipfs_validators_api if actor.validator else self.info.ipfs_trainers_api
        return [
            "--rpc-url",
            self.info.rpc_url,
            "--ipfs-api",
            ipfs,
            "--run",
            self.client.address,
            "--wallet",
            actor.name,
            "--wallet-dir",
            str(self.folder / "wallets"),
            "--password-file",
            str(self.folder / "wallets" / "password"),
            "--data-dir",
            str(self.folder / "nodes" / actor.name),
        ]

    def _wait_started(self) -> None:
        deadline = time.monotonic() + START_DEADLINE_SECONDS
        while not self.stop.is_set():
            self.require_alive()
            if self.client.status().phase is not Phase.NOT_STARTED:
                return
            if time.monotonic() > deadline:
                raise UnavailableError(
                    "demo-start-timeout",
                    f"Not all nodes joined within {START_DEADLINE_SECONDS:.0f} seconds.",
                    f"See the logs in {self.folder / 'logs'}.",
                )
            self.stop.wait(0.5)

    def follow(self) -> None:
        """Show the run as it goes until it has finished; measure the held-out loss after each round."""
        began = time.monotonic()
        registry = self.client.registry()
        names = {str(actor.account.address): actor.name for actor in self.actors}
        trainers = {e.slot: names[e.account] for e in registry if e.role.name == "TRAINER"}
        validators = {e.slot: names[e.account] for e in registry if e.role.name == "VALIDATOR"}
        with Progress(
            self.console, self.client, self.options.rounds, trainers, validators, list(self.losses)
        ) as progress:
            while not self.stop.is_set():
                status = self.client.status()
                finished = status.phase is Phase.FINISHED
                if not finished:
                    self.revive()
                self.require_alive(nodes=not finished)
                self._watch_memory()
                progress.show(status)
                if self.held_out.advance(self.client.state_chain()):
                    self.losses.append(self.held_out.loss())
                    progress.add_loss(self.losses[-1])
                elif finished:
                    break
                self.stop.wait(0.25)
        self.seconds["rounds"] = round(time.monotonic() - began, 2)

    def revive(self) -> None:
        """Start a node again that somebody killed: it rejoins with its state, and the run goes on meanwhile."""
        for place, child in enumerate(self.children):
            killed = not child.running and child.process.returncode < 0
            if killed and self.restarts.get(child.name, 0) < MAX_RESTARTS:
                self.restarts[child.name] = self.restarts.get(child.name, 0) + 1
                self.console.print(
                    f"{child.name} was killed by signal {-child.process.returncode}; starting it again",
                    highlight=False,
                )
                self.children[place] = start(child.name, self.commands[child.name], child.log)

    def require_alive(self, *, nodes: bool = True) -> None:
        """Raise UnavailableError `demo-process-died` with the tail of the log of a child that has ended early."""
        for child in self.children:
            if not child.running and (nodes or child.name == "api"):
                raise UnavailableError(
                    "demo-process-died",
                    f"{child.name} ended with code {child.process.returncode}. Its last lines:\n{child.tail()}",
                    f"The whole log is {child.log}.",
                )

    def _watch_memory(self) -> None:
        total = 0
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        self.peak_memory_bytes = max(self.peak_memory_bytes, total)


def _alive(marker: Path) -> bool:
    try:
        record = json.loads(marker.read_bytes())
        return bool(psutil.Process(record["pid"]).create_time() == record["born"])
    except (ValueError, KeyError, psutil.NoSuchProcess):
        return False
