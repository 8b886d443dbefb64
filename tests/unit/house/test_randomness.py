"""No library's random generator decides anything that nodes must agree on: its output differs between machines."""

from __future__ import annotations

import ast
import re

from tests.unit.house.tree import shipped_python_files, source, syntax

GENERATORS = re.compile(
    r"(np|numpy)\.random\."
    r"|torch\.(rand|randn|randint|randperm|normal|bernoulli|multinomial|manual_seed|Generator)\b"
    r"|nn\.init\.|nn\.(Linear|Embedding|Conv1d|Dropout)\b|\.(uniform_|normal_|random_|dropout)$"
)
# What may use one, because nobody else has to get the same: the private order of a trainer's own sequences, text that a
# user lets a model write, and trainers that cheat.
PRIVATE = {
    "src/emerit/training/inner.py": {"np.random.Generator", "np.random.Philox"},
    "src/emerit/model/sample.py": {"np.random.PCG64"},
    "src/emerit/devnet/adversaries.py": {"np.random.default_rng"},
}
IN_A_RUN = ("src/emerit/", "node/", "validator/")
# Picks accounts for the demo; plays runs in one process, where nobody else has to get the same.
NOT_IN_A_RUN = ("src/emerit/devnet/demo_stage.py", "src/emerit/lab/")


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def used(name: str) -> set[str]:
    """The library generators that a file names."""
    names = {dotted(node) for node in ast.walk(syntax(name)) if isinstance(node, ast.Attribute)}
    return {each for each in names if GENERATORS.search(each)}


def test_no_library_generator_decides_what_nodes_agree_on() -> None:
    files = [name for name in shipped_python_files() if name.startswith(IN_A_RUN) and not name.startswith(NOT_IN_A_RUN)]
    assert len(files) > 100
    found = {name: used(name) - PRIVATE.get(name, set()) for name in files}
    assert {name: names for name, names in found.items() if names} == {}
    assert not any("from random" in source(name) or "\nimport random" in source(name) for name in files)


def test_the_exceptions_are_used() -> None:
    assert {name: used(name) & names for name, names in PRIVATE.items()} == PRIVATE
