"""Reading files block by block, within limits, from the library node.

The library offers only "write the whole file or folder to disk, however long it takes". Asking it for the same
block under its raw CID gives exactly one block, so the walk over a file is ours: nothing beyond the asked length is
fetched, a tree that never ends is cut off, and a deadline holds even for blocks that nobody has.
"""

from __future__ import annotations

import base64
import itertools
import time
from collections import deque
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock, Thread
from typing import Final

from emerit.errors import RefusedError, UnavailableError
from emerit.ipfs.cid import Cid, decode_block
from emerit.ipfs.library import KuboLibrary

MAX_BLOCK_BYTES: Final = 4 << 20
MAX_FILE_BLOCKS: Final = 8192
MAX_OPEN_FETCHES: Final = 256
_PREFETCH_BLOCKS: Final = 8


@dataclass
class _Fetch:
    """One download in flight: the waiters share its future; `waiting` is how many there are."""

    generation: int
    waiting: int = 0
    future: Future[bytes] = field(default_factory=Future)


class BlockSource:
    """Blocks of a repository by CID: from its folder if they are there, else from peers by the library.

    A download of a block that nobody has cannot be ended on its own, so equal requests share one, and when
    `max_open_fetches` are in flight with nobody waiting for most of them, the node is restarted to be rid of them.
    """

    def __init__(
        self, library: KuboLibrary, repo: Path, scratch: Path, max_open_fetches: int = MAX_OPEN_FETCHES
    ) -> None:
        self._library = library
        self._blocks = repo / "blocks"
        self._scratch = scratch
        self._max_open_fetches = max_open_fetches
        self._lock = Lock()
        self._open: dict[bytes, _Fetch] = {}
        self._names = itertools.count()

    def local(self, cid: Cid) -> bytes | None:
        """Return the block if the repository has it, without asking any peer."""
        path = self._path(cid)
        try:
            if path.stat().st_size > MAX_BLOCK_BYTES:
                raise RefusedError("blob-not-a-file", f"Block {cid} is over {MAX_BLOCK_BYTES} bytes.")
            return path.read_bytes()
        except FileNotFoundError:
            return None

    def begin(self, cid: Cid) -> None:
        """Start fetching a block that is not local and let it arrive in the background."""
        if not self._path(cid).exists():
            self._join(cid, 0)

    def get(self, cid: Cid, deadline: float) -> bytes:
        """Return the block, waiting until `deadline` (time.monotonic seconds).

        Raises UnavailableError `ipfs-timeout` when no peer gave it in time, `ipfs-busy` when too many fetches wait.
        """
        while True:
            block = self.local(cid)
            if block is not None:
                return block
            fetch = self._join(cid, 1)
            try:
                return fetch.future.result(max(0.0, deadline - time.monotonic()))
            except FutureTimeoutError:
                raise UnavailableError("ipfs-timeout", "context deadline exceeded") from None
            except _FetchEnded:
                # The node was restarted under the download; anything else is an answer.
                if fetch.generation == self._library.generation:
                    raise UnavailableError("ipfs-failed", f"Block {cid} could not be read.") from None
            finally:
                with self._lock:
                    fetch.waiting -= 1

    def _path(self, cid: Cid) -> Path:
        """Where Kubo's flatfs keeps a block: by its multihash, in folders by the next to last two characters."""
        name = base64.b32encode(cid.multihash).decode("ascii").rstrip("=")
        return self._blocks / name[-3:-1] / f"{name}.data"

    def _join(self, cid: Cid, waiters: int) -> _Fetch:
        with self._lock:
            fetch = self._open.get(cid.multihash)
            if fetch is None:
                if len(self._open) >= self._max_open_fetches:
                    self._drop_open_fetches()
                fetch = self._open[cid.multihash] = _Fetch(self._library.generation)
                Thread(target=self._download, args=(cid, fetch), daemon=True).start()
            fetch.waiting += waiters
            return fetch

    def _drop_open_fetches(self) -> None:
        """Restart the node to end downloads that nobody waits for; those with waiters begin again."""
        if sum(1 for fetch in self._open.values() if fetch.waiting) * 2 > self._max_open_fetches:
            raise UnavailableError("ipfs-busy", "Too many blocks that no peer has are being waited for.")
        self._open = {}
        self._library.restart()

    def _download(self, cid: Cid, fetch: _Fetch) -> None:
        path = self._scratch / f"block-{next(self._names)}"
        try:
            if not self._library.download(str(cid.as_raw_block()), path):
                raise _FetchEnded
            if path.stat().st_size > MAX_BLOCK_BYTES:
                raise RefusedError("blob-not-a-file", f"Block {cid} is over {MAX_BLOCK_BYTES} bytes.")
            fetch.future.set_result(path.read_bytes())
        except (OSError, RefusedError, _FetchEnded) as error:
            fetch.future.set_exception(error)
        finally:
            path.unlink(missing_ok=True)
            with self._lock:
                if self._open.get(cid.multihash) is fetch:
                    del self._open[cid.multihash]


class _FetchEnded(Exception):
    """The library gave up a download: the node was closed under it, or the block cannot be read."""


def read_file(source: BlockSource, cid: Cid, length_bytes: int, deadline: float) -> bytes:
    """Return the first `length_bytes` bytes of the file `cid` (all of it when it is shorter).

    Fetches the blocks in order with a few ahead. Raises RefusedError `blob-not-a-file` for folders and for trees
    over 8,192 blocks, UnavailableError `ipfs-timeout` at `deadline` (time.monotonic seconds).
    """
    parts: list[bytes] = []
    missing_bytes = length_bytes
    todo: deque[Cid] = deque([cid])
    begun: set[bytes] = set()
    seen = 0
    while todo and missing_bytes > 0:
        seen += 1
        _check_size(cid, seen, todo)
        block_cid = todo.popleft()
        node = decode_block(block_cid, source.get(block_cid, deadline))
        if node.data:
            parts.append(node.data[:missing_bytes])
            missing_bytes -= len(parts[-1])
        todo.extendleft(reversed(node.children))
        if missing_bytes > 0:
            for ahead in itertools.islice(todo, _PREFETCH_BLOCKS):
                if ahead.multihash not in begun:
                    begun.add(ahead.multihash)
                    source.begin(ahead)
    return b"".join(parts)


@dataclass(frozen=True)
class FileStat:
    """The root's declared size and its direct children, and how much of the tree is in the repository."""

    declared_bytes: int
    links: int
    tree_bytes: int
    local: bool


def stat_file(source: BlockSource, cid: Cid) -> FileStat | None:
    """Describe a file from local blocks alone; None when the root itself is not local.

    Raises RefusedError `blob-not-a-file` for what is no file.
    """
    root_block = source.local(cid)
    if root_block is None:
        return None
    root = decode_block(cid, root_block)
    todo, tree_bytes, complete, seen = deque(root.children), len(root_block), True, 0
    while todo:
        seen += 1
        _check_size(cid, seen, todo)
        child = todo.popleft()
        block = source.local(child)
        if block is None:
            complete = False
            continue
        tree_bytes += len(block)
        todo.extend(decode_block(child, block).children)
    return FileStat(root.declared_bytes, len(root.children), tree_bytes, complete)


def _check_size(cid: Cid, seen: int, todo: deque[Cid]) -> None:
    if seen + len(todo) > MAX_FILE_BLOCKS:
        raise RefusedError("blob-not-a-file", f"{cid} has more than {MAX_FILE_BLOCKS} blocks.")
