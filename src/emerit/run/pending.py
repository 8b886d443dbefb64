"""What a node has committed to but not yet revealed, on disk before the commit leaves: nothing is lost on a crash."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emerit.errors import StateError

_BYTES = ("content_hash", "salt", "base_state_root", "vector")


@dataclass(frozen=True)
class Pending:
    """One commitment that can still be opened.

    Attributes:
        kind: `contribution` or `weights`.
        payload: the bytes to publish on IPFS (blob or evidence).
        base_state_root: the state that a contribution was made from, empty for weights.
        vector: the packed weight vector, empty for a contribution.
    """

    kind: str
    round: int
    cid: str
    content_hash: bytes
    salt: bytes
    payload: bytes
    base_state_root: bytes = b""
    vector: bytes = b""


def write_atomically(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Replace `path` by `data` in one step; a crash leaves the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(temporary, path)


def save_pending(folder: Path, pending: Pending) -> None:
    """Write the pending commitment (payload first, so that the record never names a missing payload)."""
    write_atomically(folder / "pending.bin", pending.payload)
    record: dict[str, Any] = asdict(pending)
    record["payload"] = len(pending.payload)
    for name in _BYTES:
        record[name] = record[name].hex()
    write_atomically(folder / "pending.json", json.dumps(record).encode())


def load_pending(folder: Path) -> Pending | None:
    """Read the pending commitment back, or None when there is none.

    Raises:
        StateError: `pending-corrupt` when the files do not belong together.
    """
    try:
        record = json.loads((folder / "pending.json").read_bytes())
        payload = (folder / "pending.bin").read_bytes()
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise _corrupt(folder) from error
    if not isinstance(record, dict) or record.pop("payload", None) != len(payload):
        raise _corrupt(folder)
    try:
        for name in _BYTES:
            record[name] = bytes.fromhex(record[name])
        return Pending(payload=payload, **record)
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(folder) from error


def clear_pending(folder: Path) -> None:
    """Forget the pending commitment; the record goes first."""
    (folder / "pending.json").unlink(missing_ok=True)
    (folder / "pending.bin").unlink(missing_ok=True)


def _corrupt(folder: Path) -> StateError:
    return StateError(
        "pending-corrupt",
        f"The record of the last commitment in {folder} is damaged.",
        "Delete pending.json and pending.bin there; the round they belong to is lost, the node goes on.",
    )
