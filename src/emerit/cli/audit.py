"""`emerit audit`: recompute every settlement of a run, and take back what is wrong."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.following import context_of
from emerit.cli.options import (
    DeploymentOption,
    IpfsOption,
    JsonOption,
    PasswordOption,
    RpcOption,
    RunOption,
    WalletDirOption,
    WalletOption,
)
from emerit.cli.output import print_json, say
from emerit.cli.place import Place, place, sender_for

if TYPE_CHECKING:
    from emerit.chain.run_client import RunClient
    from emerit.run.audit import Finding, StateAudit
    from emerit.run.faults import Deed, Prosecutor
    from emerit.run.ledger import Ledger

LOOK_SECONDS = 1.0


@dataclass
class Audit:
    """One audit under way: what it looks at, and what it has found and done so far."""

    client: RunClient
    ledger: Ledger
    state: StateAudit | None
    prosecutor: Prosecutor | None
    tell: Callable[[str, dict[str, Any]], None]
    findings: list[Finding] = field(default_factory=list)
    deeds: list[Deed] = field(default_factory=list)

    def look(self) -> None:
        """Check what has settled since the last look; each finding is told once."""
        from emerit.run.audit import audit_pay

        self.ledger.update()
        found = audit_pay(self.client, self.ledger)
        if self.state is not None:
            found += list(self.state.step())
        for item in found:
            if item not in self.findings:
                self.findings.append(item)
                self.tell(f"WRONG         {item}", {"finding": item.as_dict()})

    def act(self) -> bool:
        """Do the next thing against what is wrong; False when nothing can or need be done any more."""
        if self.prosecutor is None:
            return False
        from emerit.run.faults import unpunished

        done = self.prosecutor.step()
        if done is not None:
            self.deeds.append(done)
            about = f"round {done.round}, leaf {done.leaf}, {done.fault.name.lower()}"
            self.tell(f"{done.what:<12}  {about}", {"action": done.as_dict()})
        return self.ledger.fault is not None or bool(unpunished(self.client))

    def record(self) -> dict[str, Any]:
        """The result as plain data."""
        return {
            "run": self.client.address,
            "settlements_checked": len(self.ledger.entries),
            "states_checked": None if self.state is None else self.state.checked,
            "states_without_contributions": [] if self.state is None else self.state.unchecked,
            "taken_back": [
                {"round": item.round, "attempt": item.attempt, "fault": item.fault.name.lower(), "by": item.by}
                for item in self.client.voided_headers()
            ],
            "findings": [item.as_dict() for item in self.findings],
            "actions": [done.as_dict() for done in self.deeds],
        }


def audit(
    run: RunOption = None,
    challenge: Annotated[bool, typer.Option("--challenge", help="Take wrong settlements back, on chain")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Go on with every settlement, until the run ends")] = False,
    state: Annotated[
        bool, typer.Option("--state/--no-state", help="Also recompute the model's state from IPFS")
    ] = True,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    wallet: WalletOption = None,
    wallet_dir: WalletDirOption = None,
    password_file: PasswordOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute what a run paid, and its model's state; exit 1 if anything that stands is wrong.

    A wrong payment can be taken back by anybody: the wallet pre-commits, waits for a block, challenges, and has the
    signers slashed; a tenth is its reward. Where nobody shows the leaves it demands them, which takes a bond.
    """
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    client.check_version()
    signer = (wallet, wallet_dir, password_file) if challenge else None

    def tell(text: str, data: dict[str, Any]) -> None:
        if not as_json:
            say(text)
        elif watch:
            print(json.dumps(data), flush=True)

    work = _open(where, client, state, signer, tell)
    _go(work, watch)
    if as_json:
        print_json(work.record())
    else:
        _say_result(work)
    if work.ledger.fault is not None or any(item.what in ("aggregate", "state-root") for item in work.findings):
        raise typer.Exit(1)


def _open(
    where: Place,
    client: RunClient,
    state: bool,
    signer: tuple[str | None, Path | None, Path | None] | None,
    tell: Callable[[str, dict[str, Any]], None],
) -> Audit:
    from emerit.run.faults import Prosecutor
    from emerit.run.ledger import Ledger
    from emerit.run.options import node_folder_name

    ledger = Ledger(client)
    folder = where.settings.data_dir / "audit" / node_folder_name(client.chain, "audit", client.address)
    folder.mkdir(parents=True, exist_ok=True)
    prosecutor = None
    if signer is not None:
        prosecutor = Prosecutor(client, sender_for(where, client.chain, *signer), ledger, folder)
    checked = None
    if state:
        from emerit.run.audit import StateAudit
        from emerit.telemetry import setup_logging

        setup_logging(role="audit", level=where.settings.log_level, log_format=where.settings.log_format)
        checked = StateAudit(context_of(where, client), ledger, folder)
    return Audit(client, ledger, checked, prosecutor, tell)


def _go(work: Audit, watch: bool) -> None:
    from emerit.protocol.types import Phase

    while True:
        last = work.client.status().phase is Phase.FINISHED
        work.look()
        if work.act() or (watch and not last):
            time.sleep(LOOK_SECONDS)
        else:
            return


def _say_result(work: Audit) -> None:
    result = work.record()
    say(f"settlements  {result['settlements_checked']} recomputed and right")
    if result["states_checked"] is not None:
        say(f"states       {result['states_checked']} recomputed and right")
    if result["states_without_contributions"]:
        rounds = ", ".join(map(str, result["states_without_contributions"]))
        say(f"             contributions of rounds {rounds} are gone from IPFS; their aggregates give the signed roots")
    for item in result["taken_back"]:
        say(f"taken back   round {item['round']}, attempt {item['attempt']}: {item['fault']}, shown by {item['by']}")
    if work.ledger.fault is not None:
        say("Something wrong stands. Take it back: emerit audit --challenge --wallet NAME")
