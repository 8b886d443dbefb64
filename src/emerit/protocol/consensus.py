"""From revealed weight vectors to consensus weights, and to the set that is aggregated.

A validator slot has a lane for each trainer slot. It *abstains* where it has no stake in the snapshot, did not
reveal a vector, or put 0xFFFF in the lane. For trainer slot s, with T all the stake of the snapshot:

- it revealed no contribution this round: weight 0, whatever the lanes say;
- the stake that did not abstain is below two thirds of T: weight 0;
- otherwise the weight is the decoded lower stake-weighted median of the codes given.

The result depends on sets and numbers only, never on the order in which anything arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.median import lower_weighted_median
from emerit.protocol.merkle import payable
from emerit.protocol.types import BASE_LANE, MAX_TRAINERS, MAX_VALIDATORS, RESERVED_LANES


@dataclass(frozen=True)
class Votes:
    """All that was revealed in a round, with the stake that stands behind it.

    Attributes:
        trainer_slots: Trainer slots in the snapshot.
        stake_lanes: Stake of each validator slot of the snapshot, in stake units, 0 to 65535.
        vectors: Validator slot -> its 2 + trainer_slots codes, for those who revealed.
        revealed_slots: Trainer slots that revealed a contribution this round.
    """

    trainer_slots: int
    stake_lanes: tuple[int, ...]
    vectors: Mapping[int, tuple[int, ...]]
    revealed_slots: frozenset[int]

    def __post_init__(self) -> None:
        """Check shapes and ranges; raises `StateError("votes-inconsistent")`."""
        if not 0 <= self.trainer_slots <= MAX_TRAINERS or len(self.stake_lanes) > MAX_VALIDATORS:
            raise _inconsistent("there are too many slots")
        if any(not 0 <= stake <= 0xFFFF for stake in self.stake_lanes):
            raise _inconsistent("a stake lane does not fit in 16 bits")
        if any(not 0 <= slot < self.trainer_slots for slot in self.revealed_slots):
            raise _inconsistent("a contribution was revealed by a slot outside the snapshot")
        for validator, codes in self.vectors.items():
            if not 0 <= validator < len(self.stake_lanes):
                raise _inconsistent(f"validator slot {validator} is outside the snapshot")
            if len(codes) != RESERVED_LANES + self.trainer_slots:
                raise _inconsistent(f"the vector of validator slot {validator} has {len(codes)} lanes")
            if any(not 0 <= code <= minifloat.ABSTAIN for code in codes):
                raise _inconsistent(f"a code of validator slot {validator} does not fit in 16 bits")

    @property
    def total_stake(self) -> int:
        """T: all stake of the snapshot, in stake units, absent validators included."""
        return sum(self.stake_lanes)

    def lane(self, validator: int, lane: int) -> int:
        """Return a validator's code in a lane of the vector, `minifloat.ABSTAIN` where it abstains."""
        if self.stake_lanes[validator] == 0 or validator not in self.vectors:
            return minifloat.ABSTAIN
        return self.vectors[validator][lane]

    def row(self, trainer_slot: int) -> tuple[int, ...]:
        """Return the code of every validator slot for a trainer slot, ABSTAIN where there is none."""
        lane = RESERVED_LANES + trainer_slot
        return tuple(self.lane(validator, lane) for validator in range(len(self.stake_lanes)))


class Weighed(Protocol):
    """Anything with consensus weights by trainer slot: a `Consensus` or a `Settlement`."""

    @property
    def weights(self) -> tuple[int, ...]:
        """Consensus weight of each trainer slot."""


@dataclass(frozen=True)
class Consensus:
    """What the validators agreed on.

    Attributes:
        weights: Consensus weight of each trainer slot, in the manifest's weight units.
        covered: For each trainer slot, whether two thirds of the stake voted on its contribution.
        base_loss: Median base loss in the manifest's loss units, None when nobody gave one.
    """

    weights: tuple[int, ...]
    covered: tuple[bool, ...]
    base_loss: int | None

    @property
    def total_weight(self) -> int:
        """W: the sum of all payable weights."""
        return sum(payable(weight) for weight in self.weights)


def reach_consensus(votes: Votes) -> Consensus:
    """Return the consensus of a round's votes; see the module's text for the rule."""
    covered = tuple(
        slot in votes.revealed_slots and _has_quorum(votes.row(slot), votes) for slot in range(votes.trainer_slots)
    )
    weights = tuple(
        minifloat.decode(_median_code(votes.row(slot), votes.stake_lanes)) if covered[slot] else 0
        for slot in range(votes.trainer_slots)
    )
    base_row = tuple(votes.lane(validator, BASE_LANE) for validator in range(len(votes.stake_lanes)))
    base_known = any(code != minifloat.ABSTAIN for code in base_row)
    base_loss = minifloat.decode(_median_code(base_row, votes.stake_lanes)) if base_known else None
    return Consensus(weights, covered, base_loss)


def aggregated_slots(weighed: Weighed, max_aggregated: int) -> tuple[int, ...]:
    """Return the trainer slots that are aggregated, ascending: the `max_aggregated` of largest weight.

    A weight of at least 1 is needed; among equal weights the lower slot comes first.
    """
    admissible = [slot for slot, weight in enumerate(weighed.weights) if weight >= 1]
    best = sorted(admissible, key=lambda slot: (-weighed.weights[slot], slot))[:max_aggregated]
    return tuple(sorted(best))


def _has_quorum(row: Sequence[int], votes: Votes) -> bool:
    voting = sum(stake for code, stake in zip(row, votes.stake_lanes, strict=True) if code != minifloat.ABSTAIN)
    return voting > 0 and 3 * voting >= 2 * votes.total_stake


def _median_code(row: Sequence[int], stake_lanes: Sequence[int]) -> int:
    given = [(code, stake) for code, stake in zip(row, stake_lanes, strict=True) if code != minifloat.ABSTAIN]
    return lower_weighted_median([code for code, _ in given], [stake for _, stake in given])


def _inconsistent(what: str) -> StateError:
    return StateError(
        "votes-inconsistent",
        f"The round's reveals do not fit its snapshot: {what}.",
        "Read the round again from the chain.",
    )
