"""The API's answers, made from a snapshot: no answer waits for the chain, none shows two moments at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeVar

from emerit.api.answers import (
    ClaimAnswer,
    Contracts,
    EventRow,
    EventsAnswer,
    Participant,
    ParticipantAnswer,
    ParticipantsAnswer,
    ReputationAnswer,
    ReputationExplanation,
    ReputationPerspective,
    ReputationPoint,
    RoundAnswer,
    RoundsAnswer,
    RoundSummary,
    RunAnswer,
    Trouble,
    WideReputation,
)
from emerit.api.digest import RoundDigest
from emerit.api.parts import (
    abi_fields,
    as_hex,
    contributions,
    header_fields,
    part_in_round,
    participant_fields,
    round_fields,
    settlements_of,
    validator_parts,
)
from emerit.api.snapshot import Snapshot
from emerit.errors import StateError
from emerit.indexer.chronicle import SettledHeader, position_of
from emerit.indexer.index import Index, Position
from emerit.indexer.rows import printable
from emerit.protocol.eip712 import header_digest, opened
from emerit.protocol.hints import Hint
from emerit.protocol.reputation import REPUTATION_ONE
from emerit.protocol.settlement_tree import claim_leaf
from emerit.protocol.types import RegistryEntry, ReputationParams, Role
from emerit.run.reputation_view import explain_last, perspective_last
from emerit.run.wide_view import wide_reputation

T = TypeVar("T")
Round = RoundDigest | SettledHeader
_TRAINERS_ACTS: Final = frozenset({"ContributionCommitted", "ContributionRevealed"})
_OF_A_SEAT: Final = frozenset({"Attested"})


def run_answer(now: Snapshot) -> RunAnswer:
    """The run: clock, members, money."""
    context, status, client = now.context, now.status, now.context.client
    params, last = context.params, now.last
    header = last.entry.onchain.header if last else None
    state = now.chronicle.last_state
    return RunAnswer(
        run=client.address,
        chain_id=context.chain_id,
        name=context.manifest.name,
        model=context.manifest.model.preset,
        contracts=Contracts(
            training_run=client.address,
            rewards=client.rewards_address,
            stakes=client.stakes_address,
            reputation=client.reputation_address,
            token=params.reward_token,
        ),
        manifest_cid=params.manifest_cid,
        manifest_sha256=as_hex(params.manifest_hash),
        state_root=as_hex(state.header.body.state_root if state else params.initial_state_root),
        phase=status.phase.name.lower(),
        round=status.round,
        max_rounds=params.max_rounds,
        closed=status.closed,
        phase_ends_at=status.phase_ends_at,
        timestamp=status.timestamp,
        refreshed_at=now.refreshed_at,
        expected=status.expected,
        commits=status.commits,
        reveals=status.reveals,
        expected_validators=status.expected_validator_mask.bit_count(),
        weight_commits=status.weight_commit_mask.bit_count(),
        weight_reveals=status.weight_reveal_mask.bit_count(),
        attestations=status.attest_mask.bit_count(),
        trainers=sum(entry.role is Role.TRAINER for entry in now.registry),
        validators=sum(entry.role is Role.VALIDATOR for entry in now.registry),
        settled_rounds=len(now.digests),
        unpaid_rounds=len(now.chronicle.settlements.keys() - now.chronicle.pay_chain.keys()),
        void_rounds=len(now.chronicle.void),
        loss=last.loss if last else None,
        funded_wei=str(now.money.funded_wei),
        refunded_wei=str(now.money.refunded_wei),
        owed_wei=str(header.tree.total_amount_wei if header else 0),
        claimed_wei=str(sum(now.money.claimed_wei.values())),
        trouble=Trouble(**now.trouble.as_dict()) if now.trouble else None,
        as_of_block=now.block,
    )


def window(items: Sequence[T], number: Callable[[T], int], since: int | None, limit: int) -> tuple[list[T], int | None]:
    """Return a page of items in the order of their numbers, and where the next one begins (None after the last).

    From `since` on the oldest come first; without it the page has the newest.
    """
    if since is None:
        return list(items[-limit:]), None
    shown = [item for item in items if number(item) >= since]
    return shown[:limit], number(shown[limit]) if len(shown) > limit else None


def rounds_answer(now: Snapshot, since: int | None, limit: int) -> RoundsAnswer:
    """A page of the settled rounds, the oldest first."""
    found = _settled_rounds(now)
    page, following = window(sorted(found), lambda number: number, since, limit)
    first = since if since is not None else page[0] if len(page) < len(found) else 0
    rounds = [
        RoundSummary(contributions=_contributions(found[number]), **round_fields(now, found[number])) for number in page
    ]
    void = [n for n in now.chronicle.void if n >= first and (following is None or n < following)]
    return RoundsAnswer(rounds=rounds, void=void[-limit:], next=following, as_of_block=now.block)


def _settled_rounds(now: Snapshot) -> dict[int, Round]:
    """Every round that has settled: worked out where it is paid and right, else its last settlement."""
    last: dict[int, Round] = {number: items[-1] for number, items in now.chronicle.settlements.items()}
    return last | {item.number: item for item in now.digests}


def _contributions(item: Round) -> int | None:
    return len(item.entry.contributions) if isinstance(item, RoundDigest) else None


def round_answer(now: Snapshot, number: int) -> RoundAnswer | None:
    """One settled round in full: every contribution with its verdicts, every validator's part; None if unsettled."""
    item = _settled_rounds(now).get(number)
    if item is None:
        return None
    digest = item if isinstance(item, RoundDigest) else None
    onchain = item.entry.onchain if isinstance(item, RoundDigest) else item
    hint = Hint.parse(onchain.aggregate_cid)
    return RoundAnswer(
        **round_fields(now, item),
        header=header_fields(onchain.header),
        header_hash=as_hex(onchain.header_hash),
        digest=as_hex(header_digest(now.context.chain_id, onchain.header)),
        aggregate_cid=printable(hint.aggregate_cid),
        checkpoint_cid=hint.checkpoint_cid,
        settled_tx=onchain.tx_hash,
        settlements=settlements_of(now, number),
        contributions=contributions(digest) if digest else [],
        validators=validator_parts(now, digest) if digest else [],
        as_of_block=now.block,
    )


