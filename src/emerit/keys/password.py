"""Where a key's password comes from: a file, the environment, or the person at the terminal."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from emerit.errors import PreconditionError, UsageError

_MOST_FILE_BYTES: Final = 4096


def read_password(
    prompt: str, env: str | None = "EMERIT_PASSWORD", file: Path | None = None, confirm: bool = False
) -> str:
    """Return the password: from `file` (its first line) if given, else from the variable `env`, else asked for.

    `confirm` asks twice, for a new key. Raises PreconditionError `password-file-unreadable` or `password-missing`
    (no source and no terminal), UsageError `password-mismatch` or `key-password-empty`.
    """
    if file is not None:
        password = _first_line(file)
    elif env is not None and env in os.environ:
        password = os.environ[env]
    elif sys.stdin is not None and sys.stdin.isatty():
        password = getpass.getpass(f"{prompt}: ")
        if confirm and getpass.getpass("Again: ") != password:
            raise UsageError("password-mismatch", "The two passwords are not the same.", "Try again.")
    else:
        raise PreconditionError(
            "password-missing",
            "A password is needed and there is no terminal to ask for it.",
            f"Set {env}, or name a file that holds it." if env else "Name a file that holds it.",
        )
    if not password:
        raise UsageError("key-password-empty", "The password is empty.", "Give one that is not.")
    return password


def _first_line(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            text = opened.read(_MOST_FILE_BYTES).decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PreconditionError(
            "password-file-unreadable", f"The password file {file} cannot be read.", "Check its path and mode."
        ) from error
    return text.split("\n", 1)[0].removesuffix("\r")
