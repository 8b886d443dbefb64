"""What a validator recorded of a round, from chain and IPFS: its vector, its evidence, the blobs behind it.

What follows from no blob is taken from its evidence: which contributions it could not fetch in time, which it had no
time to measure, what it knew of the round before. None of that moves a lane of its own accord: such lanes abstain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from emerit.codec.blob import decode_blob
from emerit.codec.update import SparseUpdate
from emerit.errors import RefusedError, UnavailableError
from emerit.protocol.assignment import trainer_capacity
from emerit.protocol.registry import Members
from emerit.protocol.types import RESERVED_LANES, ContributionReveal, WeightReveal
from emerit.run.context import RunContext
from emerit.run.contributions import expected_blob, most_blob_bytes
from emerit.scoring import reasons
from emerit.scoring.agreement import Difference
from emerit.scoring.basis import KEY, Basis, read_basis
from emerit.scoring.evidence import MAX_EVIDENCE_BYTES, read_evidence
from emerit.scoring.fast_checks import check_not_empty
from emerit.scoring.leave_one_out import FOUND, LeaveOneOut
from emerit_validator.weighing import Recorded

FETCH_SECONDS: Final = 10.0
# What a validator says of a contribution that it could decode.
DECODED: Final = frozenset(
    {
        reasons.PAID,
        reasons.DUPLICATE,
        reasons.STALE,
        reasons.NOT_SIGNIFICANT,
        reasons.LOW_GAP,
        reasons.UNMEASURED,
        reasons.NEGATIVE_SCORE,
        reasons.LOW_BALANCE,
        reasons.NOT_FINITE,
        reasons.HARMFUL,
    }
)


@dataclass(frozen=True)
class Statement:
    """What a validator published of a round: its evidence as checked data, and the exact basis in it."""

    record: dict[str, Any]
    basis: Basis

    def reason(self, slot: int) -> str | None:
        """The code that it gave a trainer slot, None where it says nothing."""
        view = self.record["trainers"].get(str(slot))
        return None if view is None else str(view["reason"])

    @property
    def found(self) -> LeaveOneOut | None:
        """What it says it found of an aggregate that was taken back, None where it did not look.

        Raises:
            RefusedError: `evidence-invalid`.
        """
        return LeaveOneOut.from_dict(self.record[FOUND]) if FOUND in self.record else None

    @property
    def slopes(self) -> dict[int, float]:
        """What it says the gradient alone says of each contribution."""
        views = self.record["trainers"].items()
        return {int(slot): float(view["first_order"]) for slot, view in views if view["first_order"] is not None}


def fetch_statement(context: RunContext, reveal: WeightReveal) -> Statement:
    """Return what a validator published beside its vector.

    Raises:
        UnavailableError: `evidence-gone`, when nobody delivers it.
        RefusedError: `evidence-invalid`, `evidence-basis`, `content-hash-mismatch`, `blob-too-large`.
    """
    try:
        data = context.fetch(reveal.evidence_cid, reveal.evidence_hash, MAX_EVIDENCE_BYTES, FETCH_SECONDS)
    except UnavailableError as error:
        raise UnavailableError(
            "evidence-gone",
            f"Nobody delivers the evidence of validator slot {reveal.slot} in round {reveal.round} ({error.cause})",
            "Ask its operator to keep its IPFS node up; `emerit audit` checks settlement and state without it.",
        ) from error
    record = read_evidence(data)
    return Statement(record, read_basis(record.get(KEY)))


@dataclass
class Blobs:
    """The contributions of a round, fetched and checked once each; `base_root` is of the state before the round."""

    context: RunContext
    members: Members
    base_root: bytes
    reveals: Mapping[int, ContributionReveal]
    _kept: dict[int, SparseUpdate | str] = field(default_factory=dict)

    def get(self, slot: int) -> SparseUpdate | str:
        """Return a slot's contribution, or the code for which it is refused.

        Raises:
            UnavailableError: `contribution-gone`, when nobody delivers it.
        """
        if slot not in self._kept:
            self._kept[slot] = self._fetch(slot)
        return self._kept[slot]

    def _fetch(self, slot: int) -> SparseUpdate | str:
        manifest, reveal, number = self.context.manifest, self.reveals[slot], self.members.round
        trainer = self.members.trainer_in(slot)
        capacity = trainer_capacity(
            manifest.training.assigned_sequences, manifest.corpus.train_sequences, manifest.scoring.random_sequences
        )
        if trainer is None or slot >= capacity:
            return reasons.NO_ROOM
        limit = most_blob_bytes(manifest, number)
        try:
            blob = self.context.fetch(reveal.cid, reveal.content_hash, limit, FETCH_SECONDS)
            expected = expected_blob(self.context, number, trainer.account, self.base_root)
            update = decode_blob(blob, expected, limit)[1]
            check_not_empty(update)
        except RefusedError as error:
            return error.code
        except UnavailableError as error:
            raise UnavailableError(
                "contribution-gone",
                f"Nobody delivers the contribution of trainer slot {slot} in round {number} ({error.cause})",
                "Validators keep blobs pinned through the challenge window; ask one that has it to keep its node up.",
            ) from error
        return update


def unjudged_view(statement: Statement, blobs: Blobs) -> Recorded:
    """Return what became of the revealed slots at a validator that votes to take back; its word, and it moves nothing.

    No contribution is fetched: of a round that is not judged none counts.
    """
    cids = {slot: reveal.cid for slot, reveal in blobs.reveals.items()}
    codes = {slot: statement.reason(slot) for slot in cids}
    not_judged = DECODED | {None, reasons.TAKEN_BACK, reasons.UNAVAILABLE, reasons.NOT_REVEALED}
    refused = {slot: code for slot, code in codes.items() if code is not None and code not in not_judged}
    return Recorded({}, refused, set(cids) - set(refused), cids)


def recorded_view(statement: Statement, blobs: Blobs, slots: Iterable[int]) -> tuple[Recorded, list[Difference], int]:
    """Return what became of the revealed slots at the validator, what that contradicts, how many are its word alone.

    Its word is taken for what was refused and is not there any more.

    Raises:
        UnavailableError: `contribution-gone`, of one that the validator had.
    """
    accepted: dict[int, SparseUpdate] = {}
    refused: dict[int, str] = {}
    unavailable: set[int] = set()
    found: list[Difference] = []
    believed = 0
    for slot in sorted(slots):
        code = statement.reason(slot)
        if code is None or code in (reasons.UNAVAILABLE, reasons.NOT_REVEALED):
            unavailable.add(slot)
            continue
        try:
            here = blobs.get(slot)
        except UnavailableError:
            if code in DECODED:
                raise
            refused[slot], believed = code, believed + 1
            continue
        if isinstance(here, str):
            refused[slot] = here
        elif code in DECODED:
            accepted[slot] = here
        else:
            refused[slot] = code
        if refused.get(slot, code) != code or (slot in refused and not isinstance(here, str)):
            want = here if isinstance(here, str) else "decodes"
            found.append(Difference(RESERVED_LANES + slot, "refusal", code, want, why="the bytes say otherwise"))
    cids = {slot: blobs.reveals[slot].cid for slot in slots}
    return Recorded(accepted, refused, unavailable, cids), found, believed
