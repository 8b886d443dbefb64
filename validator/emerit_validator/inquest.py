"""After an aggregate was taken back: who was in it, what they sent, and who is shut out for it, kept on disk."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import structlog

from emerit.codec.update import SparseUpdate
from emerit.errors import StateError
from emerit.files import replace_file
from emerit.protocol.manifest import Manifest
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger
from emerit.run.node import NodeLoop
from emerit_validator.intake import Intake, intake_seconds

log = structlog.get_logger("emerit.validator")

FILE: Final = "excluded.json"


@dataclass(frozen=True)
class Suspects:
    """The members of an aggregate that was taken back: what each sent, and its registry index, by slot."""

    round: int
    updates: Mapping[int, SparseUpdate]
    owners: Mapping[int, int]


@dataclass(frozen=True)
class Exclusions:
    """Until which round, that one included, a trainer is shut out, by registry index."""

    until: Mapping[int, int] = field(default_factory=dict)

    def by_slot(self, number: int, owners: Mapping[int, int]) -> dict[int, int]:
        """Return the slots of those shut out in a round, and until when; `owners` maps a slot to its index."""
        known = {slot: self.until.get(index, -1) for slot, index in sorted(owners.items())}
        return {slot: until for slot, until in known.items() if number <= until}

    def extended(self, indices: Collection[int], until: int) -> Exclusions:
        """Return the exclusions with these trainers shut out until a round."""
        return Exclusions({**self.until, **dict.fromkeys(indices, until)})

    def without(self, until: int) -> Exclusions:
        """Return the exclusions without those that end with a round: what was found in one round is forgotten."""
        return Exclusions({index: end for index, end in self.until.items() if end != until})

    def save(self, folder: Path) -> None:
        """Write them atomically."""
        replace_file(folder / FILE, json.dumps({str(key): value for key, value in self.until.items()}).encode())

    @classmethod
    def load(cls, folder: Path) -> Exclusions:
        """Read what `save` wrote, none if there is no file.

        Raises:
            StateError: `history-corrupt` when the file is damaged.
        """
        path = folder / FILE
        if not path.exists():
            return cls()
        try:
            return cls({int(index): int(until) for index, until in json.loads(path.read_bytes()).items()})
        except (ValueError, TypeError, AttributeError) as error:
            raise StateError(
                "history-corrupt",
                "The list of those that made an aggregate harmful cannot be read.",
                f"Delete the validator's {FILE}; it then pays those whom the others still shut out.",
            ) from error


def shut_out_until(manifest: Manifest, number: int) -> int:
    """Return the last round, that one included, in which those get nothing whose guilt is found in a round."""
    return number + manifest.rollback.exclusion_rounds - 1


def find_suspects(
    context: RunContext, loop: NodeLoop, ledger: Ledger, number: int, base_state_root: bytes
) -> Suspects | None:
    """Fetch what was in the aggregate that the last settled round before `number` took back.

    None if it took none back, or when not all of it can be had: without each member there is no leaving one out.

    Args:
        base_state_root: of the state that was restored, which they were made from.
    """
    undone = ledger.taken_back_before(number)
    if undone is None:
        return None
    data = ledger.data(undone.taken_back)
    slots = ledger.aggregated(data, context.manifest.outer.max_aggregated)
    intake = Intake(context, loop, undone.taken_back, base_state_root, {})
    try:
        intake.take([reveal for reveal in data.contributions if reveal.slot in slots])
        intake.collect(intake_seconds(context.params.train_seconds))
    finally:
        intake.close()
    missing = sorted(set(slots) - set(intake.accepted))
    if missing:
        log.warning("the harmful aggregate cannot be taken apart", round=undone.taken_back, missing=missing)
        return None
    owners = {entry.slot: entry.index for entry in data.members.active_trainers()}
    return Suspects(undone.taken_back, intake.accepted, {slot: owners[slot] for slot in slots})
