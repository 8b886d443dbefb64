"""A node's folder: its kind is remembered, its configuration is private, its ports are checked."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from emerit.errors import PreconditionError, RefusedError, StateError, UsageError
from emerit.ipfs.node_folder import bind_loopback, open_folder, write_config
from emerit.ipfs.node_service import deadline_after, is_true

PEER = "/ip4/127.0.0.1/tcp/4001/p2p/QmbFMke1KXqnYyBBWxB74N4c5SBnJMVAiMNRcGu6x1AwQH"


def test_kind_is_remembered_and_the_other_refused(tmp_path: Path) -> None:
    assert open_folder(tmp_path / "n", "daemon").kind == "daemon"
    assert open_folder(tmp_path / "n", "auto").kind == "daemon"
    with pytest.raises(PreconditionError) as caught:
        open_folder(tmp_path / "n", "library")
    assert caught.value.code == "ipfs-repo-kind"


def test_auto_takes_the_library_without_ipfs_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    folder = open_folder(tmp_path / "n", "auto")
    assert folder.kind == "library" and folder.is_new
    assert folder.repo.is_dir() and folder.path.stat().st_mode & 0o077 == 0


def test_scratch_is_emptied(tmp_path: Path) -> None:
    folder = open_folder(tmp_path, "library")
    (folder.scratch / "block-1").write_bytes(b"left by a crash")
    open_folder(tmp_path, "auto")
    assert list(folder.scratch.iterdir()) == []


@pytest.mark.parametrize("text", ["", "[]", '{"kind": "other"}', "{"])
def test_damaged_marker(tmp_path: Path, text: str) -> None:
    (tmp_path / "emerit-node.json").write_text(text)
    with pytest.raises(StateError) as caught:
        open_folder(tmp_path, "auto")
    assert caught.value.code == "ipfs-folder-invalid"


def test_configuration_is_private(tmp_path: Path) -> None:
    before = {
        "Identity": {"PeerID": "x"},
        "Bootstrap": ["/dnsaddr/a.public.peer"],
        "Addresses": {"Swarm": ["/ip4/0.0.0.0/tcp/4001"], "Announce": []},
        "AutoConf": {},
        "DNS": {"Resolvers": {".": "auto"}},
    }
    (tmp_path / "config").write_text(json.dumps(before))
    write_config(tmp_path, 5001, 4001, [PEER])
    config = json.loads((tmp_path / "config").read_text())
    assert config["Identity"] == before["Identity"]
    assert config["Bootstrap"] == [] and config["Routing"]["Type"] == "none"
    assert config["Addresses"]["Swarm"] == ["/ip4/127.0.0.1/tcp/4001"]
    assert config["Addresses"]["API"] == "/ip4/127.0.0.1/tcp/5001" and config["Addresses"]["Gateway"] == []
    assert config["Discovery"]["MDNS"] == {"Enabled": False}
    assert config["Peering"]["Peers"] == [
        {"ID": PEER.rpartition("/")[2], "Addrs": ["/ip4/127.0.0.1/tcp/4001"]},
    ]
    assert config["AutoConf"] == {"Enabled": False} and "auto" not in json.dumps(config["DNS"])
    assert (tmp_path / "config").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("peer", ["", "127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001", "/p2p/Qm", "/ip4/1/tcp/1/p2p/a b"])
def test_peer_must_be_a_whole_address(tmp_path: Path, peer: str) -> None:
    (tmp_path / "config").write_text("{}")
    with pytest.raises(UsageError) as caught:
        write_config(tmp_path, 1, 2, [peer])
    assert caught.value.code == "ipfs-address-invalid"


def test_port_in_use_is_named() -> None:
    with bind_loopback(0, "API") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PreconditionError, match=f"API port {port} .* already in use") as caught:
            bind_loopback(port, "API")
    assert caught.value.code == "port-in-use"


@pytest.mark.parametrize(("text", "seconds"), [("250ms", 0.25), ("1.5s", 1.5), ("2m", 120), ("9h", 600), (None, 60)])
def test_timeouts_as_kubo_writes_them(text: str | None, seconds: float) -> None:
    assert deadline_after(text) - time.monotonic() == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("text", ["5", "s", "-1s", "1.2.3s", "nans", "1e9s", "٣s"])
def test_other_timeouts_are_refused(text: str) -> None:
    with pytest.raises(RefusedError):
        deadline_after(text)


def test_booleans_as_go_reads_them() -> None:
    assert [is_true(text) for text in ("true", "True", "1", "t", "false", "0", None)] == [True] * 4 + [False] * 3
    assert is_true(None, default=True)
