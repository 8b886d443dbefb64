"""Scoring against its targets: what measuring costs, what the gradient alone tells, how long comparing takes.

Real rounds: trainers of Emerit's own train the demo model on the default corpus, each on its own sequences; all of them
are applied, and measured as validators do it. `overhead_over_forward` is the time to measure one contribution over that
of the bare forward passes on the same sequences, medians of one run. `first_order_gain` is how many times more
contributions a second the gradient scores than measuring does, for `--contributions` of them; `first_order_spearman...`
says how alike both order the contributions (`scripts/scoring_first_order.py`).

Similarity: synthetic updates of 10M parameters, 64 of 4096 kept, whose positions are drawn by a popularity that all
share, so that they overlap several times more than chance, as real ones do. Time and peak memory are of
`find_clusters`, whose arguments (the updates) are not counted; `..._clones` is the round in which all are one update.

Whole rounds of `--counts` contributions with models of `--sizes` are in `scripts/scoring_sizes.py`, what a sample does
to pay in `scripts/scoring_sample.py`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tracemalloc
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scoring_first_order import RealRound, agreement
from scoring_sample import sampling
from scoring_sizes import by_size, cpu_seconds, synthetic

from emerit.codec import SparseUpdate, integer_codec

Figures = dict[str, Any]

SIMILAR_SIZE, SIMILAR_CHUNK, SIMILAR_KEPT = 10_000_000, 4096, 64
TARGET_OVERHEAD = 1.15
TARGET_GAIN = 10.0
TARGET_SPEARMAN = 0.99
FEW = 4  # from so many contributions on there is a common step
REPEATS = 5


def run(arguments: Sequence[str], *, as_json: bool) -> int:
    """Read the arguments, measure and print; exit status 1 means that a target is missed."""
    from emerit.protocol.presets import preset

    parser = argparse.ArgumentParser(prog="scripts/bench scoring")
    parser.add_argument("--trainers", type=int, default=8, help="trainers of the real rounds (default 8)")
    parser.add_argument("--rounds", type=int, default=10, help="real rounds (default 10)")
    parser.add_argument("--contributions", type=int, default=256, help="contributions to compare (default 256)")
    parser.add_argument("--sizes", default="tiny,demo,small", help="presets to score rounds of (%(default)s)")
    parser.add_argument("--counts", default="4,16,64", help="how many contributions those rounds have (%(default)s)")
    options = parser.parse_args(arguments)
    sizes, counts = options.sizes.split(","), [int(word) for word in options.counts.split(",") if word.isdecimal()]
    if min(options.trainers, options.rounds, options.contributions, *counts, len(counts) + 1) < 2:
        parser.error("every number must be at least 2")
    for size in sizes:
        preset(size)
    figures = measure(options.trainers, options.rounds, options.contributions, sizes, counts)
    print(json.dumps(figures, indent=2) if as_json else shown(figures))
    return 1 if figures["missed"] else 0


def measure(trainers: int, rounds: int, contributions: int, sizes: Sequence[str], counts: Sequence[int]) -> Figures:
    """Return all figures."""
    from emerit.training.threads import single_thread

    single_thread()
    figures: Figures = {}
    figures |= of_rounds(list(told(real_rounds(trainers, rounds), "round", rounds)), contributions)
    figures |= similarity(contributions)
    figures |= by_size(sizes, counts)
    figures |= sampling()
    figures["missed"] = [
        name
        for name, fails in (
            ("overhead_over_forward", figures["overhead_over_forward"] > TARGET_OVERHEAD),
            ("first_order_gain", figures["first_order_gain"] < TARGET_GAIN),
            ("first_order_spearman", figures["first_order_spearman"] < TARGET_SPEARMAN),
        )
        if fails
    ]
    return figures


def told(items: Iterator[Any], what: str, total: int) -> Iterator[Any]:
    """Pass the items on and say on stderr how far it is."""
    for number, item in enumerate(items, 1):
        print(f"{what} {number} of {total}", file=sys.stderr)
        yield item


def real_rounds(trainers: int, rounds: int) -> Iterator[RealRound]:
    """Train and yield each round before it is applied; all trainers' updates are aggregated."""
    from emerit.data import cut_sequences, default_corpus_files, read_files, split_documents
    from emerit.model.table import parameter_count
    from emerit.protocol.presets import preset
    from emerit.scoring.fast_checks import clip_scales
    from emerit.training.aggregate import aggregate, apply_aggregate
    from emerit.training.inner import InnerTrainer
    from emerit.training.state import initial_values

    demo = preset("demo")
    training = replace(demo.training, planned_rounds=rounds)
    sequences = cut_sequences(split_documents(read_files(default_corpus_files())).train, demo.model.context)
    random = np.random.default_rng(0)
    sender = integer_codec("topk-sign")
    values = initial_values(demo.model, bytes(32))
    workers = [InnerTrainer(demo.model, training, bytes([each]) * 32) for each in range(trainers)]
    buffers = [np.zeros(parameter_count(demo.model), dtype=np.float32) for _ in workers]
    each_gets = training.assigned_sequences
    for number in range(rounds):
        drawn = random.permutation(len(sequences))
        assigned = {each: sequences[drawn[each * each_gets : (each + 1) * each_gets]] for each in range(trainers)}
        after = drawn[trainers * each_gets :][: demo.scoring.random_sequences]
        sent = {}
        for each, worker in enumerate(workers):
            delta = worker.run_round(number, values, assigned[each]).delta
            k = demo.codec.k_in(number)
            sent[each] = sender.feed(buffers[each], delta, training.error_feedback_decay, demo.codec.chunk, k)
        updates = clip_scales(sent, {})
        yield RealRound(number, values, updates, assigned, sequences[after])
        values = apply_aggregate(values, *aggregate(list(updates.values()), demo.outer))


