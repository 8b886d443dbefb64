"""The API's answers, made from a snapshot: no answer waits for the chain, none shows two moments at once."""

from __future__ import annotations

from emerit.api.answers import (
    ClaimAnswer,
    Contracts,
    EventRow,
    EventsAnswer,
    Participant,
    ParticipantAnswer,
    ParticipantsAnswer,
    ReputationAnswer,
    ReputationPoint,
    RoundAnswer,
    RoundsAnswer,
    RoundSummary,
    RunAnswer,
    Trouble,
)
from emerit.api.parts import (
    abi_fields,
    as_hex,
    contribution,
    header_fields,
    part_in_round,
    participant_fields,
    round_fields,
    validator_part,
)
from emerit.api.snapshot import Snapshot
from emerit.errors import StateError
from emerit.indexer.index import Index, Position
from emerit.indexer.rows import printable
from emerit.protocol.reputation import REPUTATION_ONE
from emerit.protocol.types import RegistryEntry, Role


def run_answer(now: Snapshot) -> RunAnswer:
    """The run: clock, members, money."""
    context, status, client = now.context, now.status, now.context.client
    params, last = context.params, now.last
    header = last.entry.onchain.header if last else None
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
        state_root=as_hex(header.state_root if header else params.initial_state_root),
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
        void_rounds=len(now.void),
        loss=last.loss if last else None,
        funded_wei=str(now.money.funded_wei),
        refunded_wei=str(now.money.refunded_wei),
        owed_wei=str(header.total_amount_wei if header else 0),
        claimed_wei=str(sum(now.money.claimed_wei.values())),
        trouble=Trouble(**now.trouble.as_dict()) if now.trouble else None,
        as_of_block=now.block,
    )


def rounds_answer(now: Snapshot, since: int = 0) -> RoundsAnswer:
    """The settled rounds from number `since` on, the oldest first."""
    shown = [item for item in now.digests if item.number >= since]
    rounds = [RoundSummary(contributions=len(item.entry.contributions), **round_fields(now, item)) for item in shown]
    return RoundsAnswer(rounds=rounds, void=[n for n in now.void if n >= since], as_of_block=now.block)


def round_answer(now: Snapshot, number: int) -> RoundAnswer | None:
    """One settled round in full: every contribution with its verdicts, every validator's part; None if unsettled."""
    item = now.round(number)
    if item is None:
        return None
    entry = item.entry
    return RoundAnswer(
        **round_fields(now, item),
        header=header_fields(entry.onchain.header),
        header_hash=as_hex(entry.onchain.header_hash),
        aggregate_cid=printable(entry.onchain.aggregate_cid),
        settled_tx=entry.onchain.tx_hash,
        contributions=[contribution(now, item, place) for place in range(len(entry.contributions))],
        validators=[validator_part(now, item, slot) for slot in range(entry.info.validator_slots)],
        as_of_block=now.block,
    )


def participants_answer(now: Snapshot) -> ParticipantsAnswer:
    """Everybody: trainers, then validators, each the best paid first."""
    rows = [Participant(**participant_fields(now, entry)) for entry in now.registry]
    rows.sort(key=lambda row: (row.role == "validator", -int(row.earned_wei), row.index))
    return ParticipantsAnswer(participants=rows, as_of_block=now.block)


def participant_answer(now: Snapshot, address: str) -> ParticipantAnswer | None:
    """One participant with its rounds: what it earned in each, and why; None when it is not in the run."""
    entry = now.member(address)
    if entry is None:
        return None
    rounds = [
        part_in_round(now, item, entry) for item in now.digests if entry.index < len(item.entry.settlement.leaves)
    ]
    return ParticipantAnswer(**participant_fields(now, entry), rounds=rounds, as_of_block=now.block)


def reputation_answer(now: Snapshot, entry: RegistryEntry, on_chain: int) -> ReputationAnswer:
    """A participant's MeritRank, round by round, beside what the contract answers."""
    history = [
        ReputationPoint(round=item.number, reputation=item.entry.settlement.leaves[entry.index].reputation)
        for item in now.digests
        if entry.index < len(item.entry.settlement.leaves)
    ]
    return ReputationAnswer(
        address=entry.account,
        role=entry.role.name.lower(),
        reputation=history[-1].reputation if history else 0,
        of=REPUTATION_ONE,
        on_chain=on_chain,
        history=history,
        as_of_block=now.block,
    )


def claim_answer(now: Snapshot, address: str) -> ClaimAnswer | None:
    """What an account can claim, against the newest round that is final, or the last one while none is.

    Raises:
        StateError: `nothing-settled` while no settled round has a leaf for the member.
    """
    entry = now.member(address)
    if entry is None:
        return None
    rounds = [item for item in now.digests if entry.index < len(item.entry.settlement.leaves)]
    if not rounds:
        raise StateError(
            "nothing-settled",
            f"No round that {entry.account} was a member of has settled yet.",
            "Wait for the next settlement.",
        )
    item = next((each for each in reversed(rounds) if now.is_final(each)), rounds[-1])
    settlement = item.entry.settlement
    leaf, claimed = settlement.leaves[entry.index], now.claimed_wei(entry.account)
    earned = rounds[-1].entry.settlement.leaves[entry.index].cumulative_amount_wei
    return ClaimAnswer(
        address=leaf.account,
        run=now.context.client.address,
        rewards_contract=now.context.client.rewards_address,
        round=item.number,
        final=now.is_final(item),
        final_at=item.entry.info.final_at,
        cumulative_wei=str(leaf.cumulative_amount_wei),
        claimed_wei=str(claimed),
        due_wei=str(max(0, leaf.cumulative_amount_wei - claimed)),
        pending_wei=str(max(0, earned - max(leaf.cumulative_amount_wei, claimed))),
        header=abi_fields(item.entry.onchain.header),
        leaf=abi_fields(leaf),
        proof=[
            [as_hex(node.hash), str(node.weight), str(node.amount_wei)] for node in settlement.tree.proof(leaf.index)
        ],
        as_of_block=now.block,
    )


def events_answer(now: Snapshot, index: Index, names: list[str], limit: int, before: Position | None) -> EventsAnswer:
    """A page of the run's events from the index, the newest first."""
    rows = [EventRow(**row) for row in index.events(names, limit=limit + 1, before=before)]
    page = rows[:limit]
    more = f"{page[-1].block_number}:{page[-1].log_index}" if len(rows) > limit else None
    return EventsAnswer(events=page, next=more, as_of_block=now.block)
