"""The documentation cannot rot: commands parse, links resolve, tables and examples are recomputed from the code."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from emerit.config import Settings, load_settings
from emerit.devnet.summary import Evidence, ParticipantRecord, RoundRecord, Summary, check
from emerit.model.table import parameter_count
from emerit.protocol.presets import CLOCKS, PRESETS
from emerit.protocol.settlement import ValidatorOutcome, settle
from emerit.protocol.settlement_tree import payable
from emerit.protocol.types import Role, RunParams
from emerit.scoring.reasons import REASONS
from tests.unit.cli.commands import arguments_of, options_of, required_of, tree
from tests.unit.house.tree import ROOT, shipped_python_files, source, syntax
from tests.unit.protocol.builders import Plain, inputs_for

PAGES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
TEXTS = ["README.md", *PAGES, *(name for name in ("CONTRIBUTING.md", "SECURITY.md") if (ROOT / name).is_file())]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`(emerit(?: [^`]+)?)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`]+)`")
THREATS = 25
OTHER_VARIABLES = {"EMERIT_HOME", "EMERIT_PASSWORD", "EMERIT_CONFIG", "EMERIT_DEMO_DIR", "EMERIT_KERNELS"}


@dataclass(frozen=True)
class Written:
    """One `emerit` command as a document has it; a `whole` one is to be typed as it is."""

    page: str
    text: str
    whole: bool


def without_substitutions(line: str) -> str:
    """A line of shell with X for every `$(...)`: data for the command around it."""
    text, depth, inside = "", 0, False
    for place, letter in enumerate(line):
        if not inside and line.startswith("$(", place):
            text, inside = text + "X", True
        if not inside:
            text += letter
            continue
        depth += {"(": 1, ")": -1}.get(letter, 0)
        inside = letter != ")" or depth > 0
    return text


def shell_commands(script: str) -> Iterator[str]:
    """The simple commands of a shell example, continued lines joined, comments dropped."""
    for line in script.replace("\\\n", " ").splitlines():
        words = shlex.split(without_substitutions(line), comments=True)
        command: list[str] = []
        for word in [*words, ";"]:
            if word in ("&&", "||", ";", "|", "&"):
                if command:
                    yield shlex.join(command)
                command = []
            else:
                command.append(word)


@cache
def written() -> tuple[Written, ...]:
    """Every `emerit` command in the documents: in shell examples, and in running text."""
    found = []
    for page in TEXTS:
        text = source(page)
        for language, body in FENCE.findall(text):
            if language in ("sh", "bash", "shell", "console"):
                found += [Written(page, c, True) for c in shell_commands(body) if c.split()[0] == "emerit"]
        running = FENCE.sub("", text)
        found += [Written(page, " ".join(span.split()), False) for span in SPAN.findall(running)]
    return tuple(dict.fromkeys(found))


def problems(item: Written) -> Iterator[str]:
    """What in a command the program does not know."""
    command, path, arguments, given = tree(), ["emerit"], 0, set()
    words = iter(shlex.split(item.text)[1:])
    for word in words:
        if hasattr(command, "commands") and not word.startswith("-"):
            if word not in command.commands:
                yield f"{' '.join(path)} has no command {word}"
                return
            command = command.commands[word]
            path.append(word)
        elif word.startswith("-"):
            name, _, value = word.partition("=")
            options = options_of(command)
            if name not in options:
                yield f"{' '.join(path)} has no option {name}"
                return
            given.add(name)
            if options[name] and not value and next(words, None) is None and item.whole:
                yield f"{name} needs a value"
        else:
            arguments += 1
    if item.whole:
        if hasattr(command, "commands") and not given & {"--help", "--version"}:
            yield f"{' '.join(path)} is not a whole command"
            return
        least, most = arguments_of(command)
        if "--help" not in given and not least <= arguments <= most:
            yield f"{' '.join(path)} takes {least} to {most} arguments, not {arguments}"
        missing = [name for name in required_of(command) if name not in given]
        if missing and "--help" not in given:
            yield f"{' '.join(path)} needs {missing}"


@pytest.mark.parametrize("item", written(), ids=lambda item: f"{item.page}: {item.text}")
def test_every_command_is_one_that_the_program_knows(item: Written) -> None:
    assert list(problems(item)) == []


def test_commands_are_found_and_wrong_ones_would_be() -> None:
    assert len(written()) > 60
    assert {item.page for item in written()} >= {"README.md", "docs/quickstart.md", "docs/deploy.md"}
    for wrong in (
        "emerit bogus",
        "emerit run show --nosuch",
        "emerit run create",
        "emerit run",
        "emerit rewards list",
        "emerit rewards list a b",
        "emerit trainer start --wallet",
    ):
        assert list(problems(Written("", wrong, True))), wrong
    script = "emerit a && emerit b \\\n  --c  # emerit d\nX=1\ncp \"$(python -c 'f()')\"/* emerit/\n"
    assert list(shell_commands(script)) == ["emerit a", "emerit b --c", "X=1", "cp 'X/*' emerit/"]


def slug(heading: str) -> str:
    """The anchor that a heading gets."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {slug(match) for match in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


