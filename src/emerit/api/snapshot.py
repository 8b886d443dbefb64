"""One moment of a run, complete and unchanging: what every answer is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from emerit.api.digest import RoundDigest, Tally
from emerit.errors import EmeritError
from emerit.protocol.types import RegistryEntry, Status
from emerit.run.context import RunContext


@dataclass(frozen=True)
class Money:
    """What went into the run's pool, back to the sponsor, and to whom (by account, in lower case); wei."""

    funded_wei: int = 0
    refunded_wei: int = 0
    claimed_wei: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Snapshot:
    """What the collector has put together.

    Attributes:
        block: everything up to this block is in it.
        refreshed_at: unix time of this machine at which it was put together.
        digests: the settled rounds, the oldest first.
        tallies: each member's rounds added up, by registry index.
        void: numbers of the rounds that were given up.
        trouble: why rounds after the last digest could not be followed, or None.
    """

    context: RunContext
    block: int
    refreshed_at: int
    status: Status
    registry: tuple[RegistryEntry, ...]
    money: Money
    digests: tuple[RoundDigest, ...]
    tallies: tuple[Tally, ...]
    void: tuple[int, ...]
    evidence_states: Mapping[bytes, str]
    trouble: EmeritError | None

    @property
    def last(self) -> RoundDigest | None:
        """The last settled round."""
        return self.digests[-1] if self.digests else None

    def round(self, number: int) -> RoundDigest | None:
        """Return a settled round by its number."""
        return next((item for item in self.digests if item.number == number), None)

    def member(self, address: str) -> RegistryEntry | None:
        """Return the member with this account, else the one that this operator acts for, else None."""
        wanted = address.lower()
        of_account = (entry for entry in self.registry if entry.account.lower() == wanted)
        of_operator = (entry for entry in self.registry if entry.operator.lower() == wanted)
        return next(of_account, None) or next(of_operator, None)

    def is_final(self, item: RoundDigest) -> bool:
        """Return whether the contract accepts claims against this round."""
        return item.entry.info.final_at <= self.status.timestamp

    def claimed_wei(self, account: str) -> int:
        """Return what an account was paid."""
        return self.money.claimed_wei.get(account.lower(), 0)
