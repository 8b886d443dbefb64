"""From revealed weight vectors to consensus weights, and to the set that is aggregated.

A validator slot has a lane for each trainer slot. It *abstains* where it has no stake in the round's epoch, did
not reveal a vector, or put 0xFFFF in the lane; everybody does for a slot that no member has. For trainer slot s, with
T all the stake of the epoch:

- the stake that did not abstain is zero, or below two thirds of T: weight 0;
- otherwise the weight is the decoded lower stake-weighted median of the codes given.

Nothing else counts, so that a trainer's weight follows from its row of codes alone and can be challenged with it.
Who revealed no contribution gets 0 from honest validators. The result depends on sets and numbers only, never on the
order in which anything arrived.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.median import lower_weighted_median
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import BASE_LANE, MAX_TRAINERS, MAX_VALIDATORS, RESERVED_LANES

NOBODY: Final = (minifloat.ABSTAIN,) * MAX_VALIDATORS


@dataclass(frozen=True)
class Votes:
    """All that was revealed in a round, with the stake that stands behind it.

    Attributes:
        trainer_slots: Trainer slots when the round opened.
        stake_lanes: Stake of each validator slot in the round's epoch, in stake units, 0 to 65535; up to 16.
        vectors: Validator slot -> its 2 + trainer_slots codes, for those who revealed.
        occupied: Trainer slots that have a member in the round; in the lanes of others everybody abstains.
    """

    trainer_slots: int
    stake_lanes: tuple[int, ...]
    vectors: Mapping[int, tuple[int, ...]]
    occupied: frozenset[int]

    def __post_init__(self) -> None:
        """Check shapes and ranges; raises `StateError("votes-inconsistent")`."""
        if not 0 <= self.trainer_slots <= MAX_TRAINERS or len(self.stake_lanes) > MAX_VALIDATORS:
            raise _inconsistent("there are too many slots")
        if any(not 0 <= stake <= 0xFFFF for stake in self.stake_lanes):
            raise _inconsistent("a stake lane does not fit in 16 bits")
        if any(not 0 <= slot < self.trainer_slots for slot in self.occupied):
            raise _inconsistent("a trainer has a slot that has not been given out")
        for validator, codes in self.vectors.items():
            if not 0 <= validator < len(self.stake_lanes):
                raise _inconsistent(f"validator slot {validator} has no lane of stake")
            if len(codes) != RESERVED_LANES + self.trainer_slots:
                raise _inconsistent(f"the vector of validator slot {validator} has {len(codes)} lanes")
            if any(not 0 <= code <= minifloat.ABSTAIN for code in codes):
                raise _inconsistent(f"a code of validator slot {validator} does not fit in 16 bits")

    @property
    def total_stake(self) -> int:
        """T: all stake of the epoch, in stake units, absent validators included."""
        return sum(self.stake_lanes)

    def lane(self, validator: int, lane: int) -> int:
        """Return a validator's code in a lane of the vector, `minifloat.ABSTAIN` where it abstains."""
        if validator >= len(self.stake_lanes) or self.stake_lanes[validator] == 0 or validator not in self.vectors:
            return minifloat.ABSTAIN
        return self.vectors[validator][lane]

    def row(self, trainer_slot: int) -> tuple[int, ...]:
        """Return the code of each of the 16 validator slots for a trainer slot, ABSTAIN where there is none."""
        if trainer_slot not in self.occupied:
            return NOBODY
        return self._across(RESERVED_LANES + trainer_slot)

    def base_row(self) -> tuple[int, ...]:
        """Return the base-loss code of each of the 16 validator slots, ABSTAIN where there is none."""
        return self._across(BASE_LANE)

    def _across(self, lane: int) -> tuple[int, ...]:
        return tuple(self.lane(validator, lane) for validator in range(MAX_VALIDATORS))


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

    def refused(self, slot: int) -> bool:
        """Whether a trainer slot's contribution was judged, by two thirds of the stake, to be worth nothing."""
        return slot < len(self.weights) and self.covered[slot] and self.weights[slot] == 0


def reach_consensus(votes: Votes) -> Consensus:
    """Return the consensus of a round's votes; see the module's text for the rule."""
    rows = [votes.row(slot) for slot in range(votes.trainer_slots)]
    return Consensus(
        weights=tuple(row_weight(row, votes.stake_lanes) for row in rows),
        covered=tuple(has_quorum(row, votes.stake_lanes) for row in rows),
        base_loss=row_median(votes.base_row(), votes.stake_lanes),
    )


def has_quorum(row: Sequence[int], stake_lanes: Sequence[int]) -> bool:
    """Return whether two thirds of the stake, and some stake at all, did not abstain in a row of codes."""
    voting = sum(stake for _, stake in _given(row, stake_lanes))
    return voting > 0 and 3 * voting >= 2 * sum(stake_lanes)


def row_weight(row: Sequence[int], stake_lanes: Sequence[int]) -> int:
    """Return the consensus weight that follows from a trainer's row of codes, in the manifest's weight units."""
    median = row_median(row, stake_lanes) if has_quorum(row, stake_lanes) else None
    return 0 if median is None else median


def row_median(row: Sequence[int], stake_lanes: Sequence[int]) -> int | None:
    """Return the decoded lower stake-weighted median of a row of codes, None where nobody with stake gave one."""
    given = _given(row, stake_lanes)
    if not given:
        return None
    return minifloat.decode(lower_weighted_median([code for code, _ in given], [stake for _, stake in given]))


def aggregated_slots(weighed: Weighed, max_aggregated: int) -> tuple[int, ...]:
    """Return the trainer slots that are aggregated, ascending: the `max_aggregated` of largest weight.

    A weight of at least 1 is needed; among equal weights the lower slot comes first.
    """
    admissible = [slot for slot, weight in enumerate(weighed.weights) if weight >= 1]
    best = sorted(admissible, key=lambda slot: (-weighed.weights[slot], slot))[:max_aggregated]
    return tuple(sorted(best))


def _given(row: Sequence[int], stake_lanes: Sequence[int]) -> list[tuple[int, int]]:
    """Return (code, stake) of those with stake that did not abstain; a lane beyond the given stakes has none."""
    return [(code, stake) for code, stake in zip(row, stake_lanes, strict=False) if stake and code != minifloat.ABSTAIN]


def _inconsistent(what: str) -> StateError:
    return StateError(
        "votes-inconsistent",
        f"The round's reveals do not fit its members: {what}.",
        "Read the round again from the chain.",
    )
