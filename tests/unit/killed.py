"""Work that is killed again and again, without importing everything anew each time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

KillAfter = Callable[[int, str], list[str]]

# After a program that defines `work(text)`: a process of its own for every line that comes in.
START_FOR_EACH_LINE = """
import os, sys
for text in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            print(os.getpid(), flush=True)
            work(text.strip())
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    print("gone", flush=True)
"""


@contextmanager
def worker(program: str, *arguments: object) -> Iterator[KillAfter]:
    """Start a process that has imported what `program` needs, and forks one that calls its `work(text)` when asked.

    Yields `kill_after(lines, text)`: let `work(text)` print so many lines, kill it, return them once it is gone.
    """
    command = [sys.executable, "-c", program + START_FOR_EACH_LINE, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        to, out = parent.stdin, parent.stdout
        assert to is not None and out is not None

        def kill_after(lines: int, text: str) -> list[str]:
            print(text, file=to, flush=True)
            child = int(out.readline())
            said = [out.readline().strip() for _ in range(lines)]
            os.kill(child, signal.SIGKILL)
            while (more := out.readline().strip()) != "gone":
                assert more, "the process that starts the workers has ended"
            return said

        yield kill_after
