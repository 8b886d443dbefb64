"""Memory that ran out, told as one sentence."""

from __future__ import annotations

from typing import Final

from emerit.errors import PreconditionError

_MEMORY_WORDS: Final = ("can't allocate memory", "not enough memory", "out of memory")


def out_of_memory(error: BaseException) -> PreconditionError | None:
    """Return the error that says in one sentence that memory ran out, or None if `error` means something else.

    numpy and Python raise MemoryError; torch raises a RuntimeError, whose text is all that tells it from others.
    """
    told = str(error).lower()
    if not isinstance(error, MemoryError) and not any(words in told for words in _MEMORY_WORDS):
        return None
    return PreconditionError(
        "out-of-memory",
        "The memory of this machine did not suffice.",
        "Stop other programs, or take a run with a smaller model; `emerit doctor` says what a run needs.",
    )
