from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emerit.errors import PreconditionError
from emerit.run.node import NodeLoop, lock_folder


def test_two_nodes_cannot_work_in_one_folder(tmp_path: Path) -> None:
    lock_folder(tmp_path)
    program = (
        "import sys, json\nfrom pathlib import Path\nfrom emerit.errors import PreconditionError\n"
        "from emerit.run.node import lock_folder\n"
        "try:\n    lock_folder(Path(sys.argv[1]))\n    print('null')\n"
        "except PreconditionError as e:\n    print(json.dumps(e.as_dict()))\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(answer.stdout)["code"] == "folder-locked"


def test_a_lock_goes_with_its_process(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom emerit.run.node import lock_folder\nlock_folder(Path(sys.argv[1]))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=60)
    try:
        lock_folder(tmp_path)
    except PreconditionError as error:
        pytest.fail(f"still locked: {error}")


def test_a_heartbeat_says_whose_it_is(tmp_path: Path) -> None:
    NodeLoop(None, tmp_path, role="validator").heartbeat("the draw")  # type: ignore[arg-type]
    record = json.loads((tmp_path / "heartbeat.json").read_text())
    assert (record["role"], record["waiting_for"], record["pid"]) == ("validator", "the draw", os.getpid())
