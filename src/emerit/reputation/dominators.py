"""Immediate dominators by the algorithm of Lengauer and Tarjan (ACM TOPLAS 1(1), 1979), the simple version.

A node d dominates v if every path from the root to v passes d; the immediate one is the nearest of them. The time is
edges times the logarithm of nodes, whatever the graph.
"""

from __future__ import annotations

import numpy as np

from emerit.reputation.graph import Places, Steps


def immediate_dominators(steps: Steps, root: int) -> Places:
    """Return int64[n]: each node's immediate dominator, the root's own number for the root, -1 if not reached."""
    order, tree_parent = _depth_first(steps, root)
    into = _predecessors(steps, order)
    count = len(order)
    semi = list(range(count))
    above = [0] * count
    best = list(range(count))
    linked = [-1] * count
    waiting: list[list[int]] = [[] for _ in range(count)]
    for node in range(count - 1, 0, -1):
        for other in into[node]:
            semi[node] = min(semi[node], semi[_lowest(other, linked, best, semi)])
        waiting[semi[node]].append(node)
        parent = tree_parent[node]
        linked[node] = parent
        for other in waiting[parent]:
            low = _lowest(other, linked, best, semi)
            above[other] = low if semi[low] < semi[other] else parent
        waiting[parent] = []
    for node in range(1, count):
        if above[node] != semi[node]:
            above[node] = above[above[node]]
    result = np.full(steps.size, -1, dtype=np.int64)
    result[order] = np.array(order, dtype=np.int64)[above]
    return result


def _depth_first(steps: Steps, root: int) -> tuple[list[int], list[int]]:
    """Return the nodes in the order of a depth-first search, and each one's parent as a place in that order."""
    starts, target = steps.starts.tolist(), steps.target.tolist()
    place = [-1] * steps.size
    place[root] = 0
    order, parents, path, following = [root], [0], [root], list(starts[:-1])
    while path:
        node = path[-1]
        at = following[node]
        if at == starts[node + 1]:
            path.pop()
            continue
        following[node] += 1
        child = target[at]
        if place[child] < 0:
            place[child] = len(order)
            order.append(child)
            parents.append(place[node])
            path.append(child)
    return order, parents


def _predecessors(steps: Steps, order: list[int]) -> list[list[int]]:
    """Return for each place in the order the places of those with an edge to it."""
    place = np.full(steps.size, -1, dtype=np.int64)
    place[order] = np.arange(len(order))
    source, target = place[steps.source], place[steps.target]
    into: list[list[int]] = [[] for _ in order]
    known = source >= 0
    for start, end in zip(source[known].tolist(), target[known].tolist(), strict=True):
        into[end].append(start)
    return into


def _lowest(node: int, linked: list[int], best: list[int], semi: list[int]) -> int:
    """Return the node of least semidominator on the linked path above `node`, and shorten that path."""
    if linked[node] < 0:
        return best[node]
    path = []
    while linked[linked[node]] >= 0:
        path.append(node)
        node = linked[node]
    for each in reversed(path):
        upper = linked[each]
        if semi[best[upper]] < semi[best[each]]:
            best[each] = best[upper]
        linked[each] = linked[upper]
        node = each
    return best[node]
