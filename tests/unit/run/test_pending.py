from __future__ import annotations

from pathlib import Path

import pytest

from emerit.run.pending import FILE, Pending, clear_pending, load_pending, save_pending


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
    assert [oct(path.stat().st_mode & 0o777) for path in tmp_path.iterdir()] == ["0o600"]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"null", b'{"round": 1}\n', b'{"payload": 0, "round": 1, "salt": "zz"}\n']
)
def test_a_damaged_record_is_dropped_so_that_the_node_goes_on(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / FILE).write_bytes(damage)
    assert load_pending(tmp_path) is None
    assert not (tmp_path / FILE).exists()


def test_a_cut_payload_is_a_damaged_record(tmp_path: Path) -> None:
    save_pending(tmp_path, some_pending())
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:-1])
    assert load_pending(tmp_path) is None


def test_a_payload_may_hold_any_bytes(tmp_path: Path) -> None:
    save_pending(tmp_path, some_pending(payload=b"\n{}\n\x00"))
    assert load_pending(tmp_path) == some_pending(payload=b"\n{}\n\x00")