def participants_answer(now: Snapshot, offset: int, limit: int) -> ParticipantsAnswer:
    """A page of everybody: trainers, then validators, each the best paid first."""
    rows = [participant_fields(now, entry) for entry in now.registry]
    rows.sort(key=lambda row: (row["role"] == "validator", -int(row["earned_wei"]), row["index"]))
    more = offset + limit if offset + limit < len(rows) else None
    page = [Participant(**row) for row in rows[offset : offset + limit]]
    return ParticipantsAnswer(participants=page, next=more, as_of_block=now.block)


def participant_answer(now: Snapshot, address: str, since: int | None, limit: int) -> ParticipantAnswer | None:
    """One participant with a page of its rounds: what it earned in each, and why; None when it is not in the run."""
    entry = now.member(address)
    if entry is None:
        return None
    page, following = window(_with_leaf(now, entry), _number, since, limit)
    rounds = [part_in_round(item, entry) for item in page]
    return ParticipantAnswer(**participant_fields(now, entry), rounds=rounds, next=following, as_of_block=now.block)


def reputation_answer(
    now: Snapshot,
    entry: RegistryEntry,
    on_chain: int,
    since: int | None,
    limit: int,
    viewer: RegistryEntry | None = None,
    is_wide: bool = False,
) -> ReputationAnswer:
    """A participant's MeritRank, round by round, beside what the contract answers, and as another sees it.

    On the seed graph the other is a validator; on the wide graph, where that is asked for, anybody.

    Raises:
        UsageError: `perspective-invalid` unless the viewer is a validator and the participant a trainer, or `is_wide`.
    """
    spec = now.context.params.reputation
    items = _with_leaf(now, entry)
    page, following = window(items, _number, since, limit)
    return ReputationAnswer(
        address=entry.account,
        role=entry.role.name.lower(),
        reputation=_reputation(items[-1], entry) if items else 0,
        of=REPUTATION_ONE,
        on_chain=on_chain,
        explanation=_explanation(items[-2:], entry, spec),
        perspective=None if is_wide else _perspective(items[-1:], viewer, entry, spec),
        wide=WideReputation.model_validate(wide_reputation(now.trust.wide, entry, viewer, spec)) if is_wide else None,
        history=[ReputationPoint(round=item.number, reputation=_reputation(item, entry)) for item in page],
        next=following,
        as_of_block=now.block,
    )


