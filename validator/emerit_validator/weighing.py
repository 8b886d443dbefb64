"""From what a validator measured to its weight vector and evidence: arithmetic alone, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from emerit.codec.update import SparseUpdate
from emerit.protocol.manifest import Manifest
from emerit.scoring.basis import KEY, Basis
from emerit.scoring.clusters import Clusters
from emerit.scoring.history import ScoreHistory
from emerit.scoring.measurement import Measurement
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import RoundScores, score_round
from emerit_validator.seeds import RoundSeeds


class Taken(Protocol):
    """What became of a round's contributions at one validator, by trainer slot (`Intake`, or `Recorded` of another)."""

    @property
    def accepted(self) -> Mapping[int, SparseUpdate]:
        """Decoded updates."""

    @property
    def refused(self) -> Mapping[int, str]:
        """Codes of those that broke a rule."""

    @property
    def unavailable(self) -> set[int]:
        """Those that did not come in time."""

    @property
    def cids(self) -> Mapping[int, str]:
        """CIDs of everything that was revealed."""


@dataclass(frozen=True)
class Recorded:
    """`Taken` as a validator's evidence says it was."""

    accepted: Mapping[int, SparseUpdate] = field(default_factory=dict)
    refused: Mapping[int, str] = field(default_factory=dict)
    unavailable: set[int] = field(default_factory=set)
    cids: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Scored:
    """A validator's view of a round, ready to commit to."""

    vector: tuple[int, ...]
    evidence: bytes
    scores: RoundScores
    owners: dict[int, int]


@dataclass(frozen=True)
class Figures:
    """All that a validator's weights follow from, besides who revealed what: measured, remembered, compared.

    `history` has the standings before the round, by trainer slot; `first_order` explains and pays nobody.
    """

    base_loss: float
    harm: float | None
    measured: Mapping[int, Measurement]
    history: ScoreHistory
    clusters: Clusters
    compared_with: tuple[tuple[int, int], ...] = ()
    first_order: Mapping[int, float] = field(default_factory=dict)


def weigh(
    manifest: Manifest, seeds: RoundSeeds, taken: Taken, last_consensus: Mapping[int, int], figures: Figures
) -> Scored:
    """Weigh a round; a pure function of its arguments, without the model.

    What was accepted and is not in `figures.measured` is abstained from. Raises as `weight_vector`, `evidence_bytes`.
    """
    spec = manifest.scoring
    shares = {} if seeds.sample is None else seeds.sample.shares
    unmeasured = set(taken.accepted) - set(figures.measured)
    scores = score_round(
        figures.measured,
        figures.clusters,
        seeds.commit_order,
        figures.history,
        last_consensus,
        spec,
        refused=taken.refused,
        unavailable=taken.unavailable,
        unmeasured=unmeasured,
        shares=shares,
    )
    abstained = taken.unavailable | unmeasured
    vector = weight_vector(seeds.trainer_slots, scores.verdicts, figures.base_loss, figures.harm, abstained, spec)
    record: dict[str, Any] = evidence(
        round_number=seeds.round,
        eval_seed=seeds.eval_seed,
        base_loss=figures.base_loss,
        health=figures.harm,
        measurements=figures.measured,
        verdicts=scores.verdicts,
        clusters=figures.clusters,
        cids=taken.cids,
        reference=scores.reference,
        first_order=figures.first_order,
        shares=shares,
    )
    record[KEY] = Basis(
        figures.base_loss,
        figures.harm,
        figures.measured,
        figures.history,
        scores.history,
        figures.compared_with,
    ).to_dict()
    return Scored(vector, evidence_bytes(record), scores, seeds.owners)
