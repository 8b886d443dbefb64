"""`scripts/test` in a checkout whose pytest and forge are stand-ins: stages side by side, exit codes, Ctrl-C."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.unit.house.tree import ROOT

# Each stage notes its beginning and end. At a pipe that has its name it waits until the test has read.
STAND_IN = f"""#!{sys.executable}
import os, signal, sys
from pathlib import Path

top = Path(os.environ["TOP"])
marker = sys.argv[-1]
stage = {{"test": "contracts", "not": "unit"}}.get(marker.split()[0], marker.split()[0])


def note(what):
    with (top / "order.txt").open("a") as order:
        order.write(f"{{stage}} {{what}}\\n")


signal.pthread_sigmask(signal.SIG_BLOCK, {{signal.SIGINT}})
note("begins")
print("output of", stage)
if (top / f"meet-{{stage}}").exists():
    (top / f"meet-{{stage}}").write_text("here")
if (top / f"hang-{{stage}}").exists():
    (top / f"hang-{{stage}}").write_text(str(os.getpid()))
    signal.sigwait({{signal.SIGINT}})
    note("interrupted")
    sys.exit(2)
note("ends")
code = top / f"fail-{{stage}}"
sys.exit(int(code.read_text()) if code.exists() else 0)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("scripts/test", ".venv/bin/pytest", "contracts/bin/forge", "bin/getconf"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(ROOT / "scripts/test", tmp_path / "scripts/test")
    programs = {".venv/bin/pytest": STAND_IN, "contracts/bin/forge": STAND_IN, "bin/getconf": "#!/bin/sh\necho 2\n"}
    for name, text in programs.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "temporary").mkdir()
    return tmp_path


def start(checkout: Path, *stages: str, **more: str) -> subprocess.Popen[str]:
    given = {"PATH": f"{checkout}/bin:{os.environ['PATH']}", "TMPDIR": f"{checkout}/temporary", "TOP": str(checkout)}
    return subprocess.Popen(
        [checkout / "scripts/test", *stages],
        env={**os.environ, **given, **more},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # A shell that runs these tests in the background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL) and None,
    )


def order(checkout: Path) -> list[str]:
    return (checkout / "order.txt").read_text().splitlines()


def test_two_stages_run_at_once_and_each_output_is_shown_once(checkout: Path) -> None:
    """Unit ends only when integration has begun, which is after contracts; what ran beside is shown after e2e."""
    for stage in ("unit", "integration"):
        os.mkfifo(checkout / f"meet-{stage}")
    process = start(checkout)
    # Both wait until their pipe is read: neither could, were they to run in a row.
    for stage in ("integration", "unit"):
        assert (checkout / f"meet-{stage}").read_text() == "here"
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    shown = [line.split()[-1] for line in output.splitlines() if line.startswith("output of")]
    assert shown == ["unit", "e2e", "contracts", "integration"]
    happened = order(checkout)
    for first, then in (("contracts ends", "integration begins"), ("unit ends", "e2e begins")):
        assert happened.index(first) < happened.index(then)
    report = r"make test: all passed: unit \d+ s, contracts \d+ s, integration \d+ s, e2e \d+ s; \d+ s in all\n"
    assert re.search(report, output)
    assert list((checkout / "temporary").iterdir()) == []


@pytest.mark.parametrize("more", [{"TEST_IN_A_ROW": "1"}, {}])
def test_one_after_the_other(checkout: Path, more: dict[str, str]) -> None:
    """As told, or as the machine has one core."""
    if not more:
        (checkout / "bin/getconf").write_text("#!/bin/sh\necho 1\n")
    output, _ = start(checkout, **more).communicate(timeout=60)
    stages = ("unit", "contracts", "integration", "e2e")
    assert order(checkout) == [f"{stage} {what}" for stage in stages for what in ("begins", "ends")]
    assert [line.split()[-1] for line in output.splitlines() if line.startswith("output of")] == [*stages]


@pytest.mark.parametrize(
    ("stages", "code"), [((), 5), (("e2e", "unit"), 7), (("integration", "contracts"), 4), (("contracts",), 5)]
)
def test_the_first_failure_decides_and_the_rest_still_runs(checkout: Path, stages: tuple[str, ...], code: int) -> None:
    for failing, its_code in (("contracts", 5), ("integration", 4), ("e2e", 7)):
        (checkout / f"fail-{failing}").write_text(str(its_code))
    process = start(checkout, *stages)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert f"FAILED (exit {code})" in output
    ran = stages or ("unit", "contracts", "integration", "e2e")
    assert sorted(order(checkout)) == sorted(f"{stage} {what}" for stage in ran for what in ("begins", "ends"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_both_sides(checkout: Path, number: signal.Signals, code: int) -> None:
    """As from a terminal, or from `timeout`: the signal goes to the process group of scripts/test."""
    for stage in ("unit", "contracts"):
        os.mkfifo(checkout / f"hang-{stage}")
    process = start(checkout)
    pids = [int((checkout / f"hang-{stage}").read_text()) for stage in ("unit", "contracts")]
    hanging = [psutil.Process(pid) for pid in pids]
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == code, output
    assert psutil.wait_procs(hanging, timeout=10)[1] == []
    assert "contracts interrupted" in order(checkout), "what ran beside could clean up"
    assert not any(line.endswith("ends") for line in order(checkout))
    assert list((checkout / "temporary").iterdir()) == []
