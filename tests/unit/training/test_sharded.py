"""A trainer of two gloo processes against one of one process, and the ends of its processes.

The sums of a step are taken in another order, so the results differ in the last bits of a float32, and AdamW, which
divides by the gradient's own size, makes more of it where a gradient is next to zero. So the delta is compared as a
vector: its relative error stays below `DELTA_TOLERANCE`.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emerit.errors import UsageError
from emerit.training.distributed import Place, place_from_environment
from emerit.training.sharded import refuse_muon
from emerit_node.worker import HonestWorker
from tests.unit.training.ranks import end_after_a_kill, ended, environment, start_ranks
from tests.unit.training.ranks_program import RUN, SECRET, play

DELTA_TOLERANCE = 1e-5
LOSS_TOLERANCE = 1e-6
KEPT_SHARE = 0.999
PROGRAM = "tests.unit.training.ranks_program"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of the same rounds by one process and by two."""
    made = tmp_path_factory.mktemp("ranks")
    ranks = start_ranks(PROGRAM, made, "rounds")
    said = [ended(process) for process in ranks]
    assert [process.returncode for process in ranks] == [0, 0], said
    (made / "one").mkdir()
    play(HonestWorker(RUN, made / "one", SECRET), made / "one.npz")
    return made


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, np.ndarray]]:
    """First those of one process."""
    found = []
    for name in ("one.npz", "sharded.npz"):
        with np.load(folder / name, allow_pickle=False) as file:
            found.append(dict(file))
    return found


def relative_error(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.linalg.norm(one - other) / np.linalg.norm(one))


def test_losses_and_deltas_agree_with_one_process(results: list[dict[str, np.ndarray]]) -> None:
    one, two = results
    for name in ("losses0", "losses1", "stopped_losses"):
        np.testing.assert_allclose(two[name], one[name], rtol=LOSS_TOLERANCE)
    for name in ("delta2", "delta3", "stopped_delta"):
        assert relative_error(one[name], two[name]) < DELTA_TOLERANCE, name
    assert relative_error(one["delta2"], one["delta3"]) > 100 * DELTA_TOLERANCE, "rounds differ by far more"


def test_the_contributions_keep_the_same_positions(results: list[dict[str, np.ndarray]]) -> None:
    one, two = results
    for name in ("indices0", "indices1"):
        same = len(np.intersect1d(one[name], two[name]))
        assert same >= KEPT_SHARE * len(one[name]), name


def test_a_restart_continues_to_the_bit(results: list[dict[str, np.ndarray]]) -> None:
    for found in results:
        np.testing.assert_array_equal(found["delta3_again"], found["delta3"])


def test_a_round_that_was_stopped_is_counted_as_far_as_it_came(results: list[dict[str, np.ndarray]]) -> None:
    one, two = results
    assert len(two["stopped_losses"]) == 2
    np.testing.assert_array_equal(one["steps"], two["steps"])


def test_one_process_takes_up_what_two_have_saved(folder: Path) -> None:
    one, two = (HonestWorker(RUN, folder / "new", SECRET).inner for _ in range(2))
    assert one.load(folder / "one.moments")
    assert two.load(folder / "sharded.moments")
    assert one.steps_done == two.steps_done > 0
    for name, moment in one._engine.moments().items():
        assert relative_error(moment, two._engine.moments()[name]) < DELTA_TOLERANCE, name


@pytest.mark.parametrize("victim", [0, 1])
def test_no_process_outlives_a_killed_one(tmp_path: Path, victim: int) -> None:
    code, said = end_after_a_kill(PROGRAM, tmp_path, victim)
    assert code not in (0, -signal.SIGKILL)
    assert "ranks-lost" in said or (victim == 0 and "leader-lost" in said), said


def test_under_torchrun_all_end_when_rank_0_cannot_start(tmp_path: Path) -> None:
    """Rank 0 has no password: it says so, the launcher ends, and nobody else looked for a wallet, chain or IPFS."""
    where = ["--rpc-url", "http://127.0.0.1:9", "--ipfs-api", "http://127.0.0.1:9", "--run-address", "0x" + "11" * 20]
    node = ["-m", "emerit_node", *where, "--wallet", "nobody", "--wallet-dir", str(tmp_path), "--data-dir"]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    given = {name: value for name, value in environment(0, 1, 0).items() if "RANK" not in name and name != "WORLD_SIZE"}
    process = subprocess.Popen(
        [*launcher, *node, str(tmp_path / "node")],
        env=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said = ended(process)
    assert process.returncode == 1
    assert said.count("password-missing") == 1, said
    assert not (tmp_path / "node").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"WORLD_SIZE": "2"},
        {"WORLD_SIZE": "x", "RANK": "0", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "2", "RANK": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "a", "MASTER_PORT": "1"},
        {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "b"},
        {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_PORT": "1"},
    ],
)
def test_half_an_environment_is_refused(given: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert place_from_environment() is None
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="ranks-invalid"):
        place_from_environment()


def test_torchrun_says_which_process_this_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(1, 2, 4000).items():
        monkeypatch.setenv(name, value)
    assert place_from_environment() == Place(1, 1, 2)
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert place_from_environment() is None, "one process is a trainer as ever"


def test_muon_over_several_devices_is_refused() -> None:
    refuse_muon(RUN.training)
    with pytest.raises(UsageError, match="muon-sharded"):
        refuse_muon(replace(RUN.training, optimiser="muon"))
