"""An independent reputation for small graphs: fractions, and nodes taken out one by one."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import strategies as st

Edges = dict[tuple[int, int], int]


def hit(edges: Edges, size: int, continue_: Fraction, start: int, goal: int, avoid: int | None = None) -> Fraction:
    """The chance that a walk from `start` reaches `goal`, and not `avoid` before, by elimination in fractions."""
    totals = [sum(w for (a, _), w in edges.items() if a == node and w > 0) for node in range(size)]
    rows = []
    for node in range(size):
        row = [Fraction(int(node == other)) for other in range(size)] + [Fraction(int(node == goal))]
        if node not in (goal, avoid):
            for (a, b), w in edges.items():
                if a == node and w > 0:
                    row[b] -= continue_ * Fraction(w, totals[node])
        rows.append(row)
    for at in range(size):
        pivot = next(row for row in range(at, size) if rows[row][at] != 0)
        rows[at], rows[pivot] = rows[pivot], rows[at]
        rows[at] = [entry / rows[at][at] for entry in rows[at]]
        for other in range(size):
            if other != at and rows[other][at] != 0:
                factor = rows[other][at]
                rows[other] = [x - factor * y for x, y in zip(rows[other], rows[at], strict=True)]
    return rows[start][size]


def visits(edges: Edges, size: int, continue_: Fraction, ego: int) -> list[Fraction]:
    """Expected visits: the chance of one, by the chance of no return."""
    totals = [sum(w for (a, _), w in edges.items() if a == node and w > 0) for node in range(size)]
    found = []
    for node in range(size):
        back = sum(
            (
                continue_ * Fraction(w, totals[node]) * hit(edges, size, continue_, b, node)
                for (a, b), w in edges.items()
                if a == node and w > 0
            ),
            Fraction(0),
        )
        found.append(hit(edges, size, continue_, ego, node) / (1 - back))
    return found


def neck(edges: Edges, size: int, continue_: Fraction, ego: int, goal: int) -> Fraction:
    """The largest share of the walks to `goal` that pass one other node than the ego before."""
    whole = hit(edges, size, continue_, ego, goal)
    others = [node for node in range(size) if node not in (ego, goal)]
    if whole == 0 or not others:
        return Fraction(0)
    return 1 - min(hit(edges, size, continue_, ego, goal, avoid) for avoid in others) / whole


@st.composite
def small_graphs(draw: st.DrawFn, negatives: bool = False) -> tuple[Edges, int]:
    """Edges between at most six nodes, without edges to oneself; the ego is 0."""
    size = draw(st.integers(2, 6))
    pair = st.tuples(st.integers(0, size - 1), st.integers(0, size - 1)).filter(lambda ends: ends[0] != ends[1])
    edges = draw(st.dictionaries(pair, st.integers(1, 9), min_size=1, max_size=3 * size))
    if negatives:
        for disliked in draw(st.sets(st.integers(1, size - 1), max_size=2)):
            edges[0, disliked] = -draw(st.integers(1, 3))
    return edges, size


def triples(edges: Edges) -> list[tuple[int, int, int]]:
    """As `emerit.reputation.compute` takes them."""
    return [(a, b, w) for (a, b), w in edges.items()]
