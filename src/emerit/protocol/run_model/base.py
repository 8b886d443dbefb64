"""What a run remembers, and how its acts look it up (`RunStorage.sol`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from emerit.protocol.run_model.clock import Round
from emerit.protocol.types import Phase, Role, RunParams

if TYPE_CHECKING:
    from emerit.protocol.run_model.world import World

DEAD: Final = "0x000000000000000000000000000000000000dEaD"
MAX_CID_BYTES: Final = 128
NEVER_ROUND: Final = (1 << 24) - 1
LAST_ROUND: Final = NEVER_ROUND - 2


class Refusal(Exception):
    """An act that the contracts revert: `name` is that of the custom error, `arguments` are its arguments."""

    def __init__(self, name: str, *arguments: Any) -> None:
        """Keep the error's name and arguments."""
        super().__init__(f"{name}({', '.join(map(repr, arguments))})")
        self.name = name
        self.arguments = arguments


def require(fulfilled: bool, name: str, *arguments: Any) -> None:
    """Raise `Refusal(name, *arguments)` unless the condition holds."""
    if not fulfilled:
        raise Refusal(name, *arguments)


def check_cid(cid: str) -> None:
    """Raise `Refusal("CidTooLong")` for more bytes than a CID has."""
    length = len(cid.encode("utf-8", "surrogateescape"))
    require(length <= MAX_CID_BYTES, "CidTooLong", length, MAX_CID_BYTES)


@dataclass
class Member:
    """A member's word. Rounds are stored plus one, so that 0 is never; `commitment` is what is kept of it."""

    role: Role
    slot: int
    active_from: int
    active_until: int = NEVER_ROUND
    commitment: bytes | None = None
    committed_in: int = 0
    expected_in: int = 0

    def active_in(self, round_number: int) -> bool:
        """Return whether the member takes part in the round."""
        return self.active_from <= round_number < self.active_until


@dataclass(frozen=True)
class Epoch:
    """Voting weight and registry index of each of the 16 validator slots."""

    stakes: tuple[int, ...]
    seats: tuple[int, ...]

    @property
    def mask(self) -> int:
        """Bits of the slots that have voting weight."""
        return sum(1 << slot for slot, stake in enumerate(self.stakes) if stake)


@dataclass
class Absence:
    """How often a member checked in without acting after it; `checked_in` is a round plus one."""

    checked_in: int = 0
    strikes: int = 0


@dataclass
class Coming:
    """Who will be expected in the next round beside those who revealed."""

    checked_in: int = 0
    gone: int = 0
    validator_mask: int = 0


@dataclass
class Demand:
    """A demand for a leaf; `status` is None, "Open", "Answered" or "Returned" as in the contract."""

    sender: str
    deadline: int
    doublings: int
    status: str = "Open"


@dataclass
class Equivocation:
    """Proof that a validator signed two headers."""

    attempt: int
    proven_at: int
    punished: bool = False


@dataclass
class Memory:
    """Everything that a run remembers beside its rounds."""

    started: bool = False
    closed: bool = False
    round: int = 0
    finished_at: int = 0
    registry_size: int = 0
    trainer_slots: int = 0
    paid_plus_one: int = 0
    settled_plus_one: int = 0
    hold_from: int = 0
    hold_until: int = 0
    settled_total_wei: int = 0
    held_wei: int = 0
    coming: Coming = field(default_factory=Coming)


class RunBase:
    """Storage and lookups that all parts of a run share."""

    def __init__(self, world: World, address: str, sponsor: str, params: RunParams) -> None:
        """Start an empty run."""
        self.world = world
        self.address = address
        self.sponsor = sponsor
        self.params = params
        self.memory = Memory()
        self.rounds: dict[int, Round] = {}
        self.epochs: dict[int, Epoch] = {}
        self.members: dict[str, Member] = {}
        self.absences: dict[str, Absence] = {}
        self.demands: dict[tuple[int, int, int], Demand] = {}
        self.equivocations: dict[tuple[int, int], Equivocation] = {}
        self.precommits: dict[bytes, int] = {}

    # Lookup

    def kept(self, round_number: int) -> Round | None:
        """Return a round that has opened and is remembered, else None."""
        found = self.rounds.get(round_number % self.params.history_rounds)
        return found if found is not None and found.number == round_number else None

    def round(self, round_number: int) -> Round:
        """Return a round that has opened and is remembered."""
        found = self.kept(round_number)
        if found is None:
            raise Refusal("WrongRound", round_number, self.memory.round)
        return found

    def open_round(self) -> Round:
        """Return the round that opened last."""
        return self.round(self.memory.round)

    def epoch_of(self, round_number: int) -> Epoch:
        """Return the seats of a round's epoch."""
        return self.epochs[round_number // self.params.epoch_rounds]

    def member(self, operator: str) -> Member:
        """Return the member that the operator acts for."""
        found = self.members.get(operator)
        if found is None:
            raise Refusal("NotOperator", operator)
        return found

    def member_as(self, operator: str, role: Role) -> Member:
        """Return the member that the operator acts for, which must have this role."""
        found = self.member(operator)
        require(found.role == role, "WrongRole", operator, found.role, role)
        return found

    @property
    def finished(self) -> bool:
        """Whether no round is open and none will be."""
        return self.memory.finished_at != 0

    # Phases

    def phase(self) -> tuple[Phase, int]:
        """Return the phase of the run now, and when it ends."""
        if self.finished:
            return Phase.FINISHED, 0
        if not self.memory.started:
            return Phase.NOT_STARTED, 0
        return self.open_round().phase(self.params, self.world.now)

    def require_phase(self, round_number: int, want: Phase) -> Round:
        """Return the open round, which must be this one and in this phase."""
        require(round_number == self.memory.round, "WrongRound", round_number, self.memory.round)
        have = self.phase()[0]
        require(have == want, "WrongPhase", round_number, have, want)
        return self.open_round()

    def next_round(self) -> int:
        """Return the round that would open next: 0 before the start."""
        return self.memory.round + 1 if self.memory.started else 0
