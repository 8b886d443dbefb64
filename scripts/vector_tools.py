"""What the programs that write the shared test vectors have in common: fixed random numbers, and JSON's spelling."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any

from eth_utils.address import to_checksum_address

from emerit.protocol import seeds

CHAIN_ID = 31337
# Numbers that may exceed 2^53 are decimal strings.
BIG = {
    "cumulativeAmountWei",
    "weight",
    "reputation",
    "weightBefore",
    "amountBeforeWei",
    "totalWeight",
    "totalAmountWei",
    "budgetWei",
}


def digest(*numbers: int) -> bytes:
    """Return 32 bytes that look random and never change."""
    return seeds.derive(bytes(32), "emerit/vectors/v1", *numbers)


def number(below: int, *numbers: int) -> int:
    """Return an integer in [0, below) that never changes."""
    return int.from_bytes(digest(*numbers), "big") % below


def address(*numbers: int) -> str:
    """Return a checksummed address that never changes."""
    return to_checksum_address(digest(*numbers)[:20])


RUN = address(1)


def hexed(data: bytes) -> str:
    """Return 0x-prefixed hex."""
    return "0x" + data.hex()


def camel(name: str) -> str:
    """Return a Python field name as the contracts spell it."""
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)


def record(value: Any) -> dict[str, Any]:
    """Return a record with the contract's field names, records in it as objects."""
    return {camel(field.name): _plain(camel(field.name), getattr(value, field.name)) for field in fields(value)}


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, IntEnum):
        return int(value)
    if is_dataclass(value):
        return record(value)
    if isinstance(value, bytes):
        return hexed(value)
    return str(value) if key in BIG else value
