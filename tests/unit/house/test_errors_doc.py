"""docs/errors.md has every code that the source can raise, and none that it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.house.tree import ROOT, script

error_codes = script("error_codes")
COMMAND = "scripts/errors_doc"


def rows() -> dict[str, list[str]]:
    table = (ROOT / "docs/errors.md").read_text().partition("## What the contracts refuse")[0]
    cells = [
        line.strip("|").split(" | ") for line in table.splitlines() if line.startswith("| `") and "exit" not in line
    ]
    return {row[0].strip(" `"): [cell.strip() for cell in row] for row in cells if len(row) == 5}


def test_every_code_of_the_source_is_found() -> None:
    assert error_codes.scan(ROOT).unresolved == []


def test_the_page_lists_exactly_the_codes_of_the_source() -> None:
    raised = {code for site in error_codes.scan(ROOT).sites for code in site.codes}
    listed = set(rows())
    assert not raised - listed, f"run scripts/errors_doc, then say what these mean: {sorted(raised - listed)}"
    assert not listed - raised, f"run scripts/errors_doc: nothing raises {sorted(listed - raised)}"


def test_every_code_has_a_meaning_and_a_fix() -> None:
    empty = [code for code, row in rows().items() if not row[3] or not row[4]]
    assert not empty, f"write in docs/errors.md what these mean and what to do: {empty}"


def test_the_page_is_what_the_command_writes() -> None:
    answer = subprocess.run([sys.executable, COMMAND, "--check"], cwd=ROOT, capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_codes_are_stable_words() -> None:
    codes = {code for site in error_codes.scan(ROOT).sites for code in site.codes}
    assert len(codes) > 100
    assert [code for code in codes if not code.replace("-", "a").isalnum() or code != code.lower()] == []


MODULES = {
    "literal": 'raise UsageError("plain", "c")',
    "keyword": 'raise UsageError(code="plain", cause="c")',
    "choice": 'def f(x):\n    raise UsageError("plain" if x else "other", "c")',
    "constant": 'CODE: str = "plain"\ndef f():\n    raise UsageError(CODE, "c")',
    "parameter": 'def f(code):\n    raise UsageError(code, "c")\ndef g():\n    f("plain")\n    f(code="other")',
    "field": (
        "class A:\n    def __init__(self, kind):\n        self.kind = kind\n    def no(self, why):\n"
        '        raise UsageError(f"{self.kind}-{why}", "c")\ndef g():\n    A("plain").no("now")'
    ),
    "loop": 'ROWS = (("plain", 1), ("other", 2))\ndef f():\n    for code, n in ROWS:\n        raise UsageError(code)',
}
FOUND = {
    "choice": {"plain", "other"},
    "parameter": {"plain", "other"},
    "field": {"plain-now"},
    "loop": {"plain", "other"},
}


@pytest.mark.parametrize("case", MODULES)
def test_codes_are_followed_to_where_they_are_written(case: str, tmp_path: Path) -> None:
    package = tmp_path / "src/emerit"
    package.mkdir(parents=True)
    (package / "errors.py").write_text((ROOT / "src/emerit/errors.py").read_text())
    (package / "module.py").write_text(MODULES[case])
    result = error_codes.scan(tmp_path)
    assert result.unresolved == []
    assert {code for site in result.sites for code in site.codes} == FOUND.get(case, {"plain"})


def test_what_cannot_be_followed_is_reported(tmp_path: Path) -> None:
    package = tmp_path / "src/emerit"
    package.mkdir(parents=True)
    (package / "errors.py").write_text((ROOT / "src/emerit/errors.py").read_text())
    (package / "module.py").write_text('import x\ndef f():\n    raise UsageError(x.compute(), "c")')
    assert len(error_codes.scan(tmp_path).unresolved) == 1
