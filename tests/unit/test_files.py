from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from emerit.files import SHARED, replace_file


def test_a_new_file_replaces_the_old_and_leaves_nothing_else(tmp_path: Path) -> None:
    replace_file(tmp_path / "a", b"1")
    replace_file(tmp_path / "a", b"2")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"2")]


def test_only_its_owner_may_read_a_file_unless_it_is_shared(tmp_path: Path) -> None:
    replace_file(tmp_path / "secret", b"1")
    replace_file(tmp_path / "report", b"1", mode=SHARED)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in tmp_path.iterdir()}
    assert modes == {"secret": 0o600, "report": 0o644}


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace_file(tmp_path / "a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(tmp_path / "a", b"new")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_threads_that_write_one_file_leave_one_of_their_contents(tmp_path: Path) -> None:
    contents = [bytes([number]) * 100_000 for number in range(8)]
    threads = [threading.Thread(target=replace_file, args=(tmp_path / "a", data)) for data in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() in contents


def test_the_partial_file_of_a_writer_that_lives_is_left_alone(tmp_path: Path) -> None:
    other = tmp_path / f".x.safetensors.{os.getppid()}-1.partial"
    other.write_bytes(b"being written")
    replace_file(tmp_path / "x.safetensors", b"whole")
    assert other.read_bytes() == b"being written"


def test_file_and_folder_are_on_disk_before_it_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acts: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda number: (acts.append(_kind(number)), sync(number))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (acts.append("rename"), replace(a, b))[1])
    replace_file(tmp_path / "x", b"whole")
    assert acts == ["file", "rename", "folder"]


def _kind(number: int) -> str:
    return "folder" if os.path.isdir(f"/proc/self/fd/{number}") else "file"
