"""The wide graph of a run, from the settlements of a ledger and the headers of the blobs that they name.

Everything is from chain and IPFS: who revealed, the evaluation seed that assigned the peers and the validators' rows
are on chain, feedback is in the headers of the blobs whose hashes are. Only admissible contributions count (weight of 1
or more): validators with two thirds of the stake found their bytes well-formed. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from emerit.codec.blob import read_header
from emerit.errors import RefusedError
from emerit.protocol.feedback import DROPPED, Feedback, PeerRing, refusal
from emerit.protocol.manifest import PPB
from emerit.protocol.reputation import REPUTATION_ONE
from emerit.protocol.types import ContributionReveal, RegistryEntry, ReputationParams
from emerit.reputation.compute import MOST_CONTINUE, compute
from emerit.reputation.graph import Graph, WeightedEdge
from emerit.reputation.seed_graph import SEED, edges_for, trainer_node, validator_node
from emerit.reputation.wide_graph import RoundVoices, explain_wide, wide_graph
from emerit.run.ledger import SettledEntry
from emerit.run.reputation_view import votes_on

ROUNDS: Final = 32
"""So many settled rounds, the newest, make the graph; at the default decay one before them would weigh 1/1260."""
_LEAST_THRESHOLD: Final = 1e-9


@dataclass(frozen=True)
class DroppedFeedback:
    """A value of a well-formed header that is no edge; `about` is None for an index that nobody had."""

    round: int
    author: str
    about: str | None
    index: int
    value: int
    code: str


@dataclass(frozen=True)
class WideView:
    """The wide graph of a moment.

    Attributes:
        graph: Nodes are accounts, the protocol's seed and the sink.
        rounds: The settled rounds that made it, the oldest first.
        edges: How many of its edges are feedback.
        missing: Admissible contributions of these rounds whose headers are not there (yet).
        dropped: Feedback that is no edge, with its code.
        staked: Validators with stake in the last of the rounds.
    """

    graph: Graph
    rounds: tuple[int, ...]
    edges: int
    missing: int
    dropped: tuple[DroppedFeedback, ...]
    staked: int


def feedback_in(blob: bytes, most_feedback: int, run: str, account: str, round_number: int) -> tuple[Feedback, ...]:
    """Return what a blob, or the beginning of one, says of its author's peers; nothing unless it is that author's.

    Raises:
        RefusedError: as `emerit.codec.blob.read_header`, or `blob-wrong-author`.
    """
    header = read_header(blob, most_feedback)
    if (header.run, header.account, header.round) != (run, account, round_number):
        raise RefusedError("blob-wrong-author", "The contribution is another's, or another round's.", "Leave it out.")
    return header.feedback


def needed(entries: Sequence[SettledEntry]) -> list[tuple[ContributionReveal, str]]:
    """Return the contributions whose headers make the graph's feedback, and their authors; the newest first."""
    found = []
    for item in reversed(entries[1:][-ROUNDS:]):
        for reveal in item.contributions:
            author = item.members.trainer_in(reveal.slot)
            if author is not None and item.weight_of(reveal.slot) >= 1:
                found.append((reveal, author.account))
    return found


def wide_view(
    entries: Sequence[SettledEntry],
    said: Mapping[bytes, tuple[Feedback, ...]],
    registry: Sequence[RegistryEntry],
    peers: int,
    spec: ReputationParams,
) -> WideView:
    """Return the wide graph of the newest rounds.

    Args:
        entries: Settlements in order, as a ledger has them.
        said: Feedback by the content hash of the contribution that it came with.
        registry: Everybody who is to be a node.
        peers: How many peers the manifest assigns to a trainer.
        spec: The run's parameters; epoch decay is the weight that a new round has there.
    """
    shown = entries[-ROUNDS:]
    first, missing = len(entries) - len(shown), 0
    voices: list[RoundVoices] = []
    dropped: list[DroppedFeedback] = []
    for place, item in enumerate(shown, start=first):
        feedback: list[WeightedEdge] = []
        if place > 0:
            before = entries[place - 1]
            missing += sum(reveal.content_hash not in said for reveal, _ in needed([before, item]))
            feedback, refused = _feedback(before, item, said, peers)
            dropped += refused
        voices.append(RoundVoices(_seed_edges(item), tuple(feedback)))
    graph = wide_graph(voices, 1 - spec.epoch_weight_ppb / PPB, [entry.account for entry in registry])
    numbers, spoken = tuple(item.round for item in shown), {edge[:2] for each in voices for edge in each.feedback}
    staked = sum(stake > 0 for stake in shown[-1].members.stake_lanes) if shown else 0
    return WideView(graph, numbers, len(spoken), missing, tuple(dropped), staked)


