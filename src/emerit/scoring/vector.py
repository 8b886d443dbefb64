"""A validator's weight vector, and the evidence that explains it."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final

from emerit.errors import StateError
from emerit.protocol import minifloat
from emerit.protocol.manifest import ScoringSpec
from emerit.scoring.clusters import Clusters, Pair, Threshold
from emerit.scoring.gap import GapReference
from emerit.scoring.measurement import Measurement
from emerit.scoring.weights import Verdict

EVIDENCE_VERSION: Final = 4
FIRST_ORDER: Final = "first-order"
"""Flags a contribution that raises the loss by what the gradient says of it."""
MAX_EVIDENCE_PAIRS: Final = 512
_DECIMALS: Final = 9


def weight_vector(
    trainer_slots: int,
    verdicts: Mapping[int, Verdict],
    base_loss: float,
    health: float | None,
    abstained: Collection[int],
    spec: ScoringSpec,
) -> tuple[int, ...]:
    """Return the 2 + trainer_slots minifloat codes: base loss, health, then one weight for each trainer slot.

    Losses are counted in `spec.loss_unit` nats. A slot in `abstained` (not fetched, or not measured in time) gets the
    code for "I abstain", as the health lane does when `health` is None: a validator that has just started does not
    know the state before. A slot without a verdict gets weight 0. Raises StateError `loss-out-of-range` for a loss
    that is negative or not finite.
    """
    for loss in (base_loss, 0.0 if health is None else health):
        if not (math.isfinite(loss) and loss >= 0):
            raise StateError(
                "loss-out-of-range",
                f"A weight vector cannot carry the loss {loss}.",
                "Measure again; if it stays, the state or the model is damaged.",
            )
    lanes = [
        minifloat.ABSTAIN if loss is None else minifloat.encode(round(loss / spec.loss_unit))
        for loss in (base_loss, health)
    ]
    for slot in range(trainer_slots):
        if slot in abstained:
            lanes.append(minifloat.ABSTAIN)
        else:
            lanes.append(minifloat.encode(verdicts[slot].weight_value) if slot in verdicts else 0)
    return tuple(lanes)


def evidence(
    *,
    round_number: int,
    eval_seed: bytes,
    base_loss: float,
    health: float | None,
    measurements: Mapping[int, Measurement],
    verdicts: Mapping[int, Verdict],
    clusters: Clusters,
    cids: Mapping[int, str],
    reference: GapReference | None = None,
    first_order: Mapping[int, float] | None = None,
    shares: Mapping[int, float] | None = None,
) -> dict[str, Any]:
    """Return what explains a round's weights as plain data: losses, gains and gaps in nats per token.

    `trainers` maps a slot (as text) to this round's gains on random (`s`, `se`) and own sequences (`own`,
    `own_se`) and at the whole step (`whole`), the gap with its factor, its mean over the rounds and what was usual in
    them (`gap_usual`, its error), the balance `b`, the score over the last rounds and what was usual in them
    (`score_usual`, its error), `cluster`, `flags`, the `reason` code, the `weight`, the `cid`, and what the gradient
    alone says of it (`first_order`, flagged below 0; it pays nobody); None stands for what was not measured.
    `share` is the probability with which the contribution was drawn to be measured, `measured_share` its mean over the
    round. `gap_reference` has what is usual in the round. `similarity` has the round's thresholds, the pairs beyond
    them, at most the 512 most alike, and what repeats earlier rounds.
    """
    flags, slopes, shares = clusters.kinds(), first_order or {}, shares or {}
    for slot, gain in slopes.items():
        if gain < 0:
            flags[slot] = (*flags.get(slot, ()), FIRST_ORDER)
    return {
        "version": EVIDENCE_VERSION,
        "round": round_number,
        "seed": eval_seed.hex(),
        "base_loss": base_loss,
        "health": health,
        "gap_reference": _reference(reference or GapReference()),
        "measured_share": sum(shares.values()) / len(shares) if shares else 1.0,
        "similarity": _similarity(clusters),
        "trainers": {
            str(slot): {
                **_trainer(verdicts[slot], measurements.get(slot), flags.get(slot, ()), cids.get(slot)),
                "first_order": slopes.get(slot),
                "share": shares.get(slot, 1.0),
            }
            for slot in sorted(verdicts)
        },
    }


def evidence_bytes(record: Mapping[str, Any]) -> bytes:
    """Return the canonical JSON of evidence: sorted keys, no spaces, ASCII, floats rounded to 1e-9.

    Raises StateError `evidence-not-finite` for a figure that is not a finite number.
    """
    return json.dumps(_rounded(record), sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _trainer(verdict: Verdict, item: Measurement | None, flags: tuple[str, ...], cid: str | None) -> dict[str, Any]:
    known = item if item is not None and item.finite else None
    return {
        "s": known.random_gain if known else None,
        "se": known.random_se if known else None,
        "own": known.own_gain if known else None,
        "own_se": known.own_se if known else None,
        "whole": known.whole_gain if known else None,
        "gap": verdict.gap,
        "gap_se": verdict.gap_se,
        "gap_mean": verdict.gap_mean,
        "gap_usual": verdict.gap_usual,
        "gap_usual_se": verdict.gap_usual_se,
        "gap_factor": verdict.gap_factor,
        "b": verdict.balance,
        "score": verdict.score,
        "score_se": verdict.score_se,
        "score_usual": verdict.score_usual,
        "score_usual_se": verdict.score_usual_se,
        "cluster": verdict.cluster,
        "flags": list(flags),
        "reason": verdict.code,
        "weight": verdict.weight_value,
        "cid": cid,
    }


def _reference(reference: GapReference) -> dict[str, Any]:
    return {
        "gap": reference.usual.value,
        "error": reference.usual.error,
        "clear": reference.usual.clear,
        "gain": reference.gain.value,
        "gain_error": reference.gain.error,
        "most_gain": reference.most_gain if math.isfinite(reference.most_gain) else None,
    }


def _similarity(clusters: Clusters) -> dict[str, Any]:
    pairs = sorted(clusters.pairs, key=lambda pair: (-max(pair.overlap, pair.cosine), pair.first, pair.second))
    return {
        "overlap": _threshold(clusters.overlap),
        "cosine": _threshold(clusters.cosine),
        "pairs_found": len(pairs),
        "pairs": [_pair(pair) for pair in pairs[:MAX_EVIDENCE_PAIRS]],
        "stale": [
            {"slot": item.slot, "source": item.source, "overlap": item.overlap, "cosine": item.cosine}
            for item in clusters.stale
        ],
    }


def _threshold(threshold: Threshold) -> dict[str, Any]:
    return {"median": threshold.median, "spread": threshold.spread, "limit": threshold.limit}


def _pair(pair: Pair) -> dict[str, Any]:
    return {"slots": [pair.first, pair.second], "overlap": pair.overlap, "cosine": pair.cosine, "kind": pair.kind}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StateError(
                "evidence-not-finite",
                f"Evidence cannot hold the figure {value}.",
                "Report this: what is not finite must be refused before it is explained.",
            )
        return round(value, _DECIMALS) + 0.0
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(inner) for inner in value]
    return value
