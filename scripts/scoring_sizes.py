"""What scoring a round costs, by model size and number of contributions N; a part of `scripts/bench scoring`.

Each size runs in a process of its own, so that its peak of memory is its own. A round is what a validator does once the
contributions are decoded: clip the scales, find clusters, two passes over the random sequences (now, and under the
state before for the health lane), one pass forward and back for the gradient, and the measuring of every contribution.
What depends on N otherwise than by N times one contribution is run at that N; one contribution is measured by itself,
`REPEATS` times, and counts N times. Updates are synthetic, with the model's own chunk and density, weights are the
initial ones: neither changes what a pass costs.

`contributions_per_second` is N over the processor time of the round on one thread; `forward_share` the part of that
time that is spent inside the model's forward passes; `peak_bytes` by how much the process grew at most over what it
held before the model was built, after a first round with the smallest model; the updates are included.
"""

from __future__ import annotations

import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from emerit.codec import SparseUpdate, kept_per_chunk

Figures = dict[str, Any]

REPEATS = 3
FEW = 4
SMALLEST = "tiny"
RESET_PEAK = Path("/proc/self/clear_refs")
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
    if name != SMALLEST:
        measure(SMALLEST, counts[:1])  # what is loaded and built only once is not counted
    spec, random = preset(name), np.random.default_rng(0)
    begin_bytes = forget_peak()
    size = parameter_count(spec.model)
    model = FlatModel(spec.model)
    model.load(to_float(initial_values(spec.model, bytes(32))))
    model.module.eval()
    length = spec.model.context + 1
    tokens = random.integers(0, spec.vocabulary, (spec.scoring.random_sequences, length), dtype=np.uint16)
    own = random.integers(0, spec.vocabulary, (spec.scoring.own_sequences, length), dtype=np.uint16)
    popularity = random.standard_normal(size, dtype=np.float32) * np.float32(1.2)
    updates = {each: synthetic(each, popularity, spec.codec.chunk, spec.codec.k) for each in range(FEW)}
    clock = ForwardClock(model.module)
    base, one = of_one(spec, model, dict(updates), tokens, own, clock)
    figures: Figures = {key: {} for key in NAMES}
    for count in counts:
        for each in range(len(updates), count):
            updates[each] = synthetic(each, popularity, spec.codec.chunk, spec.codec.k)
        given = {each: updates[each] for each in range(count)}
        together = clock.timed(partial(of_all, spec, model, given, tokens))
        total, passes = (2 * b + count * (o - b) + t for b, o, t in zip(base, one, together, strict=True))
        found = count / total, passes / total, peak_bytes() - begin_bytes
        for key, value in zip(NAMES, found, strict=True):
            figures[key][str(count)] = value
    return figures | {"size_parameters": size}


@dataclass
class ForwardClock:
    """Adds up the processor time that is spent in a module's forward passes."""

    module: Any
    seconds: float = 0.0

    def __post_init__(self) -> None:
        """Look at every forward pass from now on."""
        self._begin = 0.0
        self.module.register_forward_pre_hook(self._enter)
        self.module.register_forward_hook(self._leave)

    def timed(self, act: Callable[[], object]) -> tuple[float, float]:
        """Return the processor time of an act, and how much of it was spent in forward passes."""
        self.seconds = 0.0
        whole = cpu_seconds(act)
        return whole, self.seconds

    def _enter(self, *_: object) -> None:
        self._begin = time.process_time()

    def _leave(self, *_: object) -> None:
        self.seconds += time.process_time() - self._begin


def of_one(
    spec: Any,
    model: Any,
    updates: dict[int, SparseUpdate],
    tokens: NDArray[np.uint16],
    own: NDArray[np.uint16],
    clock: ForwardClock,
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return processor time, and the forward passes' part of it, of a round in which none and one is measured.

    Medians; they run in turn, so that a busy machine slows both alike.
    """
    from emerit.scoring.evaluate import evaluate_round

    def measured(slots: list[int]) -> None:
        evaluate_round(model, updates, tokens, dict.fromkeys(updates, own), spec.scoring, spec.outer, order=slots)

    without, with_one = [], []
    for _ in range(REPEATS):
        without.append(clock.timed(lambda: measured([])))
        with_one.append(clock.timed(lambda: measured([0])))
    return statistics.median_low(without), statistics.median_low(with_one)


def of_all(spec: Any, model: Any, updates: dict[int, SparseUpdate], tokens: NDArray[np.uint16]) -> None:
    """Do what is done with all contributions together."""
    from emerit.scoring.evaluate import trial_step
    from emerit.scoring.fast_checks import clip_scales
    from emerit.scoring.first_order import first_order_gains
    from emerit.scoring.similarity import find_clusters

    clipped = clip_scales(updates, {})
    find_clusters(clipped, dict.fromkeys(clipped, 1000), spec.codec.chunk, spec.codec.k, seed=bytes(32))
    first_order_gains(model, clipped, tokens, trial_step(spec.scoring, spec.outer))


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


def forget_peak() -> int:
    """Begin a new peak of memory where the system can (Linux), and return what the process holds."""
    if RESET_PEAK.exists():
        RESET_PEAK.write_text("5")
    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """Return the most memory that this process has held at once since `forget_peak`."""
    if RESET_PEAK.exists():
        found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert found is not None
        return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in bytes on macOS


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], [int(word) for word in sys.argv[2:]])))
