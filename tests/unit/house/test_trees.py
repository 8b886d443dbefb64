"""Every error that a contract can give has its case in a spec tree, and a test that expects it."""

from __future__ import annotations

import re

from tests.unit.house.tree import ROOT

CONTRACTS = ROOT / "contracts"
REVERTS = re.compile(r"it should revert with (\w+)")


def errors() -> set[str]:
    """The errors that the interfaces declare, those of tokens and libraries left out."""
    declared = re.compile(r"^\s*error (\w+)\(", re.MULTILINE)
    return {name for path in (CONTRACTS / "src").rglob("*.sol") for name in declared.findall(path.read_text())}


def test_every_error_is_in_a_tree_and_in_a_test() -> None:
    trees = {name for path in CONTRACTS.glob("test/unit/*.tree") for name in REVERTS.findall(path.read_text())}
    tests = "\n".join(path.read_text() for path in CONTRACTS.glob("test/unit/*.sol"))
    assert len(errors()) > 60
    assert sorted(errors() - trees) == []
    assert sorted(name for name in errors() if not re.search(rf"\b{name}\b", tests)) == []


def test_trees_name_tests_that_exist() -> None:
    for path in sorted(CONTRACTS.glob("test/unit/*.tree")):
        title = path.read_text().splitlines()[0]
        for name in re.findall(r"\w+\.t\.sol", title):
            assert (path.parent / name).is_file(), f"{path.name}: {name}"
