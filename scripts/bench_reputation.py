"""`scripts/bench reputation`: speed, accuracy and memory beside peers, and what Sybils gain.

    scripts/bench reputation [--json] [--sizes 1000x10000,10000x100000,100000x1000000] [--peers SITE_PACKAGES]
                             [--repeats 5] [--no-sybils]

Keys of --json. `seconds`: CPU seconds, medians, by graph (nodes x edges) and what was done: `visits` (expected visits
with connectivity decay at a threshold of 1, ranked), `visits-plain` (without the decay), `hitting` (exact), `walks`
(10,000 walks of ours), `build` (checking the arrays), `change` (one edge changed: graph made anew, then from the last
solution), and the peers: `meritrank-python` (10,000 walks and ranks) with `meritrank-python-change`, `plain-walks`,
`scipy`. `speedup`: by what of ours, graph and peer: the peer's seconds over ours. `max_relative_error_top100`:
against an independent exact solution. `peak_bytes`: what Python and numpy hold at most during one computation.
`warm_start`: cold seconds over warm ones by graph and number of changed edges. `sybil_gain`: by graph and base,
attack, stop probability alpha, beta and number of Sybils: reputation that the attacker's region gained over what the
attacker had before; `lab` is the wide graph of a run that `emerit.lab` plays for this (15 CPU seconds). Peers that
are not installed are named in `missing`. Exit status 1 means that a target of docs/reputation.md is missed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import reputation_peers as peers
from reputation_graphs import EGO, Arrays, uniform_graph
from reputation_sybils import sybil_gains

from emerit.reputation import Graph, compute
from emerit.reputation.dense import DENSE_NODES
from emerit.reputation.graph import Floats

TOP = 100
DECAY = 0.5
PEER_EDGES = 200_000
# Least speed-ups over the package's 10,000 walks, and the largest relative error in the top 100.
TARGETS = {("visits", 1_000): 100.0, ("visits", 10_000): 50.0, ("hitting", 1_000): 5.0}
WALKS_TARGET = 30.0
ERROR_TARGET = 1e-6
WALKED = ("walks", "meritrank-python", "plain-walks")


def main(arguments: Sequence[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--sizes", default="1000x10000,10000x100000,100000x1000000", help="nodes x edges")
    parser.add_argument("--peers", help="site-packages folder with meritrank-python and scipy")
    parser.add_argument("--repeats", type=int, default=5, help="runs of each; the median counts")
    parser.add_argument("--no-sybils", action="store_true", help="leave out the Sybil experiments")
    options = parser.parse_args(arguments)
    if options.peers:
        sys.path.append(options.peers)
    figures: dict[str, Any] = {
        name: {} for name in ("seconds", "speedup", "max_relative_error_top100", "peak_bytes", "warm_start")
    }
    names = {"meritrank-python": "meritrank_python.rank", "scipy": "scipy.sparse"}
    figures["missing"] = [name for name, import_name in names.items() if peers.module(import_name) is None]
    for text in options.sizes.split(","):
        nodes, edges = (int(float(each)) for each in text.split("x"))
        print(f"{nodes} nodes, {edges} edges", file=sys.stderr)
        measure(uniform_graph(nodes, edges), text, options.repeats, figures)
    figures["speedup"] = speedups(figures["seconds"])
    figures["sybil_gain"] = {} if options.no_sybils else sybil_gains()
    figures["missed"] = missed(figures)
    print(json.dumps(figures, indent=1) if options.json else shown(figures))
    return 1 if figures["missed"] else 0


def seconds(action: Callable[[], object], repeats: int) -> float:
    """Return the median CPU seconds of an action, after one that does not count."""
    action()
    taken = []
    for _ in range(repeats):
        began = time.process_time()
        action()
        taken.append(time.process_time() - began)
    return statistics.median(taken)


def peak(action: Callable[[], object]) -> int:
    """Return the most bytes held during an action beyond those held before."""
    tracemalloc.start()
    action()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


def measure(arrays: Arrays, size: str, repeats: int, figures: dict[str, Any]) -> None:
    """Fill in all figures of one graph."""
    graph = arrays.graph()
    visits = peers.reference_visits(arrays)
    actions: dict[str, Callable[[], Any]] = {
        "build": lambda: arrays.graph().steps,
        "visits": lambda: compute(graph, EGO, connectivity_decay=DECAY).ranking(),
        "visits-plain": lambda: compute(graph, EGO).ranking(),
        "walks": lambda: compute(graph, EGO, base="hitting", walks=peers.WALKS).ranking(TOP),
    }
    if arrays.size <= DENSE_NODES:
        actions["hitting"] = lambda: compute(graph, EGO, base="hitting").ranking()
    scipy = peers.scipy_pagerank(arrays)
    if scipy is not None:
        actions["scipy"] = scipy
    if len(arrays.weight) <= PEER_EDGES:
        actions["plain-walks"] = peers.plain_walks(arrays)
        package = peers.meritrank(arrays)
        if package is not None:
            actions["meritrank-python"] = lambda: (package.calculate(EGO, peers.WALKS), package.get_ranks(EGO))[1]
    times = figures["seconds"][size] = {}
    for name, action in actions.items():
        times[name] = seconds(action, repeats if name not in WALKED[1:] else min(repeats, 3))
    times |= changes(arrays, graph, repeats, actions)
    figures["peak_bytes"][size] = {name: peak(action) for name, action in actions.items() if name != "plain-walks"}
    errors = figures["max_relative_error_top100"][size] = {}
    errors["visits"] = worst(compute(graph, EGO).scores, visits / visits.sum())
    if arrays.size <= DENSE_NODES:
        hitting = exact_hitting(arrays)
        errors["hitting"] = worst(compute(graph, EGO, base="hitting").scores, hitting)
        errors["walks"] = worst(compute(graph, EGO, base="hitting", walks=peers.WALKS).scores, hitting)
        for name in WALKED[1:]:
            if name in actions:
                errors[name] = worst(ranks_of(list(actions[name]().items()), arrays.size), hitting)
    figures["warm_start"][size] = warm_starts(arrays, graph, repeats)


def exact_hitting(arrays: Arrays) -> Floats:
    """Return shares of unique visits: visits, over those of a walk from the node itself, from one solution for all."""
    matrix = np.eye(arrays.size)
    totals = np.bincount(arrays.source, arrays.weight, arrays.size)
    matrix[arrays.source, arrays.target] -= peers.CONTINUE * arrays.weight / totals[arrays.source]
    all_visits = np.linalg.solve(matrix, np.eye(arrays.size))
    chances = all_visits[EGO] / np.diagonal(all_visits)
    return chances / chances.sum()


def ranks_of(ranking: list[tuple[int, float]], size: int) -> Floats:
    """Return float64[size] scores of a ranking."""
    scores = np.zeros(size)
    for node, score in ranking:
        scores[node] = score
    return scores


def worst(found: Floats, right: Floats) -> float:
    """Return the largest relative error among the nodes that are really highest."""
    top = np.argsort(-right)[:TOP]
    top = top[right[top] > 0]
    return float((np.abs(found[top] - right[top]) / right[top]).max())


def changes(arrays: Arrays, graph: Graph, repeats: int, actions: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Return seconds from one edge's change to the new ranking, ours and the package's."""
    before = compute(graph, EGO)
    found = {
        "change": seconds(
            lambda: compute(moved(arrays, 1, 1).graph(), EGO, connectivity_decay=DECAY, warm=before).ranking(), repeats
        )
    }
    if "meritrank-python" in actions:
        package = peers.meritrank(arrays)
        package.calculate(EGO, peers.WALKS)
        pairs = iter(np.random.default_rng(5).integers(1, arrays.size, (100, 2)).tolist())

        def change() -> None:
            source, target = next(pairs)
            if source != target:
                package.add_edge(source, target, 0.7)
            package.get_ranks(EGO)

        found["meritrank-python-change"] = seconds(change, min(repeats, 3))
    return found


