"""`emerit reputation compute`: MeritRank on a graph of one's own, without a chain."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from emerit.cli.options import JsonOption
from emerit.cli.output import print_json, say
from emerit.errors import RefusedError
from emerit.protocol.strangers_json import check_depth

if TYPE_CHECKING:
    from emerit.reputation import Graph, Node, Reputation

SHOWN_NODES = 20
# As many digits as Python reads.
_DIGITS = re.compile(r"-?[0-9]{1,4300}")


def compute(
    graph: Annotated[Path, typer.Argument(help="JSON list of [source, target, weight]; - is standard input")],
    ego: Annotated[str, typer.Option("--ego", help="The node whose point of view it is")],
    base: Annotated[str, typer.Option("--base", help="visits or hitting")] = "visits",
    continue_: Annotated[float, typer.Option("--continue", help="Probability that a walk goes on, 0 to 0.9999")] = 0.85,
    connectivity_decay: Annotated[
        float, typer.Option("--connectivity-decay", help="Share that a node loses whose neck reaches the threshold")
    ] = 0.0,
    threshold: Annotated[
        float, typer.Option("--threshold", help="Share of a node's walks through one other node, above 0, to 1")
    ] = 1.0,
    walks: Annotated[int | None, typer.Option("--walks", help="Sample that many walks instead")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the walks")] = 0,
    nodes: Annotated[
        list[str] | None, typer.Option("--node", help="Examine this node's neck in any case; may be repeated")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=0, help="Nodes to print; default 20, or all with --json")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compute everybody's reputation on a graph of your own, from one node's point of view.

    A negative weight is a dislike and counts from the ego. Weights of the same pair add up.
    """
    from emerit.reputation import compute as compute_reputation

    read = read_graph(graph)
    found = compute_reputation(
        read,
        named(read, ego),
        base=base,
        continue_=continue_,
        connectivity_decay=connectivity_decay,
        threshold=threshold,
        walks=walks,
        seed=seed,
        nodes=[named(read, node) for node in nodes or ()],
    )
    if as_json:
        print_json(found.as_dict(limit))
    else:
        show_ranking(found, SHOWN_NODES if limit is None else limit)


def read_graph(path: Path) -> Graph:
    """Read a graph from a JSON file, or from standard input if the path is `-`.

    Raises:
        RefusedError: `graph-json`, `graph-edge`, `graph-weight`, `graph-empty`.
        OSError: The file cannot be read.
    """
    from emerit.reputation import Graph

    data = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
    cause, edges = f"{path} holds no list.", None
    try:
        check_depth(data)
        edges = json.loads(data)
    except ValueError as error:
        cause = f"{path} is not JSON: {error}."
    if not isinstance(edges, list):
        raise RefusedError("graph-json", cause, "Write [[source, target, weight], ...].")
    return Graph.from_edges(edges)


def named(graph: Graph, name: str) -> Node:
    """Return the node that a word on the command line means: the string, or else the integer.

    Raises:
        UsageError: `reputation-node`.
    """
    known = set(graph.nodes)
    if name not in known and _DIGITS.fullmatch(name) and int(name) in known:
        return int(name)
    return graph.nodes[graph.place(name)]


def shown(node: Node) -> str:
    """Return a stranger's name as it can be printed: on one line, and without a word to the terminal."""
    name = str(node)
    return name if name.isprintable() else repr(name)


def show_ranking(found: Reputation, limit: int) -> None:
    """Print the highest nodes, one a line."""
    rows = found.as_dict(limit)["nodes"]
    width = max((len(shown(row["node"])) for row in rows), default=4)
    for rank, row in enumerate(rows, 1):
        line = f"{rank:>4}  {shown(row['node']):<{width}}  {row['reputation']:>11}  {row['score']:.6%}"
        if row.get("cut"):
            line += f"  cut: {row['neck']:.1%} through {shown(row['through'])}"
        say(line)
    record = found.as_dict(0)
    left = len(found.graph.nodes) - len(rows)
    if left > 0:
        say(f"  ({left} more: --limit, or --json)")
    if record["method"] == "walks":
        say(f"{record['walks']} walks; the largest standard error of a share is {record['error']:.2e}.")
    if record["undecided"] > 0:
        say(f"Not examined: nodes with {record['undecided']:.2%} of all; name one with --node.")
    for code, count in record["dropped"].items():
        say(f"Left out: {count} ({code}).")
