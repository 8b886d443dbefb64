"""Why a contribution got the weight that it got: one sentence for each code that evidence may hold."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

PAID: Final = "paid"
DUPLICATE: Final = "duplicate"
STALE: Final = "stale"
NOT_SIGNIFICANT: Final = "not-significant"
LOW_GAP: Final = "low-gap"
UNMEASURED: Final = "unmeasured"
NEGATIVE_SCORE: Final = "negative-score"
LOW_BALANCE: Final = "low-balance"
NOT_FINITE: Final = "not-finite"
UNAVAILABLE: Final = "unavailable"
NOT_REVEALED: Final = "not-revealed"
NO_ROOM: Final = "no-room"
TAKEN_BACK: Final = "taken-back"
HARMFUL: Final = "harmful"

_OTHER_PLACE: Final = "It was made for another {}, so it was refused."

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        PAID: "It lowered the loss on unseen text and shows work on the assigned data; it is paid by how much.",
        DUPLICATE: "It is a copy or a part of another contribution of this round; only the original is paid.",
        STALE: "It repeats work of the last four rounds, or the last aggregate; it is neither paid nor applied.",
        NOT_SIGNIFICANT: "Its effect on the loss over the last rounds cannot be told from zero, so it is not paid.",
        LOW_GAP: "It helps its assigned data no more than other data, so it shows no work of its own; it is not paid.",
        UNMEASURED: "The validator had no time to measure it and abstained; that is not held against its author.",
        NEGATIVE_SCORE: "It raised the loss on unseen text, so it is neither paid nor applied.",
        LOW_BALANCE: "For several rounds it has served its assigned data worse than other data; it is excluded.",
        NOT_FINITE: "With it applied the loss is not a finite number, so it is neither paid nor applied.",
        UNAVAILABLE: "The validator could not fetch it in time and abstained; that is not held against its author.",
        NOT_REVEALED: "The trainer revealed no contribution in this round.",
        NO_ROOM: "The run's text has no sequences left for this trainer's slot, so nothing can be worth pay there.",
        TAKEN_BACK: "The last aggregate did harm; what was made from it is not judged, nor held against its author.",
        HARMFUL: "Its author made an aggregate harmful that was taken back; for some rounds it is not paid or applied.",
        "content-hash-mismatch": "The bytes behind its CID are not those that the trainer committed to.",
        "undecodable": "Its bytes are not a contribution in the run's format, so it was refused.",
        "blob-too-large": "It is larger than the run allows, so it was refused unread.",
        "blob-not-a-file": "Its CID names something that is not a file.",
        "blob-truncated": "It ends before all of its parts are there, so it was refused.",
        "blob-trailing": "It has bytes after its end, so it was refused: a contribution has one encoding only.",
        "blob-magic": "It does not begin as a contribution does, so it was refused.",
        "blob-version": "It speaks another version of the format, so it was refused.",
        "blob-extension": "It announces feedback on more peers than the run allows, or of another length.",
        "blob-feedback": "It speaks of its peers in another order than the one allowed, or of one twice.",
        "blob-codec": "It was compressed with another codec than the run's, so it was refused.",
        "blob-wrong-chain": _OTHER_PLACE.format("chain"),
        "blob-wrong-run": _OTHER_PLACE.format("run"),
        "blob-wrong-round": _OTHER_PLACE.format("round"),
        "blob-wrong-author": "It names another account as its author, so it was refused.",
        "blob-wrong-base": "It was made from another state than the settled one, so it was refused.",
        "blob-wrong-table": "It was made for a model with other tensors, so it was refused.",
        "blob-empty": "Every one of its scales is zero, so it says nothing, and it was refused.",
        "blob-shape": "Its size, chunk or number of kept entries is not the run's, so it was refused.",
        "blob-scale": "One of its scales is not a number, so it was refused.",
        "blob-level": "One of its values is not one that the run's codec sends, so it was refused.",
        "blob-gaps": "One of its positions lies outside its chunk, so it was refused.",
        "blob-padding": "It has bits set where there must be none, so it was refused.",
        "blob-not-canonical": "It is not in canonical form, so it was refused: a contribution has one encoding only.",
    }
)


def sentence(code: str) -> str:
    """Return the sentence for a code; a code that this version does not know gets a general one."""
    return REASONS.get(code, f"It was refused with the code {code}.")
