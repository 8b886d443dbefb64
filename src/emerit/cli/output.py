"""What the commands print: text for people, JSON for programs, amounts in both."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from emerit.errors import EmeritError, UsageError

TOKEN: Final = "EMR"
DECIMALS: Final = 18
_MOST_WEI: Final = (1 << 128) - 1
_AMOUNT: Final = re.compile(r"(?P<whole>\d{1,30})(?:\.(?P<part>\d{1,18}))?", re.ASCII)


def say(text: str) -> None:
    """Print a line for people."""
    print(text, flush=True)


def say_step(text: str) -> None:
    """Print one step of something that takes a while."""
    say(f"· {text}")


def print_json(data: Any) -> None:
    """Print data as JSON, bytes as 0x-hex."""
    print(json.dumps(data, indent=2, default=_plain))


def print_record(record: Mapping[str, Any]) -> None:
    """Print a record as two columns."""
    width = max(len(key) for key in record)
    for key, value in record.items():
        say(f"{key:<{width}}  {value}")


def print_error(error: EmeritError, *, as_json: bool) -> None:
    """Print an error: as JSON on standard output, or as one sentence and its fix on standard error."""
    if as_json:
        print(json.dumps({"error": error.as_dict()}))
        return
    red, plain = ("\x1b[31m", "\x1b[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error{plain} {error.code}: {error.cause}", file=sys.stderr)
    if error.fix:
        print(f"  fix: {error.fix}", file=sys.stderr)


def warn(error: EmeritError) -> None:
    """Print on standard error what is wrong although the command goes on."""
    print(f"warning {error.code}: {error.cause}\n  fix: {error.fix}", file=sys.stderr)


def progress(label: str) -> Callable[[int, int], None]:
    """Return a callback `(done, total)` that keeps one line on a terminal up to date, and is silent elsewhere."""

    def show(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{label} {done} of {total}", end="\n" if done == total else "", file=sys.stderr, flush=True)

    return show


def tokens(wei: int) -> str:
    """Wei as whole tokens for people, rounded down to four decimals; machines get wei."""
    unit = 10**DECIMALS
    return f"{wei // unit:,}.{wei % unit * 10**4 // unit:04d} {TOKEN}"


def when(unix_seconds: int) -> str:
    """A time for people, in UTC."""
    return f"{datetime.fromtimestamp(unix_seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"


def to_wei(amount: str, *, zero_allowed: bool = True) -> int:
    """Read an amount of whole tokens with at most 18 decimals into wei, exactly.

    Raises:
        UsageError: `amount-invalid`.
    """
    match = _AMOUNT.fullmatch(amount.strip())
    wei = -1
    if match:
        wei = int(match["whole"]) * 10**DECIMALS + int((match["part"] or "").ljust(DECIMALS, "0"))
    if not 0 <= wei <= _MOST_WEI or (wei == 0 and not zero_allowed):
        least = "at least 0" if zero_allowed else "above 0"
        raise UsageError(
            "amount-invalid",
            f"{amount!r} is not an amount of tokens.",
            f"Use a number {least} with at most 18 decimals, such as 12.5.",
        )
    return wei


def _plain(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)
