"""A chain in memory that answers what an index asks, and that can change or fail between any two questions."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from eth_abi.abi import encode

from emerit.chain.artifacts import load_abi
from emerit.chain.records import Block, Log
from emerit.errors import UnavailableError
from emerit.indexer.rows import LogReader

CONTRACTS = {
    "TrainingRun": "0x" + "a1" * 20,
    "Rewards": "0x" + "b2" * 20,
    "Stakes": "0x" + "c3" * 20,
    "Reputation": "0x" + "d4" * 20,
}
OTHER_RUN = "0x" + "e5" * 20
ACCOUNT = "0x" + "f6" * 20

RUN, REWARDS = load_abi("TrainingRun").events, load_abi("Rewards").events


def _word(value: int | str) -> bytes:
    return value.to_bytes(32, "big") if isinstance(value, int) else bytes(12) + bytes.fromhex(value[2:])


def run_event(number: int) -> tuple[str, tuple[bytes, ...], bytes]:
    """Address, topics and data of a RoundOpened event of the run."""
    data = encode(["bytes32", "uint32", "uint16", "uint16", "uint128"], [bytes(32), 4, 2, 2, 10**18])
    return CONTRACTS["TrainingRun"], (RUN["RoundOpened"].topic, _word(number % 2**32)), data


def voided_round(number: int) -> tuple[str, tuple[bytes, ...], bytes]:
    """Address, topics and data of a RoundVoided event of the run."""
    return CONTRACTS["TrainingRun"], (RUN["RoundVoided"].topic, _word(number % 2**32)), b""


def claimed(run: str, amount_wei: int) -> tuple[str, tuple[bytes, ...], bytes]:
    """Address, topics and data of a Claimed event, of our run or of another one."""
    topics = (REWARDS["Claimed"].topic, _word(run), _word(ACCOUNT))
    return CONTRACTS["Rewards"], topics, encode(["uint128"], [amount_wei])


def unknown_event() -> tuple[str, tuple[bytes, ...], bytes]:
    """An event of a contract that is not ours, with a topic that we know."""
    return "0x" + "99" * 20, (RUN["RoundVoided"].topic, bytes(32)), b""


# What a block may hold: one letter an event.
EVENTS: dict[str, Callable[[int], tuple[str, tuple[bytes, ...], bytes]]] = {
    "r": run_event,
    "c": lambda number: claimed(CONTRACTS["TrainingRun"], 10**18 + number),
    "o": lambda number: claimed(OTHER_RUN, number),
    "u": lambda _number: unknown_event(),
    "v": voided_round,
}


@dataclass
class ModelChain:
    """Blocks 0 to the head. `before_read` is called before each answer, with how many were given before it."""

    knows_orphans: bool = False
    chain_id: int = 31337
    before_read: Callable[[int], None] = lambda _reads: None
    reads: int = 0
    made: int = 0
    blocks: list[Block] = field(default_factory=list)
    logs_by_hash: dict[bytes, list[Log]] = field(default_factory=dict)
    parents: dict[bytes, Block] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.extend([""])

    # ---- what happens

    def extend(self, contents: Sequence[str]) -> None:
        """Add a block for each text, with an event for each letter."""
        for letters in contents:
            self.made += 1
            number = len(self.blocks)
            parent = self.blocks[-1].hash if self.blocks else bytes(32)
            digest = hashlib.sha256(b"%d:%d:" % (number, self.made) + parent).digest()
            block = Block(number, digest, parent, 1_000 + number)
            self.blocks.append(block)
            self.parents[digest] = block
            self.logs_by_hash[digest] = [
                Log(*EVENTS[letter](self.made), number, digest, "0x" + digest.hex(), place)
                for place, letter in enumerate(letters)
            ]

    def reorganise(self, depth: int, contents: Sequence[str]) -> None:
        """Replace the newest `depth` blocks (never block 0) by new ones, as many as `contents` has."""
        del self.blocks[max(1, len(self.blocks) - depth) :]
        self.extend(contents)

    # ---- what is asked

    def head(self) -> Block:
        self._asked()
        return self.blocks[-1]

    def block(self, which: int | str = "latest") -> Block | None:
        self._asked()
        if isinstance(which, str):
            return self.blocks[-1]
        return self.blocks[which] if which < len(self.blocks) else None

    def logs(self, address: str | Sequence[str], from_block: int, to_block: int) -> list[Log]:
        self._asked()
        found = [log for block in self.blocks[from_block : to_block + 1] for log in self.logs_by_hash[block.hash]]
        return [log for log in found if log.address in address]

    def logs_of_block(self, address: str | Sequence[str], block_hash: bytes) -> list[Log] | None:
        self._asked()
        part = any(block.hash == block_hash for block in self.blocks)
        if not part and not self.knows_orphans:
            return None
        return [log for log in self.logs_by_hash[block_hash] if log.address in address]

    def _asked(self) -> None:
        self.reads += 1
        self.before_read(self.reads - 1)

    # ---- what is true

    def history(self, tip: bytes) -> list[Log]:
        """All logs of the branch that ends in the block with this hash, in order."""
        branch = []
        block = self.parents.get(tip)
        while block is not None:
            branch.append(block)
            block = self.parents.get(block.parent_hash)
        return [log for block in reversed(branch) for log in self.logs_by_hash[block.hash]]


_READER = LogReader(CONTRACTS)


@cache
def row_of(log: Log) -> dict[str, Any] | None:
    """What an index must hold of a log. Remembered, for tests look at a whole history after every step."""
    return _READER.row(log)


def down() -> UnavailableError:
    return UnavailableError("rpc-unreachable", "The chain does not answer.")
