"""Follow a run from a command: its ledger replayed from chain, its manifest from IPFS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from emerit.errors import UsageError

if TYPE_CHECKING:
    from emerit.chain.records import SettledRound
    from emerit.chain.run_client import RunClient
    from emerit.cli.place import Place
    from emerit.protocol.types import Leaf, RegistryEntry
    from emerit.run.context import RunContext
    from emerit.run.ledger import Ledger


def context_of(where: Place, client: RunClient) -> RunContext:
    """The run with its verified manifest."""
    from emerit.ipfs.client import BlobStore
    from emerit.run.context import open_run

    return open_run(client, BlobStore(where.settings.ipfs_api))


def ledger_of(client: RunClient) -> Ledger:
    """The settlements that stand, each recomputed and checked; one that is wrong ends it with a warning.

    Raises:
        RefusedError: `protocol-version`, when the address is not a run of this version.
    """
    from emerit.cli.output import warn
    from emerit.run.ledger import Ledger

    client.check_version()
    ledger = Ledger(client)
    ledger.update()
    if ledger.fault is not None:
        warn(ledger.fault.error)
    return ledger


def entry_in(client: RunClient, address: str) -> RegistryEntry:
    """The member with this account or operator.

    Raises:
        UsageError: `not-in-run`.
    """
    entry = client.entry_of(address)
    if entry is None:
        raise UsageError(
            "not-in-run",
            f"{address} is not in run {client.address}.",
            "Check the address; name another run with --run (emerit run list).",
        )
    return entry


def weight_in(entry: RegistryEntry, leaf: Leaf) -> int:
    """A trainer's consensus weight in its leaf; 0 for validators, whose field says something else."""
    return leaf.detail.weight if entry.role.name == "TRAINER" else 0


def model_folder(where: Place, client: RunClient) -> Path:
    """Where this machine keeps a run's state for the `emerit model` commands; one folder for each run and chain."""
    from emerit.run.options import node_folder_name

    return where.settings.data_dir / "model" / node_folder_name(client.chain, "state", client.address)


def settled_until(client: RunClient, round_number: int | None) -> list[SettledRound]:
    """The settled rounds whose aggregates made the model, in order, up to the one named.

    Raises:
        UsageError: `round-not-settled`.
    """
    settled = client.state_chain()
    if round_number is None:
        return settled
    known = [item.round for item in settled]
    if round_number not in known:
        raise UsageError(
            "round-not-settled",
            f"Round {round_number} has not settled.",
            f"Settled rounds: {_span(known)}.",
        )
    return settled[: known.index(round_number) + 1]


def _span(rounds: list[int]) -> str:
    if len(rounds) > 12:
        return f"{rounds[0]} to {rounds[-1]}"
    return ", ".join(map(str, rounds)) or "none"