def moved(arrays: Arrays, count: int, seed: int) -> Arrays:
    """Return the graph with the weights of some edges changed."""
    random = np.random.default_rng(seed)
    weight = arrays.weight.copy()
    weight[random.choice(len(weight), count, replace=False)] = random.random(count) + 0.1
    return Arrays(arrays.source, arrays.target, weight, arrays.size)


def warm_starts(arrays: Arrays, graph: Graph, repeats: int) -> dict[str, float]:
    """Return by number of changed edges how many times faster the solution is from the last one."""
    before, found = compute(graph, EGO), {}
    for count in (*(100**power for power in range(4) if 100**power < len(arrays.weight)), len(arrays.weight)):
        changed = moved(arrays, count, count).graph()
        changed.steps  # noqa: B018 (made once, as for the cold start)
        cold = seconds(lambda changed=changed: compute(changed, EGO), repeats)  # type: ignore[misc]
        warm = seconds(lambda changed=changed: compute(changed, EGO, warm=before), repeats)  # type: ignore[misc]
        found[str(count)] = cold / warm
    return found


def speedups(times: dict[str, dict[str, float]]) -> dict[str, dict[str, dict[str, float]]]:
    """Return by what of ours, graph and peer how many times faster ours is."""
    result: dict[str, dict[str, dict[str, float]]] = {}
    for ours in ("visits", "visits-plain", "hitting", "walks", "change"):
        for size, row in times.items():
            suffix = "-change" if ours == "change" else ""
            named = (
                {f"meritrank-python{suffix}": "meritrank-python"}
                if suffix
                else {name: name for name in ("meritrank-python", "plain-walks", "scipy")}
            )
            if ours in row:
                found = {name: row[key] / row[ours] for key, name in named.items() if key in row}
                result.setdefault(ours, {})[size] = found
    return result


