"""Whom a validator holds guilty of an aggregate that was taken back, looked at again by a replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from emerit.codec.take_back import TakeBack
from emerit.codec.update import SparseUpdate
from emerit.protocol.types import RESERVED_LANES
from emerit.run.context import RunContext
from emerit.run.ledger import Ledger
from emerit.scoring.agreement import DECIMALS, ERROR_SHARE, LEAST_NATS, NO_LANE, Difference
from emerit.scoring.leave_one_out import Harm, LeaveOneOut
from emerit_validator.recorded import Blobs


@dataclass
class Accused:
    """The members of an aggregate that was taken back: their registry indices by slot, and what they sent."""

    undone: TakeBack
    owners: dict[int, int]
    slots: tuple[int, ...]
    blobs: Blobs

    @classmethod
    def of(cls, context: RunContext, ledger: Ledger, undone: TakeBack, base_root: bytes) -> Accused:
        """Gather them from the chain; `base_root` is of the state that they were made from."""
        data = ledger.data(undone.taken_back)
        owners = {entry.slot: entry.index for entry in data.members.active_trainers()}
        blobs = Blobs(context, data.members, base_root, {item.slot: item for item in data.contributions})
        return cls(undone, owners, ledger.aggregated(data, context.manifest.outer.max_aggregated), blobs)

    @property
    def name(self) -> str:
        """Which round's aggregate it is, for people."""
        return f"round {self.undone.taken_back}"

    def updates(self) -> dict[int, SparseUpdate]:
        """Return what they sent.

        Raises:
            UnavailableError: `contribution-gone`.
        """
        sent = {slot: self.blobs.get(slot) for slot in self.slots}
        return {slot: item for slot, item in sent.items() if not isinstance(item, str)}


def as_far_as(ours: LeaveOneOut, theirs: LeaveOneOut) -> LeaveOneOut:
    """Return what was found, as it stood when the other one had to stop; guilty are found one by one."""
    if theirs.is_complete:
        return ours
    members = ours.members if theirs.members else {}
    return replace(ours, members=members, guilty=ours.guilty[: len(theirs.guilty)], is_complete=False)


def guilt_differences(theirs: LeaveOneOut, ours: LeaveOneOut) -> Iterator[Difference]:
    """Yield where a validator's finding (rounded, in its evidence) is not the replay's; harm has a gain's tolerance."""
    yield from _unlike(NO_LANE, "harm of all", theirs.whole, ours.whole)
    if theirs.members.keys() != ours.members.keys():
        yield Difference(NO_LANE, "members", str(sorted(theirs.members)), str(sorted(ours.members)))
    for slot in sorted(theirs.members.keys() & ours.members.keys()):
        yield from _unlike(RESERVED_LANES + slot, "harm", theirs.members[slot], ours.members[slot])
    if theirs.guilty != ours.guilty:
        yield Difference(NO_LANE, "guilty", f"slots {list(theirs.guilty)}", f"slots {list(ours.guilty)}")


def _unlike(lane: int, what: str, have: Harm, want: Harm) -> Iterator[Difference]:
    tolerance = max(LEAST_NATS, ERROR_SHARE * want.error)
    for name, first, second in ((what, have.nats, want.nats), (f"{what}, error", have.error, want.error)):
        if first != round(second, DECIMALS):
            yield Difference(lane, name, f"{first:.9g}", f"{second:.9g}", abs(first - second), tolerance)