def _explanation(
    items: Sequence[RoundDigest], entry: RegistryEntry, spec: ReputationParams
) -> ReputationExplanation | None:
    told = explain_last([item.entry for item in items], entry, spec)
    if told is None:
        return None
    for path in told["paths"]:
        path["confirmed"] = str(path["confirmed"])
    return ReputationExplanation.model_validate(told)


def _perspective(
    items: Sequence[RoundDigest], viewer: RegistryEntry | None, entry: RegistryEntry, spec: ReputationParams
) -> ReputationPerspective | None:
    if viewer is None:
        return None
    seen = perspective_last([item.entry for item in items], viewer, entry, spec)
    return ReputationPerspective.model_validate(seen) if seen is not None else None


def _with_leaf(now: Snapshot, entry: RegistryEntry) -> list[RoundDigest]:
    return [item for item in now.digests if entry.index < len(item.entry.settlement.leaves)]


def _number(item: RoundDigest) -> int:
    return item.number


def _reputation(item: RoundDigest, entry: RegistryEntry) -> int:
    return item.entry.settlement.leaves[entry.index].detail.reputation


def claim_answer(now: Snapshot, address: str) -> ClaimAnswer | None:
    """What an account can claim, against the newest round that is final, or the last one while none is.

    Raises:
        StateError: `nothing-settled` while no settled round has a leaf for the member.
    """
    entry = now.member(address)
    if entry is None:
        return None
    rounds = _with_leaf(now, entry)
    if not rounds:
        raise StateError(
            "nothing-settled",
            f"No round that {entry.account} was a member of has settled yet.",
            "Wait for the next settlement.",
        )
    item = next((each for each in reversed(rounds) if now.is_final(each)), rounds[-1])
    settlement, payable = item.entry.settlement, now.claimable(item)
    leaf, claimed_wei = settlement.leaves[entry.index], now.claimed_wei(entry.account)
    earned_wei = rounds[-1].entry.settlement.leaves[entry.index].cumulative_amount_wei
    due_wei = max(0, leaf.cumulative_amount_wei - claimed_wei) if payable else 0
    return ClaimAnswer(
        address=leaf.account,
        run=now.context.client.address,
        rewards_contract=now.context.client.rewards_address,
        round=item.number,
        final=payable,
        final_at=item.entry.final_at,
        header_hash=as_hex(settlement.header_hash),
        cumulative_wei=str(leaf.cumulative_amount_wei),
        claimed_wei=str(claimed_wei),
        due_wei=str(due_wei),
        pending_wei=str(max(0, earned_wei - claimed_wei - due_wei)),
        tree=abi_fields(opened(settlement.header)),
        leaf=abi_fields(claim_leaf(leaf)),
        detail=abi_fields(leaf.detail),
        proof=[as_hex(node) for node in settlement.tree.proof(leaf.index)],
        as_of_block=now.block,
    )


def events_answer(now: Snapshot, index: Index, names: list[str], limit: int, before: Position | None) -> EventsAnswer:
    """A page of the run's events from the index, the newest first."""
    rows = index.events(names, limit=limit + 1, before=before)
    page = [EventRow(**row, member=_member(now, row)) for row in rows[:limit]]
    more = f"{page[-1].block_number}:{page[-1].log_index}" if len(rows) > limit else None
    return EventsAnswer(events=page, next=more, as_of_block=now.block)


def _member(now: Snapshot, row: Mapping[str, Any]) -> str | None:
    """The account that an event is about, where it names a slot of a round, or an index of the registry."""
    values, name = row["arguments"], row["name"]
    if row["contract"] == "Stakes" and "index" in values:
        return now.account(values["index"])
    if row["contract"] != "TrainingRun" or "slot" not in values:
        return None
    if name in _OF_A_SEAT:
        seat = now.chronicle.seats_at(position_of(row)).get(values["slot"])
        return None if seat is None else now.account(seat)
    role = Role.TRAINER if name in _TRAINERS_ACTS else Role(values.get("role", Role.VALIDATOR))
    return now.holder(role, values["slot"], values["round"])
