"""`emerit reputation show --graph wide`: what trainers say of each other, read from their contributions."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from emerit.cli.output import progress, say
from emerit.errors import RefusedError, UnavailableError

if TYPE_CHECKING:
    from emerit.protocol.feedback import Feedback
    from emerit.protocol.types import RegistryEntry
    from emerit.run.context import RunContext
    from emerit.run.ledger import Ledger

FETCH_SECONDS: Final = 5.0


class GraphKind(StrEnum):
    """Which graph a reputation is computed on."""

    SEED = "seed"
    WIDE = "wide"


def wide_reputation_of(
    context: RunContext, ledger: Ledger, entry: RegistryEntry, viewer: RegistryEntry | None
) -> dict[str, Any]:
    """Return a member's reputation on the wide graph, None as viewer being the protocol's seed; JSON's types."""
    from emerit.run.wide_view import wide_reputation, wide_view

    peers, spec = context.manifest.reputation.feedback_peers, ledger.params.reputation
    said = _fetched(context, ledger) if peers else {}
    return wide_reputation(wide_view(ledger.entries, said, context.client.registry(), peers, spec), entry, viewer, spec)


def _fetched(context: RunContext, ledger: Ledger) -> dict[bytes, tuple[Feedback, ...]]:
    """Return by content hash the feedback of those contributions that are needed and there."""
    from emerit.run.wide_view import feedback_in, needed

    manifest, said = context.manifest, {}
    wanted, show = needed(ledger.entries), progress("reading contribution")
    for done, (reveal, account) in enumerate(wanted, start=1):
        show(done, len(wanted))
        try:
            blob = context.fetch(reveal.cid, reveal.content_hash, manifest.limits.max_blob_bytes, FETCH_SECONDS)
            peers = manifest.reputation.feedback_peers
            said[reveal.content_hash] = feedback_in(blob, peers, context.client.address, account, reveal.round)
        except (UnavailableError, RefusedError):
            continue  # counted as missing in the answer
    return said


def say_wide(told: dict[str, Any], explain: bool) -> None:
    """Print a reputation on the wide graph, in parts of 10^9."""
    rounds, missing = told["rounds"], told["missing"]
    span = f"rounds {rounds[0]} to {rounds[-1]}" if rounds else "no settled round"
    say(
        f"Wide graph of {span} as {told['ego']} sees it, with {told['edges']} edges of feedback that nobody can verify:"
    )
    say(f"  {told['reputation']:>11}  reputation")
    if missing:
        say(f"  (the headers of {missing} contributions are not to be had now)")
    if explain:
        for path in told["paths"]:
            say(f"  {path['visits']:>11}  through {path['source']}, {path['said'] / 1e9:.1%} of what it says")
        say(f"  {told['visits']:>11}  visits" + (", and each walk begins here" if told["begins"] else ""))
        say(f"  {told['share']:>11}  share of all visits")
        say(f"  {-told['disliked_took']:>11}  disliked by {told['ego']}")
        through = f": nearly all came through {told['through']}" if told["through"] else ""
        say(f"  {-told['connectivity_took']:>11}  connectivity decay{through}")
    for each in told["dropped"]:
        about = each["about"] or each["index"]
        say(f"  round {each['round']}: said {each['value']} of {about}: {each['code']}. {each['why']}")
