"""`emerit validator replay`: recompute what a validator measured and voted, from chain and IPFS alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from emerit.cli.following import context_of, entry_in
from emerit.cli.options import DeploymentOption, IpfsOption, JsonOption, RpcOption, RunArgument
from emerit.cli.output import print_error, print_json, progress, say, say_step
from emerit.cli.place import Place, address_of, place
from emerit.errors import StateError, UsageError

if TYPE_CHECKING:
    from emerit.chain.run_client import RunClient
    from emerit.protocol.types import RegistryEntry
    from emerit_validator.replay import ReplayedVote, Replayer

SHOWN = 20


def replay(
    run: RunArgument = None,
    round_number: Annotated[
        int | None, typer.Option("--round", min=0, help="Round to replay; default: the last that settled")
    ] = None,
    from_round: Annotated[
        int | None, typer.Option("--from-round", min=0, help="Replay every round from this one to --round")
    ] = None,
    validator: Annotated[
        str | None, typer.Option("--validator", help="Address or slot; default: all that revealed weights")
    ] = None,
    rpc_url: RpcOption = None,
    ipfs_api: IpfsOption = None,
    deployment: DeploymentOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure a past round's contributions again, and compare with the weights that validators revealed.

    Needs no wallet. Exit 1 if a lane is beyond the tolerance, 75 if something that is needed is gone from IPFS. What
    a validator could not fetch, or had no time to measure, is taken from its evidence. A single round takes its
    history from the evidence, too, and holds it against that of the round before; --from-round 0 replays it all.
    """
    where = place(rpc_url, ipfs_api, run, deployment, validator=True)
    client = where.run_client(where.chain())
    last = _last_round(client, round_number)
    first = last if from_round is None else from_round
    if first > last:
        raise UsageError("round-range", f"Round {first} is after round {last}.", "Give --from-round at most --round.")
    from emerit.telemetry import setup_logging
    from emerit.training.threads import single_thread

    setup_logging(role="replay", level=where.settings.log_level, log_format=where.settings.log_format)
    single_thread()  # as validators do: sums are then taken in the same order
    votes: list[ReplayedVote] = []
    with _opened(where, client, quiet=as_json) as replayer:
        for number in range(first, last + 1):
            found = _replayed(replayer, client, number, validator, alone=first == last)
            votes += found
            for vote in [] if as_json else found:
                _say_vote(vote)
    if as_json:
        print_json(_record(client, votes))
    if any(vote.error is None and not vote.agrees for vote in votes):
        raise typer.Exit(1)
    failed = next((vote.error for vote in votes if vote.error is not None), None)
    if failed is not None:
        raise typer.Exit(failed.exit_code)


def _last_round(client: RunClient, given: int | None) -> int:
    if given is not None:
        return given
    settled = client.state_chain()
    if not settled:
        raise StateError("nothing-settled", "No round has settled yet.", "Wait for the first settlement.")
    return settled[-1].round


@contextmanager
def _opened(where: Place, client: RunClient, *, quiet: bool) -> Iterator[Replayer]:
    """The run's replayer; one at a time works in its folder."""
    from emerit.run.node import lock_folder
    from emerit.run.options import node_folder_name
    from emerit_validator.replay import Replayer

    data = where.settings.data_dir
    folder = data / "replay" / node_folder_name(client.chain, "replay", client.address)
    lock = lock_folder(folder)
    try:
        yield Replayer(
            context_of(where, client),
            folder,
            data / "nodes" / "corpus",
            lambda text: None if quiet else say_step(text),
            progress("contributions measured:"),
        )
    finally:
        os.close(lock)


def _replayed(
    replayer: Replayer, client: RunClient, number: int, validator: str | None, *, alone: bool
) -> list[ReplayedVote]:
    """One round; in a range, one in which nobody (or not this validator) revealed is passed over."""
    try:
        return replayer.round(number, _entry(client, number, validator))
    except UsageError as error:
        if alone or error.code != "no-weights-revealed":
            raise
        return []


def _entry(client: RunClient, number: int, validator: str | None) -> RegistryEntry | None:
    if validator is None:
        return None
    if not (validator.isascii() and validator.isdecimal()):
        return entry_in(client, address_of(validator))
    entry = client.members_in(number).validator_in(int(validator))
    if entry is None:
        raise UsageError(
            "no-weights-revealed",
            f"Nobody votes with validator slot {validator} in round {number}.",
            "See `emerit run show` for who does, or give an address.",
        )
    return entry


def _record(client: RunClient, votes: list[ReplayedVote]) -> dict[str, Any]:
    from emerit.scoring.agreement import ERROR_SHARE, LEAST_NATS, LIKENESS, LOSS_SHARE

    return {
        "run": client.address,
        "agrees": all(vote.agrees for vote in votes),
        "tolerance": {
            "least_nats": LEAST_NATS,
            "share_of_error": ERROR_SHARE,
            "share_of_loss": LOSS_SHARE,
            "likeness": LIKENESS,
        },
        "votes": [vote.as_dict() for vote in votes],
    }


def _say_vote(vote: ReplayedVote) -> None:
    who = f"round {vote.round}, validator {vote.account} (slot {vote.slot})"
    if vote.error is not None:
        say(f"{who}: not replayed")
        print_error(vote.error, as_json=False)
        return
    counts: dict[str, int] = {}
    for lane in vote.lanes:
        counts[lane.verdict] = counts.get(lane.verdict, 0) + 1
    lanes = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
    if vote.identical:
        say(f"{who}: the same to the bit ({lanes})")
    else:
        say(f"{who}: {'agrees within the tolerance' if vote.agrees else 'DIFFERS'} ({lanes})")
    sizes = [(item.by, item) for item in vote.differences if item.by is not None and not item.beyond]
    if sizes:
        by, item = max(sizes, key=lambda pair: pair[0])
        say(f"  largest difference: {item.what}, {by:.2g} nats a token of {item.tolerance:.2g} allowed")
    for item in vote.beyond[:SHOWN]:
        say(f"  WRONG  {item}")
    if len(vote.beyond) > SHOWN:
        say(f"  and {len(vote.beyond) - SHOWN} more; --json has all")
    for note in vote.notes:
        say(f"  note: {note}")
