"""The program as a whole: help, exit codes, errors for people and for programs, and how fast it starts."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emerit import __version__
from emerit.cli.main import app, run
from tests.unit.cli.commands import leaves, options_of, tree

COMMANDS = dict(leaves())
READS = {
    ("devnet", "status"),
    ("run", "show"),
    ("run", "list"),
    ("trainer", "status"),
    ("trainer", "estimate"),
    ("validator", "status"),
    ("rewards", "list"),
    ("reputation", "show"),
    ("reputation", "gateways"),
    ("reputation", "compute"),
    ("model", "export"),
    ("model", "sample"),
    ("model", "eval"),
    ("wallet", "list"),
    ("stake", "show"),
    ("token", "balance"),
}
DAEMONS = {("trainer", "start"), ("validator", "start"), ("api", "serve")}
ADDRESS = "0x" + "11" * 20


@pytest.fixture
def nobody_listens() -> str:
    """URL of a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_help(words: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(app, [*words, "--help"])
    assert answer.exit_code == 0, answer.output
    assert COMMANDS[words].help
    silent = [p.opts for p in COMMANDS[words].params if not getattr(p, "help", "") and "--help" not in p.opts]
    assert not silent


def test_groups_say_what_they_are_for() -> None:
    assert [name for name, command in tree().commands.items() if not command.help] == []


def test_every_command_but_the_daemons_can_answer_in_json() -> None:
    without = {words for words, command in COMMANDS.items() if "--json" not in options_of(command)}
    assert without == DAEMONS
    assert set(COMMANDS) >= READS


def test_help_is_quick_because_nothing_heavy_is_imported() -> None:
    program = (
        "import sys\nfrom emerit.cli.main import run\nassert run(['--help']) == 0\n"
        "heavy = {'torch', 'web3', 'numpy', 'pydantic', 'eth_account', 'fastapi', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert answer.returncode == 0, answer.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"emerit {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["bogus"], "bogus"),
        (["run", "bogus"], "bogus"),
        (["run", "show", "--nosuch"], "--nosuch"),
        (["run", "create"], "--corpus"),
        (["run", "create", "--corpus", "x", "--max-rounds", "many"], "--max-rounds"),
        (["run", "create", "--corpus", "x", "--max-rounds", "-1"], "--max-rounds"),
        (["run", "create", "--corpus", "x", "--min-trainers", "257"], "--min-trainers"),
        (["run", "create", "--corpus", "x", "--validator-share-bps", "10001"], "--validator-share-bps"),
        (["devnet", "up", "--port-base", "65532"], "--port-base"),
        (["api", "serve", "--port", "65536"], "--port"),
        (["model", "sample", "--bytes", "0"], "--bytes"),
        (["model", "sample", "--temperature", "-1"], "--temperature"),
        (["rewards", "list"], "address"),
        (["rewards", "list", ADDRESS, "--last", "0"], "--last"),
        (["run", "create", "--corpus", "x", "--max-rounds", "16777215"], "--max-rounds"),
        (["run", "create", "--corpus", "x", "--epoch-rounds", "0"], "--epoch-rounds"),
        (["run", "create", "--corpus", "x", "--optimiser", "sgd"], "--optimiser"),
        (["run", "create", "--corpus", "x", "--schedule", "linear"], "--schedule"),
        (["run", "create", "--corpus", "x", "--planned-rounds", "0"], "--planned-rounds"),
        (["run", "create", "--corpus", "x", "--answer-seconds", "0"], "--answer-seconds"),
        (["run", "create", "--corpus", "x", "--reputation-keep-ppb", "1000000001"], "--reputation-keep-ppb"),
        (["run", "fine", "0"], "member"),
        (["run", "fine", "-1", ADDRESS], "-1"),
        (["stake", "join", "sponsor"], "sponsor"),
        (["deploy", "--unbonding-seconds", "0"], "--unbonding-seconds"),
        (["trainer", "estimate", "--last", "0"], "--last"),
        (["trainer", "start", "--poll-seconds", "0"], "--poll-seconds"),
    ],
)
def test_wrong_usage_is_exit_2_for_people_and_programs(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 2
    assert words in answer.output
    assert run([*arguments, "--json"] if "start" not in arguments and "serve" not in arguments else arguments) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.out + printed.err
    if printed.out:
        error = json.loads(printed.out)["error"]
        assert error["code"] == "usage"
        assert words in error["cause"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["devnet", "fund", ADDRESS], 3, "devnet-missing"),
        (["devnet", "fund", ADDRESS, "--tokens", "nan"], 2, "amount-invalid"),
        (["run", "fund", "0"], 2, "amount-invalid"),
        (["run", "create", "--corpus", "x", "--preset", "demoo"], 2, "preset-unknown"),
        (["run", "create", "--corpus", "x", "--clock", "devnot"], 2, "clock-unknown"),
        (["run", "create", "--corpus", "x", "--name", "My run"], 2, "run-name-invalid"),
        (["run", "create", "--corpus", "x", "--fund", "-5"], 2, "amount-invalid"),
        (["run", "create", "--corpus", "x", "--stake", "0.5"], 2, "amount-invalid"),
        (["run", "create", "--corpus", "x", "--bond", "0.5", "--fine", "0.6"], 2, "amount-invalid"),
        (["run", "create", "--corpus", "x", "--demand-bond", "0"], 2, "amount-invalid"),
        (["run", "create", "--corpus", "x", "--outer-momentum", "1"], 2, "fraction-invalid"),
        (["run", "create", "--corpus", "x", "--outer-rate", "0"], 2, "fraction-invalid"),
        (["run", "create", "--corpus", "x", "--nesterov"], 2, "fraction-invalid"),
        (["run", "fine", "0", "0x12"], 2, "address-invalid"),
        (["stake", "withdraw", "--for", "nobody"], 3, "key-not-found"),
        (["trainer", "estimate", "--token-price", "x"], 2, "amount-invalid"),
        (["run", "show", "--rpc-url", "ftp://x"], 2, "config-invalid"),
        (["run", "show", "--run", "0x12"], 2, "config-invalid"),
        (["rewards", "list", "0x12"], 2, "address-invalid"),
        (["rewards", "list", "nobody"], 3, "key-not-found"),
        (["reputation", "show", "nobody"], 3, "key-not-found"),
        (["reputation", "gateways", "https://host/{data}"], 2, "gateway-invalid"),
        (["reputation", "gateways", "https://host/{sender}/{data}", "--clear"], 2, "gateway-invalid"),
        (["rewards", "claim", ADDRESS, "--all"], 2, "usage"),
        (["model", "sample", "--prompt", ""], 2, "prompt-empty"),
        (["token", "mint", ADDRESS, "0"], 2, "amount-invalid"),
        (["stake", "add", "x"], 2, "amount-invalid"),
        (["deploy", "--token-cap", "0"], 2, "amount-invalid"),
        (["wallet", "create", "../x"], 2, "key-name-invalid"),
    ],
)
def test_errors_before_anything_is_asked_of_the_network(
    arguments: list[str],
    exit_code: int,
    code: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EMERIT_PASSWORD", "any")
    assert run(arguments) == exit_code
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error {code}: ")
    assert "  fix: " in printed.err
    assert run([*arguments, "--json"]) == exit_code
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == code
    assert error["cause"].endswith(".") and error["fix"]


@pytest.mark.parametrize("role", ["trainer", "validator"])
def test_a_node_needs_a_wallet(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([role, "start"]) == 3
    assert "wallet-needed" in capsys.readouterr().err


def test_a_misspelt_variable_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_IPFS_URL", "http://127.0.0.1:1")
    assert run(["run", "show"]) == 2
    assert "error config-unknown-key: " in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["run", "show"],
        ["run", "list"],
        ["run", "fund", "1"],
        ["run", "close"],
        ["run", "fine", "0", ADDRESS],
        ["run", "create", "--corpus", "x"],
        ["deploy"],
        ["rewards", "list", ADDRESS],
        ["rewards", "claim"],
        ["reputation", "show", ADDRESS],
        ["model", "export"],
        ["model", "eval"],
        ["stake", "show", ADDRESS],
        ["stake", "leave"],
        ["stake", "remove"],
        ["stake", "withdraw"],
        ["trainer", "estimate"],
        ["token", "balance", ADDRESS],
    ],
    ids=" ".join,
)
def test_a_chain_that_does_not_answer_is_exit_75(
    arguments: list[str], nobody_listens: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*arguments, "--rpc-url", nobody_listens, "--json"]) == 75
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "rpc-unreachable"
    assert nobody_listens in error["cause"]


