"""One rank of a trainer of several processes, for `test_sharded`: `python -m ... FOLDER rounds|forever`.

Rank 0 plays rounds and writes what came out; the others serve.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from emerit.model import parameter_count
from emerit.protocol.manifest import Manifest
from emerit.training import initial_values
from emerit.training.distributed import Ranks, joined, place_from_environment
from emerit.training.threads import single_thread
from emerit_node.ranks import serve, sharded_worker
from emerit_node.worker import HonestWorker, Task
from tests.unit.validator.stage import TINY, Store, manifest

SECRET = b"private"
DEADLINE_SECONDS = 120.0
MOST_STEPS = 1 << 30


def odd_run() -> Manifest:
    """A small run whose batch of three does not divide by two ranks, and whose gradient is clipped."""
    training = replace(
        TINY.training,
        inner_steps=4,
        batch_sequences=3,
        assigned_sequences=12,
        warmup_steps=2,
        clip_norm=0.1,
        learning_rate=1e-3,
    )
    return replace(manifest(Store()), training=training)


RUN = odd_run()
START = initial_values(RUN.model, b"seed")
WIDTH = RUN.model.context + 1
TEXT = np.frombuffer(b"the quick brown fox jumps over the lazy dog; " * 300, dtype=np.uint8)
SEQUENCES = TEXT[: len(TEXT) // WIDTH * WIDTH].reshape(-1, WIDTH)


def task(number: int, stop_after: int = MOST_STEPS) -> Task:
    """The work of a round; told to stop after some steps."""
    done = 0

    def on_step(step: int, _steps: int, _loss: float) -> None:
        nonlocal done
        done = step

    first = 5 * number
    sequences = SEQUENCES[first : first + RUN.training.assigned_sequences]
    return Task(number, 0, START, sequences, on_step, lambda: done >= stop_after, bytes(32))


def play(worker: HonestWorker, out: Path) -> None:
    """Two rounds, and the first again after a restart that has another round between; all written to `out`."""
    found: dict[str, np.ndarray] = {}
    for number in range(2):
        update = worker.work(task(number))
        assert update is not None
        worker.save()
        found |= {f"indices{number}": update.indices, f"losses{number}": np.array(worker.last_losses)}
    trainer, path = worker.inner, out.with_suffix(".moments")
    for number in range(2, 4):
        found[f"delta{number}"] = trainer.run_round(number, START, task(number).sequences).delta
        if number == 2:
            trainer.save(path)
    trainer.run_round(9, START, task(4, 2).sequences, should_stop=lambda: False)
    assert trainer.load(path)
    found["delta3_again"] = trainer.run_round(3, START, task(3).sequences).delta
    stopping = task(4, stop_after=2)
    stopped = trainer.run_round(4, START, stopping.sequences, stopping.on_step, stopping.should_stop)
    found |= {"stopped_losses": np.array(stopped.losses), "stopped_delta": stopped.delta}
    found["steps"] = np.array([trainer.steps_done, int(stopped.stopped)])
    trainer.save(path)
    with open(out, "wb") as file:
        np.savez(file, **found)


def lead(ranks: Ranks, folder: Path, mode: str) -> None:
    worker = sharded_worker(ranks, RUN, folder, SECRET)
    if mode == "rounds":
        play(worker, folder / "sharded.npz")
        return
    number = 0
    while True:
        worker.work(task(number % 4))
        number += 1
        print(number, flush=True)


def main() -> None:
    single_thread()
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    place = place_from_environment()
    assert place is not None and parameter_count(RUN.model) == START.size
    with joined(place, DEADLINE_SECONDS) as ranks:
        if place.rank == 0:
            lead(ranks, folder, mode)
        else:
            serve(ranks)


if __name__ == "__main__":
    main()
