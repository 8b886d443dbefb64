"""What a settled round says about each member: who took part, how it went, and why, worked out once per round."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from emerit.protocol import minifloat
from emerit.protocol.commitments import unpack_vector
from emerit.protocol.settlement import ValidatorOutcome
from emerit.protocol.types import BASE_LANE, HEALTH_LANE, RESERVED_LANES, RegistryEntry, Role, WeightReveal
from emerit.run.ledger import SettledEntry
from emerit.scoring.reasons import NOT_REVEALED, sentence

EVIDENCE_MISSING: Final = "evidence-missing"
NOT_ACTIVE: Final = "not-active"
_WHY: Final[Mapping[str, str]] = MappingProxyType(
    {
        EVIDENCE_MISSING: "No validator's evidence of this round is there; the weights on chain are what counts.",
        NOT_ACTIVE: "It was not a member of this round.",
    }
)
_OUTCOMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        ValidatorOutcome.PAID: "It revealed its weights for all contributions and is paid by its share of the stake.",
        ValidatorOutcome.NOTHING_EARNED: "It did its work, but no contribution of the round was worth anything.",
        ValidatorOutcome.NO_STAKE: "It had no stake in this round's snapshot, so it had no vote and no pay.",
        ValidatorOutcome.NO_REVEAL: "It revealed no weights in this round.",
        ValidatorOutcome.BASE_LOSS_MISSING: "It did not say what the loss before the round was.",
        ValidatorOutcome.BASE_LOSS_OFF: "The loss that it measured before the round is not the others'.",
        ValidatorOutcome.NOT_COVERED: "It abstained on a contribution that two thirds of the stake could weigh.",
    }
)


def why(role: Role, code: str) -> str:
    """Return the sentence for a reason code of a trainer, or an outcome of a validator."""
    if code in _WHY:
        return _WHY[code]
    return _OUTCOMES.get(code, "") if role is Role.VALIDATOR else sentence(code)


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one validator (by registry index) said of one trainer: its weight on chain (None abstains), and why."""

    validator: int
    weight: int | None
    record: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Part:
    """One member in one round; `score` is the median of what the validators measured."""

    took_part: bool
    reason: str
    weight: int = 0
    score: float | None = None
    cluster: int | None = None
    opinions: tuple[Opinion, ...] = ()


@dataclass(frozen=True, slots=True)
class Weighing:
    """A validator's revealed vector, decoded: losses in nats (None abstains), weights by trainer slot."""

    reveal: WeightReveal
    member: RegistryEntry
    base_loss: float | None
    health: float | None
    weights: tuple[int | None, ...]
    stake: int
    record: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RoundDigest:
    """A settled round with each member's part (by registry index) and each validator's weights (by its slot)."""

    entry: SettledEntry
    parts: Mapping[int, Part]
    weighings: Mapping[int, Weighing]
    loss: float | None
    health: float | None

    @property
    def number(self) -> int:
        """The round's number."""
        return self.entry.round


def digest(entry: SettledEntry, evidence: Mapping[bytes, Mapping[str, Any]], loss_unit: float) -> RoundDigest:
    """Work a round out; `evidence` has the checked records that are there, by their hash."""
    members = entry.members
    weighings: dict[int, Weighing] = {}
    for reveal in entry.weights:
        member = members.validator_in(reveal.slot)
        if member is not None:
            record = evidence.get(reveal.evidence_hash)
            weighings[reveal.slot] = _weighing(reveal, member, entry, record, loss_unit)
    revealed = {item.slot for item in entry.contributions}
    parts: dict[int, Part] = {}
    for member in members.active_trainers():
        shown = member.slot in revealed
        parts[member.index] = _contributor(member, entry, weighings) if shown else Part(False, NOT_REVEALED)
    for slot, outcome in entry.settlement.validator_outcomes.items():
        parts[members.seats[slot]] = Part(slot in weighings, str(outcome))
    base = entry.settlement.consensus.base_loss
    loss = None if base is None else round(base * loss_unit, 9)
    health = [weighing.health for weighing in weighings.values() if weighing.health is not None]
    return RoundDigest(entry, parts, weighings, loss, statistics.median_low(health) if health else None)


def _weighing(
    reveal: WeightReveal,
    member: RegistryEntry,
    entry: SettledEntry,
    record: Mapping[str, Any] | None,
    loss_unit: float,
) -> Weighing:
    values = [
        None if code == minifloat.ABSTAIN else minifloat.decode(code)
        for code in unpack_vector(reveal.vector, entry.members.trainer_slots)
    ]
    base, health = (None if v is None else round(v * loss_unit, 9) for v in (values[BASE_LANE], values[HEALTH_LANE]))
    stake = entry.members.stake_lanes[reveal.slot]
    return Weighing(reveal, member, base, health, tuple(values[RESERVED_LANES:]), stake, record)


def _contributor(member: RegistryEntry, entry: SettledEntry, weighings: Mapping[int, Weighing]) -> Part:
    opinions, votes = [], Counter[str]()
    for weighing in weighings.values():
        record = (weighing.record or {}).get("trainers", {}).get(str(member.slot))
        opinions.append(Opinion(weighing.member.index, weighing.weights[member.slot], record))
        if record is not None:
            votes[record["reason"]] += weighing.stake
    known = [opinion.record for opinion in opinions if opinion.record is not None]
    scores = [record["s"] for record in known if record["s"] is not None]
    clusters = [record["cluster"] for record in known if record["cluster"] is not None]
    return Part(
        took_part=True,
        reason=min(votes, key=lambda code: (-votes[code], code)) if votes else EVIDENCE_MISSING,
        weight=entry.weight_of(member.slot),
        score=statistics.median(scores) if scores else None,
        cluster=clusters[0] if clusters else None,
        opinions=tuple(opinions),
    )


@dataclass(slots=True)
class Tally:
    """One member's rounds, added up."""

    contributions: int = 0
    accepted: int = 0
    last_round: int | None = None
    cluster: int | None = None
    scores: list[float] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)

    def add(self, number: int, part: Part) -> None:
        """Count one more round, later than those before."""
        self.reasons[part.reason] += 1
        if not part.took_part:
            return
        self.contributions += 1
        self.accepted += part.weight >= 1
        self.last_round, self.cluster = number, part.cluster
        if part.score is not None:
            self.scores.append(part.score)


def tally(digests: Iterable[RoundDigest], members: int) -> tuple[Tally, ...]:
    """Return each member's tally, by registry index."""
    tallies = tuple(Tally() for _ in range(members))
    for item in digests:
        for index, part in item.parts.items():
            tallies[index].add(item.number, part)
    return tallies
