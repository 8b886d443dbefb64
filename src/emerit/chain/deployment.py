"""The contracts of one deployment: deploying them, and the file that says where they are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from eth_utils.address import to_checksum_address

from emerit import PROTOCOL_VERSION
from emerit.chain.artifacts import load_artifact
from emerit.chain.contract import Contract, checked_address
from emerit.chain.factory import FactoryClient
from emerit.chain.records import CreatedRun
from emerit.chain.rpc import Chain
from emerit.chain.transactions import Sender
from emerit.errors import PreconditionError, UsageError
from emerit.files import SHARED, replace_file

# Each contract after those that its constructor names. Runs are deployed by the factory.
DEPLOYED: Final = (
    "EmeritToken",
    "Stakes",
    "Rewards",
    "Penalties",
    "Disputes",
    "Settlement",
    "Reputation",
    "RunFactory",
)


@dataclass(frozen=True)
class Deployment:
    """Where the contracts are: `addresses` and `versions` (source hashes) by contract name, from `block` on."""

    chain_id: int
    block: int
    addresses: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def token(self) -> str:
        """Address of the EmeritToken."""
        return self.addresses["EmeritToken"]

    @property
    def stakes(self) -> str:
        """Address of Stakes."""
        return self.addresses["Stakes"]

    @property
    def rewards(self) -> str:
        """Address of Rewards."""
        return self.addresses["Rewards"]

    @property
    def factory(self) -> str:
        """Address of the RunFactory."""
        return self.addresses["RunFactory"]

    @property
    def is_complete(self) -> bool:
        """Whether every contract has an address."""
        return set(self.addresses) == set(DEPLOYED)

    def runs(self, chain: Chain) -> list[CreatedRun]:
        """Return all runs of this deployment's factory, oldest first."""
        return FactoryClient(chain, self.factory).runs(self.block)

    def save(self, path: Path) -> None:
        """Write the file, whole or not at all."""
        fields = {
            "protocol": PROTOCOL_VERSION,
            "chain_id": self.chain_id,
            "block": self.block,
            "addresses": dict(self.addresses),
            "versions": dict(self.versions),
        }
        replace_file(path, (json.dumps(fields, indent=2, sort_keys=True) + "\n").encode(), mode=SHARED)

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a complete deployment.

        Raises PreconditionError `deployment-missing`, `deployment-incomplete` or `deployment-version`; UsageError
        `deployment-invalid`.
        """
        if not path.is_file():
            raise PreconditionError(
                "deployment-missing", f"There is no deployment file {path}.", "Run emerit deploy, or set deployment."
            )
        deployment = _read(path)
        if not deployment.is_complete:
            raise PreconditionError(
                "deployment-incomplete",
                f"{path} has {len(deployment.addresses)} of {len(DEPLOYED)} contracts: a deployment was interrupted.",
                "Run emerit deploy again; it continues.",
            )
        return deployment

    def check_chain(self, chain: Chain) -> None:
        """Raise PreconditionError `wrong-chain` unless `chain` is the one that this deployment is on."""
        if chain.chain_id != self.chain_id:
            raise PreconditionError(
                "wrong-chain",
                f"The deployment is on chain {self.chain_id}, but {chain.display_url} is chain {chain.chain_id}.",
                "Correct rpc_url, or use the deployment file of this chain.",
            )

    def verify(self, chain: Chain) -> None:
        """Check that every address has the code of this version of emerit.

        Raises PreconditionError `wrong-chain`, `deployment-gone` or `deployment-differs`.
        """
        self.check_chain(chain)
        for name, address in self.addresses.items():
            _check_code(chain, name, address)


def default_path(folder: Path, chain_id: int) -> Path:
    """Return where the deployment on a chain is kept: `folder`/deployments/<chain id>.json."""
    return folder / "deployments" / f"{chain_id}.json"


def deploy_all(
    chain: Chain,
    sender: Sender,
    cap_wei: int,
    unbonding_seconds: int,
    path: Path | None = None,
    existing: Deployment | None = None,
    minter: str | None = None,
    on_step: Callable[[str, str, bool], None] | None = None,
) -> Deployment:
    """Deploy what `existing` (else the file at `path`) does not name yet, verify all code, return the addresses.

    Running it again changes nothing. With a `path` it is saved after every contract, so that an interrupted
    deployment continues. `minter` is the sender by default;
    `on_step(contract, address, reused)` reports progress.

    Raises PreconditionError `wrong-chain`, `deployment-gone`, `deployment-differs`; and as `Sender.send`.
    """
    known = existing
    if known is None and path is not None and path.is_file():
        known = _read(path)
    if known is None:
        known = Deployment(chain.chain_id, chain.block_number())
    known.verify(chain)
    addresses, versions = dict(known.addresses), dict(known.versions)
    deployment = known
    for name in DEPLOYED:
        reused = name in addresses
        if not reused:
            arguments = _arguments(name, addresses, cap_wei, unbonding_seconds, minter or sender.address)
            addresses[name] = _deploy(chain, sender, name, arguments)
            versions[name] = load_artifact(name).source_hash
            deployment = Deployment(chain.chain_id, known.block, dict(addresses), dict(versions))
            if path is not None:
                deployment.save(path)
        if on_step is not None:
            on_step(name, addresses[name], reused)
    _check_settings(chain, deployment, cap_wei, unbonding_seconds)
    return deployment


def _arguments(
    name: str, addresses: Mapping[str, str], cap_wei: int, unbonding_seconds: int, minter: str
) -> tuple[Any, ...]:
    """Return the constructor's arguments of a contract."""
    if name == "EmeritToken":
        return (minter, cap_wei)
    if name == "Stakes":
        return (unbonding_seconds,)
    if name == "Penalties":
        return (addresses["Stakes"], addresses["Rewards"])
    if name == "Disputes":
        return (addresses["Stakes"], addresses["Rewards"], addresses["Penalties"])
    if name == "Settlement":
        return (addresses["Stakes"], addresses["Rewards"], addresses["Disputes"])
    if name == "RunFactory":
        return (addresses["Settlement"], addresses["Reputation"])
    return ()


