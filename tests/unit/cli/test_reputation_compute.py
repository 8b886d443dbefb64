"""`emerit reputation compute` on graphs from files."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from emerit.cli.main import run
from emerit.reputation import compute

EDGES = [["ego", "a", 2], ["ego", 7, 1], ["a", "b", 1], ["b", "c", 1], ["a", "a", 3]]


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(EDGES))
    return path


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code = run(["reputation", "compute", *map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_it_is_the_public_function(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = answer(capsys, graph, "--ego", "ego")
    assert code == 0
    assert record == compute(EDGES, "ego").as_dict()
    assert record["dropped"] == {"self-edge": 1}


def test_every_option_reaches_it(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options: list[object] = ["--base", "hitting", "--continue", "0.6", "--connectivity-decay", "0.5"]
    options += ["--threshold", "0.9", "--walks", "500", "--seed", "3", "--node", "c", "--limit", "2"]
    code, record = answer(capsys, graph, "--ego", "ego", *options)
    expected = compute(
        EDGES, "ego", base="hitting", continue_=0.6, connectivity_decay=0.5, threshold=0.9, walks=500, seed=3
    )
    assert code == 0
    assert record == expected.as_dict(limit=2)
    assert record["method"] == "walks"


def test_integers_are_found_by_their_digits(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, record = answer(capsys, graph, "--ego", "7")
    assert code == 0
    assert record["ego"] == 7
    assert record["nodes"][0] == {"node": 7, "reputation": 10**9, "score": 1.0, "measure": 1.0}


def test_a_graph_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[[1, 2, 3]]")))
    code, record = answer(capsys, "-", "--ego", "1")
    assert (code, record["nodes"][1]["node"]) == (0, 2)


def test_people_get_a_ranking(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["reputation", "compute", str(graph), "--ego", "ego", "--connectivity-decay", "0.5", "--limit", "4"]
    assert run(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["1", "ego"]
    assert lines[3].endswith("cut: 100.0% through a")
    assert lines[4:] == ["  (1 more: --limit, or --json)", "Left out: 1 (self-edge)."]
    assert run([*words[:5], "--walks", "100"]) == 0
    assert "100 walks; the largest standard error" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "graph-json"),
        ("{}", "graph-json"),
        ("[" * 100_000, "graph-json"),
        ("\ud800".encode("utf-8", "surrogatepass").decode("latin-1"), "graph-json"),
        ("[]", "graph-empty"),
        ("[[1, 2]]", "graph-edge"),
        ("[[1, 2, NaN]]", "graph-weight"),
        ("[[1, 2, 1e999]]", "graph-weight"),
    ],
)
def test_what_is_no_graph_is_refused(text: str, code: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.json"
    path.write_text(text)
    status, record = answer(capsys, path, "--ego", "1")
    assert (status, record["error"]["code"]) == (1, code)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--ego", "nobody"], "reputation-node"),
        (["--ego", "8"], "reputation-node"),
        (["--ego", "9" * 5_000], "reputation-node"),
        (["--ego", "ego", "--node", "x"], "reputation-node"),
        (["--ego", "ego", "--base", "flow"], "reputation-parameter"),
        (["--ego", "ego", "--continue", "1"], "reputation-parameter"),
        (["--ego", "ego", "--threshold", "nan"], "reputation-parameter"),
    ],
)
def test_wrong_usage_is_refused(options: list[str], code: str, graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, record = answer(capsys, graph, *options)
    assert (status, record["error"]["code"]) == (2, code)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, record = answer(capsys, tmp_path / "none.json", "--ego", "1")
    assert (status, record["error"]["code"]) == (3, "file-unusable")


def test_a_strangers_names_do_not_speak_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "graph.json"
    path.write_text(json.dumps([["ego", "\x1b[2Ja\nb", 1], ["\x1b[2Ja\nb", "[red]c\u00e9", 1]]))
    assert run(["reputation", "compute", str(path), "--ego", "ego", "--connectivity-decay", "0.5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines] == ["ego", "'\\x1b[2Ja\\nb'", "[red]c\u00e9"]
    assert lines[2].endswith("through '\\x1b[2Ja\\nb'")
