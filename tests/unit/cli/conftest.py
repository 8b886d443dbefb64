"""Every test of the command line runs in an empty folder, with no settings of the person who runs it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        if name.startswith("EMERIT_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("EMERIT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
