"""Which settled rounds took the aggregate before them back; it follows from the headers alone. Imports no torch.

Round r took back when its header has the hash of the bytes that say so (`emerit.codec.take_back`): that it takes back
the aggregate of the settled round before it, and the state root before that one. What was taken back is gone, and
nothing is kept for the state before it, so that the round after a take-back never takes back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from emerit.chain.records import SettledRound
from emerit.codec.take_back import TakeBack, encode_take_back


def next_take_back(chain: Sequence[SettledRound], round_number: int, initial_root: bytes) -> TakeBack | None:
    """Return what it would be to take back the last aggregate of a state chain in a later round.

    None where that is not possible: at the start, and right after a take-back.

    Args:
        chain: the first settlement of each settled round, in order.
        round_number: the round that is to be settled on top of it.
        initial_root: state root before the first round.
    """
    if not chain or take_back_at(chain, len(chain) - 1, initial_root) is not None:
        return None
    return _naive(chain, len(chain), round_number, initial_root)


def take_back_at(chain: Sequence[SettledRound], place: int, initial_root: bytes) -> TakeBack | None:
    """Return what the settlement at a place of the state chain took back, None if it applied an aggregate."""
    found: list[TakeBack] = []
    # A second one in a row is none: its bytes are looked for as an aggregate, and found not to be one.
    while place > 0 and (item := _claimed(chain, place, initial_root)) is not None:
        found.append(item)
        place -= 1
    return found[0] if len(found) % 2 else None


def take_backs(chain: Sequence[SettledRound], initial_root: bytes) -> dict[int, int]:
    """Return, for each round of a state chain that took an aggregate back, the round whose aggregate that was."""
    found = (take_back_at(chain, place, initial_root) for place in range(len(chain)))
    return {item.round: item.taken_back for item in found if item is not None}


def _claimed(chain: Sequence[SettledRound], place: int, initial_root: bytes) -> TakeBack | None:
    item = _naive(chain, place, chain[place].round, initial_root)
    digest = hashlib.sha256(encode_take_back(item)).digest()
    return item if chain[place].header.body.aggregate_hash == digest else None


def _naive(chain: Sequence[SettledRound], place: int, round_number: int, initial_root: bytes) -> TakeBack:
    """Return the taking back of what is at `place - 1`, whatever that is."""
    root = chain[place - 2].header.body.state_root if place > 1 else initial_root
    return TakeBack(round_number, chain[place - 1].round, root)
