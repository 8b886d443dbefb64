"""Reputation in a settlement leaf: MeritRank on the seed graph, in integers, one row at a time.

The graph of a round: the protocol's seed points to the validators in proportion to their stake; a validator v
points to trainer i with weight payable(min(w_vi, w_i)), where w_vi is what v gave and w_i the consensus; what
is left of the round's total weight W goes from v to a sink. So nobody gives more than the consensus confirms,
and nothing is gained by giving to fewer. From the seed a walk goes on with probability a at each step, and the
expected visits of personalised PageRank are

    validator    a * stake_v / stake
    trainer      a^2 * sum_v (stake_v / N) * payable(min(w_vi, w_i)) / W

with N the stake of those who did not abstain on i: a validator that could not see a contribution is left out
of that trainer's graph. This is MeritRank (Nasrulin, Ishmaev and Pouwelse, arXiv 2207.09950): stopping the walk is
its transitivity decay, `connectivity_decay` cuts a trainer nearly all of whose visits come through one validator
(its neck), and the running average is its epoch decay. The graph has two layers and no cycle, so a
trainer's value needs only its own row of weights, and can be proved and challenged alone.
All values are integers in parts of REPUTATION_ONE; divisions round down.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from emerit.protocol.manifest import PPB, ReputationSpec
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import ReputationParams

REPUTATION_ONE: Final = 10**9


@dataclass(frozen=True, slots=True)
class Vote:
    """What one validator said of a trainer: its stake (units) and the decoded weight it gave."""

    stake: int
    weight: int


def trainer_visits(
    votes: Sequence[Vote], weight: int, total_weight: int, staked_validators: int, spec: ReputationParams
) -> int:
    """Return a trainer's visits this round, in [0, REPUTATION_ONE].

    Args:
        votes: Of the validators with stake that did not abstain on this trainer.
        weight: The trainer's consensus weight w_i.
        total_weight: W, the sum of all payable consensus weights.
        staked_validators: Validators with stake in the round's epoch, absent ones too.
        spec: The run's parameters.
    """
    flows = [vote.stake * payable(min(vote.weight, weight)) for vote in votes]
    flow = sum(flows)
    stake = sum(vote.stake for vote in votes)
    if flow == 0 or total_weight == 0:
        return 0
    visits = spec.continue_ppb**2 * flow // (PPB * stake * total_weight)
    through_one = max(flows) * PPB >= spec.neck_threshold_ppb * flow
    if through_one and staked_validators >= spec.neck_min_validators:
        visits = visits * (PPB - spec.connectivity_decay_ppb) // PPB
    return visits


def validator_visits(stake: int, total_stake: int, revealed: bool, spec: ReputationParams) -> int:
    """Return a validator's visits this round: its share of the stake if it revealed a base loss, else 0."""
    return spec.continue_ppb * stake // total_stake if revealed and total_stake else 0


def next_reputation(old: int, visits: int, spec: ReputationParams) -> int:
    """Return the running average of visits: an epoch's weight on the new, the rest on the old value."""
    return (old * (PPB - spec.epoch_weight_ppb) + visits * spec.epoch_weight_ppb) // PPB


def reputation_params(spec: ReputationSpec, keep_ppb: int) -> ReputationParams:
    """Return a manifest's parameters as the run keeps them on chain; `keep_ppb` is the decay on reading."""
    return ReputationParams(
        continue_ppb=spec.continue_ppb,
        neck_threshold_ppb=spec.neck_threshold_ppb,
        connectivity_decay_ppb=spec.connectivity_decay_ppb,
        epoch_weight_ppb=spec.epoch_weight_ppb,
        keep_ppb=keep_ppb,
        neck_min_validators=spec.neck_min_validators,
    )
