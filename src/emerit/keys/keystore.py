"""Keys in encrypted files: keystore V3 (Web3 Secret Storage) by eth-account, one file a key, mode 0600.

A name is given once: `create` and `import_key` never overwrite. Private keys are never written in the clear, logged
or put into an error's text.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import platformdirs

from emerit.errors import EmeritError, PreconditionError, UsageError

if TYPE_CHECKING:
    from eth_account.signers.local import LocalAccount

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_ADDRESS: Final = re.compile(r"(0x)?[0-9a-f]{40}", re.ASCII | re.IGNORECASE)
_SCRYPT_N: Final = 262_144  # the usual cost: about a second and 256 MiB
_LIGHT_SCRYPT_N: Final = 4_096
_MOST_SCRYPT_N: Final = 1 << 20
_MOST_PBKDF2_ROUNDS: Final = 1 << 24
_MOST_FILE_BYTES: Final = 64 << 10


class KeyEntry(NamedTuple):
    """A key's name, its checksummed address and its file."""

    name: str
    address: str
    path: Path


def default_folder() -> Path:
    """Return `$EMERIT_HOME/keys`, else `keys` in the user's data folder of "emerit"."""
    home = os.environ.get("EMERIT_HOME")
    return (Path(home) if home else platformdirs.user_data_path("emerit")) / "keys"


class Keystore:
    """The keys in one folder (by default `default_folder()`), made with mode 0700 when the first key is."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder if folder is not None else default_folder()

    def create(self, name: str, password: str, light: bool = False) -> str:
        """Make a new key, write it encrypted as `NAME.json`, and return its checksummed address.

        `light` takes a weak key derivation, for throwaway networks only. Raises UsageError `key-name-invalid` or
        `key-password-empty`, PreconditionError `key-exists` or `key-folder-unwritable`.
        """
        from eth_account import Account

        return self.import_key(name, bytes(Account.create().key), password, light)

    def import_key(self, name: str, private_key: bytes, password: str, light: bool = False) -> str:
        """Write a key of 32 bytes that exists already; otherwise as `create`.

        Raises UsageError `key-invalid` when the bytes are not a secp256k1 private key.
        """
        from eth_account import Account

        path = self._path_of(name)
        if not password:
            raise UsageError("key-password-empty", "A key needs a password that is not empty.")
        if path.exists():
            raise _exists(name, path)
        try:
            address = str(Account.from_key(private_key).address)
        except (ValueError, TypeError):
            raise UsageError("key-invalid", "These are not the 32 bytes of a private key.") from None
        rounds = _LIGHT_SCRYPT_N if light else _SCRYPT_N
        content = Account.encrypt(private_key, password, kdf="scrypt", iterations=rounds)
        self._write_new(name, path, json.dumps(content, indent=2) + "\n")
        return address

    def list(self) -> list[KeyEntry]:
        """Return the keys in the folder by name; files that are no keystores are left out."""
        entries = []
        for path in sorted(self.folder.glob("*.json")) if self.folder.is_dir() else []:
            try:
                entries.append(KeyEntry(path.stem, _read(path)[1], path))
            except EmeritError:
                continue
        return entries

    def load(self, name_or_path_or_address: str | Path, password: str) -> LocalAccount:
        """Decrypt a key given by its name, its file's path or its address.

        Raises PreconditionError `key-not-found` (with the names there are), `key-wrong-password`,
        `key-file-invalid`, or `key-file-permissions` when others than the owner may read the file.
        """
        from eth_account import Account

        path = self._find(name_or_path_or_address)
        _check_private(path)
        content, address = _read(path)
        try:
            account = Account.from_key(Account.decrypt(content, password))
        except (ValueError, TypeError, KeyError, AttributeError, NotImplementedError) as error:
            if "MAC mismatch" in str(error):
                raise PreconditionError(
                    "key-wrong-password", f"The password does not open {path}.", "Give the one it was made with."
                ) from None
            raise _invalid(path) from None
        if account.address != address:
            raise _invalid(path)
        return account

    def _path_of(self, name: str) -> Path:
        if not _NAME.fullmatch(name) or name.endswith(".json") or _ADDRESS.fullmatch(name):
            raise UsageError(
                "key-name-invalid",
                f"{ascii(name)[:80]} cannot be a key's name.",
                "Take up to 64 letters, digits, dots, dashes and underscores that are no address or file name.",
            )
        return self.folder / f"{name}.json"

    def _find(self, wanted: str | Path) -> Path:
        text = str(wanted)
        if isinstance(wanted, Path) or os.sep in text or text.endswith(".json"):
            if Path(text).is_file():
                return Path(text)
        elif _ADDRESS.fullmatch(text):
            bare = text.lower().removeprefix("0x")
            for entry in self.list():
                if entry.address.lower() == f"0x{bare}":
                    return entry.path
        elif _NAME.fullmatch(text) and (self.folder / f"{text}.json").is_file():
            return self.folder / f"{text}.json"
        known = ", ".join(f"{entry.name} ({entry.address})" for entry in self.list())
        raise PreconditionError(
            "key-not-found",
            f"There is no key {ascii(text)[:120]}; {self.folder} has {known or 'none'}.",
            "Create one with `emerit wallet create NAME`, or give the path of a keystore file.",
        )

    def _write_new(self, name: str, path: Path, text: str) -> None:
        """Put the whole file in place in one step, failing if the name is taken by then."""
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except OSError as error:
            raise self._unwritable(error) from error
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        except FileExistsError:
            raise _exists(name, path) from None
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            temporary.unlink(missing_ok=True)

    def _unwritable(self, error: OSError) -> PreconditionError:
        cause = f"No key could be written in {self.folder}: {error.strerror}."
        return PreconditionError("key-folder-unwritable", cause, "Check the folder's owner, mode and free space.")


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """Return a keystore's content and its checksummed address; raises `key-file-invalid`."""
    from eth_utils.address import to_checksum_address

    try:
        if path.stat().st_size > _MOST_FILE_BYTES:
            raise _invalid(path)
        content = json.loads(path.read_text("utf-8"))
        crypto = content["crypto"]
        parameters = crypto["kdfparams"]
        if content["version"] != 3 or parameters["dklen"] != 32 or not _ADDRESS.fullmatch(content["address"]):
            raise _invalid(path)
        # Bounded, since a file from elsewhere could ask for any amount of memory and time.
        if crypto["kdf"] == "scrypt":
            affordable = 1 < parameters["n"] <= _MOST_SCRYPT_N and parameters["r"] * parameters["p"] <= 64
        else:
            affordable = 0 < parameters["c"] <= _MOST_PBKDF2_ROUNDS
        if not affordable:
            raise _invalid(path)
        return content, str(to_checksum_address("0x" + content["address"].lower().removeprefix("0x")))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        raise _invalid(path) from None


def _check_private(path: Path) -> None:
    if os.name != "posix":
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise PreconditionError(
            "key-file-permissions",
            f"{path} can be read by others than its owner (mode {mode:04o}).",
            f"Run: chmod 600 {path}",
        )


def _exists(name: str, path: Path) -> PreconditionError:
    return PreconditionError(
        "key-exists", f"There is a key {name} already: {path}.", "Take another name; a key is never overwritten."
    )


def _invalid(path: Path) -> PreconditionError:
    return PreconditionError(
        "key-file-invalid", f"{path} is not a keystore file of version 3.", "Restore it from a backup."
    )
