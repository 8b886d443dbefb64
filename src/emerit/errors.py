"""Every error that Emerit raises on purpose.

The tree (each leaf carries a code; `docs/errors.md` lists them all, and a test keeps it complete)::

    EmeritError
    ├── UsageError            exit 2    the command line or a configuration value is wrong
    ├── PreconditionError     exit 3    something that must be there first is not (a port, a key, a tool, memory)
    ├── UnavailableError      exit 75   a service did not answer in time; try later
    ├── RefusedError          exit 1    a stranger's input (blob, manifest, aggregate) was refused
    ├── ChainError            exit 1    the chain refused a transaction or a call
    └── StateError            exit 1    local state or a root does not agree with the chain

An error is what a user reads: `code` (stable, kebab-case), `cause` (one sentence, what is wrong) and `fix`
(one sentence, what to do). Catch one only where you can act on it.
"""

from __future__ import annotations

from typing import ClassVar


class EmeritError(Exception):
    """Base of all errors raised on purpose; `code`, `cause` and `fix` are for people and for `--json`."""

    exit_code: ClassVar[int] = 1

    def __init__(self, code: str, cause: str, fix: str = "") -> None:
        super().__init__(f"{cause} [{code}]" + (f" {fix}" if fix else ""))
        self.code = code
        self.cause = cause
        self.fix = fix

    def as_dict(self) -> dict[str, str]:
        """Return the error in the shape that `--json` and the API print."""
        return {"code": self.code, "cause": self.cause, "fix": self.fix}


class UsageError(EmeritError):
    """The command line or a configuration value is wrong."""

    exit_code: ClassVar[int] = 2


class PreconditionError(EmeritError):
    """Something that must be there first is not."""

    exit_code: ClassVar[int] = 3


class UnavailableError(EmeritError):
    """A service did not answer before its deadline; the same call may succeed later."""

    exit_code: ClassVar[int] = 75


class RefusedError(EmeritError):
    """Input from a stranger was refused; `code` names the reason that is recorded."""


class ChainError(EmeritError):
    """The chain refused a transaction or a call."""


class StateError(EmeritError):
    """Local state, or a root computed from it, does not agree with the chain."""
