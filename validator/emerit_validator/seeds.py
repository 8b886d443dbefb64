"""What fixes a round's measuring at every validator alike: both draws, who is who, who is measured."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emerit.chain.run_client import RunClient
from emerit.protocol.assignment import assigned_sequences, evaluation_sequences, own_sample
from emerit.protocol.manifest import Manifest
from emerit.scoring.sample import Sample, Standings, draw_sample, sample_size


@dataclass(frozen=True)
class RoundSeeds:
    """What fixes a round's data: both draws and the registry; `owners` maps a trainer slot to its registry index.

    `settled_round` is the last settled round that judged contributions, whose consensus weights are known; -1 if there
    is none. `sample` says who is measured and in which order, None for everybody.
    """

    round: int
    assign_seed: bytes
    eval_seed: bytes
    trainer_slots: int
    commit_order: dict[int, int]
    owners: dict[int, int]
    settled_round: int = -1
    sample: Sample | None = None


def round_seeds(
    client: RunClient,
    number: int,
    assign_seed: bytes,
    eval_seed: bytes,
    revealed: Collection[int],
    coverage: tuple[int, int],
    standings: Standings,
    judged: int | None,
) -> RoundSeeds:
    """Gather from the chain what fixes the measuring of a round, the open one or one of the past.

    Args:
        assign_seed: what assigned the round's work (`emerit.run.work`).
        revealed: the trainer slots that revealed.
        coverage: how many contributions of `judged` were voted on, and how many there were.
        standings: what settled rounds say of the trainers, by slot.
        judged: the last settled round that judged contributions, None if there is none.
    """
    members = client.members_in(number)
    return RoundSeeds(
        round=number,
        assign_seed=assign_seed,
        eval_seed=eval_seed,
        trainer_slots=members.trainer_slots,
        commit_order={item.slot: place for place, item in enumerate(client.commits(number))},
        owners={entry.slot: entry.index for entry in members.active_trainers()},
        settled_round=-1 if judged is None else judged,
        sample=draw_sample(revealed, sample_size(*coverage), eval_seed, standings),
    )


def round_sequences(
    manifest: Manifest, seeds: RoundSeeds, slots: Collection[int]
) -> tuple[NDArray[np.int64], dict[int, NDArray[np.int64]]]:
    """Return the numbers of the round's random sequences, and of the sample of its own for each of the slots."""
    assigned_count, total = manifest.training.assigned_sequences, manifest.corpus.train_sequences
    count = manifest.scoring.random_sequences
    random_ids = evaluation_sequences(
        seeds.assign_seed, seeds.eval_seed, seeds.trainer_slots, assigned_count, total, count
    )
    own = {}
    for slot in slots:
        assigned = assigned_sequences(seeds.assign_seed, slot, assigned_count, total, count)
        own[slot] = own_sample(seeds.eval_seed, slot, assigned, manifest.scoring.own_sequences)
    return random_ids, own
