"""Read JSON that a stranger wrote: nesting is bounded before the parser sees it.

Python's parser recurses in C, and libraries may raise the recursion limit so far that deep nesting ends the process
instead of raising an error. So the depth is counted first, in one pass without recursion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

MAX_DEPTH = 32
MAX_INTEGER_DIGITS = 80
"""Of an integer; the largest that the protocol knows has 256 bits, 78 digits."""

_TOKENS = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)


def read_json(data: bytes, pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Return the value that ASCII JSON text encodes.

    Raises:
        ValueError: not JSON in ASCII, nested deeper than `MAX_DEPTH`, with an integer of more than `MAX_INTEGER_DIGITS`
            digits, or with NaN or an infinity in it.
    """
    check_depth(data)
    return json.loads(
        data.decode("ascii"), object_pairs_hook=pairs_hook, parse_int=_integer, parse_constant=_no_constant
    )


def check_depth(data: bytes) -> None:
    """Count how deep JSON text is nested, in any encoding that agrees with ASCII on ASCII.

    Raises:
        ValueError: deeper than `MAX_DEPTH`.
    """
    depth = 0
    for match in _TOKENS.finditer(data):
        token = match[0]
        if token in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
        elif token in b"]}":
            depth -= 1


def _integer(digits: str) -> int:
    # No float has so many: what asks whether a figure is finite would raise instead of answering.
    if len(digits.lstrip("-")) > MAX_INTEGER_DIGITS:
        raise ValueError(f"an integer has more than {MAX_INTEGER_DIGITS} digits")
    return int(digits)


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")