def test_a_file_that_cannot_be_used_is_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / ".emerit").write_text("a file where a folder is needed")
    assert run(["devnet", "up", "--port-base", "0"]) == 3
    printed = capsys.readouterr()
    assert "error file-unusable: " in printed.err
    assert ".emerit/devnet" in printed.err


def test_devnet_commands_where_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["devnet", "status"]) == 3
    assert "emerit devnet up" in capsys.readouterr().out
    assert run(["devnet", "status", "--json"]) == 3
    assert json.loads(capsys.readouterr().out) == {"up": False, "processes": {}, "devnet": None}
    assert run(["devnet", "down", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"stopped": []}


def test_a_devnet_port_in_use_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        if port > 65531:
            pytest.skip("no four ports are left above this one")
        assert run(["devnet", "up", "--port-base", str(port)]) == 3
    printed = capsys.readouterr().err
    assert "port-in-use" in printed and str(port) in printed


def test_wallets_are_made_listed_and_never_overwritten(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["wallet", "list"]) == 0
    assert "emerit wallet create" in capsys.readouterr().out
    monkeypatch.setenv("EMERIT_PASSWORD", "correct horse")
    assert run(["wallet", "create", "alice", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert run(["wallet", "create", "alice", "--json"]) == 3
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "key-exists"
    assert run(["wallet", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["address"]) for row in listed] == [("alice", made["address"])]
