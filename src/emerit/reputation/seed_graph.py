"""The seed graph of a round: its integer rule, and the graph itself for explanations and checks.

The integer rule is part of what validators sign, so it lives in `emerit.protocol.reputation` and is only named
here again. `edges_for` builds the explicit graph on which that rule is MeritRank (Nasrulin, Ishmaev and
Pouwelse, arXiv 2207.09950): what the API shows as the reason of a reputation, and what an independent personalised
PageRank must agree with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from emerit.protocol.reputation import (
    REPUTATION_ONE,
    Vote,
    next_reputation,
    trainer_visits,
    validator_visits,
)
from emerit.protocol.settlement_tree import payable

__all__ = [
    "REPUTATION_ONE",
    "SEED",
    "SINK",
    "Edge",
    "Vote",
    "edges_for",
    "next_reputation",
    "trainer_node",
    "trainer_visits",
    "validator_node",
    "validator_visits",
]

SEED: Final = "seed"
SINK: Final = "sink"


@dataclass(frozen=True, slots=True)
class Edge:
    """A weighted edge; a walk at `source` takes it in proportion to `weight` among the source's edges."""

    source: str
    target: str
    weight: int


def validator_node(slot: int) -> str:
    """Return the name of a validator slot's node."""
    return f"validator-{slot}"


def trainer_node(slot: int) -> str:
    """Return the name of a trainer slot's node."""
    return f"trainer-{slot}"


def edges_for(
    given: Mapping[int, Mapping[int, int]], stakes: Sequence[int], weights: Sequence[int]
) -> tuple[Edge, ...]:
    """Return the edges of a round's seed graph, in a fixed order, without those of weight 0.

    Where a validator abstained on a trainer, that trainer's reputation is computed on the graph without the
    validator; pass `given` without it to get that graph.

    Args:
        given: Validator slot -> trainer slot -> decoded weight, for the validators that take part.
        stakes: Stake of each validator slot, in stake units.
        weights: Consensus weight of each trainer slot.
    """
    total_weight = sum(payable(weight) for weight in weights)
    edges: list[Edge] = []
    for validator in sorted(given):
        edges.append(Edge(SEED, validator_node(validator), stakes[validator]))
    for validator in sorted(given):
        left = total_weight
        for slot, weight in enumerate(weights):
            flow = payable(min(given[validator].get(slot, 0), weight))
            edges.append(Edge(validator_node(validator), trainer_node(slot), flow))
            left -= flow
        edges.append(Edge(validator_node(validator), SINK, left))
    return tuple(edge for edge in edges if edge.weight > 0)