def of_rounds(rounds: Sequence[RealRound], contributions: int) -> Figures:
    """Return what measuring and the first order cost and tell on real rounds."""
    from emerit.model.flat import FlatModel
    from emerit.protocol.presets import preset

    model = FlatModel(preset("demo").model)
    return {
        **agreement(model, rounds),
        "rounds": len(rounds),
        "honest_overlap_first": usual_overlap(rounds[0]),
        "honest_overlap_last": usual_overlap(rounds[-1]),
        **costs(model, rounds[-1], contributions),
    }


def usual_overlap(item: RealRound) -> float:
    """Return the median overlap of the honest pairs of a round."""
    from emerit.scoring.compare import compare_exactly

    found = compare_exactly(list(item.updates.values())).overlap
    return float(np.median(found[np.triu_indices(len(found), 1)]))


def costs(model: Any, item: RealRound, contributions: int) -> Figures:
    """Return the cost of one contribution over bare forward passes, and of the first order over measuring all."""
    import torch

    from emerit.protocol.presets import preset
    from emerit.scoring.evaluate import OneDevice, Trial, common_step, trial_step
    from emerit.scoring.first_order import first_order_gains

    demo, slot = preset("demo"), min(item.updates)
    own = item.assigned[slot][: demo.scoring.own_sequences]
    common = common_step({place: item.updates[slot] for place in range(FEW)}, {}, demo.scoring, demo.outer)
    bench, trial = OneDevice(model, demo.scoring, demo.outer), Trial(slot, item.updates[slot], own)
    assert common is not None
    bench.begin(item.random, common.step)
    many = {place: item.updates[place % len(item.updates)] for place in range(contributions)}

    def single() -> None:
        bench.measure([trial])

    def forward() -> None:
        with torch.no_grad():
            for tokens in (own, item.random, own, item.random, own):
                for part in torch.split(torch.from_numpy(tokens.astype(np.int64)), 16):
                    model.module(part[:, :-1])

    def gradient() -> None:
        first_order_gains(model, many, item.random, trial_step(demo.scoring, demo.outer))

    model.module.eval()
    seconds: dict[str, list[float]] = {}
    for _ in range(REPEATS):  # in turn, so that a busy machine slows all alike
        for name, act in (("one", single), ("forward", forward), ("gradient", gradient)):
            seconds.setdefault(name, []).append(cpu_seconds(act))
    median = {name: statistics.median(each) for name, each in seconds.items()}
    one_cost = median["one"]
    return {
        "overhead_over_forward": one_cost / median["forward"],
        "first_order_gain": one_cost * contributions / median["gradient"],
        "contributions_per_second_measured": 1 / one_cost,
        "contributions_per_second_first_order": contributions / median["gradient"],
        "first_order_contributions": contributions,
        "parameters": item.values.size,
    }


def similarity(contributions: int) -> Figures:
    """Return time and memory of comparing a large round: honest contributions, and clones of one."""
    from emerit.scoring.similarity import find_clusters

    popularity = np.random.default_rng(1).standard_normal(SIMILAR_SIZE, dtype=np.float32) * np.float32(1.2)
    made = (synthetic(each, popularity, SIMILAR_CHUNK, SIMILAR_KEPT) for each in range(contributions))
    updates = dict(enumerate(told(made, "update", contributions)))
    trust = dict.fromkeys(updates, 1000)

    def compare(given: dict[int, SparseUpdate]) -> Any:
        return find_clusters(given, trust, SIMILAR_CHUNK, SIMILAR_KEPT, seed=bytes(32))

    seconds = [cpu_seconds(lambda: compare(updates)) for _ in range(3)]
    clones = cpu_seconds(lambda: compare(dict.fromkeys(updates, updates[0])))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        found = compare(updates)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    return {
        "similarity_seconds": statistics.median(seconds),
        "similarity_seconds_clones": clones,
        "similarity_peak_bytes": peak,
        "similarity_contributions": contributions,
        "similarity_usual_overlap": found.overlap.median,
        "similarity_false_pairs": len(found.pairs),
    }


def shown(figures: Figures, before: str = "") -> str:
    """Return the figures as lines for people; what is nested has its keys in one name."""
    lines = []
    for name, value in figures.items():
        if isinstance(value, dict):
            lines.append(shown(value, f"{before}{name} "))
        else:
            told_value = f"{value:.4g}" if isinstance(value, float) else value
            lines.append(f"{before + name:<42} {told_value}")
    return "\n".join(lines)
