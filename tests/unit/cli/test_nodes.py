"""`emerit trainer status`: running, stale, stopped or finished, from the heartbeat and the process behind it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from emerit.cli.main import run
from emerit.cli.nodes import STALE_SECONDS

ACCOUNT, RUN = "0x" + "ab" * 20, "cd" * 20


@pytest.fixture
def dead() -> int:
    """Process id of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def heartbeat(folder: Path, name: str = f"{ACCOUNT}-{RUN}-01234567", **fields: Any) -> None:
    record = {"time": time.time(), "pid": os.getpid(), "waiting_for": "the run's start", "round": 3, "phase": "TRAIN"}
    path = folder / name / "heartbeat.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record | fields))


def status(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, list[dict[str, Any]]]:
    code = run(["trainer", "status", "--json", *more])
    return code, json.loads(capsys.readouterr().out)


@pytest.fixture
def nodes(tmp_path: Path) -> Path:
    return tmp_path / "home/nodes"


def test_no_node_is_exit_3(capsys: pytest.CaptureFixture[str]) -> None:
    assert status(capsys) == (3, [])
    assert run(["validator", "status"]) == 3
    assert "No node has run here" in capsys.readouterr().out


def test_a_node_that_runs(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(nodes)
    code, rows = status(capsys)
    assert (code, rows[0]["state"], rows[0]["round"]) == (0, "running", 3)
    assert run(["trainer", "status"]) == 0
    printed = capsys.readouterr().out
    assert f"{ACCOUNT} on run 0xcdcdcdcd…: running, round 3, train, waiting for the run's start" in printed


def test_the_role_is_told(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(nodes, role="validator")
    assert status(capsys)[1][0]["role"] == "validator"
    run(["trainer", "status"])
    assert f"validator {ACCOUNT} on run" in capsys.readouterr().out


def test_a_node_that_hangs(nodes: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    heartbeat(nodes)
    later = time.time() + STALE_SECONDS + 1
    monkeypatch.setattr(time, "time", lambda: later)
    code, rows = status(capsys)
    assert (code, rows[0]["state"]) == (3, "stale")


def test_a_node_that_was_killed(nodes: Path, dead: int, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(nodes, pid=dead)
    code, rows = status(capsys)
    assert (code, rows[0]["state"]) == (3, "stopped")


def test_a_pid_that_another_process_has_now(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(nodes, time=1.0)
    code, rows = status(capsys)
    assert (code, rows[0]["state"]) == (3, "stopped")


def test_finished_nodes_are_no_trouble(nodes: Path, dead: int, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(nodes, "old", pid=dead, phase="FINISHED")
    code, rows = status(capsys)
    assert (code, rows[0]["state"]) == (0, "finished")
    heartbeat(nodes, "new")
    code, rows = status(capsys)
    assert (code, [row["state"] for row in rows]) == (0, ["running", "finished"])


def test_a_folder_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heartbeat(tmp_path / "elsewhere")
    assert status(capsys, "--data-dir", "elsewhere")[0] == 0
    assert status(capsys)[0] == 3


def test_before_the_chain_was_read(nodes: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = nodes / "some-node/heartbeat.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"time": time.time(), "pid": os.getpid(), "waiting_for": "the chain"}))
    assert run(["trainer", "status"]) == 0
    assert "round unknown" in capsys.readouterr().out
