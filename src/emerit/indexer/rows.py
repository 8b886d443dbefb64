"""A log as a row of the index: decoded by its contract's interface, in types that JSON can carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from eth_abi.exceptions import DecodingError
from eth_utils.address import to_checksum_address

from emerit.chain.abi import AbiEvent
from emerit.chain.artifacts import load_abi
from emerit.chain.records import Log

_NUMBER_BITS: Final = 32


class LogReader:
    """Turns the logs of a run's contracts into rows.

    Stakes and Rewards serve many runs: of their events only those that name this run are kept.
    """

    def __init__(self, contracts: Mapping[str, str]) -> None:
        """`contracts` has the address of each contract by its name; `TrainingRun` is the run."""
        self._run = contracts["TrainingRun"].lower()
        self._names = {address.lower(): name for name, address in contracts.items()}
        self._events: dict[tuple[str, bytes], AbiEvent] = {
            (name, event.topic): event for name in contracts for event in load_abi(name).events.values()
        }

    def row(self, log: Log) -> dict[str, Any] | None:
        """Return the row of a log, or None for one that is not of this run or of no known event."""
        contract = self._names.get(log.address.lower())
        event = self._events.get((contract, log.topics[0])) if contract is not None and log.topics else None
        if event is None:
            return None
        arguments = arguments_of(event, log)
        names_run = any(each["name"] == "run" for each in event.parameters)
        if names_run and str(arguments.get("run")).lower() != self._run:
            return None
        return {
            "block_hash": "0x" + log.block_hash.hex(),
            "log_index": log.log_index,
            "block_number": log.block_number,
            "tx_hash": log.tx_hash,
            "contract": contract,
            "name": event.name,
            "arguments": arguments,
        }


def arguments_of(event: AbiEvent, log: Log) -> dict[str, Any]:
    """Return an event's arguments by name, structs as objects.

    Integers above 32 bits are decimal strings, whatever their value; bytes are 0x-hex, addresses checksummed. What
    cannot be decoded (a stranger may have put anything into a text) stays raw under `undecodable`.
    """
    try:
        values = event.decode(log)
    except (DecodingError, ValueError):
        return {"undecodable": "0x" + log.data.hex()}
    return {str(each["name"]): _plain(each, values[each["name"]]) for each in event.parameters}


def _plain(parameter: Mapping[str, Any], value: Any) -> Any:
    kind = str(parameter["type"])
    if kind.endswith("]"):
        inner = {**parameter, "type": kind[: kind.rindex("[")]}
        return [_plain(inner, item) for item in value]
    if kind == "tuple":
        return _struct(parameter["components"], value)
    if kind.startswith(("uint", "int")):
        bits = int(kind.lstrip("uint"))
        return int(value) if bits <= _NUMBER_BITS else str(value)
    if kind.startswith("bytes"):
        return "0x" + bytes(value).hex()
    if kind == "address":
        return to_checksum_address(value)
    return printable(value) if kind == "string" else value


def _struct(components: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> dict[str, Any]:
    return {str(each["name"]): _plain(each, value) for each, value in zip(components, values, strict=True)}


def printable(text: str) -> str:
    """Return a stranger's text as valid Unicode; bytes that were none are written as `\\xNN`."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
