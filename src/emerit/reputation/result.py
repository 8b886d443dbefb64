"""What a computation of reputation gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emerit.reputation.fixed_point import ranked
from emerit.reputation.graph import Floats, Graph, Node, Places


@dataclass(frozen=True)
class Parameters:
    """How reputation is computed; see `emerit.reputation.compute` for the ranges."""

    base: str = "visits"
    continue_: float = 0.85
    connectivity_decay: float = 0.0
    threshold: float = 1.0
    walks: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Necks:
    """How far each node's walks hang on one other node; n nodes.

    Attributes:
        share: float64[n]: the neck, or an upper bound of it where `through` is -1.
        through: int64[n]: number of the other node, -1 where there is none or it was not looked for.
        cut: bool[n]: the neck is the threshold or more, so the node's score was decayed.
        known: bool[n]: whether it is certain that the node is cut, or that it is not.
    """

    share: Floats
    through: Places
    cut: NDArray[np.bool_]
    known: NDArray[np.bool_]


@dataclass(frozen=True)
class Reputation:
    """Everybody's reputation from the point of view of one node.

    Attributes:
        graph: The graph.
        ego: Number of the ego.
        parameters: How it was computed.
        measure: float64[n]: expected visits, or the probability of a visit, before dislikes and decays.
        scores: float64[n]: shares of the sum of `measure`, less dislikes and connectivity decay.
        fixed: int64[n]: `scores` in parts of 10^9, by the rule of `emerit.reputation.fixed_point`.
        necks: Connectivity, if its decay was asked for.
        error: Bound of any score's error; for walks the largest standard error.
        iterations: Of the power iteration; 0 if there was none.
    """

    graph: Graph
    ego: int
    parameters: Parameters
    measure: Floats
    scores: Floats
    fixed: Places
    necks: Necks | None
    error: float
    iterations: int = field(default=0, compare=False)

    def __getitem__(self, node: Node) -> int:
        """Return a node's reputation in parts of 10^9.

        Raises:
            UsageError: `reputation-node`.
        """
        return int(self.fixed[self.graph.place(node)])

    def ranking(self, limit: int | None = None) -> list[tuple[Node, int]]:
        """Return (node, reputation in parts of 10^9) from the highest down; ties by the order of nodes."""
        return [(self.graph.nodes[at], int(self.fixed[at])) for at in ranked(self.fixed)[:limit].tolist()]

    def undecided(self) -> float:
        """Return the scores of the nodes of which it was not found out whether they are cut, together.

        Each of them may be too high by the connectivity decay.
        """
        return 0.0 if self.necks is None else float(np.maximum(self.scores, 0.0)[~self.necks.known].sum())

    def as_dict(self, limit: int | None = None) -> dict[str, Any]:
        """Return the result as JSON's types, nodes from the highest down."""
        chosen = self.parameters
        record: dict[str, Any] = {
            "ego": self.graph.nodes[self.ego],
            "base": chosen.base,
            "method": "exact" if chosen.walks is None else "walks",
            "continue": chosen.continue_,
            "connectivity_decay": chosen.connectivity_decay,
            "threshold": chosen.threshold,
            "error": self.error,
            "undecided": self.undecided(),
            "dropped": dict(self.graph.dropped),
        }
        if chosen.walks is not None:
            record |= {"walks": chosen.walks, "seed": chosen.seed}
        return record | {"nodes": [self._row(at) for at in ranked(self.fixed)[:limit].tolist()]}

    def _row(self, at: int) -> dict[str, Any]:
        row: dict[str, Any] = {
            "node": self.graph.nodes[at],
            "reputation": int(self.fixed[at]),
            "score": float(self.scores[at]),
            "measure": float(self.measure[at]),
        }
        if self.necks is not None:
            through = int(self.necks.through[at])
            row |= {
                "neck": float(self.necks.share[at]),
                "through": None if through < 0 else self.graph.nodes[through],
                "cut": bool(self.necks.cut[at]),
                "known": bool(self.necks.known[at]),
            }
        return row
