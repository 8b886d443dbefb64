"""Read a validator's evidence: a stranger's JSON, checked before anybody shows it. Imports no torch."""

from __future__ import annotations

import math
import re
from typing import Any, Final

from emerit.errors import RefusedError
from emerit.protocol.strangers_json import read_json

MAX_EVIDENCE_BYTES: Final = 1 << 20
_CODE = re.compile(r"[a-z0-9-]{1,64}")
_OF_THE_ROUND: Final = ("s", "se", "own", "own_se", "whole", "first_order", "gap", "gap_se")
_OF_ITS_ROUNDS: Final = ("gap_mean", "gap_usual", "gap_usual_se", "score", "score_se", "score_usual", "score_usual_se")
FIGURES: Final = (*_OF_THE_ROUND, *_OF_ITS_ROUNDS, "b", "gap_factor", "share")
"""What evidence may have of a trainer in figures; `emerit.scoring.vector.evidence` says what they are."""


def read_evidence(data: bytes) -> dict[str, Any]:
    """Return evidence whose shape can be relied on.

    `trainers` maps slots (decimal text) to records with the `FIGURES` (finite numbers or None), `cluster` (int or None)
    and `reason` (a code).

    Raises:
        RefusedError: `evidence-invalid`.
    """
    try:
        record = read_json(data)
    except ValueError as error:
        raise _invalid(str(error)) from error
    if not isinstance(record, dict) or not isinstance(record.get("trainers"), dict):
        raise _invalid("it has no trainers")
    for slot, view in record["trainers"].items():
        if not (slot.isascii() and slot.isdecimal() and len(slot) <= 3) or not isinstance(view, dict):
            raise _invalid(f"the entry {slot[:12]!r} is no trainer slot")
        _check(slot, view)
    return record


def _check(slot: str, view: dict[str, Any]) -> None:
    if not isinstance(view.get("reason"), str) or not _CODE.fullmatch(view["reason"]):
        raise _invalid(f"slot {slot} has no reason code")
    cluster = view.setdefault("cluster", None)
    if cluster is not None and type(cluster) is not int:
        raise _invalid(f"slot {slot} has a cluster that is no number")
    for name in FIGURES:
        value = view.setdefault(name, None)
        if value is not None and (type(value) not in (int, float) or not math.isfinite(value)):
            raise _invalid(f"slot {slot} has a figure {name} that is no finite number")


def _invalid(what: str) -> RefusedError:
    return RefusedError(
        "evidence-invalid",
        f"A validator's evidence cannot be used: {what}.",
        "Look at another validator's; evidence explains, it moves no money.",
    )
