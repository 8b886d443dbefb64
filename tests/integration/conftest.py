"""A real Anvil, as a process of its own on a free port, for the tests that need a chain."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from emerit.chain.anvil import AnvilProcess, find_anvil, free_port

ROOT = Path(__file__).parents[2]

AnvilFactory = Callable[..., AnvilProcess]


@pytest.fixture
def make_anvil(tmp_path: Path) -> Iterator[AnvilFactory]:
    """Start Anvils with the given settings; all are stopped at the end."""
    started: list[AnvilProcess] = []

    def make(**settings: Any) -> AnvilProcess:
        settings = {"port": free_port(), "log_path": tmp_path / "anvil.log", **settings}
        process = AnvilProcess(binary=find_anvil(ROOT), **settings).start()
        started.append(process)
        return process

    yield make
    for process in started:
        process.stop()


@pytest.fixture
def anvil(make_anvil: AnvilFactory) -> AnvilProcess:
    """An Anvil that mines each transaction at once and an empty block every second."""
    return make_anvil()


@pytest.fixture
def still_anvil(make_anvil: AnvilFactory) -> AnvilProcess:
    """An Anvil whose time stands still between transactions, for tests that move it themselves."""
    return make_anvil(block_time_seconds=None)
