from __future__ import annotations

from pathlib import Path

import pytest

from emerit.errors import StateError
from emerit.run.pending import Pending, clear_pending, load_pending, save_pending, write_atomically


def some_pending(**changes: object) -> Pending:
    fields: dict[str, object] = {
        "kind": "weights",
        "round": 7,
        "cid": "bafy",
        "content_hash": bytes(range(32)),
        "salt": b"s" * 32,
        "payload": b"evidence",
        "vector": b"\x00\x01",
    }
    return Pending(**(fields | changes))  # type: ignore[arg-type]


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_pending(tmp_path, some_pending())
    assert load_pending(tmp_path) == some_pending()


def test_nothing_saved_is_none_and_clearing_twice_is_fine(tmp_path: Path) -> None:
    assert load_pending(tmp_path) is None
    save_pending(tmp_path, some_pending())
    clear_pending(tmp_path)
    clear_pending(tmp_path)
    assert load_pending(tmp_path) is None


def test_salts_are_private(tmp_path: Path) -> None:
    save_pending(tmp_path, some_pending())
    assert {oct((tmp_path / name).stat().st_mode & 0o777) for name in ("pending.json", "pending.bin")} == {"0o600"}


@pytest.mark.parametrize("damage", ["{", "[]", '{"round": 1}', '{"payload": 8, "round": 1, "salt": "zz"}'])
def test_a_damaged_record_is_a_named_error(tmp_path: Path, damage: str) -> None:
    save_pending(tmp_path, some_pending())
    (tmp_path / "pending.json").write_text(damage)
    with pytest.raises(StateError) as caught:
        load_pending(tmp_path)
    assert caught.value.code == "pending-corrupt"


def test_a_payload_of_another_record_is_refused(tmp_path: Path) -> None:
    save_pending(tmp_path, some_pending())
    (tmp_path / "pending.bin").write_bytes(b"something longer than before")
    with pytest.raises(StateError):
        load_pending(tmp_path)


def test_replacing_a_file_leaves_no_temporary_behind(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"1")
    write_atomically(tmp_path / "a", b"2")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"2")]
