"""What the house tests look at: the files that are, or would be, under version control, and their syntax trees."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[3]
SHIPPED = ("src/", "node/", "validator/")
NOT_OURS = ("contracts/node_modules/", "src/emerit/api/static/vendor/")


@cache
def tracked_files() -> tuple[str, ...]:
    """Paths relative to the root: what Git tracks, and new files that it does not ignore."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return tuple(sorted({name for name in answer.split("\0") if name and (ROOT / name).is_file()}))


@cache
def python_files() -> tuple[str, ...]:
    """Every Python file of ours: modules, tests, and scripts that say so in their first line."""
    found = []
    for name in tracked_files():
        if name.startswith(NOT_OURS):
            continue
        path = ROOT / name
        if path.suffix == ".py":
            found.append(name)
        elif name.startswith("scripts/"):
            with path.open("rb") as file:
                if b"python" in file.readline():
                    found.append(name)
    return tuple(found)


def shipped_python_files() -> tuple[str, ...]:
    """The Python files that users run."""
    return tuple(name for name in python_files() if name.startswith(SHIPPED))


@cache
def source(name: str) -> str:
    """Text of a file."""
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def syntax(name: str) -> ast.Module:
    """Syntax tree of a Python file."""
    return ast.parse(source(name), name)


@cache
def script(name: str) -> ModuleType:
    """The module scripts/NAME.py; the folder is no package."""
    spec = importlib.util.spec_from_file_location(f"house_{name}", ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
