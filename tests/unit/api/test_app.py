"""The application around the answers: before the first snapshot, its errors, its documentation, its health."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import subprocess
import sys
import threading
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from emerit.api.app import Health, create_app
from emerit.api.refresh import STALL_SECONDS, Pulse, Refresher, health_of
from emerit.api.snapshot import Snapshot
from emerit.errors import UnavailableError
from emerit.telemetry import Metrics
from tests.unit.api.builders import FakeRun, copies, registry, settled_entry

ROOT = Path(__file__).parents[3]
STATIC = ROOT / "src/emerit/api/static"
MEMBERS = registry(trainers=3, validators=3)
ROUTES = ["/v1/run", "/v1/rounds", "/v1/rounds/0", "/v1/participants", "/v1/events", "/v1/challenges"]
ROUTES += [f"/v1/{kind}/0x{'12' * 20}" for kind in ("participants", "reputation", "claims")]
ROUTES += [f"/v1/ccip/0x{'12' * 20}/0x{'00' * 36}"]


class FixedSource:
    """A source whose snapshot the test sets."""

    index: Any = None

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.now = snapshot

    def snapshot(self) -> Snapshot | None:
        return self.now

    def reputation_on_chain(self, account: str) -> int:
        raise ZeroDivisionError(f"a fault of ours, about {account}")


def app_of(source: FixedSource) -> FastAPI:
    return create_app(source, Health(lambda: True, dict), CollectorRegistry())


def get(app: FastAPI, path: str) -> httpx.Response:
    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.mark.parametrize("route", ROUTES)
def test_before_the_first_snapshot_the_api_says_that_it_starts(route: str) -> None:
    reply = get(app_of(FixedSource()), route)
    assert reply.status_code == 503 and reply.headers["retry-after"] == "2"
    assert (reply.json()["code"], reply.headers["content-type"]) == ("starting", "application/problem+json")


def test_a_fault_of_ours_tells_a_stranger_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    entries = copies(settled_entry(MEMBERS, 0, [(3, 2, 1)] * 3), 1)
    snapshot, _ = FakeRun(MEMBERS, entries).collector().collect()
    reply = get(app_of(FixedSource(snapshot)), f"/v1/reputation/{MEMBERS[0].account}")
    assert (reply.status_code, reply.json()["code"]) == (500, "internal-error")
    assert "fault of ours" not in reply.text
    assert "fault of ours" in capsys.readouterr().out


def test_health_can_fail() -> None:
    checks = {"refresh": "rpc-timeout", "rpc": "ok"}
    health = Health(lambda: False, lambda: checks)
    app = create_app(FixedSource(), health, CollectorRegistry())
    assert (get(app, "/livez").status_code, get(app, "/livez").json()) == (503, {"alive": False})
    assert (get(app, "/readyz").status_code, get(app, "/readyz").json()["checks"]) == (503, checks)
    checks["refresh"] = "ok"
    assert get(app, "/readyz").json() == {"ready": True, "checks": checks}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_pulse_is_that_of_one_thread() -> None:
    clock, held, beat = Clock(), threading.Event(), threading.Event()
    pulse = Pulse(clock)
    assert not pulse.alive()

    def work() -> None:
        beat.wait(10)
        pulse.beat()
        held.wait(10)

    pulse.thread = threading.Thread(target=work)
    pulse.thread.start()
    clock.now = STALL_SECONDS - 1
    assert pulse.alive()
    pulse.beat()  # from another thread: no sign of life of that one
    clock.now = STALL_SECONDS
    assert not pulse.alive()
    beat.set()
    while pulse.last == 0.0:
        pass
    assert pulse.alive()
    held.set()
    pulse.thread.join()
    assert not pulse.alive()


def refresher_of(collector: Any) -> Refresher:
    idle: Any = type("Idle", (), {"load_next": lambda _self: False})()
    return Refresher(collector, idle, idle, idle, Metrics("api"), every_seconds=0.01)


def test_a_failing_refresh_is_named_and_tried_again() -> None:
    run = FakeRun(MEMBERS, copies(settled_entry(MEMBERS, 0, [(3, 2, 1)] * 3), 1))
    collector, tries, failed, done = run.collector(), [0], threading.Event(), threading.Event()
    collect = collector.collect

    def flaky() -> Any:
        tries[0] += 1
        if tries[0] == 1:
            raise UnavailableError("rpc-timeout", "No answer.")
        if tries[0] == 2:
            failed.set()
            done.wait(10)
        return collect()

    collector.collect = flaky  # type: ignore[method-assign]
    refresher = refresher_of(collector)
    health = health_of(refresher, {})
    refresher.start()
    assert failed.wait(10) and health.checks() == {"refresh": "rpc-timeout"} and refresher.snapshot() is None
    done.set()
    while refresher.snapshot() is None:
        pass
    assert health.checks() == {"refresh": "ok"} and health.alive()
    refresher.end(5)
    assert not health.alive()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_fault_in_the_refresh_ends_its_life_visibly() -> None:
    class Broken:
        def collect(self) -> Any:
            raise ZeroDivisionError

    refresher = refresher_of(Broken())
    refresher.start()
    assert refresher.pulse.thread is not None
    refresher.pulse.thread.join(10)
    assert not health_of(refresher, {}).alive()
    refresher.end(5)


# ---- what is checked in


def test_the_openapi_document_is_what_the_program_says() -> None:
    command = [sys.executable, "scripts/openapi", "--check"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_the_page_loads_nothing_from_elsewhere_and_has_nothing_inline() -> None:
    own = [path for path in STATIC.rglob("*") if path.suffix in (".html", ".js", ".css") and "vendor" not in path.parts]
    assert len(own) >= 3
    for path in own:
        text = path.read_text()
        assert not re.search(r"""["'(]\s*(https?:)?//""", text), path
        if path.suffix == ".html":
            assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", text), path


def test_vendored_files_are_those_that_are_listed() -> None:
    folder = Path(str(files("emerit.api").joinpath("static", "vendor")))
    listed = json.loads((folder / "vendor.json").read_text())
    for item in listed:
        assert hashlib.sha256((folder / item["file"]).read_bytes()).hexdigest() == item["sha256"], item["file"]
    scripts = {path.name for path in folder.iterdir() if path.suffix in (".js", ".css")}
    assert scripts == {item["file"] for item in listed}
