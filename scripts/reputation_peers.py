"""What `scripts/bench reputation` measures Emerit's reputation against.

`meritrank-python` (GPL-2.0, so nothing of Emerit imports or copies it) and scipy are used if they can be imported:
install them in a virtual environment of their own and name its site-packages with --peers. `plain-walks` is always
there: the walk loop that such packages have, in plain Python, written for this benchmark.
"""

from __future__ import annotations

import importlib
import random
from bisect import bisect
from collections import Counter
from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np
from reputation_graphs import EGO, Arrays

from emerit.reputation.graph import Floats, sums

CONTINUE = 0.85
WALKS = 10_000


def module(name: str) -> Any:
    """Return a module, or nothing where it is not installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def lists(graph: Arrays) -> dict[int, dict[int, float]]:
    """Return each node's neighbours with their weights."""
    found: dict[int, dict[int, float]] = {node: {} for node in range(graph.size)}
    for source, target, weight in zip(graph.source.tolist(), graph.target.tolist(), graph.weight.tolist(), strict=True):
        found[source][target] = weight
    return found


def plain_walks(graph: Arrays) -> Callable[[], dict[int, float]]:
    """Return a function that ranks by walks in plain Python, counting unique visits."""
    table = {node: (list(each), list(accumulate(each.values()))) for node, each in lists(graph).items() if each}

    def rank() -> dict[int, float]:
        chance = random.Random(1).random
        counter: Counter[int] = Counter()
        for _ in range(WALKS):
            node, walk = EGO, {EGO}
            while node in table and chance() <= CONTINUE:
                targets, sums = table[node]
                node = targets[bisect(sums, chance() * sums[-1], 0, len(targets) - 1)]
                walk.add(node)
            counter.update(walk)
        whole = counter.total()
        ranks = {node: hits / whole for node, hits in counter.items()}
        return dict(sorted(ranks.items(), key=lambda item: -item[1]))

    return rank


def meritrank(graph: Arrays) -> Any:
    """Return the package's object for a graph, or nothing where it is not installed."""
    package = module("meritrank_python.rank")
    if package is None:
        return None
    random.seed(1)
    neighbours = {
        node: {target: {"weight": weight} for target, weight in each.items()} for node, each in lists(graph).items()
    }
    return package.IncrementalMeritRank(neighbours)


def scipy_pagerank(graph: Arrays) -> Callable[[], Floats] | None:
    """Return a function that sums the series a^k (P^T)^k to 1e-10 on scipy's sparse matrix, if scipy is installed."""
    sparse = module("scipy.sparse")
    if sparse is None:
        return None
    totals = np.bincount(graph.source, graph.weight, graph.size)
    shares = CONTINUE * graph.weight / totals[graph.source]
    matrix = sparse.csr_matrix((shares, (graph.target, graph.source)), shape=(graph.size, graph.size))

    def rank() -> Floats:
        term = np.zeros(graph.size)
        term[EGO] = 1.0
        done = term.copy()
        while term.sum() > 1e-10 * (1 - CONTINUE):
            term = matrix @ term
            done += term
        return done

    return rank


def reference_visits(graph: Arrays) -> Floats:
    """Return expected visits by adding terms until they vanish, an own loop without any short cut."""
    totals = np.bincount(graph.source, graph.weight, graph.size)
    shares = CONTINUE * graph.weight / totals[graph.source]
    term = np.zeros(graph.size)
    term[EGO] = 1.0
    done = term.copy()
    for _ in range(300):
        term = sums(graph.target, term[graph.source] * shares, graph.size)
        done += term
    return done
