"""Which implementation of the inner loops is used: compiled code where it pays, plain numpy elsewhere.

Both give the same bits; numpy is the reference that the tests hold the compiled code against. `EMERIT_KERNELS` may
say `numpy` or `native`; `auto`, the default, takes compiled code for vectors of `NATIVE_FROM` entries and more, because
loading it costs a process about a second and 100 MB, and numpy only where numba is not installed. The first
process on a machine compiles for some seconds; the code is then kept beside the sources or in the user's cache folder.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from types import ModuleType
from typing import Final

from emerit.errors import UsageError

KERNELS_ENV: Final = "EMERIT_KERNELS"
CHOICES: Final = ("auto", "numpy", "native")
NATIVE_FROM: Final = 1 << 22


def native(size: int) -> ModuleType | None:
    """Return the compiled kernels for work on a vector of `size` entries, or None where numpy is to do it.

    Raises:
        UsageError: `kernels-unknown` when EMERIT_KERNELS says something else, `kernels-missing` when it says
            `native` and numba cannot be imported.
    """
    choice = os.environ.get(KERNELS_ENV) or "auto"
    if choice not in CHOICES:
        raise UsageError(
            "kernels-unknown", f"{KERNELS_ENV} is {choice!r}.", "Set it to auto, numpy or native, or to nothing."
        )
    if choice == "numpy" or (choice == "auto" and size < NATIVE_FROM):
        return None
    loaded = _loaded()
    if loaded is None and choice == "native":
        raise UsageError("kernels-missing", "The compiled kernels need numba.", "Install emerit[fast], or use numpy.")
    return loaded


def in_ranges(work: Callable[[int, int], bool | None], count: int, threads: int, least: int = 64) -> bool:
    """Call work(first, last) on ranges that make up [0, count), on `threads` threads; False when a call said False.

    A range has at least `least` items, so little work stays on the calling thread.
    """
    parts = max(1, min(threads, count // least))
    bounds = [count * part // parts for part in range(parts + 1)]
    ranges = list(pairwise(bounds))
    if parts == 1:
        return work(0, count) is not False
    with ThreadPoolExecutor(parts, thread_name_prefix="codec") as pool:
        return all([result is not False for result in pool.map(lambda part: work(*part), ranges)])


@cache
def _loaded() -> ModuleType | None:
    try:
        return importlib.import_module("emerit.codec.native")
    except ImportError:
        return None
