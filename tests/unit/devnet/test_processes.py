from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from emerit.devnet.processes import free_ports, require_free_port, start, stop_all
from emerit.errors import PreconditionError

SLEEPER = "import time\nprint('up', flush=True)\ntime.sleep(600)"
STUBBORN = (
    "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)"
)


def wait_for(condition: object, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "condition not reached"
        time.sleep(0.01)


def test_children_write_to_their_log_and_stop_on_request(tmp_path: Path) -> None:
    child = start("sleeper", [sys.executable, "-c", SLEEPER], tmp_path / "log")
    wait_for(lambda: "up" in child.tail())
    assert stop_all([child]) == []
    assert not child.running


def test_a_child_that_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    child = start("stubborn", [sys.executable, "-c", STUBBORN], tmp_path / "log")
    wait_for(lambda: "up" in child.tail())
    assert stop_all([child], grace_seconds=0.3) == ["stubborn"]
    assert not child.running


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="parent-death signals are Linux only")
def test_children_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom emerit.devnet.processes import start\n"
        f"child = start('c', [sys.executable, '-c', {SLEEPER!r}], Path(sys.argv[1]) / 'log')\n"
        "print(child.process.pid, flush=True)\ntime.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    with parent.stdout:
        pid = int(parent.stdout.readline())
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait(10)

    def gone() -> bool:
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    wait_for(gone)
    assert gone()


def test_ports_are_different_and_a_taken_one_is_a_named_error() -> None:
    import socket

    ports = free_ports(6)
    assert len(set(ports)) == 6
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PreconditionError) as caught:
            require_free_port(taken.getsockname()[1], "the API")
    assert caught.value.code == "port-in-use"
    assert caught.value.exit_code == 3
