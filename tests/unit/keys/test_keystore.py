"""Keystore files: the format, their modes, what is refused, and that nothing is overwritten."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from emerit.errors import EmeritError, PreconditionError, UsageError
from emerit.keys import Keystore, default_folder

PASSWORD = "correct horse ⚡ battery"

# The scrypt and PBKDF2 vectors of the Web3 Secret Storage definition.
VECTOR_KEY = "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
VECTOR_PASSWORD = "testpassword"
PBKDF2_VECTOR: dict[str, Any] = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144,
            "dklen": 32,
            "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "address": "008aeeda4d805471df9b2a5b0f38a0c3bcba786b",
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "keys")


def refused(call: Any, kind: type[EmeritError], code: str) -> EmeritError:
    with pytest.raises(kind) as caught:
        call()
    assert caught.value.code == code
    return caught.value


def test_create_list_load(keystore: Keystore) -> None:
    address = keystore.create("alice", PASSWORD, light=True)
    other = keystore.create("bob.2", PASSWORD, light=True)
    path = keystore.folder / "alice.json"
    assert [tuple(entry) for entry in keystore.list()] == [
        ("alice", address, path),
        ("bob.2", other, keystore.folder / "bob.2.json"),
    ]
    for given in ("alice", path, str(path), address, address.lower(), address[2:]):
        assert keystore.load(given, PASSWORD).address == address
    assert other != address


def test_file_is_a_version_3_keystore_for_its_owner_alone(keystore: Keystore) -> None:
    address = keystore.create("alice", PASSWORD)
    path = keystore.folder / "alice.json"
    content = json.loads(path.read_text())
    assert content["version"] == 3 and content["crypto"]["kdf"] == "scrypt"
    assert content["crypto"]["kdfparams"]["n"] == 262144
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(keystore.folder.stat().st_mode) == 0o700
    assert Account.from_key(Account.decrypt(content, PASSWORD)).address == address
    assert os.listdir(keystore.folder) == ["alice.json"]


def test_light_is_weaker_and_must_be_asked_for(keystore: Keystore) -> None:
    keystore.create("throwaway", PASSWORD, light=True)
    content = json.loads((keystore.folder / "throwaway.json").read_text())
    assert content["crypto"]["kdfparams"]["n"] == 4096


def test_never_overwrites(keystore: Keystore) -> None:
    keystore.create("alice", PASSWORD, light=True)
    before = (keystore.folder / "alice.json").read_bytes()
    refused(lambda: keystore.create("alice", "other", light=True), PreconditionError, "key-exists")
    refused(lambda: keystore.import_key("alice", b"\1" * 32, "other", True), PreconditionError, "key-exists")
    assert (keystore.folder / "alice.json").read_bytes() == before


def test_of_many_at_once_one_wins_and_its_file_is_whole(keystore: Keystore) -> None:
    made: list[str] = []
    refusals: list[str] = []
    gate = threading.Barrier(6)

    def create() -> None:
        gate.wait()
        try:
            made.append(keystore.create("alice", PASSWORD, light=True))
        except PreconditionError as error:
            refusals.append(error.code)

    threads = [threading.Thread(target=create) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1 and refusals == ["key-exists"] * 5
    assert keystore.load("alice", PASSWORD).address == made[0]
    assert os.listdir(keystore.folder) == ["alice.json"]


def test_import_of_a_known_key(keystore: Keystore) -> None:
    address = keystore.import_key("dev", bytes.fromhex(VECTOR_KEY), PASSWORD, light=True)
    assert address.lower() == "0x" + PBKDF2_VECTOR["address"]
    assert keystore.load("dev", PASSWORD).key.hex() == VECTOR_KEY


@pytest.mark.parametrize("key", [b"", b"\1" * 31, b"\0" * 32, b"\xff" * 32])
def test_import_refuses_what_is_no_key(keystore: Keystore, key: bytes) -> None:
    error = refused(lambda: keystore.import_key("dev", key, PASSWORD, True), UsageError, "key-invalid")
    assert key.hex() not in str(error) or not key


def test_reads_the_published_vector(keystore: Keystore, tmp_path: Path) -> None:
    path = tmp_path / "vector.json"
    path.write_text(json.dumps(PBKDF2_VECTOR))
    path.chmod(0o600)
    assert keystore.load(path, VECTOR_PASSWORD).key.hex() == VECTOR_KEY


def test_wrong_password(keystore: Keystore) -> None:
    keystore.create("alice", PASSWORD, light=True)
    error = refused(lambda: keystore.load("alice", "wrong guess"), PreconditionError, "key-wrong-password")
    assert "wrong guess" not in str(error)
    refused(lambda: keystore.load("alice", ""), PreconditionError, "key-wrong-password")


def test_missing_key_names_those_there_are(keystore: Keystore) -> None:
    error = refused(lambda: keystore.load("carol", PASSWORD), PreconditionError, "key-not-found")
    assert "none" in error.cause
    address = keystore.create("alice", PASSWORD, light=True)
    error = refused(lambda: keystore.load("carol", PASSWORD), PreconditionError, "key-not-found")
    assert f"alice ({address})" in error.cause
    for given in ("0x" + "00" * 20, Path("no/such.json"), "../alice", ""):
        refused(lambda given=given: keystore.load(given, PASSWORD), PreconditionError, "key-not-found")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o602])
def test_file_that_others_may_read_is_refused_with_the_fix(keystore: Keystore, mode: int) -> None:
    keystore.create("alice", PASSWORD, light=True)
    path = keystore.folder / "alice.json"
    path.chmod(mode)
    error = refused(lambda: keystore.load("alice", PASSWORD), PreconditionError, "key-file-permissions")
    assert error.fix == f"Run: chmod 600 {path}"


def damaged(**changes: Any) -> dict[str, Any]:
    content = json.loads(json.dumps(PBKDF2_VECTOR))
    for path, value in changes.items():
        *parents, last = path.split("__")
        inner = content
        for parent in parents:
            inner = inner[parent]
        inner[last] = value
    return dict(content)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{}",
        "not json",
        "\0" * 70_000,
        damaged(version=4),
        damaged(crypto=None),
        damaged(address="0x12"),
        damaged(address=7),
        damaged(crypto__kdf="argon2"),
        damaged(crypto__kdfparams__c=10**9),
        damaged(crypto__kdfparams__c="many"),
        damaged(crypto__kdfparams__dklen=16),
        damaged(crypto__kdf="scrypt", crypto__kdfparams={"n": 1 << 30, "r": 8, "p": 1, "dklen": 32, "salt": "00"}),
        damaged(crypto__kdf="scrypt", crypto__kdfparams={"n": 1024, "r": 8, "p": 1000, "dklen": 32, "salt": "00"}),
        damaged(crypto__kdfparams__salt="zz"),
        damaged(crypto__cipherparams={}),
        damaged(address="11" * 20),
    ],
)
def test_damaged_file(keystore: Keystore, content: str | dict[str, Any]) -> None:
    keystore.folder.mkdir()
    path = keystore.folder / "broken.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    path.chmod(0o600)
    error = refused(lambda: keystore.load("broken", VECTOR_PASSWORD), PreconditionError, "key-file-invalid")
    assert VECTOR_PASSWORD not in str(error)


def test_list_leaves_out_what_is_no_keystore(keystore: Keystore) -> None:
    assert keystore.list() == []
    keystore.create("alice", PASSWORD, light=True)
    (keystore.folder / "notes.json").write_text("{}")
    (keystore.folder / "readme.txt").write_text("hello")
    assert [entry.name for entry in keystore.list()] == ["alice"]


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a b", "-x", ".hidden", "x" * 65, "é", "a\n", "a.json", "0" * 40]
)
def test_names_that_cannot_be(keystore: Keystore, name: str) -> None:
    refused(lambda: keystore.create(name, PASSWORD, True), UsageError, "key-name-invalid")
    assert not keystore.folder.exists()


def test_empty_password_is_refused(keystore: Keystore) -> None:
    refused(lambda: keystore.create("alice", "", True), UsageError, "key-password-empty")
    assert not keystore.folder.exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keystore = Keystore(tmp_path / "file" / "keys")
    refused(lambda: keystore.create("alice", PASSWORD, True), PreconditionError, "key-folder-unwritable")
    assert (tmp_path / "file").read_text() == ""


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMERIT_HOME", str(tmp_path))
    assert default_folder() == tmp_path / "keys" == Keystore().folder
    monkeypatch.delenv("EMERIT_HOME")
    assert default_folder().parts[-2:] == ("emerit", "keys")


def test_no_error_or_repr_shows_the_password(keystore: Keystore) -> None:
    keystore.create("alice", PASSWORD, light=True)
    error = refused(lambda: keystore.load("alice", PASSWORD + "x"), PreconditionError, "key-wrong-password")
    assert PASSWORD not in str(error) + repr(error) + json.dumps(error.as_dict())
    assert error.__cause__ is None
