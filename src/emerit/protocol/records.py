"""What all of the protocol's records share: range checks, and the way to and from the contracts' tuples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import IntEnum
from typing import Any, ClassVar, Final, Self

from eth_utils.address import is_checksum_address, to_checksum_address

from emerit.errors import RefusedError

HASH_BYTES: Final = 32


def check_uint(name: str, value: int, bits: int) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is an int in [0, 2^bits)."""
    if type(value) is not int and not isinstance(value, IntEnum):
        raise RefusedError("value-invalid", f"{name} must be an integer, not {type(value).__name__}.")
    if not 0 <= value < 1 << bits:
        raise RefusedError("value-invalid", f"{name} = {value} does not fit in uint{bits}.")


def check_hash(name: str, value: bytes) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is 32 bytes."""
    if not isinstance(value, bytes) or len(value) != HASH_BYTES:
        raise RefusedError("value-invalid", f"{name} must be 32 bytes.")


def check_address(name: str, value: str) -> None:
    """Raise `RefusedError("value-invalid")` unless `value` is a checksummed address."""
    if not isinstance(value, str) or not is_checksum_address(value):
        raise RefusedError("value-invalid", f"{name} = {value!r} is not a checksummed address.")


class AbiRecord:
    """Conversions of the records whose fields stand in the contract's order.

    A subclass says in `abi_widths` the bits of its integers, in `abi_addresses` which fields are addresses and in
    `abi_hashes` which are bytes32; `check_fields` refuses what does not fit. A field in `abi_records` holds a record.
    """

    __slots__ = ()
    abi_widths: ClassVar[dict[str, int]] = {}
    abi_addresses: ClassVar[tuple[str, ...]] = ()
    abi_hashes: ClassVar[tuple[str, ...]] = ()
    abi_records: ClassVar[dict[str, type[AbiRecord]]] = {}

    def check_fields(self) -> None:
        """Check every declared field's range; raises `RefusedError("value-invalid")`."""
        for name, bits in self.abi_widths.items():
            check_uint(name, getattr(self, name), bits)
        for name in self.abi_addresses:
            check_address(name, getattr(self, name))
        for name in self.abi_hashes:
            check_hash(name, getattr(self, name))

    @classmethod
    def from_abi(cls, values: Sequence[Any]) -> Self:
        """Return the record from a decoded ABI tuple.

        Raises:
            RefusedError: `value-invalid`, when the number of fields or a field's range is wrong.
        """
        names = [field.name for field in fields(cls)]  # type: ignore[arg-type]
        if len(names) != len(values):
            raise RefusedError("value-invalid", f"{cls.__name__} has {len(names)} fields, not {len(values)}.")
        content = dict(zip(names, map(_plain, values), strict=True))
        for name in cls.abi_addresses:
            content[name] = to_checksum_address(content[name])
        for name, kind in cls.abi_records.items():
            content[name] = kind.from_abi(content[name])
        return cls(**content)

    def as_abi(self) -> tuple[Any, ...]:
        """Return the fields in the contract's order, records in them as tuples, ready for an ABI encoder."""
        return tuple(_abi(getattr(self, field.name)) for field in fields(self))  # type: ignore[arg-type]


def _abi(value: Any) -> Any:
    if is_dataclass(value) and isinstance(value, AbiRecord):
        return value.as_abi()
    return int(value) if isinstance(value, IntEnum) else value


def _plain(value: Any) -> Any:
    """Return bytes of any kind as plain bytes, lists as tuples, everything else as it is."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    return tuple(map(_plain, value)) if isinstance(value, list | tuple) else value
