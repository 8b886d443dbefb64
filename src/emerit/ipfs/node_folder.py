"""A local node's folder: which kind of Kubo made it, its repository, and a configuration that keeps it private.

Private means: no bootstrap peers, no discovery, no routing system, no relay, no port mapping; it listens on loopback
TCP alone and talks to the peers it is told about and to those that dial it.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from emerit.errors import PreconditionError, StateError, UsageError
from emerit.files import replace_file

Kind = Literal["daemon", "library"]
LOOPBACK: Final = "127.0.0.1"
_MARKER: Final = "emerit-node.json"


@dataclass(frozen=True)
class NodeFolder:
    """The folder of one node: `repo` is Kubo's own, `scratch` holds files in transit, `kind` is remembered."""

    path: Path
    kind: Kind

    @property
    def repo(self) -> Path:
        """Kubo's repository (what IPFS_PATH names)."""
        return self.path / "repo"

    @property
    def scratch(self) -> Path:
        """Files in transit; emptied at each start."""
        return self.path / "scratch"

    @property
    def is_new(self) -> bool:
        """Whether no repository has been made in it yet."""
        return not (self.repo / "config").exists()


def open_folder(path: Path, wanted: Kind | Literal["auto"]) -> NodeFolder:
    """Open or make a node's folder; `auto` keeps the kind it was made with, else takes `ipfs` on PATH if it is there.

    Raises PreconditionError `ipfs-repo-kind` when the folder was made by the other kind (their formats differ), and
    StateError `ipfs-folder-invalid` when its marker file is damaged.
    """
    marker = path / _MARKER
    made_by = _read_marker(marker) if marker.exists() else None
    usual: Kind = "daemon" if shutil.which("ipfs") else "library"
    kind = (made_by or usual) if wanted == "auto" else wanted
    if made_by is not None and made_by != kind:
        raise PreconditionError(
            "ipfs-repo-kind",
            f"{path} was made by the Kubo {made_by}, which stores blobs in a format of another version.",
            "Give another folder by --repo, or leave --kind at auto.",
        )
    folder = NodeFolder(path.resolve(), kind)
    for part in (folder.path, folder.repo, folder.scratch):
        part.mkdir(mode=0o700, parents=True, exist_ok=True)
    for leftover in folder.scratch.iterdir():
        leftover.unlink()
    if made_by is None:
        marker.write_text(json.dumps({"kind": kind}) + "\n", "ascii")
    return folder


def write_config(repo: Path, api_port: int, swarm_port: int, peers: Sequence[str]) -> None:
    """Make the repository's configuration private and set its ports (0 lets the system choose the swarm port).

    `peers` are kept connected by Kubo itself, which dials again when one comes back.
    """
    path = repo / "config"
    config: dict[str, Any] = json.loads(path.read_text("utf-8"))
    config["Bootstrap"] = []
    addresses = config.setdefault("Addresses", {})
    addresses |= {
        "Swarm": [f"/ip4/{LOOPBACK}/tcp/{swarm_port}"],
        "API": f"/ip4/{LOOPBACK}/tcp/{api_port}",
        "Gateway": [],
    }
    config.setdefault("Discovery", {})["MDNS"] = {"Enabled": False}
    config.setdefault("Routing", {})["Type"] = "none"
    config["AutoNAT"] = {"ServiceMode": "disabled"}
    config["Peering"] = {"Peers": [_peering_entry(peer) for peer in peers]}
    swarm = config.setdefault("Swarm", {})
    swarm |= {
        "DisableNatPortMap": True,
        "RelayClient": {"Enabled": False},
        "RelayService": {"Enabled": False},
        "Transports": {
            "Network": {"QUIC": False, "Relay": False, "WebTransport": False, "Websocket": False},
            "Security": {},
            "Multiplexers": {},
        },
    }
    if "AutoConf" in config:
        # Newer daemons fetch network settings from a server, and refuse to start while a value still says "auto".
        config["AutoConf"] = {"Enabled": False}
        config["Routing"]["DelegatedRouters"] = []
        config.setdefault("DNS", {})["Resolvers"] = {}
        config.setdefault("Ipns", {})["DelegatedPublishers"] = []
    replace_file(path, json.dumps(config, indent=2).encode())


def bind_loopback(port: int, purpose: str) -> socket.socket:
    """Bind a TCP socket on 127.0.0.1; raises PreconditionError `port-in-use` or `port-not-allowed`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":
        # Here it only allows a port whose last connections are still closing; one in use stays refused.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        code = "port-not-allowed" if isinstance(error, PermissionError) else "port-in-use"
        why = "is not allowed" if code == "port-not-allowed" else "is already in use"
        raise PreconditionError(
            code, f"The {purpose} port {port} on {LOOPBACK} {why}.", "Choose another one, or 0 for any free port."
        ) from error
    return listener


def _peering_entry(address: str) -> dict[str, Any]:
    dial, separator, peer_id = address.rpartition("/p2p/")
    if not separator or not dial.startswith("/") or not peer_id.isalnum():
        raise UsageError(
            "ipfs-address-invalid",
            f"{ascii(address)[:120]} is not a peer's address.",
            "Give the whole multiaddress, such as /ip4/127.0.0.1/tcp/4001/p2p/PEER_ID.",
        )
    return {"ID": peer_id, "Addrs": [dial]}


def _read_marker(marker: Path) -> Kind:
    try:
        kind = json.loads(marker.read_text("ascii"))["kind"]
    except (ValueError, KeyError, TypeError):
        kind = None
    if kind == "daemon":
        return "daemon"
    if kind == "library":
        return "library"
    raise StateError("ipfs-folder-invalid", f"{marker} does not say which kind of node made the folder.")
