"""A validator of two gloo processes against one of one process, and the ends of its processes."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest

from emerit.protocol import minifloat
from emerit.scoring.evaluate import Trial
from emerit.scoring.shared import packed, unpacked
from tests.unit.training.ranks import end_after_a_kill, ended, start_ranks
from tests.unit.validator.ranks_program import SLOTS, score, write
from tests.unit.validator.stage import update

PROGRAM = "tests.unit.validator.ranks_program"

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_a_rank_gets_is_what_was_given_for_it(dtype: type) -> None:
    trials = [Trial(7 + n, update(n), np.full((2 + n, 5), 200 + n, dtype=dtype)) for n in range(2)]
    heads, data = packed(trials, 3)
    for rank, trial in enumerate(trials):
        found = unpacked(heads, data, rank, np.dtype(dtype).itemsize)
        assert found is not None and (found.slot, found.update) == (trial.slot, trial.update)
        assert found.own_tokens.dtype == dtype
        np.testing.assert_array_equal(found.own_tokens, trial.own_tokens)
    assert unpacked(heads, data, 2, np.dtype(dtype).itemsize) is None


def test_two_processes_give_the_vectors_and_the_evidence_of_one(tmp_path: Path) -> None:
    """A destroyed model, a sample, a health lane and a history included; also an odd number of contributions.

    The second process is told to stop at the beginning, as Ctrl-C tells all: it serves until rank 0 has ended.
    """
    ranks = start_ranks(PROGRAM, tmp_path, "rounds")
    assert ranks[1].stdout is not None
    assert ranks[1].stdout.readline() == "serving\n"
    ranks[1].send_signal(signal.SIGINT)
    ranks[1].send_signal(signal.SIGTERM)
    said = [ended(process) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    write(tmp_path / "one", score(tmp_path / "one", None))
    names = sorted(path.name for path in (tmp_path / "one").iterdir() if path.suffix in (".json", ".vector"))
    assert len(names) == 7, "three rounds, and the history"
    for name in names:
        if name != "history.json":
            assert (tmp_path / "many" / name).read_bytes() == (tmp_path / "one" / name).read_bytes(), name
    vector = np.frombuffer((tmp_path / "many/1.vector").read_bytes(), np.uint16)
    assert set(np.flatnonzero(vector == minifloat.ABSTAIN)) == {2 + 2, 2 + 3}, "what was not in the sample"
    record = json.loads((tmp_path / "many/2.json").read_bytes())
    assert len(record["basis"]["measured"]) == SLOTS and record["health"] is not None


@pytest.mark.parametrize("victim", [0, 1])
def test_no_process_outlives_a_killed_one(tmp_path: Path, victim: int) -> None:
    code, said = end_after_a_kill(PROGRAM, tmp_path, victim)
    assert code not in (0, -signal.SIGKILL)
    assert "ranks-lost" in said or (victim == 0 and "leader-lost" in said), said
