"""What the index's events say became of a run's rounds: which headers stand, which fell and why, who sat where.

Two chains come out of the settlements. The *pay chain* has the headers that stand: a successful challenge takes back
the pay of its header and of every later one, and those rounds are settled again in order, each with its next attempt.
The *state chain* has the first settlement of each round: the model goes on from the state that was agreed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

from emerit.indexer.follow import Mark
from emerit.indexer.index import Index, Position, StepResult
from emerit.protocol.types import Body, Fault, Header, Tree, unpack_lanes

NAMES: Final = (
    "EpochOpened",
    "Settled",
    "HeaderVoided",
    "RoundVoided",
    "Punished",
    "Answered",
    "DemandReclaimed",
)

Attempt = tuple[int, int]
DemandKey = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class SettledHeader:
    """The event `Settled`. `signers` are registry indices of the validators that signed, by slot of that moment."""

    position: Position
    header: Header
    header_hash: bytes
    aggregate_cid: str
    signers: tuple[int, ...]
    signer_mask: int
    tx_hash: str

    @property
    def attempt(self) -> Attempt:
        """Its round, and how often that had been settled before."""
        return self.header.body.round, self.header.body.attempt


@dataclass(frozen=True, slots=True)
class FallenHeader:
    """The event `HeaderVoided`; `rounds` are those that lost their pay with it, its own first."""

    position: Position
    attempt: Attempt
    fault: Fault
    index: int
    by: str
    rounds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Epoch:
    position: Position
    round: int
    seats: Mapping[int, int]


@dataclass
class Chronicle:
    """The events of a run put together; made by `chronicle_of`, and not changed afterwards.

    Attributes:
        pay_chain: the header that stands, by round, in the order of the rounds.
        settlements: every settlement of each round, the oldest first.
        fallen: what a challenge took back, by round and attempt.
        punished: rounds and attempts for which validators were slashed, with the masks of their slots.
        answered: who answered a demand, by (round, attempt, leaf).
        reclaimed: demands of which the bond went back.
        void: rounds that were given up without a settlement.
    """

    pay_chain: dict[int, SettledHeader] = field(default_factory=dict)
    settlements: dict[int, list[SettledHeader]] = field(default_factory=dict)
    fallen: dict[Attempt, FallenHeader] = field(default_factory=dict)
    punished: dict[Attempt, list[int]] = field(default_factory=dict)
    answered: dict[DemandKey, str] = field(default_factory=dict)
    reclaimed: set[DemandKey] = field(default_factory=set)
    void: list[int] = field(default_factory=list)
    _epochs: list[_Epoch] = field(default_factory=list)

    @property
    def last_state(self) -> SettledHeader | None:
        """The newest part of the state chain: the first settlement of the last round that ever settled."""
        return self.settlements[max(self.settlements)][0] if self.settlements else None

    def stands(self, item: SettledHeader) -> bool:
        """Return whether the header is part of the pay chain."""
        return self.pay_chain.get(item.header.body.round) == item

    def fault_of(self, round_number: int) -> FallenHeader | None:
        """Return what was wrong with the round's last settlement; None if nothing was shown to be."""
        items = self.settlements.get(round_number)
        return self.fallen.get(items[-1].attempt) if items else None

    def seats_at(self, position: Position) -> Mapping[int, int]:
        """Return the registry index of each validator slot with a vote, as of an event's place in the chain."""
        after = bisect_left(self._epochs, position, key=lambda epoch: epoch.position)
        return self._epochs[after - 1].seats if after else {}

    def seats_in(self, round_number: int) -> Mapping[int, int]:
        """Return the registry index of each validator slot with a vote in a round."""
        found = [epoch for epoch in self._epochs if epoch.round <= round_number]
        return found[-1].seats if found else {}

    # ---- putting together

    def add(self, row: Mapping[str, Any]) -> None:
        """Take in the next event of the chain, as `prepared` gives it; what could not be decoded is passed over."""
        values = row["arguments"]
        reader = _READERS.get(row["name"])
        if reader is not None and "undecodable" not in values:
            reader(self, row, values)

    def _epoch_opened(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        lanes = unpack_lanes(bytes.fromhex(values["stakeLanes"][2:]))
        seats = {slot: int(values["seats"][slot]) for slot, stake in enumerate(lanes) if stake}
        self._epochs.append(_Epoch(position_of(row), int(values["round"]), seats))

    def _settled(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        position, mask, header = position_of(row), int(values["signerMask"]), values["header"]
        seats = self.seats_at(position)
        item = SettledHeader(
            position=position,
            header=header,
            header_hash=bytes.fromhex(values["headerHash"][2:]),
            aggregate_cid=values["aggregateCid"],
            signers=tuple(seats[slot] for slot in slots_of(mask) if slot in seats),
            signer_mask=mask,
            tx_hash=row["tx_hash"],
        )
        self.settlements.setdefault(header.body.round, []).append(item)
        self.pay_chain[header.body.round] = item

    def _header_voided(self, row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        attempt = int(values["round"]), int(values["attempt"])
        lost = tuple(number for number in self.pay_chain if number >= attempt[0])
        for number in lost:
            del self.pay_chain[number]
        fault = Fault(int(values["fault"]))
        self.fallen[attempt] = FallenHeader(position_of(row), attempt, fault, int(values["index"]), values["by"], lost)

    def _round_voided(self, _row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.void.append(int(values["round"]))

    def _punished(self, _row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        attempt = int(values["round"]), int(values["attempt"])
        self.punished.setdefault(attempt, []).append(int(values["signerMask"]))

    def _answered(self, _row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.answered[demand_key(values)] = values["by"]

    def _demand_reclaimed(self, _row: Mapping[str, Any], values: Mapping[str, Any]) -> None:
        self.reclaimed.add(demand_key(values))


_READERS: Final = {
    "EpochOpened": Chronicle._epoch_opened,
    "Settled": Chronicle._settled,
    "HeaderVoided": Chronicle._header_voided,
    "RoundVoided": Chronicle._round_voided,
    "Punished": Chronicle._punished,
    "Answered": Chronicle._answered,
    "DemandReclaimed": Chronicle._demand_reclaimed,
}


def chronicle_of(rows: Iterable[Mapping[str, Any]]) -> Chronicle:
    """Return what these rows of an index say; the oldest first."""
    return _put_together(prepared(row) for row in rows)


def prepared(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with its header, if it has one, as a record: what takes time, and is the same ever after."""
    values = row["arguments"]
    if row["name"] == "Settled" and "undecodable" not in values:
        values = {**values, "header": _header(values["header"])}
    return {**row, "arguments": values}


def _put_together(rows: Iterable[Mapping[str, Any]]) -> Chronicle:
    made = Chronicle()
    for row in rows:
        made.add(row)
    return made


class Chronicler:
    """Keeps the chronicle of an index: reads the events again only when some were added or taken back."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._rows: list[dict[str, Any]] | None = None
        self._ended: Mark | None = None
        self._chronicle = Chronicle()

    def read(self, step: StepResult) -> Chronicle:
        """Return the chronicle after a step of the index.

        Raises:
            UnavailableError: the database did not answer; the next call reads everything again.
        """
        known = self._rows if step.follows(self._ended) else None
        if known is None or step.rolled_back_blocks or "TrainingRun" in step.contracts:
            self._rows = None
            kept = [row for row in known or () if row["block_number"] <= step.kept]
            fresh = self._index.named(*NAMES, after_block=-1 if known is None else step.kept)
            rows = kept + [prepared(row) for row in fresh]
            self._chronicle = _put_together(rows)
            self._rows = rows
        self._ended = step.ended
        return self._chronicle


def position_of(row: Mapping[str, Any]) -> Position:
    """Return an event's place in the chain."""
    return int(row["block_number"]), int(row["log_index"])


def demand_key(values: Mapping[str, Any]) -> DemandKey:
    """Return which demand an event's arguments are about."""
    return int(values["round"]), int(values["attempt"]), int(values["index"])


def slots_of(mask: int) -> Sequence[int]:
    """Return the validator slots whose bits are set."""
    return [slot for slot in range(mask.bit_length()) if mask >> slot & 1]


def _header(values: Mapping[str, Any]) -> Header:
    return Header.from_abi((_decoded(Body, values["body"]), _decoded(Tree, values["tree"])))


def _decoded(kind: type[Body | Tree], values: Mapping[str, Any]) -> list[Any]:
    """Return a struct's fields as an ABI decoder gives them, from a row's JSON with the contract's names."""
    found = []
    for each in fields(kind):
        first, *others = each.name.split("_")
        value = values[first + "".join(word.capitalize() for word in others)]
        wanted = bytes.fromhex(value[2:]) if each.name in kind.abi_hashes else value
        found.append(int(value) if each.name in kind.abi_widths else wanted)
    return found
