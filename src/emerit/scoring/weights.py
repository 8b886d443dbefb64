"""From a round's measurements to one verdict and one weight for each trainer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from emerit.protocol.manifest import ScoringSpec
from emerit.protocol.minifloat import MAX_VALUE
from emerit.scoring import reasons
from emerit.scoring.clusters import Clusters
from emerit.scoring.gap import GapReference, gap_reference
from emerit.scoring.history import ScoreHistory, Standing
from emerit.scoring.measurement import Measurement

__all__ = ["RoundScores", "ScoreHistory", "Verdict", "score_round"]

HARM_Z = 3.0
REFUSED, ADMISSIBLE, SMALLEST_PAID = 0, 1, 2


@dataclass(frozen=True)
class Verdict:
    """What a validator holds of one contribution.

    `weight_value` is in weight units (`ScoringSpec.weight_unit` of what usual work has): 0 = refused, 1 = admissible
    but unpaid, from 2 on paid. `code` is a key of `reasons.REASONS`, or the code with which a blob was refused. The
    figures are None for what was not measured: `score` S and `score_se` over the last rounds, `score_usual` with its
    error, of what was usual in them, `gap`, `gap_se` and `gap_factor` of this one, `gap_mean` and `gap_usual` as the
    scores, `balance` after it. `cluster` is None for a contribution that is like no other.
    """

    slot: int
    code: str
    weight_value: int = REFUSED
    score: float | None = None
    score_se: float | None = None
    score_usual: float | None = None
    score_usual_se: float | None = None
    gap: float | None = None
    gap_se: float | None = None
    gap_mean: float | None = None
    gap_usual: float | None = None
    gap_usual_se: float | None = None
    gap_factor: float | None = None
    balance: float | None = None
    cluster: int | None = None

    @property
    def reason(self) -> str:
        """The sentence that explains the code."""
        return reasons.sentence(self.code)


@dataclass(frozen=True)
class RoundScores:
    """The verdicts by trainer slot, the history after the round, the gap that contributions were held against."""

    verdicts: dict[int, Verdict]
    history: ScoreHistory
    reference: GapReference


def score_round(
    measurements: Mapping[int, Measurement],
    clusters: Clusters,
    commit_order: Mapping[int, int],
    history: ScoreHistory,
    consensus: Mapping[int, int],
    spec: ScoringSpec,
    *,
    refused: Mapping[int, str] | None = None,
    unavailable: Collection[int] = (),
    unmeasured: Collection[int] = (),
    shares: Mapping[int, float] | None = None,
) -> RoundScores:
    """Weigh a round; a pure function of its arguments.

    Args:
        measurements: what was measured, by trainer slot.
        clusters: who resembles whom.
        commit_order: place among the round's commitments; a slot in it that is in nothing else revealed nothing.
        history: standings before the round; those not measured keep theirs.
        consensus: consensus weights of the last settled round by slot, empty before the first.
        refused: code by slot, for contributions that broke a rule.
        unavailable: slots that could not be fetched; the weight vector abstains from them.
        unmeasured: slots that were accepted and for which there was no time; the weight vector abstains from them
            too, and nobody's history changes.
        shares: by slot the probability with which a contribution was drawn to be measured, 1 where it is not in it;
            the measured are paid w / share.
    """
    refused, shares = dict(refused or {}), shares or {}
    refused |= {slot: reasons.NOT_FINITE for slot, item in measurements.items() if not item.finite}
    valid = {slot: item for slot, item in sorted(measurements.items()) if slot not in refused}
    stale = {item.slot for item in clusters.stale}
    guess = gap_reference(valid.values(), stale, consensus)
    shown = {slot: history.of(slot).after(item, spec, gap=guess.usual) for slot, item in valid.items()}
    gaps = {slot: (item.gap_above_usual, item.gap_se) for slot, item in shown.items()}
    duplicates = clusters.duplicates(gaps, commit_order)
    copies = duplicates | stale
    reference = gap_reference(valid.values(), copies, consensus)
    standings = {slot: history.of(slot) for slot in valid}
    if not reference.bad and reference.usual.value is not None:
        standings = {
            slot: standing.after(valid[slot], spec, reference.most_gain, reference.gain, reference.usual)
            for slot, standing in standings.items()
        }
    verdicts = {slot: Verdict(slot, reasons.NOT_REVEALED) for slot in commit_order}
    verdicts |= {slot: Verdict(slot, reasons.UNMEASURED) for slot in unmeasured}
    for slot, item in valid.items():
        factor = reference.factor(item, standings[slot], spec)
        copied = (reasons.DUPLICATE if slot in duplicates else reasons.STALE) if slot in copies else None
        harmful = item.random_gain < reference.harm - HARM_Z * item.random_se
        code, weight = _weigh(standings[slot], factor, copied, spec, shares.get(slot, 1.0), harmful=harmful)
        verdicts[slot] = _measured_verdict(item, standings[slot], factor, code, weight)
    verdicts |= {slot: Verdict(slot, code) for slot, code in refused.items()}
    verdicts |= {slot: Verdict(slot, reasons.UNAVAILABLE) for slot in unavailable}
    clustered = {
        slot: replace(verdict, cluster=clusters.cluster_of.get(slot)) for slot, verdict in sorted(verdicts.items())
    }
    return RoundScores(clustered, history.with_standings(standings), reference)


def _weigh(
    standing: Standing, factor: float, copied: str | None, spec: ScoringSpec, share: float, *, harmful: bool
) -> tuple[str, int]:
    """Return code and weight of a measured contribution: the first rule that applies decides.

    What is paid: r^power * gap factor / share, with r the score's share of what was usual in the same rounds
    (`UsualGain.share`). The test is S + doubt > z * SE, with what the usual score lacks to be clear for the doubt. A
    score that fails it is admissible where the gap speaks for it; a clear score without a gap is not: random signs
    lower the loss in every second round, at the trial step and by a little, and harm at the full one. `harmful` is what
    raises the loss at the trial step by more than three errors, or by more than usual in a round that is bad for all.
    So is a score below zero that fails the test, as that of harm at the whole step does. What is stale has been applied
    already, and is not again.
    """
    usual = standing.usual_gain
    margin = standing.score - spec.z * standing.score_se + usual.doubt
    harmful = harmful or (standing.score < 0 and margin <= 0)
    if harmful:
        return reasons.NEGATIVE_SCORE, REFUSED
    if standing.balance < spec.balance_floor:
        return reasons.LOW_BALANCE, REFUSED
    if copied == reasons.STALE:
        return copied, REFUSED
    if copied is not None:
        return copied, ADMISSIBLE if margin > 0 or factor > 0 else REFUSED
    if margin <= 0:
        return reasons.NOT_SIGNIFICANT, ADMISSIBLE if factor > 0 else REFUSED
    if factor <= 0:
        return reasons.LOW_GAP, REFUSED
    units = usual.share(standing.score) ** spec.power * factor / share / spec.weight_unit
    return reasons.PAID, max(SMALLEST_PAID, round(min(units, float(MAX_VALUE))))


def _measured_verdict(item: Measurement, standing: Standing, factor: float, code: str, weight: int) -> Verdict:
    return Verdict(
        slot=item.slot,
        code=code,
        weight_value=weight,
        score=standing.score,
        score_se=standing.score_se,
        score_usual=standing.usual_gain.value,
        score_usual_se=standing.usual_gain.error,
        gap=item.gap,
        gap_se=item.gap_se,
        gap_mean=standing.gap,
        gap_usual=standing.usual_gap.value,
        gap_usual_se=standing.usual_gap.error,
        gap_factor=factor,
        balance=standing.balance,
    )
