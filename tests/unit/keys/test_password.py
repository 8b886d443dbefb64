"""Where a password is taken from, and what happens when there is none."""

from __future__ import annotations

import io
import os
import pty
import select
import subprocess
import sys
from pathlib import Path

import pytest

from emerit.errors import EmeritError, PreconditionError, UsageError
from emerit.keys import read_password


def code_of(error: type[EmeritError], **options: object) -> str:
    with pytest.raises(error) as caught:
        read_password("Password", **options)  # type: ignore[arg-type]
    return caught.value.code


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EMERIT_PASSWORD", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO("not to be read\n"))


def test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_PASSWORD", " from the environment ")
    assert read_password("Password") == " from the environment "
    monkeypatch.setenv("OTHER", "other")
    assert read_password("Password", env="OTHER") == "other"
    assert code_of(PreconditionError, env=None) == "password-missing"
    monkeypatch.setenv("EMERIT_PASSWORD", "")
    assert code_of(UsageError) == "key-password-empty"


@pytest.mark.parametrize(
    ("content", "password"), [(b"p w\n", "p w"), (b"p\r\nsecond\n", "p"), (b" p", " p"), ("pä".encode(), "pä")]
)
def test_file_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, password: str
) -> None:
    monkeypatch.setenv("EMERIT_PASSWORD", "other")
    path = tmp_path / "password"
    path.write_bytes(content)
    assert read_password("Password", file=path) == password


def test_files_that_will_not_do(tmp_path: Path) -> None:
    path = tmp_path / "password"
    assert code_of(PreconditionError, file=path) == "password-file-unreadable"
    assert code_of(PreconditionError, file=tmp_path) == "password-file-unreadable"
    path.write_bytes(b"\xff\xfe")
    assert code_of(PreconditionError, file=path) == "password-file-unreadable"
    path.write_bytes(b"\n")
    assert code_of(UsageError, file=path) == "key-password-empty"


def test_without_a_source_or_a_terminal() -> None:
    assert code_of(PreconditionError) == "password-missing"


ASK = """
import sys
from emerit.errors import EmeritError
from emerit.keys import read_password
try:
    print(read_password("Password", env=None, confirm=sys.argv[1] == "True"))
except EmeritError as error:
    print(error.code)
"""


def type_at_a_terminal(answers: list[str], confirm: bool) -> tuple[str, bytes]:
    """Run the question in a process on a pseudo-terminal; return what it printed and what the terminal echoed."""
    ours, theirs = pty.openpty()
    child = subprocess.Popen(
        [sys.executable, "-c", ASK, str(confirm)],
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with child:
        assert child.stdout is not None and child.stderr is not None
        for answer in answers:
            # getpass drops what was typed before it asked.
            asked = b""
            while not asked.endswith(b": "):
                asked += os.read(child.stderr.fileno(), 1)
            os.write(ours, answer.encode() + b"\n")
        printed = child.stdout.read().decode().strip()
        echoed = os.read(ours, 100) if select.select([ours], [], [], 0)[0] else b""
    os.close(ours)
    os.close(theirs)
    return printed, echoed


@pytest.mark.parametrize(
    ("answers", "confirm", "outcome"),
    [
        (["secret"], False, "secret"),
        (["secret", "secret"], True, "secret"),
        (["secret", "secreT"], True, "password-mismatch"),
        (["", ""], True, "key-password-empty"),
    ],
)
def test_asked_for_at_a_terminal(answers: list[str], confirm: bool, outcome: str) -> None:
    printed, echoed = type_at_a_terminal(answers, confirm)
    assert printed == outcome
    assert b"secre" not in echoed
