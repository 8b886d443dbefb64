"""Explanations of members' reputations, from the settlements that a ledger has recomputed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from emerit.errors import UsageError
from emerit.protocol import minifloat
from emerit.protocol.reputation import Vote
from emerit.protocol.types import Leaf, RegistryEntry, ReputationParams, Role, unpack_lanes
from emerit.reputation.explain import Explanation, explain_trainer, explain_validator, from_validator
from emerit.run.ledger import SettledEntry


def explain(item: SettledEntry, before: Leaf | None, entry: RegistryEntry, spec: ReputationParams) -> Explanation:
    """Return why a member has its reputation after a settled round.

    Args:
        item: The round.
        before: The member's leaf in the header before, if it had one.
        entry: The member; it has a leaf in this round.
        spec: The run's parameters.
    """
    lanes = item.members.stake_lanes
    detail = item.settlement.leaves[entry.index].detail
    held = before.detail.reputation if before else 0
    if entry.role == Role.TRAINER:
        staked = sum(1 for stake in lanes if stake)
        total = item.settlement.consensus.total_weight
        return explain_trainer(votes_on(item, entry), detail.weight, total, staked, held, spec)
    seat = item.members.seat_of(entry)
    revealed = seat is not None and unpack_lanes(detail.row)[seat] != minifloat.ABSTAIN
    return explain_validator(lanes[entry.slot] if revealed else 0, sum(lanes), revealed, held, spec)


def explain_last(items: Sequence[SettledEntry], entry: RegistryEntry, spec: ReputationParams) -> dict[str, Any] | None:
    """Return the explanation for the newest of the settled rounds in JSON's types; None if the member has no leaf.

    The keys are the round and the fields of `Explanation`; each path names its validator's `account` too.
    """
    if not items or entry.index >= len(items[-1].settlement.leaves):
        return None
    last, earlier = items[-1], items[-2].settlement.leaves if len(items) > 1 else ()
    before = earlier[entry.index] if entry.index < len(earlier) else None
    told = asdict(explain(last, before, entry, spec))
    for path in told["paths"]:
        holder = last.members.validator_in(path["validator"])
        path["account"] = holder.account if holder is not None else None
    return {"round": last.round} | told


def votes_on(item: SettledEntry, entry: RegistryEntry) -> dict[int, Vote]:
    """Return by validator slot what those with stake said of a trainer, who did not abstain."""
    lanes = item.members.stake_lanes
    codes = unpack_lanes(item.settlement.leaves[entry.index].detail.row)
    return {
        slot: Vote(stake, minifloat.decode(code))
        for slot, (stake, code) in enumerate(zip(lanes, codes, strict=False))
        if stake and code != minifloat.ABSTAIN
    }


def perspective(item: SettledEntry, validator: RegistryEntry, entry: RegistryEntry, spec: ReputationParams) -> int:
    """Return a trainer's visits in a round from a validator's point of view; 0 if it abstained on the trainer.

    Raises:
        UsageError: `perspective-invalid`.
    """
    _require_perspective(validator, entry)
    seat = item.members.seat_of(validator)
    vote = votes_on(item, entry).get(validator.slot) if seat is not None else None
    if vote is None:
        return 0
    weight = item.settlement.leaves[entry.index].detail.weight
    return from_validator(vote.weight, weight, item.settlement.consensus.total_weight, spec)


def perspective_last(
    items: Sequence[SettledEntry], validator: RegistryEntry, entry: RegistryEntry, spec: ReputationParams
) -> dict[str, Any] | None:
    """Return a trainer's visits in the newest of the settled rounds as a validator sees them, in JSON's types.

    The keys are the `validator`'s account, the `round` and the `visits`; None if the trainer has no leaf.

    Raises:
        UsageError: `perspective-invalid`, rounds or not.
    """
    _require_perspective(validator, entry)
    if not items or entry.index >= len(items[-1].settlement.leaves):
        return None
    visits = perspective(items[-1], validator, entry, spec)
    return {"validator": validator.account, "round": items[-1].round, "visits": visits}


def _require_perspective(validator: RegistryEntry, entry: RegistryEntry) -> None:
    if validator.role != Role.VALIDATOR or entry.role != Role.TRAINER:
        raise UsageError(
            "perspective-invalid",
            "A perspective is a validator's, on a trainer.",
            "Ask for a trainer, and name a validator of the run as perspective; on the wide graph anybody will do.",
        )
