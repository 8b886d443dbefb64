"""`emerit reputation show|gateways|compute`: MeritRank on the run's seed and wide graphs, from chain and IPFS.

`compute` is for graphs of one's own (`emerit.cli.reputation_compute`).
"""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from emerit.cli.following import context_of, entry_in, ledger_of, weight_in
from emerit.cli.options import (
    AddressArgument,
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, print_record, say
from emerit.cli.place import address_of, place, sender_for
from emerit.cli.reputation_compute import compute
from emerit.cli.reputation_wide import GraphKind, say_wide, wide_reputation_of
from emerit.errors import UsageError

app = typer.Typer(no_args_is_help=True)
app.command()(compute)

SHOWN_ROUNDS = 10
GATEWAY = re.compile(r"https?://[^\s{}]+\{sender\}[^\s{}]*\{data\}[^\s{}]*")


@app.callback()
def root() -> None:
    """Ask for reputation."""


@app.command()
def show(
    address: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say which paths carried the last round's, and what each decay took")
    ] = False,
    perspective: Annotated[
        str | None,
        typer.Option(
            "--perspective", help="Account: a validator's view of a trainer; on the wide graph anybody's view"
        ),
    ] = None,
    graph: Annotated[
        GraphKind, typer.Option(help="seed: what is settled and on chain; wide: also what trainers say of each other")
    ] = GraphKind.SEED,
    as_json: JsonOption = False,
) -> None:
    """Show a participant's reputation, how it came about round by round, and what the contract answers.

    The wide graph is read from the contributions of the last rounds. Nobody can verify what trainers say of each other
    there, and nothing depends on it.
    """
    target = address_of(address, wallet_dir)
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    entry = entry_in(client, target)
    ledger = ledger_of(client)
    from emerit.protocol.reputation import REPUTATION_ONE

    history = [
        {
            "round": item.round,
            "reputation": item.settlement.leaves[entry.index].detail.reputation,
            "weight": weight_in(entry, item.settlement.leaves[entry.index]),
        }
        for item in ledger.entries
        if entry.index < len(item.settlement.leaves)
    ]
    latest = int(history[-1]["reputation"]) if history else 0
    record: dict[str, Any] = {
        "address": entry.account,
        "role": entry.role.name.lower(),
        "reputation": latest,
        "of": REPUTATION_ONE,
        "on_chain": client.reputation_of(entry.account),
    }
    from emerit.run.ratings import Ratings
    from emerit.run.reputation_view import explain_last, perspective_last

    rating = Ratings().after(ledger.entries).get(entry.index)
    record |= {"rating": rating.mu if rating else None, "rating_sigma": rating.sigma if rating else None}
    told = explain_last(ledger.entries, entry, ledger.params.reputation) if explain else None
    viewer = None if perspective is None else entry_in(client, address_of(perspective, wallet_dir))
    wide = None
    if graph is GraphKind.WIDE:
        wide = wide_reputation_of(context_of(where, client), ledger, entry, viewer)
    elif viewer is not None:
        record["perspective"] = perspective_last(ledger.entries, viewer, entry, ledger.params.reputation)
    if as_json:
        more = ({"explain": told} if explain else {}) | ({"wide": wide} if wide is not None else {})
        print_json(record | {"history": history} | more)
        return
    if "perspective" in record:
        seen = record["perspective"]
        record["perspective"] = f"{seen['visits']} visits from {seen['validator']}" if seen else "no round settled yet"
    del record["rating_sigma"]
    record["rating"] = f"{rating.mu:.2f} ± {rating.sigma:.2f}" if rating else "never measured"
    print_record(record | {"share": f"{latest / REPUTATION_ONE:.4%}"})
    for row in history[-SHOWN_ROUNDS:]:
        say(f"  round {row['round']}: weight {row['weight']}, reputation {row['reputation']}")
    if len(history) > SHOWN_ROUNDS:
        say(f"  ({len(history) - SHOWN_ROUNDS} earlier rounds: --json)")
    if record["on_chain"] == 0 and latest:
        say("The contract answers 0 until the leaf is shown to it: emerit rewards claim does so.")
    if told is not None:
        say_explanation(told)
    if wide is not None:
        say_wide(wide, explain)


def say_explanation(told: dict[str, Any]) -> None:
    """Print an explanation, in parts of 10^9."""
    say(f"Round {told['round']}, in parts of 10^9:")
    for path in told["paths"]:
        say(
            f"  {path['visits']:>11}  seed -> validator {path['account']} with {path['stake_share'] / 1e9:.1%} of the"
            f" stake -> here: {path['share'] / 1e9:.1%} of all visits"
        )
    say(f"  {told['undecayed']:>11}  visits if walks never stopped")
    say(f"  {-told['transitivity_took']:>11}  transitivity decay: a walk stops at each step with some probability")
    say(f"  {-told['connectivity_took']:>11}  connectivity decay: nearly all came through one validator")
    say(f"  {told['visits']:>11}  visits of the round")
    say(f"  {told['before']:>11}  reputation before")
    say(f"  {-told['epoch_took']:>11}  epoch decay of it")
    say(f"  {told['epoch_added']:>11}  from this round's visits")
    say(f"  {told['reputation']:>11}  reputation")


@app.command()
def gateways(
    urls: Annotated[
        list[str] | None, typer.Argument(metavar="[URL]...", help="New gateways, with {sender} and {data}; none: show")
    ] = None,
    clear: Annotated[bool, typer.Option("--clear", help="Let there be none")] = False,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show or set the servers that other contracts' clients are sent to for a reputation (ERC-3668). By the sponsor.

    They can withhold an answer but not forge one. An API serves as one: https://HOST/v1/ccip/{sender}/{data}
    """
    for url in urls or ():
        if not GATEWAY.fullmatch(url):
            raise UsageError(
                "gateway-invalid",
                f"{url!r} is not the URL of a gateway.",
                "Use one like https://HOST/v1/ccip/{sender}/{data}, in quotes.",
            )
    if urls and clear:
        raise UsageError("gateway-invalid", "There are URLs, and --clear.", "Give one or the other.")
    where = place(rpc_url, run=run, deployment=deployment)
    chain = where.chain()
    client = where.run_client(chain)
    if urls or clear:
        sender = sender_for(where, chain, wallet, wallet_dir, password_file)
        client.reputation.write(sender, "setGateways", list(urls or ()))
    found = list(client.reputation.read("gateways"))
    if as_json:
        print_json({"contract": client.reputation_address, "gateways": found})
        return
    for url in found:
        say(url)
    if not found:
        say("No gateway: contracts see a reputation once its leaf has been shown (emerit rewards claim does so).")
