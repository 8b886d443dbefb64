"""One moment of a run, complete and unchanging: what every answer is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from emerit.api.digest import RoundDigest, Tally
from emerit.errors import EmeritError
from emerit.indexer.chronicle import Chronicle
from emerit.protocol.feedback import Feedback
from emerit.protocol.types import ZERO_ADDRESS, RegistryEntry, ReputationParams, Role, Status
from emerit.run.context import RunContext
from emerit.run.ledger import SettledEntry
from emerit.run.wide_view import WideView, wide_view
from emerit.scoring.rating import Rating


@dataclass(frozen=True)
class Money:
    """What went into the run's pool, back to the sponsor, and to whom (by account, in lower case); wei."""

    funded_wei: int = 0
    refunded_wei: int = 0
    claimed_wei: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Trust:
    """What the wide graph is made of; snapshots share it until some of that changes.

    Attributes:
        entries: the rounds that are paid and right, the oldest first.
        said: what trainers say of each other, by the hash of the contribution that it came with.
        peers: how many peers a trainer is assigned.
    """

    entries: tuple[SettledEntry, ...]
    said: Mapping[bytes, tuple[Feedback, ...]]
    registry: tuple[RegistryEntry, ...]
    peers: int
    spec: ReputationParams

    @cached_property
    def wide(self) -> WideView:
        """The wide graph; put together when it is first asked for."""
        return wide_view(self.entries, self.said, self.registry, self.peers, self.spec)


@dataclass(frozen=True)
class Snapshot:
    """What the collector has put together.

    Attributes:
        block: everything up to this block is in it.
        refreshed_at: unix time of this machine at which it was put together.
        chronicle: what the events say became of the rounds.
        digests: the rounds whose headers stand and follow from what was revealed, the oldest first.
        final: how many of them, from the oldest on, nobody can take back any more.
        tallies: each member's rounds added up, by registry index.
        ratings: of the trainers that were measured in a paid round, by registry index.
        trouble: why rounds after the last digest could not be followed, or None.
        trust: what the wide graph is made of.
    """

    context: RunContext
    block: int
    refreshed_at: int
    status: Status
    registry: tuple[RegistryEntry, ...]
    money: Money
    chronicle: Chronicle
    digests: tuple[RoundDigest, ...]
    final: int
    tallies: tuple[Tally, ...]
    ratings: Mapping[int, Rating]
    evidence_states: Mapping[bytes, str]
    trouble: EmeritError | None
    trust: Trust

    @property
    def last(self) -> RoundDigest | None:
        """The last round that is paid and right."""
        return self.digests[-1] if self.digests else None

    @property
    def forgotten(self) -> int:
        """The newest round that the contract no longer remembers; negative while it remembers all."""
        return self.status.round - self.context.params.history_rounds

    def digest(self, number: int) -> RoundDigest | None:
        """Return a round that is paid and right, by its number."""
        return next((item for item in self.digests if item.number == number), None)

    def member(self, address: str) -> RegistryEntry | None:
        """Return the member with this account, else the one that this operator acts for, else None."""
        wanted = address.lower()
        if wanted == ZERO_ADDRESS:  # the operator of those who have withdrawn
            return None
        of_account = (entry for entry in self.registry if entry.account.lower() == wanted)
        of_operator = (entry for entry in self.registry if entry.operator.lower() == wanted)
        return next(of_account, None) or next(of_operator, None)

    def account(self, index: int) -> str | None:
        """Return the account with this registry index; None for one that has only just joined."""
        return self.registry[index].account if 0 <= index < len(self.registry) else None

    def holder(self, role: Role, slot: int, round_number: int) -> str | None:
        """Return the account that has a slot in a round, by the registry's active ranges."""
        found = (e for e in self.registry if e.role is role and e.slot == slot and e.active_in(round_number))
        return next((entry.account for entry in found), None)

    def is_final(self, item: RoundDigest) -> bool:
        """Return whether nobody can take back the round's pay any more."""
        return self.final > 0 and item.number <= self.digests[self.final - 1].number

    def claimable(self, item: RoundDigest) -> bool:
        """Return whether the contracts accept proofs against the round's header now."""
        return self.is_final(item) and item.number > self.forgotten

    def claimed_wei(self, account: str) -> int:
        """Return what an account was paid."""
        return self.money.claimed_wei.get(account.lower(), 0)
