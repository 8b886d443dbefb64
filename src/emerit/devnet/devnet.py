"""Chain, two IPFS nodes and contracts on one machine, each a process of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path

from emerit.chain.anvil import AnvilProcess, find_anvil
from emerit.chain.deployment import default_path, deploy_all
from emerit.chain.rpc import Chain
from emerit.chain.token import Token
from emerit.chain.transactions import Sender
from emerit.devnet.accounts import DEVNET_MNEMONIC, devnet_account
from emerit.devnet.detached import describe
from emerit.devnet.processes import free_ports
from emerit.files import SHARED, replace_file
from emerit.ipfs.process import LocalNode

# Where `make setup` puts Anvil; an installed package has no checkout and finds Anvil on PATH.
CHECKOUT = Path(__file__).parents[3]
TOKEN_CAP_WEI = 1_000_000_000 * 10**18
SPONSOR_WEI = 100_000_000 * 10**18
UNBONDING_SECONDS = 3_600


@dataclass(frozen=True)
class DevnetInfo:
    """Where a devnet's parts are; written to `devnet.json` for the other commands.

    Attributes:
        ipfs_trainers_api: RPC of the Kubo node that trainers use.
        ipfs_validators_api: RPC of the one that validators and the API use.
    """

    chain_id: int
    rpc_url: str
    ipfs_trainers_api: str
    ipfs_validators_api: str
    deployment: str
    processes: dict[str, dict[str, float]] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the file atomically."""
        replace_file(path, (json.dumps(asdict(self), indent=2) + "\n").encode(), mode=SHARED)


class Devnet:
    """Starts and stops the parts; usable as a context manager."""

    def __init__(self, folder: Path, *, outlive: bool = False, ports: tuple[int, ...] | None = None) -> None:
        self.folder = folder
        self.ports = ports or tuple(free_ports(5))
        self.chain_id = 31_000_000 + self.ports[0]
        self.outlive = outlive
        self.anvil: AnvilProcess | None = None
        self.ipfs: list[LocalNode] = []

    def __enter__(self) -> Devnet:
        """Return self; parts start with `start()`."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop every part that runs."""
        self.stop()

    def start(self, on_step: Callable[[str], None] = lambda _text: None) -> DevnetInfo:
        """Start chain and IPFS, deploy the contracts.

        Raises:
            PreconditionError: a tool is missing or a port is in use; whatever had started is stopped.
        """
        with ExitStack() as undo:  # whatever ends it, Ctrl-C too: leave no process behind
            undo.callback(self.stop)
            info = self._start(on_step)
            undo.pop_all()
        return info

    def _start(self, on_step: Callable[[str], None]) -> DevnetInfo:
        self.folder.mkdir(parents=True, exist_ok=True)
        on_step("starting the chain (Anvil)")
        self.anvil = AnvilProcess(
            port=self.ports[0],
            chain_id=self.chain_id,
            state_path=self.folder / "chain.json",
            log_path=self.folder / "logs" / "chain.log",
            mnemonic=DEVNET_MNEMONIC,
            outlive=self.outlive,
            binary=find_anvil(CHECKOUT),
        )
        self.anvil.start()
        on_step("starting two IPFS nodes (Kubo)")
        for number, name in enumerate(("trainers", "validators")):
            node = LocalNode(
                folder=self.folder / f"ipfs-{name}",
                api_port=self.ports[1 + 2 * number],
                swarm_port=self.ports[2 + 2 * number],
                peers=[other.peer_address for other in self.ipfs],
                log_path=self.folder / "logs" / f"ipfs-{name}.log",
                outlive=self.outlive,
            )
            node.start()
            self.ipfs.append(node)
        on_step("deploying the contracts")
        chain = self.chain()
        path = default_path(self.folder, self.chain_id)
        sender = Sender(chain, devnet_account())
        deployment = deploy_all(chain, sender, TOKEN_CAP_WEI, UNBONDING_SECONDS, path)
        Token(chain, deployment.token).mint(sender, sender.address, SPONSOR_WEI)
        info = DevnetInfo(
            chain_id=self.chain_id,
            rpc_url=self.anvil.rpc_url,
            ipfs_trainers_api=self.ipfs[0].api_url,
            ipfs_validators_api=self.ipfs[1].api_url,
            deployment=str(path),
            processes={
                name: describe(pid)
                for name, pid in (
                    ("chain", self.anvil.pid),
                    ("ipfs-trainers", self.ipfs[0].pid),
                    ("ipfs-validators", self.ipfs[1].pid),
                )
                if pid is not None
            },
        )
        info.save(self.folder / "devnet.json")
        return info

    def chain(self) -> Chain:
        """A client of the devnet's chain."""
        assert self.anvil is not None
        return Chain(self.anvil.rpc_url, self.chain_id)

    def stop(self) -> None:
        """Stop the parts, the chain last so that it can write its state."""
        for node in reversed(self.ipfs):
            node.stop()
        self.ipfs.clear()
        if self.anvil is not None:
            self.anvil.stop()
            self.anvil = None
