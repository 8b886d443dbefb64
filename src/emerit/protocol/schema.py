"""Strict, canonical JSON for frozen dataclasses.

One record has one encoding: keys sorted, no spaces, ASCII, the shortest decimal for a float. The reader
refuses everything else: unknown, missing or repeated keys, a wrong type (a bool is no number), NaN, a value
outside the `Bounded` or not of the pattern `Matching` in the field's annotation.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import lru_cache
from typing import Annotated, Any, Final, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from emerit.errors import RefusedError
from emerit.protocol.strangers_json import read_json

T = TypeVar("T")

_MAX_ITEMS: Final = 1 << 20


@dataclass(frozen=True)
class Bounded:
    """Annotates a number field that must lie in [low, high]."""

    low: float
    high: float


@dataclass(frozen=True)
class Matching:
    """Annotates a text field that must match the whole regular expression."""

    pattern: str


def refuse(code: str, path: str, message: str) -> NoReturn:
    """Raise the `RefusedError` that names the offending field by its dotted path."""
    raise RefusedError(code, f"{path or 'the document'} {message}", "Ask the author for a correct file.")


def canonical_bytes(record: Any) -> bytes:
    """Return the one encoding of a dataclass instance: sorted keys, no spaces, ASCII."""
    text = json.dumps(_plain(record), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def read_canonical(cls: type[T], data: bytes, code: str) -> T:
    """Return the record that `data` encodes.

    Raises:
        RefusedError: `code`, when it is not JSON, does not fit the schema, or is not the canonical encoding.
    """
    try:
        document = read_json(data, _no_repeats)
    except ValueError as error:
        refuse(code, "", f"is not JSON in ASCII: {error}.")
    record = _read(cls, document, "", code)
    if canonical_bytes(record) != data:
        refuse(code, "", "is not in canonical form (sorted keys, no spaces, shortest numbers).")
    return record


def check_fields(record: Any, code: str) -> None:
    """Check every declared range and pattern of a dataclass instance (not of nested ones).

    Raises:
        RefusedError: `code`, naming the first field that is wrong.
    """
    kind: Any = type(record)
    for name, hint in _annotations(kind).items():
        rules = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        value = getattr(record, name)
        _check_type(get_args(hint)[0] if rules else hint, value, name, code)
        for rule in rules:
            _check_rule(rule, value, name, code)


@lru_cache(maxsize=64)
def _annotations(cls: Any) -> Mapping[str, Any]:
    return get_type_hints(cls, include_extras=True)


@lru_cache(maxsize=64)
def _types(cls: Any) -> Mapping[str, Any]:
    return get_type_hints(cls)


def _check_type(kind: Any, value: Any, path: str, code: str) -> None:
    if kind is int and type(value) is not int:
        refuse(code, path, f"must be an integer, not {type(value).__name__}.")
    if kind is bool and type(value) is not bool:
        refuse(code, path, f"must be true or false, not {type(value).__name__}.")
    if kind is float and type(value) not in (int, float):
        refuse(code, path, f"must be a number, not {type(value).__name__}.")
    if kind is str and not isinstance(value, str):
        refuse(code, path, f"must be text, not {type(value).__name__}.")


def _check_rule(rule: Any, value: Any, path: str, code: str) -> None:
    if isinstance(rule, Bounded) and not rule.low <= value <= rule.high:
        refuse(code, path, f"= {value} is outside [{rule.low}, {rule.high}].")
    if isinstance(rule, Matching) and re.fullmatch(rule.pattern, value, re.ASCII) is None:
        refuse(code, path, f"= {value[:80]!r} does not match {rule.pattern}.")


def _plain(value: Any) -> Any:
    """Return the JSON value of a record; float fields are always written as floats."""
    if is_dataclass(value):
        kind: Any = type(value)
        hints = _types(kind)
        content = {item.name: getattr(value, item.name) for item in fields(value)}
        return {name: float(inner) if hints[name] is float else _plain(inner) for name, inner in content.items()}
    if isinstance(value, tuple):
        return [_plain(inner) for inner in value]
    return value


def _read(kind: Any, value: Any, path: str, code: str) -> Any:
    if is_dataclass(kind):
        return _read_record(kind, value, path, code)
    if get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) > _MAX_ITEMS:
            refuse(code, path, "must be a list.")
        inner = get_args(kind)[0]
        return tuple(_read(inner, item, f"{path}[{place}]", code) for place, item in enumerate(value))
    if type(value) is not kind:
        refuse(code, path, f"must be {kind.__name__}, not {type(value).__name__}.")
    return value


def _read_record(cls: Any, value: Any, path: str, code: str) -> Any:
    if not isinstance(value, dict):
        refuse(code, path, "must be an object.")
    hints = _types(cls)
    unknown = sorted(set(value) - set(hints))
    missing = sorted(set(hints) - set(value))
    if unknown:
        refuse(code, _join(path, unknown[0][:80]), "is not a known key.")
    if missing:
        refuse(code, _join(path, missing[0]), "is missing.")
    content = {name: _read(hints[name], value[name], _join(path, name), code) for name in hints}
    try:
        return cls(**content)
    except RefusedError as error:
        if path and error.code == code:
            raise RefusedError(code, f"In {path}: {error.cause}", error.fix) from error
        raise


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _no_repeats(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for key, value in pairs:
        if key in result:
            raise ValueError(f"the key {key[:80]!r} stands twice")
        result[key] = value
    return result
