"""A devnet that goes on in the background: which of its processes run, and stopping them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

STOP_DEADLINE_SECONDS = 8.0


@dataclass(frozen=True)
class Detached:
    """One process of a devnet, recognised by pid and time of birth."""

    name: str
    pid: int
    running: bool


def describe(pid: int) -> dict[str, float]:
    """What identifies a process although pids are used again."""
    return {"pid": pid, "born": psutil.Process(pid).create_time()}


def processes(record: dict[str, Any]) -> list[Detached]:
    """The devnet's processes and whether they run."""
    return [
        Detached(name, int(identity["pid"]), _find(identity) is not None)
        for name, identity in record["processes"].items()
    ]


def stop_devnet(record: dict[str, Any], folder: Path) -> list[str]:
    """Stop all processes, the chain last so that it can write its state; returns the names of those that ran."""
    stopped = []
    for name in sorted(record["processes"], key=lambda n: n == "chain"):
        process = _find(record["processes"][name])
        if process is None:
            continue
        stopped.append(name)
        process.terminate()
        try:
            process.wait(STOP_DEADLINE_SECONDS)
        except psutil.TimeoutExpired:
            process.kill()
    (folder / "devnet.json").unlink(missing_ok=True)
    return stopped


def _find(identity: dict[str, float]) -> psutil.Process | None:
    try:
        process = psutil.Process(int(identity["pid"]))
        same = abs(process.create_time() - identity["born"]) < 1.0
        return process if same and process.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None
