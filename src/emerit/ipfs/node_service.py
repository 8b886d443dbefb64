"""What the library node answers to each Kubo RPC command that Emerit uses, as plain functions of a node.

Every answer has the shape that Kubo gives; `rpc.py` puts them behind HTTP. All calls may block and are made from
worker threads; deadlines are time.monotonic seconds.
"""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from emerit.errors import RefusedError, UnavailableError
from emerit.ipfs.blocks import BlockSource, read_file, stat_file
from emerit.ipfs.cid import KUBO_ADD_OPTIONS, Cid, file_dag, parse_cid
from emerit.ipfs.library import KuboLibrary
from emerit.ipfs.upload import MAX_UPLOAD_BYTES

KUBO_VERSION: Final = "0.22.0"


class NodeService:
    """A started library node with its repository folder and a scratch folder for files in transit."""

    def __init__(self, library: KuboLibrary, blocks: BlockSource, repo: Path, scratch: Path) -> None:
        self._library = library
        self._blocks = blocks
        self._repo = repo
        self._scratch = scratch

    def version(self) -> dict[str, Any]:
        """Answer `version`: that of the Kubo inside the library, marked as the library."""
        system = f"{platform.machine()}/{platform.system().lower()}"
        repo_version = (self._repo / "version").read_text("ascii").strip()
        return {"Version": f"{KUBO_VERSION}-library", "Commit": "", "Repo": repo_version, "System": system}

    def identity(self) -> dict[str, Any]:
        """Answer `id`: the peer id and the addresses to dial it at."""
        return {
            "ID": self._library.peer_id(),
            "Addresses": self._library.addresses(),
            "AgentVersion": f"kubo/{KUBO_VERSION}/emerit-library",
        }

    def add(self, data: bytes, name: str, options: Mapping[str, str]) -> dict[str, Any]:
        """Answer `add` for one file; refuses import options other than Emerit's instead of ignoring them."""
        _check_add_options(options)
        only_hash = is_true(options.get("only-hash"))
        with tempfile.NamedTemporaryFile(dir=self._scratch, prefix="add-") as file:
            file.write(data)
            file.flush()
            cid = self._library.add_file(Path(file.name), only_hash)
        if not only_hash and not is_true(options.get("pin"), default=True):
            self._library.unpin(cid)
        return {"Name": name or cid, "Hash": cid, "Size": str(file_dag(data).cumulative_bytes)}

    def cat(self, path: str, offset_bytes: int, length_bytes: int | None, deadline: float, offline: bool) -> bytes:
        """Answer `cat`: bytes [offset, offset + length) of a file, at most 64 MiB from its start.

        Raises RefusedError `blob-too-large` when a file without a given length is over the limit.
        """
        if offset_bytes < 0 or (length_bytes is not None and length_bytes < 0):
            raise RefusedError("cid-invalid", "cannot specify negative offset or length")
        cid = _cid_in(path)
        if offline:
            self._require_local(cid)
        wanted = MAX_UPLOAD_BYTES + 1 if length_bytes is None else offset_bytes + length_bytes
        data = read_file(self._blocks, cid, min(wanted, MAX_UPLOAD_BYTES + 1), deadline)
        if len(data) > MAX_UPLOAD_BYTES and (length_bytes is None or wanted > len(data)):
            raise RefusedError("blob-too-large", f"the file is over {MAX_UPLOAD_BYTES} bytes")
        return data[offset_bytes:]

    def pin_add(self, path: str, deadline: float) -> dict[str, Any]:
        """Answer `pin/add`: fetch the whole tree (at most 64 MiB of file) by `deadline`, then pin it."""
        cid = _cid_in(path)
        if len(read_file(self._blocks, cid, MAX_UPLOAD_BYTES + 1, deadline)) > MAX_UPLOAD_BYTES:
            raise RefusedError("blob-too-large", f"pin: the file is over {MAX_UPLOAD_BYTES} bytes")
        if not self._library.pin(str(cid)):
            raise UnavailableError("ipfs-failed", f"pin: {cid} could not be pinned")
        return {"Pins": [str(cid)]}

    def pin_remove(self, path: str) -> dict[str, Any]:
        """Answer `pin/rm`; raises RefusedError with Kubo's words when it was not pinned."""
        cid = _cid_in(path)
        if not self._library.unpin(str(cid)):
            raise RefusedError("ipfs-not-pinned", "not pinned or pinned indirectly")
        return {"Pins": [str(cid)]}

    def pin_list(self, path: str | None) -> dict[str, Any]:
        """Answer `pin/ls`; the library does not tell pinned roots from blocks below them."""
        pinned = self._library.pins()
        if path is not None:
            wanted = _cid_in(path)
            pinned = [text for text in pinned if parse_cid(text).multihash == wanted.multihash]
            if not pinned:
                raise RefusedError("ipfs-not-pinned", f"path '{wanted}' is not pinned")
        return {"Keys": {text: {"Type": "recursive"} for text in pinned}}

    def files_stat(self, path: str, deadline: float, offline: bool) -> dict[str, Any]:
        """Answer `files/stat` of `/ipfs/CID`, always with locality."""
        cid = _cid_in(path)
        if not offline:
            self._blocks.get(cid, deadline)
        stat = stat_file(self._blocks, cid)
        if stat is None:
            raise _not_local(cid)
        return {
            "Hash": str(cid),
            "Size": stat.declared_bytes,
            "CumulativeSize": stat.tree_bytes,
            "Blocks": stat.links,
            "Type": "file",
            "WithLocality": True,
            "Local": stat.local,
            "SizeLocal": stat.tree_bytes,
        }

    def block_stat(self, path: str, deadline: float, offline: bool) -> dict[str, Any]:
        """Answer `block/stat` of one block."""
        cid = _cid_in(path)
        block = self._blocks.local(cid) if offline else self._blocks.get(cid, deadline)
        if block is None:
            raise _not_local(cid)
        return {"Key": str(cid), "Size": len(block)}

    def swarm_connect(self, address: str) -> dict[str, Any]:
        """Answer `swarm/connect`."""
        self._library.connect(address)
        return {"Strings": [f"connect {address.rpartition('/')[2]} success"]}

    def swarm_peers(self) -> dict[str, Any]:
        """Answer `swarm/peers`."""
        pairs = [address.rpartition("/p2p/") for address in self._library.peers()]
        return {"Peers": [{"Addr": address, "Peer": peer} for address, _, peer in pairs]}

    def repo_stat(self) -> dict[str, Any]:
        """Answer `repo/stat`: blocks and their bytes, counted on disk."""
        sizes = [path.stat().st_size for path in (self._repo / "blocks").glob("*/*.data")]
        return {
            "RepoSize": sum(sizes),
            "NumObjects": len(sizes),
            "RepoPath": str(self._repo),
            "Version": "fs-repo@" + (self._repo / "version").read_text("ascii").strip(),
        }

    def _require_local(self, cid: Cid) -> None:
        stat = stat_file(self._blocks, cid)
        if stat is None or not stat.local:
            raise _not_local(cid)


