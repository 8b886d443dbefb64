"""Files that other processes, and this one after a crash, see whole or not at all."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import Final

SHARED: Final = 0o644
"""Mode of a file that others may read; the default is for this user alone."""


def replace_file(path: Path, data: bytes, *, mode: int = 0o600, durable: bool = True) -> None:
    """Put `data` at `path` in one step: a reader, or a crash, sees either the old file or the new one whole.

    The folder is made if need be. The file and its new name are on disk when this returns, unless `durable` is false,
    which is for what is worthless after a crash. What writers that were killed left behind is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.partial")
    try:
        with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as file:
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    if durable:
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on disk, where the system can do that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sweep(path: Path) -> None:
    """Remove partial files of `path` whose writers are gone."""
    for partial in path.parent.glob(f".{path.name}.*.partial"):
        writer = partial.suffixes[-2][1:].partition("-")[0] if len(partial.suffixes) > 1 else ""
        if writer.isdecimal() and not _is_alive(int(writer)):
            partial.unlink(missing_ok=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