def _deploy(chain: Chain, sender: Sender, name: str, arguments: tuple[Any, ...]) -> str:
    receipt = sender.deploy(load_artifact(name).creation(*arguments))
    address = receipt.contract_address or ""
    _check_code(chain, name, address)
    return address


def _check_code(chain: Chain, name: str, address: str) -> None:
    code = chain.code(address)
    if not code:
        raise PreconditionError(
            "deployment-gone",
            f"There is no {name} at {address} on {chain.display_url}: has the chain been started afresh?",
            "Load the chain's saved state, or delete the deployment file and deploy again.",
        )
    if not load_artifact(name).matches(code):
        raise PreconditionError(
            "deployment-differs",
            f"The code at {address} is not the {name} of this version of emerit.",
            "Use the version that deployed it, or deploy again with another file.",
        )


def _check_settings(chain: Chain, deployment: Deployment, cap_wei: int, unbonding_seconds: int) -> None:
    """Check what the code comparison cannot see: the values given to the constructors."""

    def read(name: str, function: str) -> Any:
        return Contract(chain, name, deployment.addresses[name]).read(function)

    def address(name: str, function: str) -> str:
        return str(to_checksum_address(read(name, function)))

    found_wanted = {
        "the token's cap": (read("EmeritToken", "cap"), cap_wei),
        "the unbonding time": (read("Stakes", "unbondingSeconds"), unbonding_seconds),
        "the runs' Stakes": (address("Settlement", "stakes"), deployment.stakes),
        "the runs' Rewards": (address("Settlement", "rewards"), deployment.rewards),
        "the runs' Disputes": (address("Settlement", "disputes"), deployment.addresses["Disputes"]),
        "the runs' Penalties": (address("Disputes", "penalties"), deployment.addresses["Penalties"]),
        "the factory's Settlement": (address("RunFactory", "core"), deployment.addresses["Settlement"]),
        "the factory's Reputation": (
            address("RunFactory", "reputationImplementation"),
            deployment.addresses["Reputation"],
        ),
    }
    for what, (found, wanted) in found_wanted.items():
        if found != wanted:
            raise PreconditionError(
                "deployment-differs",
                f"In the deployment {what} is {found}, not {wanted}.",
                "Give the values it was deployed with, or deploy again with another file.",
            )


def _read(path: Path) -> Deployment:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        addresses = {str(name): checked_address(str(value)) for name, value in fields["addresses"].items()}
        chain_id, block = int(fields["chain_id"]), int(fields["block"])
        _check_version(path, fields.get("protocol", 1))
        if unknown := set(addresses) - set(DEPLOYED):
            raise ValueError(f"unknown contracts {', '.join(sorted(unknown))}")
        return Deployment(chain_id, block, addresses, dict(fields["versions"]))
    except (ValueError, KeyError, TypeError, AttributeError, UsageError) as error:
        raise UsageError(
            "deployment-invalid", f"{path} is not a deployment file: {error!r}.", "Restore or delete it."
        ) from error


def _check_version(path: Path, version: object) -> None:
    if version != PROTOCOL_VERSION:
        raise PreconditionError(
            "deployment-version",
            f"The contracts that {path} names speak protocol version {version}, this program {PROTOCOL_VERSION}.",
            "Use the version of emerit that deployed them, or deploy again with another file.",
        )
