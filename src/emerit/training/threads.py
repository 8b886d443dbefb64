"""Thread settings of a process that shares its machine with other Emerit processes."""

from __future__ import annotations

import torch


def single_thread() -> None:
    """Let torch use one thread in this process; programs call it once at start, never at import.

    Several processes with more threads than cores make each other several times slower, because waiting
    threads spin. One thread also makes float results repeatable on one kind of processor.
    """
    torch.set_num_threads(1)
