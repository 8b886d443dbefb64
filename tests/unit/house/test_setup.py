"""`make setup`: what it skips, what it repairs, and what it says when it cannot go on. Nothing is installed here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.unit.house.tree import ROOT, script

setup = script("setup_steps")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout that is set up, as far as its stamps say; its .venv has this interpreter."""
    for name in ("scripts", "contracts", ".venv/bin", "contracts/node_modules"):
        (tmp_path / name).mkdir(parents=True, exist_ok=True)
    for name in ("setup", "setup_steps.py"):
        shutil.copy(ROOT / "scripts" / name, tmp_path / "scripts" / name)
    for name in ("pyproject.toml", "requirements.lock", "requirements-corpus.lock", "requirements-node.lock"):
        shutil.copy(ROOT / name, tmp_path / name)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(ROOT / "contracts" / name, tmp_path / "contracts" / name)
    return tmp_path


def workshop_of(checkout: Path) -> setup.Workshop:  # type: ignore[name-defined]
    env = {"PATH": f"{checkout / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"}
    return setup.Workshop(checkout, env)


def stamp(checkout: Path) -> None:
    for part in setup.parts(workshop_of(checkout)):
        part.stamp_file.write_text(part.stamp())


def call(checkout: Path, **env: str) -> subprocess.CompletedProcess[str]:
    outside = {"PATH": os.environ["PATH"], "PYTHON": getattr(sys, "_base_executable", sys.executable)}
    return subprocess.run(
        [checkout / "scripts/setup"], env=outside | env, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


def test_a_checkout_that_is_set_up_is_left_alone_within_a_second(checkout: Path) -> None:
    stamp(checkout)
    began = time.monotonic()
    answer = call(checkout)
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")
    assert time.monotonic() - began < 5  # a second on an idle machine
    assert not (checkout / ".emerit").exists()


@pytest.mark.parametrize(
    ("changed", "stale"),
    [
        ("requirements.lock", [0]),
        ("requirements-corpus.lock", [0]),
        ("pyproject.toml", [0]),
        ("requirements-node.lock", [1]),
        ("contracts/package-lock.json", [2]),
    ],
)
def test_only_the_part_whose_inputs_changed_is_done_again(checkout: Path, changed: str, stale: list[int]) -> None:
    stamp(checkout)
    with (checkout / changed).open("a") as file:
        file.write("\n")
    assert [n for n, part in enumerate(setup.parts(workshop_of(checkout))) if not part.is_fresh()] == stale


def test_a_checkout_that_was_moved_is_set_up_again(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    stamp(checkout)
    moved = tmp_path_factory.mktemp("moved") / "emerit"
    shutil.move(checkout, moved)
    assert not setup.parts(workshop_of(moved))[0].is_fresh()


def test_an_interrupted_part_is_done_again(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp(checkout)
    workshop = workshop_of(checkout)
    (checkout / "requirements.lock").write_text("torch==0\n")
    calls: list[str] = []

    def interrupted(_workshop: object) -> None:
        calls.append("interrupted")
        raise KeyboardInterrupt

    monkeypatch.setattr(setup, "install_python", interrupted)
    with pytest.raises(KeyboardInterrupt):
        setup.set_up(workshop)
    monkeypatch.setattr(setup, "install_python", lambda _workshop: calls.append("whole"))
    assert setup.set_up(workshop) is True
    assert setup.set_up(workshop) is False
    assert calls == ["interrupted", "whole"]


def fake_python(folder: Path, version: str) -> Path:
    program = folder / f"python-{version}"
    program.write_text(f'#!/bin/sh\n[ "$1" = --version ] && echo "Python {version}" && exit\nexit 1\n')
    program.chmod(0o755)
    return program


def test_an_old_python_is_refused_with_cause_and_fix(checkout: Path, tmp_path: Path) -> None:
    old = fake_python(tmp_path, "3.9.2")
    answer = call(checkout, PYTHON=str(old))
    assert answer.returncode == 3
    assert "Python 3.9.2" in answer.stderr
    assert "fix: " in answer.stderr

    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "dirname", "head"):
        (tools / name).symlink_to(str(shutil.which(name)))
    for found, text in (("missing", "python3 is: missing"), ("old", "python3 is: Python 3.9.2")):
        if found == "old":
            (tools / "python3").symlink_to(old)
        answer = call(checkout, PYTHON="", PATH=str(tools))
        assert answer.returncode == 3
        assert text in answer.stderr
        assert "fix: " in answer.stderr


def test_a_failed_step_shows_the_end_of_its_log_with_cause_and_fix(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = (
        "for n in range(40): print(f'line {n}')\nprint('ERROR: No matching distribution found'); raise SystemExit(1)"
    )
    with pytest.raises(setup.SetupFailed) as caught:
        setup.run(workshop_of(checkout), "packages", [sys.executable, "-c", program])
    assert "no build of a pinned package" in caught.value.cause
    assert "PYTHON=" in caught.value.fix
    shown = capsys.readouterr().err
    assert "line 39" in shown
    assert "line 20" not in shown


@pytest.mark.parametrize(
    ("log", "code", "word"),
    [
        ("OSError: [Errno 28] No space left on device", 1, "disk"),
        ("npm error code ENOTFOUND", 1, "npm registry"),
        ("something new", 7, "ended with 7"),
        ("", -9, "memory"),
    ],
)
def test_known_failures_are_explained(log: str, code: int, word: str) -> None:
    cause, fix = setup.explain(log, code)
    assert word in cause
    assert fix


def test_a_small_disk_is_refused_before_anything_is_installed(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "NEEDED_DISK_BYTES", 1 << 70)
    with pytest.raises(setup.SetupFailed, match="set-up needs about"):
        setup.set_up(workshop_of(checkout))
    assert not (checkout / ".emerit/setup.log").exists()


def test_a_small_memory_is_warned_of(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(setup, "ADVISED_MEMORY_BYTES", 1 << 70)
    stamp(checkout)
    setup.check_room(workshop_of(checkout))
    assert "warning" in capsys.readouterr().out


@pytest.mark.parametrize(("version", "npm", "major"), [("v22.1.0", True, 22), ("v22.1.0", False, 0), ("odd", True, 0)])
def test_node_counts_only_with_npm(tmp_path: Path, version: str, npm: bool, major: int) -> None:
    for name in ("node", "npm") if npm else ("node",):
        (tmp_path / name).write_text(f"#!/bin/sh\necho {version}\n")
        (tmp_path / name).chmod(0o755)
    assert setup.node_major({"PATH": str(tmp_path)}) == major


def pins() -> dict[str, Version]:
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_lock_pins_all_that_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [
        *project["dependencies"],
        *(item for extra in project["optional-dependencies"].values() for item in extra),
    ]
    locked = pins()
    for requirement in map(Requirement, wanted):
        version = locked.get(canonicalize_name(requirement.name))
        assert version is not None, f"requirements.lock lacks {requirement.name}; see scripts/lock"
        assert requirement.specifier.contains(version, prereleases=True), f"{requirement} but {version} is locked"


def test_every_package_of_set_up_is_pinned_exactly() -> None:
    for name in ("requirements.lock", "requirements-corpus.lock", "requirements-node.lock"):
        for line in (ROOT / name).read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.!]*", line), (
                f"{name}: {line}"
            )


def test_make_lists_its_targets() -> None:
    answer = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
    for target in ("setup", "check", "test", "test-deep", "demo", "contracts", "clean"):
        assert f"make {target} " in answer.stdout


@pytest.mark.parametrize(
    "name", [".ci/run", "scripts/setup", "scripts/check", "scripts/test", "scripts/test_deep", "docker/start"]
)
def test_scripts_can_be_run_and_are_well_formed(name: str) -> None:
    path = ROOT / name
    assert os.access(path, os.X_OK)
    shell = "bash" if "bash" in path.read_text().splitlines()[0] else "sh"
    answer = subprocess.run([shell, "-n", path], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_the_test_command_refuses_a_stage_that_is_not_there() -> None:
    answer = subprocess.run(
        [ROOT / "scripts/test", "nothing"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert answer.returncode == 2
    assert "the stages are unit, contracts, integration, e2e" in answer.stderr
