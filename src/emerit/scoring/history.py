"""What a validator remembers of each trainer between rounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from types import MappingProxyType
from typing import Any, Final

from emerit.errors import StateError
from emerit.protocol.manifest import ScoringSpec
from emerit.scoring.measurement import Measurement
from emerit.scoring.usual_gain import UNKNOWN_GAIN, UsualGain
from emerit.scoring.usual_gap import UNKNOWN_GAP, UsualGap

_VERSION: Final = 4
_FULL_BALANCE_Z: Final = 3.0


@dataclass(frozen=True)
class Standing:
    """One trainer's discounted sums over its measured rounds, the newest counting 1, each older one `decay` less.

    `gain_sum` and `gap_sum` in nats, their variances in nats^2 (discounted twice, as a variance is), `rounds_sum` the
    sum of the discounts; `balance` in [-1, 1] is the moving average of the gap's sign. The `usual_...` are of what was
    usual in the same rounds: who was not there in some is held against those in which he was.
    """

    gain_sum: float = 0.0
    variance_sum: float = 0.0
    rounds_sum: float = 0.0
    balance: float = 0.0
    gap_sum: float = 0.0
    gap_variance_sum: float = 0.0
    usual_gain_sum: float = 0.0
    usual_gain_variance_sum: float = 0.0
    usual_gap_sum: float = 0.0
    usual_gap_variance_sum: float = 0.0

    @property
    def score(self) -> float:
        """S: the discounted mean of the gain that is paid for, in nats per token; 0 before any measurement."""
        return self.gain_sum / self.rounds_sum if self.rounds_sum else 0.0

    @property
    def score_se(self) -> float:
        """SE: the standard error of S, in nats per token."""
        return math.sqrt(self.variance_sum) / self.rounds_sum if self.rounds_sum else 0.0

    @property
    def gap(self) -> float:
        """The discounted mean of the gap, in nats per token; 0 before any measurement."""
        return self.gap_sum / self.rounds_sum if self.rounds_sum else 0.0

    @property
    def gap_se(self) -> float:
        """The standard error of `gap`, in nats per token."""
        return math.sqrt(self.gap_variance_sum) / self.rounds_sum if self.rounds_sum else 0.0

    @property
    def usual_gain(self) -> UsualGain:
        """What gain was usual in the same rounds, as `usual_gap`."""
        if not self.rounds_sum:
            return UNKNOWN_GAIN
        error = math.sqrt(self.usual_gain_variance_sum) / self.rounds_sum
        return UsualGain(self.usual_gain_sum / self.rounds_sum, error)

    @property
    def usual_gap(self) -> UsualGap:
        """What was usual in the same rounds, discounted alike, with the error of a mean of usual error.

        Not of one's own: whoever sends noise can have that as large as he likes. None before any measurement.
        """
        if not self.rounds_sum:
            return UNKNOWN_GAP
        error = math.sqrt(self.usual_gap_variance_sum) / self.rounds_sum
        return UsualGap(self.usual_gap_sum / self.rounds_sum, error)

    @property
    def gap_above_usual(self) -> float:
        """The mean gap less what was usual in the same rounds, in nats per token: whose means compare alike."""
        return self.gap - (self.usual_gap.value or 0.0)

    def after(
        self,
        measurement: Measurement,
        spec: ScoringSpec,
        most_gain: float = math.inf,
        gain: UsualGain = UNKNOWN_GAIN,
        gap: UsualGap = UNKNOWN_GAP,
    ) -> Standing:
        """Return the standing with one more measured round, in which `gain` and `gap` are usual.

        A gain above `most_gain` counts as that, a gap above `gap.most` as that.
        """
        decay, rate = spec.history_decay, spec.balance_rate
        direction = min(1.0, max(-1.0, measurement.gap_z / _FULL_BALANCE_Z))
        return Standing(
            decay * self.gain_sum + min(measurement.gain, most_gain),
            decay * decay * self.variance_sum + measurement.gain_se**2,
            decay * self.rounds_sum + 1.0,
            (1 - rate) * self.balance + rate * direction,
            decay * self.gap_sum + min(measurement.gap, gap.most),
            decay * decay * self.gap_variance_sum + measurement.gap_se**2,
            decay * self.usual_gain_sum + (gain.value or 0.0),
            decay * decay * self.usual_gain_variance_sum + gain.error**2,
            decay * self.usual_gap_sum + (gap.value or 0.0),
            decay * decay * self.usual_gap_variance_sum + gap.error**2,
        )


@dataclass(frozen=True)
class ScoreHistory:
    """Standing by trainer, as of the last scored round: by slot while a round is scored, by registry index on disk.

    Immutable: scoring a round gives a new history.
    """

    standings: Mapping[int, Standing] = field(default_factory=lambda: MappingProxyType({}))

    def of(self, slot: int) -> Standing:
        """Return the standing of a slot, an empty one if it was never measured."""
        return self.standings.get(slot, Standing())

    def with_standings(self, fresh: Mapping[int, Standing]) -> ScoreHistory:
        """Return a history in which the given slots have new standings."""
        return ScoreHistory(MappingProxyType({**self.standings, **fresh}))

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` reads it back without loss."""
        trainers = {str(slot): asdict(self.standings[slot]) for slot in sorted(self.standings)}
        return {"version": _VERSION, "trainers": trainers}

    @classmethod
    def from_dict(cls, data: Any) -> ScoreHistory:
        """Return the history that `to_dict` wrote.

        Raises StateError `history-corrupt` for anything else: another version, unknown or missing keys, figures
        that are not finite or out of range.
        """
        if not isinstance(data, dict) or set(data) != {"version", "trainers"} or data["version"] != _VERSION:
            raise _corrupt("it is not a score history of this version")
        if not isinstance(data["trainers"], dict):
            raise _corrupt("its trainers are not an object")
        return cls(MappingProxyType({_slot(key): _standing(key, item) for key, item in data["trainers"].items()}))


