"""What scoring a round costs, by model size and number of contributions N; a part of `scripts/bench scoring`.

Each size runs in a process of its own, so that its peak of memory is its own. A round is what a validator does once the
contributions are decoded: clip the scales, find clusters, two passes over the random sequences (now, and under the
state before for the health lane), one pass forward and back for the gradient, and the measuring of every contribution.
What depends on N otherwise than by N times one contribution is run at that N; one contribution is measured by itself,
`REPEATS` times in turn with the bare forward passes that it needs, and counts N times. Updates are synthetic, with the
model's own chunk and density, weights are the initial ones: neither changes what a pass costs.

`contributions_per_second` is N over the processor time of the round on one thread; `forward_share` the part of that
time that bare forward passes on the same sequences take; `peak_bytes` by how much the process grew at most over what it
held before the model was built, the updates included.
"""

from __future__ import annotations

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from emerit.codec import SparseUpdate, kept_per_chunk

Figures = dict[str, Any]

REPEATS = 3
NAMES = ("contributions_per_second", "forward_share", "peak_bytes")


def by_size(presets: Sequence[str], counts: Sequence[int]) -> Figures:
    """Return the three figures and `parameters`, each by preset, the former then by N (as text)."""
    figures: Figures = {name: {} for name in (*NAMES, "size_parameters")}
    for preset in presets:
        print(f"size {preset}", file=sys.stderr)
        command = [sys.executable, str(Path(__file__).resolve()), preset, *(str(count) for count in sorted(counts))]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        for name, found in json.loads(done.stdout).items():
            figures[name][preset] = found
    return figures


def measure(name: str, counts: Sequence[int]) -> Figures:
    """Return the figures of one preset; `counts` ascending, as a process's peak of memory only grows."""
    from emerit.model.flat import FlatModel
    from emerit.model.table import parameter_count
    from emerit.protocol.presets import preset
    from emerit.training.state import initial_values, to_float
    from emerit.training.threads import single_thread

    single_thread()
    spec, random = preset(name), np.random.default_rng(0)
    begin_bytes = psutil.Process().memory_info().rss
    size = parameter_count(spec.model)
    model = FlatModel(spec.model)
    model.load(to_float(initial_values(spec.model, bytes(32))))
    model.module.eval()
    length = spec.model.context + 1
    tokens = random.integers(0, spec.vocabulary, (spec.scoring.random_sequences, length), dtype=np.uint16)
    own = random.integers(0, spec.vocabulary, (spec.scoring.own_sequences, length), dtype=np.uint16)
    popularity = random.standard_normal(size, dtype=np.float32) * np.float32(1.2)
    updates = {0: synthetic(0, popularity, spec.codec.chunk, spec.codec.k)}
    once = of_one(spec, model, updates[0], tokens, own)
    figures: Figures = {key: {} for key in NAMES}
    for count in counts:
        for each in range(len(updates), count):
            updates[each] = synthetic(each, popularity, spec.codec.chunk, spec.codec.k)
        passes = 2 * once["base"] + count * (once["one"] - once["base"])
        total = passes + of_all(spec, model, updates, tokens)
        bare = 2 * once["random"] + count * (once["random"] + 2 * once["own"])
        found = count / total, bare / total, peak_bytes() - begin_bytes
        for key, value in zip(NAMES, found, strict=True):
            figures[key][str(count)] = value
    return figures | {"size_parameters": size}


def of_one(
    spec: Any, model: Any, update: SparseUpdate, tokens: NDArray[np.uint16], own: NDArray[np.uint16]
) -> dict[str, float]:
    """Return the processor time of a round without and with one contribution, and of the bare forward passes.

    Medians; they run in turn, so that a busy machine slows all alike.
    """
    from emerit.scoring.evaluate import evaluate_round

    acts: dict[str, Callable[[], object]] = {
        "base": lambda: evaluate_round(model, {}, tokens, {}, spec.scoring, spec.outer),
        "one": lambda: evaluate_round(model, {0: update}, tokens, {0: own}, spec.scoring, spec.outer),
        "random": lambda: forward(model, tokens),
        "own": lambda: forward(model, own),
    }
    seconds: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        for name, act in acts.items():
            seconds.setdefault(name, []).append(cpu_seconds(act))
    return {name: statistics.median(each) for name, each in seconds.items()}


def of_all(spec: Any, model: Any, updates: dict[int, SparseUpdate], tokens: NDArray[np.uint16]) -> float:
    """Return the processor time of what is done with all contributions together."""
    from emerit.scoring.evaluate import trial_step
    from emerit.scoring.fast_checks import clip_scales
    from emerit.scoring.first_order import first_order_gains
    from emerit.scoring.similarity import find_clusters

    def work() -> None:
        clipped = clip_scales(updates, {})
        find_clusters(clipped, dict.fromkeys(clipped, 1000), spec.codec.chunk, spec.codec.k, seed=bytes(32))
        first_order_gains(model, clipped, tokens, trial_step(spec.scoring, spec.outer))

    return cpu_seconds(work)


def forward(model: Any, tokens: NDArray[Any], batch: int = 16) -> None:
    """Run the bare forward passes of some sequences."""
    import torch

    with torch.no_grad():
        for part in torch.split(torch.from_numpy(tokens.astype(np.int64)), batch):
            model.module(part[:, :-1])


def synthetic(seed: int, popularity: NDArray[np.float32], chunk: int, kept: int) -> SparseUpdate:
    """Return an update whose kept positions are the largest of popularity plus its own noise, with random signs."""
    random, size = np.random.default_rng(1000 + seed), len(popularity)
    per_chunk = kept_per_chunk(size, chunk, kept)
    height = popularity + random.standard_normal(size, dtype=np.float32)
    whole = size // chunk * chunk
    rows = height[:whole].reshape(-1, chunk)
    best = np.sort(np.argpartition(-rows, kept, axis=1)[:, :kept], axis=1)
    best += np.arange(len(rows))[:, None] * chunk
    rest = whole + np.sort(np.argsort(-height[whole:])[: int(per_chunk[len(rows) :].sum())])
    places = np.concatenate([best.ravel(), rest]).astype(np.int64)
    signs = random.choice(np.array([-1, 1], dtype=np.int8), len(places))
    scales = random.integers(500, 700, len(per_chunk)).astype(np.uint16)
    return SparseUpdate(size, chunk, kept, places, signs, scales)


def cpu_seconds(act: Callable[[], object]) -> float:
    """Return the processor time that one call takes."""
    begin = time.process_time()
    act()
    return time.process_time() - begin


def peak_bytes() -> int:
    """Return the most memory that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], [int(word) for word in sys.argv[2:]])))
