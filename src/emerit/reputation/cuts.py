"""Who can be reached only through one other node: connectivity decay at a threshold of 1, at any size.

All walks to g pass u exactly if u dominates g in the graph from the ego, so at a threshold of 1 no probability has
to be computed. What is wanted of each node is its head: the node next to the ego on the way down the dominator tree,
which is the node itself if nobody cuts it off. The heads follow from a search tree of the graph:

- A neighbour of the ego is a head.
- Give every node the label of its nearest head up the search tree. If an edge joins two labels, two paths that
  share nothing but the ego lead to its target, so the target is a head too.

Repeated until no edge joins two labels, this leaves in each label only nodes that its head dominates. Each round is a
few operations on arrays. Graphs made to need many rounds are handed to Lengauer and Tarjan's algorithm
(`emerit.reputation.dominators`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from emerit.reputation.dominators import immediate_dominators
from emerit.reputation.graph import Places, Steps

ROUNDS: Final = 64


@dataclass(frozen=True)
class SearchTree:
    """The breadth-first tree from a node.

    Attributes:
        parent: int64[n]; the root's is itself, that of a node that is not reached -1.
        order: int64[reached], the nodes that are reached, the root first, nearer ones before farther ones.
    """

    parent: Places
    order: Places


def search_tree(steps: Steps, root: int) -> SearchTree:
    """Return the breadth-first search tree from `root`."""
    parent = np.full(steps.size, -1, dtype=np.int64)
    parent[root] = root
    front = np.array([root], dtype=np.int64)
    layers = [front]
    while len(front):
        edges = edges_from(steps, front)
        targets = steps.target[edges]
        fresh = parent[targets] < 0
        targets = targets[fresh]
        parent[targets] = steps.source[edges[fresh]]
        # Of several edges to a node one was kept as its parent's; that one names it for the next layer.
        front = targets[parent[targets] == steps.source[edges[fresh]]]
        layers.append(front)
    return SearchTree(parent, np.concatenate(layers))


def edges_from(steps: Steps, nodes: Places) -> Places:
    """Return the edges that leave any of int64[k] nodes."""
    starts = steps.starts[nodes]
    counts = steps.starts[nodes + 1] - starts
    before = np.cumsum(counts) - counts
    return np.arange(int(counts.sum())) + np.repeat(starts - before, counts)


def heads(steps: Steps, ego: int, rounds: int = ROUNDS) -> Places:
    """Return int64[n]: the node through which all walks from the ego to a node come first, or the node itself.

    A node that nobody cuts off is its own head, and so is the ego; a node that is not reached has -1.

    Args:
        steps: The graph's steps.
        ego: Where walks begin.
        rounds: How many rounds to try before the other algorithm takes over.
    """
    tree = search_tree(steps, ego)
    reached = tree.parent >= 0
    own = ~reached
    own[ego] = True
    own[steps.target[steps.starts[ego] : steps.starts[ego + 1]]] = True
    inner = np.flatnonzero(reached[steps.source] & (steps.source != ego))
    for _ in range(rounds):
        label = _labels(tree.parent, own)
        inner = inner[~own[steps.target[inner]]]
        joined = steps.target[inner[label[steps.source[inner]] != label[steps.target[inner]]]]
        if not len(joined):
            return np.where(reached, label, -1)
        own[joined] = True
    return _from_dominators(steps, ego, tree)


def _labels(parent: Places, own: np.ndarray) -> Places:
    """Return the nearest node up the tree that has a label of its own, by jumping over twice as many each time."""
    up = np.where(own, np.arange(len(parent)), parent)
    while True:
        further = up[up]
        if np.array_equal(further, up):
            return up
        up = further


def _from_dominators(steps: Steps, ego: int, tree: SearchTree) -> Places:
    above = immediate_dominators(steps, ego)
    own = above == ego
    own[above < 0] = True
    return np.where(above >= 0, _labels(above, own), -1)
