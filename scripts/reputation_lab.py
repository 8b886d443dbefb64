"""The wide graph of a run played in the lab, for the Sybil experiments of `scripts/bench reputation`.

`emerit.lab` plays honest rounds with real training. The seed graph is that of each round's consensus weights, from
validators of equal stake. After each round every trainer measures its assigned peers with the functions that a node
uses (`emerit.protocol.feedback`, `emerit.scoring.peers`) on its own sequences, and `emerit.reputation.wide_graph` puts
it together with the epoch decay of the preset.
"""

from __future__ import annotations

import sys

import numpy as np
from reputation_graphs import ATTACK_WEIGHT, EGO, Arrays

from emerit.lab.arena import Arena, Corpus
from emerit.lab.catalogue import find_defence
from emerit.lab.play import Cast, Play
from emerit.lab.settings import Settings
from emerit.model.flat import FlatModel
from emerit.protocol.feedback import PeerRing, quantised
from emerit.protocol.manifest import PPB
from emerit.reputation import compute
from emerit.reputation.graph import WeightedEdge
from emerit.reputation.seed_graph import SEED
from emerit.reputation.wide_graph import RoundVoices, wide_graph
from emerit.scoring.evaluate import trial_step
from emerit.scoring.peers import peer_gains
from emerit.training.state import to_float
from emerit.training.threads import single_thread

SETTINGS = Settings(trainers=24, validators=4, rounds=6, fraction=0.0)


def lab_graph(settings: Settings = SETTINGS) -> Arrays:
    """Return the wide graph of an honest run: the seed is node 0, then validators, then trainers from the best down.

    A trainer of middling reputation is then where `attacker_of` looks for it. Each source speaks as loudly as a bridge
    of the attacks does, so a bridge gives half of its voice. Dislikes, which no walk takes, are left out.
    """
    single_thread()
    arena = Arena.build(settings, Corpus.load(settings.preset, settings.corpus))
    game = Play(arena, Cast.of(arena, None), find_defence(settings.defence))
    voices: list[RoundVoices] = []
    said: tuple[WeightedEdge, ...] = ()
    for number in range(settings.rounds):
        base = game.state.values
        game.round(number)
        weights = {f"trainer-{slot}": weight for slot, weight in enumerate(game.past[-1].weights) if weight > 1}
        names = [f"validator-{slot}" for slot in range(settings.validators)]
        seeds = [(SEED, name, 1) for name in names]
        voices.append(RoundVoices((*seeds, *((v, t, w) for v in names for t, w in weights.items())), said))
        said = feedback(arena, game, number, base)  # it is in the headers of the round that follows
        print(f"lab round {number + 1} of {settings.rounds}", file=sys.stderr)
    keep = 1 - arena.manifest.reputation.epoch_weight_ppb / PPB
    graph = wide_graph(voices, keep, [f"trainer-{slot}" for slot in range(settings.trainers)])
    ranking = [str(node) for node, _ in compute(graph, SEED).ranking() if str(node).startswith("trainer")]
    order = [SEED, *(f"validator-{slot}" for slot in range(settings.validators)), *ranking]
    place = np.array([order.index(str(node)) for node in graph.nodes])
    kept = graph.weight > 0
    assert order[EGO] == SEED
    ends = place[graph.source[kept]], place[graph.target[kept]]
    return Arrays(*ends, graph.weight[kept] * ATTACK_WEIGHT, len(order))


def feedback(arena: Arena, game: Play, number: int, base: np.ndarray) -> tuple[WeightedEdge, ...]:
    """Return what every trainer finds of its assigned peers' contributions to the round that has just been played."""
    manifest, updates = arena.manifest, game.past[-1].updates
    spec, unit = manifest.reputation, manifest.scoring.loss_unit
    ring = PeerRing(arena.eval_seed(number), updates.keys())
    model = FlatModel(manifest.model)
    model.load(to_float(base))
    step, edges = trial_step(manifest.scoring, manifest.outer), []
    for slot in updates:
        peers = ring.peers_of(slot, spec.feedback_peers)
        tokens = arena.corpus.train[arena.assigned(number, slot)[: spec.feedback_sequences]]
        those = {index: updates[index] for index in (*peers, slot)}
        gains = peer_gains(model, those, peers, tokens, step, lambda: False)
        edges += [(f"trainer-{slot}", f"trainer-{peer}", quantised(gain, unit)) for peer, gain in gains.items()]
    return tuple(edges)
