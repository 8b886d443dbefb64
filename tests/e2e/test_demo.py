"""The demo as a user starts it, at a small scale: what it writes, what the chain says, and that it stops on Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from emerit.chain.anvil import AnvilProcess
from emerit.chain.rpc import Chain
from emerit.chain.run_client import RunClient
from emerit.devnet.processes import free_ports

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420)]

ARGUMENTS = ("--preset", "tiny", "--rounds", "3", "--seed", "7")
FULL = (*ARGUMENTS, *("--trainers", "3", "--free-riders", "1", "--sybils", "2", "--validators", "2"))
# One process of each kind.
SMALL = (*ARGUMENTS, *("--trainers", "1", "--free-riders", "1", "--sybils", "0", "--validators", "1"))
ROLE_WORDS = ("honest", "free-rider", "free_rider", "sybil", "adversary", "leader", "follower")


def start_demo(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "emerit.devnet.demo", *arguments],
        env={**os.environ, "EMERIT_DEMO_DIR": str(folder), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str, dict[str, Any], list[str]]]:
    """A demo that has run to its end, with the command lines and environments of validators and API seen meanwhile."""
    folder = tmp_path_factory.mktemp("demo") / "run"
    process = start_demo(folder, *FULL, "--exit")
    seen: set[str] = set()
    lines: list[str] = []
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            lines.append(line)
            if "settled" in line and not seen:
                for child in family(process.pid):
                    command = child.cmdline()
                    if any(part in ("emerit_validator", "emerit.api") for part in command):
                        seen.update(command)
                        seen.update(f"{k}={v}" for k, v in child.environ().items() if k.startswith(("EMERIT", "DEMO")))
    process.wait(60)
    yield folder, "".join(lines), json.loads((folder / "summary.json").read_bytes()), sorted(seen)


def test_the_summary_says_what_the_schema_promises(finished: tuple[Path, str, dict[str, Any], list[str]]) -> None:
    folder, text, summary, _ = finished
    assert len(summary["rounds"]) == 3, text
    assert {p["role"] for p in summary["participants"]} == {"honest", "free-rider", "sybil", "validator"}
    assert set(summary["rounds"][0]) == {"round", "validation_loss", "accepted", "state_root", "blocks", "gas_used"}
    assert all(r["gas_used"] > 0 and r["blocks"] > 0 for r in summary["rounds"])
    assert all(isinstance(p["claimed_wei"], str) for p in summary["participants"])
    assert summary["rounds"][-1]["validation_loss"] < summary["initial_validation_loss"]
    for name in ("rounds_settled", "state_roots_agree", "claims_equal_payments", "honest_trainers_paid"):
        assert summary["checks"][name], summary["explanations"][name]
    assert (folder / "loss.svg").read_text().startswith("<svg")
    assert "Who earned what" in text


def test_roles_reach_neither_validators_nor_the_api(finished: tuple[Path, str, dict[str, Any], list[str]]) -> None:
    folder, _, _, seen = finished
    assert seen, "no validator was seen"
    told = [item for item in seen if any(word in item for word in ROLE_WORDS)]
    assert told == []
    logs = [path for path in (folder / "logs").glob("*.log") if path.name in ("api.log", "chain.log")]
    assert logs
    for path in [*logs, folder / "index.sqlite"]:
        data = path.read_bytes()
        assert not any(word.encode() in data for word in ROLE_WORDS), path.name


def test_the_chain_that_is_left_behind_can_be_loaded_and_agrees(
    finished: tuple[Path, str, dict[str, Any], list[str]],
) -> None:
    folder, _, summary, _ = finished
    with AnvilProcess(port=free_ports(1)[0], chain_id=summary["chain_id"], state_path=folder / "chain.json") as anvil:
        client = RunClient(Chain(anvil.rpc_url, summary["chain_id"]), summary["run"])
        assert client.finished()
        total = sum(int(p["claimed_wei"]) for p in summary["participants"])
        assert client.claimed_total() == total
        for person in summary["participants"]:
            assert client.token().balance_of(person["address"]) > 0
            assert client.claimed(person["address"]) == int(person["claimed_wei"])


def test_ctrl_c_stops_everything_within_ten_seconds(tmp_path: Path) -> None:
    process = start_demo(tmp_path / "run", *SMALL)
    assert process.stdout is not None
    with process.stdout as output:
        for line in output:
            if "round 1/" in line:
                break
        children = family(process.pid)
        assert len(children) >= 7, "chain, two IPFS nodes, API, trainer, free-rider, validator"
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        output.read()
    assert process.wait(15) == 130
    assert time.monotonic() - began < 10
    _, alive = psutil.wait_procs(children, timeout=2)
    assert alive == []


def test_a_folder_that_is_not_a_demos_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("keep me")
    process = start_demo(tmp_path, *SMALL)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "demo-folder-foreign" in text
    assert (tmp_path / "thesis.txt").read_text() == "keep me"
