"""Follow a run from a command: its ledger replayed from chain, its manifest from IPFS."""

from __future__ import annotations

from emerit.chain.run_client import RunClient
from emerit.cli.shared import Place
from emerit.ipfs.client import BlobStore
from emerit.run.context import RunContext, open_run
from emerit.run.ledger import Ledger


def context_of(where: Place, client: RunClient) -> RunContext:
    """The run with its verified manifest."""
    return open_run(client, BlobStore(where.settings.ipfs_api))


def ledger_of(where: Place, client: RunClient, context: RunContext | None = None) -> Ledger:
    """The run's settlements, each recomputed and checked."""
    context = context or context_of(where, client)
    ledger = Ledger(client, context.manifest, context.params.validator_share_bps)
    ledger.update()
    return ledger
