"""`.ci/run` on a checkout whose make targets are stand-ins: order, exit code, and what it leaves behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from tests.unit.house.tree import ROOT

MAKEFILE = """
setup check test demo:
\t@echo $@ $(ARGS) >> order.txt; test ! -e fail-$@ || exit 1; if [ -e hang-$@ ]; then sleep 600; fi
\t@if [ $@ = test ]; then setsid sleep 600 >/dev/null 2>&1 & echo $$! > leftover.pid; fi
\t@if [ $@ = demo ]; then echo "$$DEMO_EXIT $$EMERIT_DEMO_DIR" > demo.txt; mkdir "$$EMERIT_DEMO_DIR"; fi
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci/run", tmp_path / ".ci/run")
    (tmp_path / "Makefile").write_text(MAKEFILE)
    return tmp_path


def ci(checkout: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [checkout / ".ci/run"],
        env={**os.environ, "TMPDIR": str(checkout)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_it_runs_everything_in_order_and_leaves_nothing(checkout: Path) -> None:
    process = ci(checkout)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    steps = [line.split()[0] for line in (checkout / "order.txt").read_text().splitlines()]
    assert steps == ["setup", "check", "test", "demo"]
    ends, folder = (checkout / "demo.txt").read_text().split()
    assert ends == "1"
    assert not Path(folder).parent.exists()
    assert gone(int((checkout / "leftover.pid").read_text()))
    assert output.count(": ok,") == 4


@pytest.mark.parametrize(("failing", "steps"), [("check", 4), ("demo", 4), ("setup", 1)])
def test_it_ends_with_the_first_failure_and_still_reports_the_rest(checkout: Path, failing: str, steps: int) -> None:
    (checkout / f"fail-{failing}").touch()
    process = ci(checkout)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2, output  # make's code for a target that failed
    assert f"{failing}: FAILED with exit code 2" in output
    assert len((checkout / "order.txt").read_text().splitlines()) == steps


def test_a_signal_ends_it_and_what_it_started(checkout: Path) -> None:
    (checkout / "hang-check").touch()
    process = ci(checkout)
    assert process.stdout is not None
    with process.stdout as output:
        next(line for line in output if "check" in line)
        process.send_signal(signal.SIGTERM)
        output.read()
    assert process.wait(30) == 143
    marked = [p for p in psutil.process_iter(["cmdline"]) if "order.txt" in " ".join(p.info.get("cmdline") or [])]
    assert marked == []
    assert list(checkout.glob("tmp.*")) == []
