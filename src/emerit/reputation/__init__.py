"""Reputation: MeritRank on any feedback graph (`compute`), and on a round's seed graph (`seed_graph`)."""

from emerit.reputation.compute import compute
from emerit.reputation.graph import Graph, Node, decayed
from emerit.reputation.result import Necks, Parameters, Reputation

__all__ = ["Graph", "Necks", "Node", "Parameters", "Reputation", "compute", "decayed"]
