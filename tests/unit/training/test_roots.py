from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emerit.model import parameter_count, table_hash
from emerit.protocol.presets import preset

HERE = Path(__file__).parent
VECTORS_PATH = HERE.parents[1] / "vectors" / "state_roots.json"
VECTORS = json.loads(VECTORS_PATH.read_text())


def test_the_tables_are_those_of_the_vectors() -> None:
    for case in VECTORS["states"]:
        spec = preset(case["preset"]).model
        assert parameter_count(spec) == case["parameter_count"]
        assert table_hash(spec).hex() == case["table_hash"]


@pytest.mark.parametrize(("capability", "threads"), [("default", 1), ("avx2", 2), (None, 4)])
def test_roots_are_the_same_on_every_processor_and_thread_count(capability: str | None, threads: int) -> None:
    """`default` stands for a processor without vector extensions, None for what this one has."""
    expected = [case["root"] for case in VECTORS["states"]]
    for case in VECTORS["transitions"]:
        expected += [case["root_after"]] * 2
    environment = {key: value for key, value in os.environ.items() if key != "ATEN_CPU_CAPABILITY"}
    environment["OMP_NUM_THREADS"] = str(threads)
    if capability is not None:
        environment["ATEN_CPU_CAPABILITY"] = capability
    done = subprocess.run(
        [sys.executable, str(HERE / "roots_program.py"), str(VECTORS_PATH), str(threads)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(done.stdout) == expected
