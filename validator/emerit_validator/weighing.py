"""From what a validator measured to its weight vector and evidence: arithmetic alone, the same on every machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from emerit.codec.update import SparseUpdate
from emerit.protocol.manifest import Manifest
from emerit.scoring.basis import KEY, Basis
from emerit.scoring.clusters import Clusters
from emerit.scoring.gap import GapReference
from emerit.scoring.history import ScoreHistory
from emerit.scoring.leave_one_out import FOUND, LeaveOneOut, exclude
from emerit.scoring.measurement import Measurement
from emerit.scoring.take_back import take_back_vector, take_back_verdicts, votes_to_take_back
from emerit.scoring.vector import evidence, evidence_bytes, weight_vector
from emerit.scoring.weights import RoundScores, score_round
from emerit_validator.inquest import Exclusions
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
    exclusions: Exclusions = field(default_factory=Exclusions)


@dataclass(frozen=True)
class Figures:
    """All that a validator's weights follow from, besides who revealed what: measured, remembered, compared.

    `history` has the standings before the round, by trainer slot; `first_order` explains and pays nobody. `shut_out`
    says of the slots that get nothing for harm until which round; `found` is why, where that is found in this round.
    """

    base_loss: float
    harm: float | None
    measured: Mapping[int, Measurement]
    history: ScoreHistory
    clusters: Clusters
    compared_with: tuple[tuple[int, int], ...] = ()
    first_order: Mapping[int, float] = field(default_factory=dict)
    shut_out: Mapping[int, int] = field(default_factory=dict)
    found: LeaveOneOut | None = None


def weigh(
    manifest: Manifest, seeds: RoundSeeds, taken: Taken, last_consensus: Mapping[int, int], figures: Figures
) -> Scored:
    """Weigh a round; a pure function of its arguments, without the model.

    What was accepted and is not in `figures.measured` is abstained from. Where the last aggregate did harm, it is the
    vote to take that back, and nothing measured counts. `last_consensus` is what `emerit.scoring.trust.trusted` left.
    Raises as `weight_vector`, `evidence_bytes`.
    """
    if figures.harm is not None and votes_to_take_back(figures.harm, manifest):
        return _vote_to_take_back(manifest, seeds, taken, figures)
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
    scores = exclude(scores, figures.shut_out)
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
    if figures.found is not None:
        record[FOUND] = figures.found.to_dict()
    return _scored(seeds, figures, vector, record, scores)


def _vote_to_take_back(manifest: Manifest, seeds: RoundSeeds, taken: Taken, figures: Figures) -> Scored:
    """Vote to take the last aggregate back; the round's contributions are not judged and no history changes."""
    assert figures.harm is not None
    revealed = set(taken.accepted) | taken.unavailable
    verdicts = take_back_verdicts(revealed, seeds.commit_order, taken.refused)
    record: dict[str, Any] = evidence(
        round_number=seeds.round,
        eval_seed=seeds.eval_seed,
        base_loss=figures.base_loss,
        health=figures.harm,
        measurements={},
        verdicts=verdicts,
        clusters=Clusters(),
        cids=taken.cids,
    )
    vector = take_back_vector(seeds.trainer_slots, figures.base_loss, figures.harm, manifest.scoring)
    return _scored(seeds, figures, vector, record, RoundScores(verdicts, figures.history, GapReference()))


def _scored(
    seeds: RoundSeeds, figures: Figures, vector: tuple[int, ...], record: dict[str, Any], scores: RoundScores
) -> Scored:
    record[KEY] = Basis(
        figures.base_loss,
        figures.harm,
        figures.measured,
        figures.history,
        scores.history,
        figures.compared_with,
        figures.shut_out,
    ).to_dict()
    return Scored(vector, evidence_bytes(record), scores, seeds.owners)