def wide_reputation(
    view: WideView, entry: RegistryEntry, viewer: RegistryEntry | None, spec: ReputationParams
) -> dict[str, Any]:
    """Return a member's reputation on the wide graph as a participant sees it, None the protocol's seed; JSON's types.

    The keys are `ego`, `rounds`, `edges`, `missing`, the fields of `WideExplanation`, and `dropped`: what this member
    said and what was left out, each with its code and why.
    """
    ego = SEED if viewer is None else viewer.account
    found = compute(
        view.graph,
        ego,
        continue_=min(spec.continue_ppb / PPB, MOST_CONTINUE),
        connectivity_decay=spec.connectivity_decay_ppb / PPB,
        threshold=_threshold(view.staked, spec),
        nodes=[entry.account],
    )
    told = asdict(explain_wide(found, entry.account))
    told["paths"] = list(told["paths"])
    left_out = [asdict(each) | {"why": DROPPED[each.code]} for each in view.dropped if each.author == entry.account]
    counts = {"rounds": list(view.rounds), "edges": view.edges, "missing": view.missing}
    return {"ego": ego, "of": REPUTATION_ONE} | counts | told | {"dropped": left_out}


def _threshold(staked: int, spec: ReputationParams) -> float:
    """Return from which neck on a node is cut: while validators are few a whole one, where the seed graph has none."""
    if staked < spec.neck_min_validators:
        return 1.0
    return min(1.0, max(_LEAST_THRESHOLD, spec.neck_threshold_ppb / PPB))


def _seed_edges(item: SettledEntry) -> tuple[WeightedEdge, ...]:
    """Return a round's seed graph by account; who abstained on a trainer says nothing of it here."""
    members = item.members
    given: dict[int, dict[int, int]] = {}
    for trainer in members.active_trainers():
        for slot, vote in votes_on(item, trainer).items():
            given.setdefault(slot, {})[trainer.slot] = vote.weight
    names = {trainer_node(each.slot): each.account for each in members.active_trainers()}
    for slot in given:
        holder = members.validator_in(slot)
        if holder is not None:
            names[validator_node(slot)] = holder.account
    edges = edges_for(given, members.stake_lanes, item.settlement.weights)
    return tuple(
        (names.get(each.source, each.source), names.get(each.target, each.target), each.weight) for each in edges
    )


def _feedback(
    before: SettledEntry, item: SettledEntry, said: Mapping[bytes, tuple[Feedback, ...]], peers: int
) -> tuple[list[WeightedEdge], list[DroppedFeedback]]:
    """Return what the contributions of a round say of those of the settled round before, as edges and what is none."""
    known = before.members.entries
    authors = (before.members.trainer_in(reveal.slot) for reveal in before.contributions)
    ring = PeerRing(before.eval_seed, [each.index for each in authors if each is not None])
    edges: list[WeightedEdge] = []
    dropped: list[DroppedFeedback] = []
    for reveal, account in reversed(needed([before, item])):
        author = item.members.trainer_in(reveal.slot)
        assert author is not None
        assigned = ring.peers_of(author.index, peers)
        for each in said.get(reveal.content_hash, ()):
            about = known[each.index].account if each.index < len(known) else None
            code = refusal(each, author.index, assigned)
            if code is None and about is not None:
                edges.append((account, about, each.value))
            elif code is not None:
                dropped.append(DroppedFeedback(item.round, account, about, each.index, each.value, code))
    return edges, dropped
