"""Files and functions stay small enough to read."""

from __future__ import annotations

import ast
import statistics

from tests.unit.house.tree import NOT_OURS, python_files, shipped_python_files, source, syntax, tracked_files

MOST_FILE_LINES = 600
MOST_MEDIAN_LINES = 220
MOST_FUNCTION_LINES = 120
CODE = (".py", ".sol", ".js", ".css", ".html", ".sh")


def lines(name: str) -> int:
    return source(name).count("\n")


def code_files() -> list[str]:
    written = [name for name in tracked_files() if name.endswith(CODE) and not name.startswith(NOT_OURS)]
    return sorted({*written, *python_files()})


def test_no_file_is_too_long() -> None:
    long = [f"{name}: {lines(name)} lines" for name in code_files() if lines(name) > MOST_FILE_LINES]
    assert not long, "\n" + "\n".join(long)


def test_most_files_are_short() -> None:
    shipped = [lines(name) for name in shipped_python_files() if lines(name) > 10]
    assert statistics.median(shipped) <= MOST_MEDIAN_LINES


def test_no_function_is_too_long() -> None:
    long = []
    for name in python_files():
        for node in ast.walk(syntax(name)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    long.append(f"{name}:{node.lineno} {node.name} has {length} lines")
    assert not long, "\n" + "\n".join(long)


def test_no_module_is_a_drawer_for_everything() -> None:
    vague = {"utils.py", "util.py", "helpers.py", "helper.py", "misc.py", "common.py"}
    assert [name for name in shipped_python_files() if name.rsplit("/", 1)[-1] in vague] == []


def test_every_module_says_what_it_is() -> None:
    modules = [name for name in shipped_python_files() if not name.endswith("/__init__.py")]
    silent = [name for name in modules if not ast.get_docstring(syntax(name))]
    assert not silent, "\n" + "\n".join(silent)
