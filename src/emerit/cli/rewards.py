"""`emerit rewards list|claim`: what an account earned, why, and taking it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

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
from emerit.cli.output import print_json, say, tokens
from emerit.cli.place import address_of, place, sender_for
from emerit.errors import RefusedError, UnavailableError, UsageError

if TYPE_CHECKING:
    from emerit.chain.run_client import RunClient
    from emerit.chain.transactions import Sender
    from emerit.protocol.types import RegistryEntry
    from emerit.run.context import RunContext
    from emerit.run.ledger import SettledEntry

app = typer.Typer(no_args_is_help=True)

EVIDENCE_SECONDS: Final = 10.0
GIVE_UP_AFTER: Final = 2
SHOWN_ROUNDS: Final = 20
EVIDENCE_MISSING: Final = "evidence-missing"
SENTENCES: Final = {
    EVIDENCE_MISSING: "No validator's evidence can be fetched now.",
    "validator:paid": "It revealed its weights, covered the trainers, and its base loss agrees; paid by its stake.",
    "validator:nothing-earned": "No contribution earned anything, so nobody was paid.",
    "validator:no-stake": "It had no seat, or no voting weight, in this round's epoch.",
    "validator:no-reveal": "It revealed no weights, so it is not paid.",
    "validator:base-loss-missing": "It gave no base loss, so it is not paid.",
    "validator:base-loss-off": "Its base loss is off the median: it measured something else, so it is not paid.",
    "validator:not-covered": "It abstained on a contribution that two thirds of the stake saw, so it is not paid.",
}


class Evidence:
    """Reason codes from the validators' evidence; stops asking when nobody delivers them."""

    def __init__(self, context: RunContext) -> None:
        self.context, self.missed = context, 0

    def reason(self, item: SettledEntry, slot: int) -> str:
        """The code that most validators gave a trainer slot in a round."""
        if not any(contribution.slot == slot for contribution in item.contributions):
            return "not-revealed"
        from emerit.scoring.evidence import MAX_EVIDENCE_BYTES, read_evidence

        codes: list[str] = []
        for reveal in item.weights:
            if self.missed >= GIVE_UP_AFTER:
                break
            try:
                data = self.context.fetch(
                    reveal.evidence_cid, reveal.evidence_hash, MAX_EVIDENCE_BYTES, EVIDENCE_SECONDS
                )
                view = read_evidence(data)["trainers"].get(str(slot))
                codes += [view["reason"]] if view else []
            except UnavailableError:
                self.missed += 1
            except RefusedError:
                continue  # evidence explains; where one validator's cannot be read, the others' serve
        return max(sorted(set(codes)), key=codes.count) if codes else EVIDENCE_MISSING


@app.command(name="list")
def list_rewards(
    address: AddressArgument,
    run: RunOption = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet_dir: WalletDirOption = None,
    last: Annotated[
        int | None, typer.Option(min=1, help=f"Only so many of the last rounds; default: {SHOWN_ROUNDS}, in JSON all")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an account earned in each round, and why."""
    target = address_of(address, wallet_dir)
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    entry = entry_in(client, target)
    context = context_of(where, client)
    ledger = ledger_of(client)
    # Who joined after a round had opened has no leaf in it.
    items = [item for item in ledger.entries if entry.index < len(item.settlement.leaves)]
    shown = items if as_json and last is None else items[-(last or SHOWN_ROUNDS) :]
    rows = _rows(context, entry, items, shown)
    earned_wei = ledger.leaves[entry.index].cumulative_amount_wei if items else 0
    claimed_wei = client.claimed(entry.account)
    if as_json:
        record = {"address": entry.account, "earned_wei": str(earned_wei), "claimed_wei": str(claimed_wei)}
        print_json(record | {"rounds": rows})
        return
    if len(shown) < len(items):
        say(f"({len(items) - len(shown)} earlier rounds: --last {len(items)})")
    for row in rows:
        say(f"round {row['round']}: {tokens(int(row['earned_wei']))}  {row['reason']}: {row['why']}")
    say(f"earned {tokens(earned_wei)}, claimed {tokens(claimed_wei)}")


def _rows(
    context: RunContext, entry: RegistryEntry, items: list[SettledEntry], shown: list[SettledEntry]
) -> list[dict[str, Any]]:
    """What an account earned in each of the rounds `shown`, which are the last of `items`, and why."""
    evidence = Evidence(context)
    trainer = entry.role.name == "TRAINER"
    before = len(items) - len(shown)
    earned_wei = items[before - 1].settlement.leaves[entry.index].cumulative_amount_wei if before else 0
    rows = []
    for item in shown:
        leaf = item.settlement.leaves[entry.index]
        reason = evidence.reason(item, entry.slot) if trainer else _outcome(item, entry)
        rows.append(
            {
                "round": item.round,
                "earned_wei": str(leaf.cumulative_amount_wei - earned_wei),
                "weight": weight_in(entry, leaf),
                "reason": reason,
                "why": _sentence(reason, trainer=trainer),
            }
        )
        earned_wei = leaf.cumulative_amount_wei
    return rows


def _outcome(item: SettledEntry, entry: RegistryEntry) -> str:
    """Why a validator is paid for a round, or is not."""
    seat = item.members.seat_of(entry)
    return "no-stake" if seat is None else str(item.settlement.validator_outcomes[seat])


def _sentence(reason: str, *, trainer: bool) -> str:
    from emerit.scoring.reasons import sentence

    key = reason if trainer else f"validator:{reason}"
    return SENTENCES.get(key) or sentence(reason)


@app.command()
def claim(
    address: Annotated[
        str | None, typer.Argument(help="Address or wallet to claim for; default: the wallet that signs")
    ] = None,
    everybody: Annotated[bool, typer.Option("--all", help="Claim for every member that something is due to")] = False,
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
    if everybody and address is not None:
        raise UsageError("usage", "There is an address, and --all.", "Give one or the other.")
    target = None if address is None else address_of(address, wallet_dir)
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    chain = where.chain()
    client = where.run_client(chain)
    sender = sender_for(where, chain, wallet, wallet_dir, password_file)
    if everybody:
        _claim_all(client, sender, as_json=as_json)
        return
    from emerit.run.claims import claim as send_claim
    from emerit.run.claims import claimable

    account = entry_in(client, target or sender.address).account
    item = claimable(client, ledger_of(client), account)
    paid_wei = send_claim(client, sender, item)
    if as_json:
        print_json({"address": item.leaf.account, "paid_wei": str(paid_wei), "round": item.header.body.round})
        return
    say(f"{item.leaf.account} got {tokens(paid_wei)}" if paid_wei else "nothing is due now")


def _claim_all(client: RunClient, sender: Sender, *, as_json: bool) -> None:
    from emerit.run.claims import claim_all

    paid = claim_all(client, sender, ledger_of(client))
    if as_json:
        print_json({"paid_wei": {account: str(wei) for account, wei in paid.items()}})
        return
    for account, wei in paid.items():
        say(f"{account} got {tokens(wei)}")
    if not paid:
        say("nothing is due now")
