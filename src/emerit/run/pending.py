"""What a node has committed to but not yet revealed, on disk before the commit leaves this machine.

A commitment can be opened only with its payload and salt; both are in one file that is replaced in one step, so that a
crash leaves either the old record or the new one.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import structlog

from emerit.files import replace_file

log = structlog.get_logger("emerit.node")

FILE = "pending.bin"
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


def save_pending(folder: Path, pending: Pending) -> None:
    """Write the pending commitment: one line of JSON, then the payload."""
    record: dict[str, Any] = asdict(pending)
    record["payload"] = len(pending.payload)
    for name in _BYTES:
        record[name] = record[name].hex()
    replace_file(folder / FILE, json.dumps(record).encode() + b"\n" + pending.payload)


def load_pending(folder: Path) -> Pending | None:
    """Read the pending commitment back; None when there is none, or when the file is damaged (which is logged)."""
    try:
        head, _, payload = (folder / FILE).read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    try:
        record = json.loads(head)
        if record.pop("payload") != len(payload):
            raise ValueError("the payload has another length")
        for name in _BYTES:
            record[name] = bytes.fromhex(record[name])
        return Pending(payload=payload, **record)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        log.error("the record of the last commitment is damaged; its round is lost", file=FILE, cause=str(error))
        clear_pending(folder)
        return None


def clear_pending(folder: Path) -> None:
    """Forget the pending commitment."""
    (folder / FILE).unlink(missing_ok=True)
