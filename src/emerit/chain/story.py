"""What the rounds of a run became: which opened, settled, lost their pay or were given up.

Two chains come out of the settlements. The *pay chain* has the headers that stand: a successful challenge truncates it
at its header, and the rounds that fell out settle again. The *state chain* has the first settlement of each round: a
challenge takes back pay, but the model goes on from the state that was agreed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from emerit.chain.event_readers import StoryRecord
from emerit.chain.records import DrawnSeed, OpenedEpoch, OpenedRound, SettledRound, VoidedHeader

K = TypeVar("K", bound=StoryRecord)


@dataclass(frozen=True)
class Story:
    """The records that are kept of a run for good, in the order of the chain; each with its block."""

    records: tuple[tuple[int, StoryRecord], ...] = ()

    def with_records(self, fresh: Sequence[tuple[int, StoryRecord]]) -> Story:
        """Return the story that goes on with these."""
        return Story((*self.records, *fresh)) if fresh else self

    def until(self, block: int) -> Story:
        """Return the story up to and with this block."""
        return Story(tuple(item for item in self.records if item[0] <= block))

    def of(self, kind: type[K]) -> list[K]:
        """Return all records of one kind."""
        return [record for _, record in self.records if isinstance(record, kind)]

    @cached_property
    def opened(self) -> dict[int, OpenedRound]:
        """Each round that opened, with the voting weights of its epoch."""
        epoch: OpenedEpoch | None = None
        rounds: dict[int, OpenedRound] = {}
        for _, record in self.records:
            if isinstance(record, OpenedEpoch):
                epoch = record
            elif isinstance(record, OpenedRound) and epoch is not None:
                rounds[record.round] = replace(record, stake_lanes=epoch.stake_lanes, seats=epoch.seats)
        return rounds

    @cached_property
    def drawn(self) -> dict[int, bytes]:
        """The evaluation seed of each round whose reveals are over."""
        return {record.round: record.eval_seed for record in self.of(DrawnSeed)}

    @cached_property
    def settlements(self) -> tuple[SettledRound, ...]:
        """Every settlement, those included that fell later."""
        return tuple(self.of(SettledRound))

    @cached_property
    def pay_chain(self) -> tuple[SettledRound, ...]:
        """The settlements whose headers stand, in the order of their rounds."""
        chain: list[SettledRound] = []
        for _, record in self.records:
            if isinstance(record, SettledRound):
                chain.append(record)
            elif isinstance(record, VoidedHeader):
                chain = [item for item in chain if item.round < record.round]
        return tuple(chain)

    @cached_property
    def state_chain(self) -> tuple[SettledRound, ...]:
        """The first settlement of each round, in the order of the rounds."""
        first: dict[int, SettledRound] = {}
        for item in self.settlements:
            first.setdefault(item.round, item)
        return tuple(first.values())

    @cached_property
    def _last_settled(self) -> dict[int, SettledRound]:
        return {item.round: item for item in self.settlements}

    def span(self, round: int) -> tuple[int, int | None] | None:
        """Return the blocks that hold a round's events (both included); no end while more may come.

        A round that lost its pay is signed again later. None for a round that has not opened.
        """
        if round not in self.opened:
            return None
        following, settled = self.opened.get(round + 1), self._last_settled.get(round)
        start = self.opened[round].block
        if following is None or (settled is not None and settled not in self.pay_chain):
            return start, None
        return start, max(following.block, following.block if settled is None else settled.block)
