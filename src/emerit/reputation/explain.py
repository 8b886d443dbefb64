"""Why a member has the reputation it has after a round: the paths that carried it, and what each decay took.

All amounts are integers in parts of REPUTATION_ONE, rounded down as in the leaf (`emerit.protocol.reputation`). On
the seed graph every path to a trainer is protocol seed -> validator -> trainer, so the sum over validators is all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from emerit.protocol.manifest import PPB
from emerit.protocol.reputation import REPUTATION_ONE, Vote, next_reputation, trainer_visits, validator_visits
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import ReputationParams


@dataclass(frozen=True, slots=True)
class Path:
    """What came through one validator.

    Attributes:
        validator: Its slot.
        stake_share: Its part of the stake that did not abstain, in parts of REPUTATION_ONE.
        confirmed: Of the weight it gave, what the consensus confirmed.
        visits: What it carried this round, after transitivity decay.
        share: Its part of all visits, in parts of REPUTATION_ONE; the largest is the neck.
    """

    validator: int
    stake_share: int
    confirmed: int
    visits: int
    share: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a member's reputation came about in one round.

    Attributes:
        before: Reputation before the round.
        paths: By validator slot, those that carried something; empty for a validator, whom the seed visits directly.
        undecayed: Visits if walks never stopped.
        transitivity_took: What was lost because a walk stops at each step with probability 1 - a.
        connectivity_took: What was lost because nearly all came through one validator.
        visits: Visits of this round.
        epoch_took: What of `before` was let go, so that new visits could take its place.
        epoch_added: What this round's visits added.
        reputation: Reputation after the round, as in the leaf.
    """

    before: int
    paths: tuple[Path, ...]
    undecayed: int
    transitivity_took: int
    connectivity_took: int
    visits: int
    epoch_took: int
    epoch_added: int
    reputation: int


def explain_trainer(
    votes: Mapping[int, Vote],
    weight: int,
    total_weight: int,
    staked_validators: int,
    before: int,
    spec: ReputationParams,
) -> Explanation:
    """Return why a trainer has its reputation.

    Args:
        votes: By validator slot, of those with stake that did not abstain on this trainer.
        weight: The trainer's consensus weight.
        total_weight: The sum of all payable consensus weights.
        staked_validators: Validators with stake in the round's epoch, absent ones too.
        before: Reputation before the round.
        spec: The run's parameters.
    """
    confirmed = {slot: payable(min(vote.weight, weight)) for slot, vote in votes.items()}
    flows = {slot: vote.stake * confirmed[slot] for slot, vote in votes.items()}
    stake, flow = sum(vote.stake for vote in votes.values()), sum(flows.values())
    visits = trainer_visits(list(votes.values()), weight, total_weight, staked_validators, spec)
    if not flow or not total_weight:
        return _told(before, (), 0, 0, visits, spec)
    whole = stake * total_weight
    paths = tuple(
        Path(
            slot,
            REPUTATION_ONE * votes[slot].stake // stake,
            confirmed[slot],
            spec.continue_ppb**2 * flows[slot] // (PPB * whole),
            REPUTATION_ONE * flows[slot] // flow,
        )
        for slot in sorted(votes)
        if flows[slot]
    )
    undecayed, walked = REPUTATION_ONE * flow // whole, spec.continue_ppb**2 * flow // (PPB * whole)
    return _told(before, paths, undecayed, walked, visits, spec)


def explain_validator(stake: int, total_stake: int, revealed: bool, before: int, spec: ReputationParams) -> Explanation:
    """Return why a validator has its reputation: its share of the stake, if it revealed."""
    visits = validator_visits(stake, total_stake, revealed, spec)
    undecayed = REPUTATION_ONE * stake // total_stake if revealed and total_stake else 0
    return _told(before, (), undecayed, visits, visits, spec)


def from_validator(given: int, weight: int, total_weight: int, spec: ReputationParams) -> int:
    """Return a trainer's visits from one validator's point of view: of walks that begin at it, this round."""
    return spec.continue_ppb * payable(min(given, weight)) // total_weight if total_weight else 0


def _told(
    before: int, paths: tuple[Path, ...], undecayed: int, walked: int, visits: int, spec: ReputationParams
) -> Explanation:
    after = next_reputation(before, visits, spec)
    added = visits * spec.epoch_weight_ppb // PPB
    return Explanation(
        before, paths, undecayed, undecayed - walked, walked - visits, visits, before + added - after, added, after
    )