@pytest.mark.parametrize("page", TEXTS)
def test_every_relative_link_resolves(page: str) -> None:
    broken = []
    for target in LINK.findall(FENCE.sub("", source(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    assert broken == []


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {target.partition("#")[0] for target in LINK.findall(source("README.md"))}
    assert [page for page in PAGES if page not in linked] == []


def rows(page: str, heading: str) -> list[list[str]]:
    """The cells of the first table after a heading or a first header cell, without its two header lines."""
    lines = source(page).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(heading))
    begin = next(number for number in range(start, len(lines)) if lines[number].startswith("|"))
    table = []
    for line in lines[begin + 2 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
    return table


def names(cell: str) -> set[str]:
    return {re.sub(r"[\[\]{}]", "", name) for name in CODE.findall(cell)}


def fields(record: type) -> set[str]:
    return {field.name for field in dataclasses.fields(record)}


def test_summary_fields_are_those_of_the_dataclasses() -> None:
    table = {next(iter(names(row[0]))): row for row in rows("docs/demo.md", "## `summary.json`")}
    listed = set().union(*(names(row[0]) for row in table.values()))
    assert listed | names(table["checks"][1]) == fields(Summary)
    assert names(table["rounds"][1]) == fields(RoundRecord)
    assert names(table["participants"][1]) - {"Transfer"} == fields(ParticipantRecord)


def test_summary_checks_are_those_that_the_demo_makes() -> None:
    roles = ("honest", "free-rider", "sybil", "sybil", "validator")
    summary = Summary(3.0, 2.9, [RoundRecord(0, 2.5, 1, "0x", 1, 1)], [ParticipantRecord("0x", role) for role in roles])
    check(summary, Evidence({"node": ["0x"]}, 1, 0, 0))
    table = rows("docs/demo.md", "| check |")
    assert set().union(*(names(row[0]) for row in table)) == set(summary.checks)


def example() -> dict[str, Any]:
    blocks = [body for language, body in FENCE.findall(source("docs/economics.md")) if language == "json"]
    assert len(blocks) == 1
    return dict(json.loads(blocks[0]))


def test_the_economics_example_is_what_the_protocol_pays() -> None:
    given = example()
    elapsed = min(given["elapsed_seconds"], given["nominal_round_seconds"])
    budget = min(int(given["rate_wei_per_second"]) * elapsed, int(given["pool_wei"]))
    weights = tuple(tuple(row) for row in given["weights"])
    stakes = tuple(given["stake_units"])
    votes = Plain(stakes, weights, base=tuple(given["base_loss_units"])).votes()
    trainers, validators = len(weights[0]), len(stakes)
    roles = [Role.TRAINER] * trainers + [Role.VALIDATOR] * validators
    result = settle(inputs_for(roles, votes, budget_wei=budget, validator_share_bps=given["validator_share_bps"]))

    table = rows("docs/economics.md", "| who |")
    told = [int(row[3]) for row in table]
    assert [row[0] for row in table] == [
        *(f"trainer {slot}" for slot in range(trainers)),
        *(f"validator {slot}" for slot in range(validators)),
    ]
    assert told == list(result.amounts_wei)
    for slot, row in enumerate(table[:trainers]):
        assert re.search(rf"(?:^|: ){result.weights[slot]}\b", row[2]), row
    for slot, row in enumerate(table[trainers:]):
        assert ("unpaid" in row[2]) == (result.validator_outcomes[slot] != ValidatorOutcome.PAID)
    text = source("docs/economics.md")
    paid = sum(result.amounts_wei)
    total_weight = sum(payable(weight) for weight in result.weights)
    assert f"W = {total_weight}." in text
    for figure in (budget, paid, budget - paid):
        assert re.search(rf"\b{figure}\b", text), figure
    dust = budget * (10_000 - given["validator_share_bps"]) // 10_000 - sum(result.amounts_wei[:trainers])
    assert dust == 1 and "one wei of dust" in text


def test_the_examples_medians_are_told_right() -> None:
    given = example()
    for slot, row in enumerate(rows("docs/economics.md", "| who |")[: len(given["weights"][0])]):
        votes = [
            f"abstained ({stake})" if weights[slot] is None else f"{weights[slot]} ({stake})"
            for stake, weights in zip(given["stake_units"], given["weights"], strict=True)
        ]
        assert row[1] == ", ".join(votes)


def test_presets_and_clocks_are_told_right() -> None:
    presets = [
        [
            name,
            *map(
                str,
                (
                    parameter_count(item.model),
                    item.model.context,
                    item.model.layers,
                    item.model.d_model,
                    item.training.inner_steps,
                    item.training.assigned_sequences,
                    item.scoring.random_sequences,
                    item.shard_sequences,
                ),
            ),
        ]
        for name, item in PRESETS.items()
    ]
    assert rows("docs/deploy.md", "### Presets") == presets
    clocks = [[name, *map(str, dataclasses.astuple(clock))] for name, clock in CLOCKS.items()]
    assert rows("docs/deploy.md", "### Clocks") == clocks


def test_every_run_parameter_is_explained_with_its_option() -> None:
    table = rows("docs/deploy.md", "### Parameters")
    assert set().union(*(names(row[0]) for row in table)) == fields(RunParams)
    command = tree().commands["run"].commands["create"]
    assert set().union(*(names(row[1]) for row in table)) <= set(options_of(command))


def skip_reasons(name: str) -> set[str]:
    """The reasons that a node's round can be skipped with: the strings beside "skipped" in its source."""
    found = set()
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Tuple) and any(
            isinstance(part, ast.Constant) and part.value == "skipped" for part in ast.walk(node.elts[0])
        ):
            parts = [part for element in node.elts[1:] for part in ast.walk(element)]
            found |= {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return found - {""}


@pytest.mark.parametrize(
    ("page", "program"),
    [
        ("docs/run-a-trainer.md", "node/emerit_node/trainer.py"),
        ("docs/run-a-validator.md", "validator/emerit_validator/validator.py"),
    ],
)
def test_every_skipped_outcome_says_what_to_do(page: str, program: str) -> None:
    told = set().union(*(names(row[0]) for row in rows(page, "| skipped because |")))
    reasons = skip_reasons(program)
    assert len(reasons) >= 4
    assert reasons <= told
    assert all(all(row) for row in rows(page, "| skipped because |"))


def test_configuration_examples_are_accepted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("EMERIT_")]:
        monkeypatch.delenv(name)
    examples = [body for page in TEXTS for language, body in FENCE.findall(source(page)) if language == "toml"]
    assert examples
    for body in examples:
        (tmp_path / "emerit.toml").write_text(body)
        load_settings(config_file=tmp_path / "emerit.toml")


def test_the_solidity_example_is_the_contract_that_is_tested() -> None:
    examples = [body for page in TEXTS for language, body in FENCE.findall(source(page)) if language == "solidity"]
    tested = source("contracts/test/utils/Gated.sol")
    assert examples and [body for body in examples if body not in tested] == []
    assert "Gated.sol" in source("contracts/test/unit/Gated.t.sol")


def test_every_variable_is_one_that_is_read() -> None:
    known = {f"EMERIT_{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    used = {name for page in TEXTS for name in re.findall(r"\bEMERIT_[A-Z_]+\b", source(page))}
    assert used - known == set()
    read = "".join(source(name) for name in shipped_python_files())
    assert [name for name in OTHER_VARIABLES if f'"{name}"' not in read] == []


def test_every_reason_says_what_to_do() -> None:
    table = rows("docs/run-a-trainer.md", "## Reasons")
    told = set().union(*(names(row[0]) for row in table))
    assert "blob-…" in told
    assert {code for code in REASONS if not code.startswith("blob-")} <= told
    assert all(all(row) for row in table)


def test_every_validator_outcome_says_what_to_do() -> None:
    table = rows("docs/run-a-validator.md", "## What it is paid for")
    assert [row[0] for row in table] == [f"`{outcome}`" for outcome in ValidatorOutcome]
    assert all(all(row) for row in table)


def test_the_threat_model_names_tests_that_exist() -> None:
    text = source("docs/threat-model.md")
    named = re.findall(r"`([\w./-]+)::(test_\w+|testFuzz_\w+|invariant_\w+)`", text)
    assert len(named) > 40
    absent = []
    for file, test in named:
        path = ROOT / ("contracts/test" if file.endswith(".sol") else "tests") / file
        keyword = "function" if file.endswith(".sol") else "def"
        if not path.is_file() or not re.search(rf"\b{keyword} {test}\(", path.read_text(encoding="utf-8")):
            absent.append(f"{file}::{test}")
    assert absent == []


def test_the_threat_model_answers_all_threats() -> None:
    table = rows("docs/threat-model.md", "## The 25 threats")
    assert [int(row[0]) for row in table] == list(range(1, THREATS + 1))
    assert all(len(row) == 5 and all(row[:4]) for row in table)
    assert all("::" in row[3] for row in table)


def test_the_glossary_is_in_order() -> None:
    terms = [row[0] for row in rows("docs/glossary.md", "| term |")]
    assert terms == sorted(terms, key=lambda term: term.lower().replace("-", " "))
    assert len(set(terms)) == len(terms)
