"""`emerit rewards list|claim`: what an account earned, why, and taking it."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from emerit.chain.run_client import RunClient
from emerit.cli.following import context_of, ledger_of
from emerit.cli.shared import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
    console,
    place,
    print_json,
    sender_for,
    tokens,
    unlock,
)
from emerit.errors import EmeritError, UsageError
from emerit.run.claims import claim as send_claim
from emerit.run.claims import claimable
from emerit.run.context import RunContext
from emerit.run.ledger import SettledEntry
from emerit.scoring.reasons import REASONS

app = typer.Typer(no_args_is_help=True)

MAX_EVIDENCE_BYTES = 1 << 20


@app.command(name="list")
def list_rewards(
    address: Annotated[str, typer.Argument(help="Owner account or operator")],
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an account earned in each round, and why."""
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    entry = client.entry_of(address)
    if entry is None:
        raise UsageError(
            "not-in-run",
            f"{address} is not in run {client.address}.",
            "See `emerit run show` and the address.",
        )
    context = context_of(where, client)
    ledger = ledger_of(where, client, context)
    rows, before = [], 0
    for item in ledger.entries:
        if entry.index >= len(item.settlement.leaves):
            continue
        leaf = item.settlement.leaves[entry.index]
        why = _why(context, item, entry.slot) if entry.role.name == "TRAINER" else "validated"
        rows.append(
            {
                "round": item.onchain.header.round,
                "earned_wei": str(leaf.cumulative_amount_wei - before),
                "weight": leaf.weight,
                "why": why,
            }
        )
        before = leaf.cumulative_amount_wei
    claimed = client.claimed(entry.account)
    if as_json:
        print_json(
            {
                "address": entry.account,
                "earned_wei": str(before),
                "claimed_wei": str(claimed),
                "rounds": rows,
            }
        )
        return
    for row in rows:
        console().print(f"round {row['round']}: {tokens(int(str(row['earned_wei'])))}  {row['why']}", highlight=False)
    console().print(f"earned {tokens(before)}, claimed {tokens(claimed)}", highlight=False)


def _why(context: RunContext, item: SettledEntry, slot: int) -> str:
    """What the validators' evidence says about a trainer in a round."""
    if not any(c.slot == slot for c in item.contributions):
        return REASONS["not-revealed"]
    codes: list[str] = []
    for reveal in item.weights:
        try:
            data: dict[str, Any] = json.loads(
                context.fetch(reveal.evidence_cid, reveal.evidence_hash, MAX_EVIDENCE_BYTES)
            )
            codes.append(data["trainers"][str(slot)]["reason"])
        except (EmeritError, KeyError, ValueError):
            continue  # evidence explains; where one validator's cannot be read, the others' serve
    if not codes:
        return "no validator's evidence can be fetched now"
    code = max(set(codes), key=codes.count)
    return f"{code}: {REASONS.get(code, 'no sentence for this code')}"


@app.command()
def claim(
    address: Annotated[str | None, typer.Argument(help="Owner account to claim for (default: the wallet's)")] = None,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Claim what is due by Merkle proof; anybody may send it, the owner account gets it."""
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    chain = where.chain()
    client: RunClient = where.run_client(chain)
    account = unlock(where, wallet, wallet_dir, password_file)
    ledger = ledger_of(where, client)
    item = claimable(client, ledger, address or account.address)
    paid = send_claim(client, sender_for(chain, account), item)
    if as_json:
        print_json({"address": item.leaf.account, "paid_wei": str(paid), "round": item.header.round})
        return
    console().print(f"{item.leaf.account} got {tokens(paid)}" if paid else "nothing is due now", highlight=False)
