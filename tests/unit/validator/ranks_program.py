"""One rank of a validator of several processes, for `test_ranks`: `python -m ... FOLDER rounds|forever`.

Rank 0 scores rounds and writes vectors and evidence; the others serve.
"""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from emerit.run.state import StateFollower
from emerit.scoring.sample import CERTAIN, Sample
from emerit.training.distributed import Ranks, joined, place_from_environment
from emerit.training.threads import single_thread
from emerit_validator.intake import Intake
from emerit_validator.measuring import BenchFactory
from emerit_validator.ranks import serve, shared_bench
from emerit_validator.scorer import Scorer
from emerit_validator.seeds import RoundSeeds
from emerit_validator.weighing import Scored
from tests.unit.validator.stage import ROOT, SIZE, TINY, VALUES, Client, Store, context, loop, manifest, update

DEADLINE_SECONDS = 120.0
SLOTS = 5  # with two ranks the last one has nothing to do in the end
OWNERS = {slot: 20 + slot for slot in range(SLOTS)}
CONSENSUS = {0: 10, 1: 500, 3: 900}


def seeds(number: int, sample: Sample | None = None) -> RoundSeeds:
    order = {slot: slot for slot in range(SLOTS)}
    return RoundSeeds(number, bytes(32), bytes([number]) * 32, SLOTS, order, OWNERS, number - 1, sample)


def score(folder: Path, make_bench: BenchFactory | None, budget: int = 99, rounds: int = 3) -> list[Scored]:
    """Score rounds one after the other; in the last one, time is over after `budget` contributions."""
    client, store = Client(), Store()
    run = context(store, client)
    scorer = Scorer(run, run.dataset(folder / "corpus"), folder, make_bench)
    state = StateFollower(run, folder, VALUES, None, ROOT, 0)
    found = []
    for number in range(4, 4 + rounds):
        accepted = {slot: update(10 * number + slot) for slot in range(SLOTS)}
        destroyed = np.full_like(accepted[2].scales, 60_000)
        accepted[2] = replace(accepted[2], scales=destroyed)
        intake = Intake(run, loop(client, folder), number, ROOT, {}, accepted=accepted)
        measured: list[int] = []

        def over(measured: list[int] = measured, last: bool = number == 3 + rounds) -> bool:
            return last and len(measured) >= budget

        scored = scorer.score(
            seeds(number, Sample((4, 1, 0), dict.fromkeys(range(SLOTS), CERTAIN // 2)) if number == 5 else None),
            state,
            intake,
            CONSENSUS,
            deadline=math.inf,
            on_progress=lambda done, _, measured=measured: measured.append(done),
            stopped=over,
        )
        if scored is None:
            break
        scorer.remember(number, scored)
        found.append(scored)
        state.previous, state.values = state.values, state.values.copy()
        state.values[np.arange(0, SIZE, 7)] += np.int32(1 << 12)
    return found


def write(folder: Path, scored: list[Scored]) -> None:
    folder.mkdir(exist_ok=True)
    for place, item in enumerate(scored):
        (folder / f"{place}.json").write_bytes(item.evidence)
        (folder / f"{place}.vector").write_bytes(np.array(item.vector, dtype=np.uint16).tobytes())


def lead(ranks: Ranks, folder: Path, mode: str) -> None:
    bench = shared_bench(ranks, manifest(Store()))
    if mode == "rounds":
        write(folder / "many", score(folder, bench))
        return
    number = 0
    while True:
        (folder / str(number)).mkdir()
        score(folder / str(number), bench, rounds=1)
        number += 1
        print(number, flush=True)


def main() -> None:
    single_thread()
    folder, mode = Path(sys.argv[1]), sys.argv[2]
    place = place_from_environment()
    assert place is not None and TINY.model == manifest(Store()).model
    with joined(place, DEADLINE_SECONDS) as ranks:
        if place.rank == 0:
            lead(ranks, folder, mode)
        else:
            ranks.ignore_signals()
            print("serving", flush=True)
            serve(ranks)


if __name__ == "__main__":
    main()
