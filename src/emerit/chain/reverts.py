"""From what a node says when it refuses a call to an error that a user can act on.

Nodes wrap revert data differently: Geth, Anvil and Reth put it in `error.data`, some providers one level
deeper, and Parity's heirs write `Reverted 0x…` there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from emerit.chain.abi import AbiError
from emerit.chain.artifacts import CONTRACTS, load_artifact
from emerit.chain.errors_table import ERRORS, kebab
from emerit.errors import ChainError
from emerit.protocol.types import Fault, Phase, Role

_HEX = re.compile(r"0x[0-9a-fA-F]*")
_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")
_TIME_NAMES = ("until", "endedAt", "claimableUntil", "deadline")
_ENUMS = {"enum Phase": Phase, "enum Role": Role, "enum Fault": Fault}
_LAST_TIME_SECONDS = 253_402_300_799


@dataclass(frozen=True, slots=True)
class RpcFailure:
    """A JSON-RPC error: its code, its message, and the revert data if it carries any."""

    code: int
    message: str
    data: bytes | None

    @property
    def is_revert(self) -> bool:
        """Whether the call was executed and reverted (rather than refused by the node)."""
        return self.data is not None or self.code == 3 or "revert" in self.message.lower()


def failure_from(error: Any) -> RpcFailure:
    """Read the `error` member of a JSON-RPC answer, whatever its shape."""
    if not isinstance(error, Mapping):
        return RpcFailure(0, str(error), None)
    code = error.get("code")
    return RpcFailure(
        code if isinstance(code, int) else 0, str(error.get("message", "")), _revert_data(error.get("data"))
    )


def _revert_data(data: Any) -> bytes | None:
    if isinstance(data, Mapping):
        inner = data.get("data")
        return _revert_data(inner if inner is not None else data.get("originalError"))
    if not isinstance(data, str) or not (found := _HEX.search(data)):
        return None
    digits = found.group()[2:]
    return bytes.fromhex(digits) if len(digits) % 2 == 0 else None


def revert_error(failure: RpcFailure) -> ChainError | None:
    """Return the error for a revert, or None if the failure is not one.

    A custom error of our contracts gets its own code, cause and fix from `errors_table`; the others are
    `reverted` (with the reason string, the panic code, or the unknown selector).
    """
    if not failure.is_revert:
        return None
    data = failure.data or b""
    known = _custom_errors().get(data[:4])
    try:
        if known is not None:
            return _explained(known, data)
        cause = _plain_reason(data)
    except (DecodingError, ValueError):
        cause = f"The contract refused the call with malformed data 0x{data[:68].hex()}."
    return ChainError("reverted", cause, "Check that the address is the contract you mean, and its version.")


@lru_cache(maxsize=1)
def _custom_errors() -> dict[bytes, AbiError]:
    errors: dict[bytes, AbiError] = {}
    for name in CONTRACTS:
        errors.update(load_artifact(name).abi.errors)
    return errors


def _explained(error: AbiError, data: bytes) -> ChainError:
    arguments = shown_arguments(error, error.decode(data))
    cause, fix = ERRORS.get(error.name, ("", "Update emerit; this version does not know the error."))
    if not cause:
        listed = ", ".join(f"{name} {value}" for name, value in arguments.items())
        return ChainError(kebab(error.name), f"The contract refused: {error.name} ({listed}).", fix)
    return ChainError(kebab(error.name), cause.format(**arguments), fix)


def shown_arguments(error: AbiError, values: Mapping[str, Any]) -> dict[str, str]:
    """Return an error's arguments the way people read them: enums by name, times as UTC, money in wei."""
    kinds = {name: each.get("internalType", "") for name, each in zip(error.names, error.parameters, strict=True)}
    return {name: _shown(name, kinds[name], value) for name, value in values.items()}


def _shown(name: str, kind: str, value: Any) -> str:
    if kind in _ENUMS:
        return _ENUMS[kind](value).name.replace("_", " ").lower()
    if kind == "address":
        return str(to_checksum_address(value))
    if isinstance(value, bytes):
        text = value.rstrip(b"\0")
        readable = name == "field" and text.isascii() and text.decode("ascii").isprintable()
        return text.decode("ascii") if readable else f"0x{value.hex()}"
    if name in _TIME_NAMES and isinstance(value, int) and value <= _LAST_TIME_SECONDS:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"{value} wei" if name.endswith("Wei") else str(value)


def _plain_reason(data: bytes) -> str:
    if data[:4] == _ERROR_STRING:
        return f"The contract refused the call: {decode(['string'], data[4:])[0]}."
    if data[:4] == _PANIC:
        return f"The contract failed with panic code 0x{decode(['uint256'], data[4:])[0]:02x}."
    if not data:
        return "The contract refused the call without a reason."
    return f"The contract refused the call with an unknown error 0x{data[:4].hex()}."