def missed(figures: dict[str, Any]) -> list[str]:
    """Return the targets that are missed, of those that could be measured."""
    found = []
    for what, sizes in figures["speedup"].items():
        for size, row in sizes.items():
            nodes = int(float(size.split("x")[0]))
            target = WALKS_TARGET if what == "walks" else TARGETS.get((what, nodes))
            peer = row.get("meritrank-python")
            if target is not None and peer is not None and peer < target:
                found.append(f"{what} at {size}: {peer:.0f} times meritrank-python, not {target:.0f}")
    for size, row in figures["max_relative_error_top100"].items():
        if row["visits"] > ERROR_TARGET:
            found.append(f"error of visits at {size}: {row['visits']:.1e}")
    return found


def shown(figures: dict[str, Any]) -> str:
    """Return the figures for people."""
    lines = []
    for size, row in figures["seconds"].items():
        lines.append(size)
        for name, value in row.items():
            error = figures["max_relative_error_top100"][size].get(name)
            held = figures["peak_bytes"][size].get(name)
            lines.append(
                f"  {name:<24} {value * 1e3:>10.2f} ms"
                + (f"  {held / 2**20:>8.1f} MiB" if held is not None else "")
                + (f"  error {error:.1e}" if error is not None else "")
            )
        lines.append(
            "  warm start, by changed edges: "
            + ", ".join(f"{count}: {ratio:.2f}x" for count, ratio in figures["warm_start"][size].items())
        )
    for what, sizes in figures["speedup"].items():
        for size, row in sizes.items():
            lines.append(f"{what} {size}: " + ", ".join(f"{ratio:.0f}x {name}" for name, ratio in row.items()))
    for each in figures["missing"]:
        lines.append(f"not installed: {each} (see --peers)")
    lines += [f"MISSED {each}" for each in figures["missed"]]
    return "\n".join(lines)