def is_true(text: str | None, default: bool = False) -> bool:
    """Read a boolean query value as Go does."""
    return default if text is None else text.lower() in ("1", "t", "true", "")


def deadline_after(timeout: str | None, default_seconds: float = 60.0, most_seconds: float = 600.0) -> float:
    """Turn a Kubo `timeout` option (`1.5s`, `300ms`, `2m`) into a time.monotonic deadline.

    Raises RefusedError `timeout-invalid` for other text.
    """
    seconds = default_seconds
    if timeout:
        for suffix, unit_seconds in (("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
            number = timeout.removesuffix(suffix)
            if number != timeout and number.replace(".", "", 1).isascii() and number.replace(".", "", 1).isdigit():
                seconds = float(number) * unit_seconds
                break
        else:
            raise RefusedError("timeout-invalid", f"time: invalid duration {ascii(timeout)[:40]}")
    return time.monotonic() + min(seconds, most_seconds)


def _check_add_options(options: Mapping[str, str]) -> None:
    for name, expected in KUBO_ADD_OPTIONS.items():
        given = options.get(name)
        if given is None:
            continue
        same = is_true(given) == is_true(expected) if expected in ("true", "false") else given == expected
        if not same:
            raise RefusedError("ipfs-option-unsupported", f"this node adds files with {name}={expected} only")


def _cid_in(path: str) -> Cid:
    return parse_cid(path.removeprefix("/ipfs/"))


def _not_local(cid: Cid) -> UnavailableError:
    return UnavailableError("ipfs-timeout", f"block was not found locally (offline): ipld: could not find {cid}")