@dataclass(frozen=True)
class HistoryRecord:
    """The history that a validator keeps on disk: before and after the newest round that it scored.

    A round that is scored again after a crash starts from the history before it, so that no round counts twice.
    `round` is -1 before any round.
    """

    round: int = -1
    before: ScoreHistory = field(default_factory=ScoreHistory)
    after: ScoreHistory = field(default_factory=ScoreHistory)

    def of_rounds_before(self, number: int) -> ScoreHistory:
        """Return the history to score round `number` against; a round behind the newest gets the oldest known."""
        return self.after if number > self.round else self.before

    def with_round(self, number: int, after: ScoreHistory) -> HistoryRecord:
        """Return the record once round `number` has been scored, with the history that it gave."""
        return HistoryRecord(number, self.of_rounds_before(number), after)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for JSON; `from_dict` reads it back without loss."""
        return {"round": self.round, "before": self.before.to_dict(), "after": self.after.to_dict()}

    @classmethod
    def from_dict(cls, data: Any) -> HistoryRecord:
        """Return the record that `to_dict` wrote; raises StateError `history-corrupt` for anything else."""
        if not isinstance(data, dict) or set(data) != {"round", "before", "after"} or type(data["round"]) is not int:
            raise _corrupt("it is not the record of a score history")
        return cls(data["round"], ScoreHistory.from_dict(data["before"]), ScoreHistory.from_dict(data["after"]))


def _slot(key: object) -> int:
    if not isinstance(key, str) or not (key.isascii() and key.isdecimal()) or str(int(key)) != key:
        raise _corrupt(f"{key!r} is not a slot")
    return int(key)


def _standing(key: str, item: Any) -> Standing:
    names = [entry.name for entry in fields(Standing)]
    if not isinstance(item, dict) or set(item) != set(names):
        raise _corrupt(f"slot {key} does not have exactly the fields {', '.join(names)}")
    if any(type(item[name]) not in (int, float) or not math.isfinite(item[name]) for name in names):
        raise _corrupt(f"slot {key} has a figure that is not a finite number")
    standing = Standing(**{name: float(item[name]) for name in names})
    if (
        min(standing.rounds_sum, *(getattr(standing, name) for name in names if name.endswith("variance_sum"))) < 0
        or 0 < standing.rounds_sum < 1
        or not -1 <= standing.balance <= 1
    ):
        raise _corrupt(f"slot {key} has a figure that is out of range")
    return standing


def _corrupt(what: str) -> StateError:
    return StateError(
        "history-corrupt",
        f"The score history cannot be read: {what}.",
        "Delete the validator's history.json; scores start anew with the next round.",
    )
