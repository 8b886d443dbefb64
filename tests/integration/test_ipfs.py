"""Real Kubo nodes as processes of their own: blobs between them, limits, deadlines, restarts, and no leftovers."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from emerit.errors import EmeritError, PreconditionError, RefusedError, UnavailableError
from emerit.ipfs import MAX_ADD_BYTES, BlobStore, cid_of
from emerit.ipfs.cid import CHUNK_BYTES, KUBO_ADD_OPTIONS, LINKS_PER_NODE
from emerit.ipfs.node_folder import bind_loopback
from emerit.ipfs.process import LocalNode
from tests.integration.chain_stage import until

pytestmark = pytest.mark.integration


@dataclass
class Pair:
    """Two library nodes that know each other, and a store on each."""

    hub: LocalNode
    leaf: LocalNode
    at_hub: BlobStore
    at_leaf: BlobStore


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder = tmp_path_factory.mktemp("ipfs")
    with (
        LocalNode(folder / "hub", kind="library") as hub,
        LocalNode(folder / "leaf", kind="library", peers=[hub.peer_address]) as leaf,
    ):
        yield Pair(hub, leaf, BlobStore(hub.api_url), BlobStore(leaf.api_url, deadline_seconds=20))


def blob(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def code_of(call: Callable[[], object], kind: type[EmeritError] = EmeritError) -> str:
    with pytest.raises(kind) as caught:
        call()
    return caught.value.code


def blocks_in(node: LocalNode) -> int:
    return int(httpx.post(f"{node.api_url}/api/v0/repo/stat").json()["NumObjects"])


def daemon_cid(node: LocalNode, data: bytes, **options: str) -> str:
    """The CID by Kubo itself, over the RPC."""
    url, files = f"{node.api_url}/api/v0/add", {"file": ("blob", data)}
    answer = httpx.post(url, params={**KUBO_ADD_OPTIONS, **options}, files=files, timeout=60)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["Hash"])


FULL_NODE_BYTES = CHUNK_BYTES * LINKS_PER_NODE
SIZES = [0, 1, 127, 128, 16_384, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 1_000_000, 10_000_000]
BIG_SIZES = [FULL_NODE_BYTES, FULL_NODE_BYTES + 1, 50_000_000, 60_000_000]


@pytest.mark.parametrize("size_bytes", SIZES + BIG_SIZES)
def test_our_cid_is_kubos(pair: Pair, size_bytes: int) -> None:
    data = blob(size_bytes, 1 << 20) * (size_bytes // (1 << 20) + 1)
    data = data[:size_bytes]
    before = blocks_in(pair.hub)
    assert daemon_cid(pair.hub, data, **{"only-hash": "true"}) == cid_of(data)
    assert blocks_in(pair.hub) == before, "only-hash must store nothing"


@pytest.mark.parametrize("size_bytes", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3_000_000])
def test_add_gives_the_cid_that_was_announced_before(pair: Pair, size_bytes: int) -> None:
    data = blob(-size_bytes - 1, size_bytes)
    promised = pair.at_hub.cid_of(data)
    assert pair.at_hub.add(data) == promised == daemon_cid(pair.hub, data)


@pytest.mark.parametrize("size_bytes", [0, 20_000, 50_000, 1_500_000, FULL_NODE_BYTES + 5])
def test_a_blob_goes_from_node_to_node_both_ways(pair: Pair, size_bytes: int) -> None:
    for number, (source, target) in enumerate([(pair.at_hub, pair.at_leaf), (pair.at_leaf, pair.at_hub)]):
        data = blob(100 + number, size_bytes)
        cid = source.add(data)
        if size_bytes:
            assert not target.has_local(cid)
        assert target.get(cid, max_bytes=size_bytes) == data
        assert target.has_local(cid)


def test_what_nobody_has_is_given_up_at_the_deadline(pair: Pair) -> None:
    for deadline_seconds in (0.3, 1.5):
        started = time.monotonic()
        code = code_of(
            lambda seconds=deadline_seconds: pair.at_leaf.get(cid_of(b"nobody has this"), 100, seconds),
            UnavailableError,
        )
        assert code == "ipfs-timeout"
        assert deadline_seconds <= time.monotonic() - started < deadline_seconds + 2
    pair.at_leaf.ready()
    assert code_of(lambda: pair.at_leaf.pin(cid_of(b"nor this"), 0.3), UnavailableError) == "ipfs-timeout"
    assert not pair.at_leaf.has_local(cid_of(b"nor this"))


def test_a_waiting_get_ends_when_the_blob_appears(pair: Pair) -> None:
    data = blob(7, 30_000)
    got: list[bytes] = []
    waiter = threading.Thread(target=lambda: got.append(pair.at_leaf.get(cid_of(data), 30_000, 15)))
    waiter.start()
    pair.at_hub.add(data)
    waiter.join(20)
    assert got == [data]


def test_oversized_blobs_are_refused(pair: Pair) -> None:
    data = blob(8, 400_000)
    cid = pair.at_hub.add(data)
    assert code_of(lambda: pair.at_leaf.get(cid, 399_999), RefusedError) == "blob-too-large"
    assert code_of(lambda: pair.at_leaf.get(cid, 10), RefusedError) == "blob-too-large"
    assert pair.at_leaf.get(cid, 400_000) == data


def test_no_more_is_fetched_than_was_asked_for(pair: Pair) -> None:
    cid = pair.at_hub.add(blob(9, 40 * CHUNK_BYTES))
    before = blocks_in(pair.leaf)
    assert code_of(lambda: pair.at_leaf.get(cid, 1000), RefusedError) == "blob-too-large"
    assert blocks_in(pair.leaf) - before <= 12


def test_pins(pair: Pair) -> None:
    cid = pair.at_hub.add(blob(10, 600_000))
    pair.at_leaf.pin(cid)
    pair.at_leaf.pin(cid)
    assert pair.at_leaf.has_local(cid)
    listed = httpx.post(f"{pair.leaf.api_url}/api/v0/pin/ls", params={"arg": cid}).json()
    assert listed["Keys"][cid]["Type"] == "recursive"
    pair.at_leaf.unpin(cid)
    pair.at_leaf.unpin(cid)
    answer = httpx.post(f"{pair.leaf.api_url}/api/v0/pin/ls", params={"arg": cid})
    assert answer.status_code == 500 and "is not pinned" in answer.json()["Message"]


def test_identity_version_and_peers(pair: Pair) -> None:
    identity = pair.at_hub.id()
    assert identity.peer_id == pair.hub.peer_id and identity.addresses[0] == pair.hub.peer_address
    assert pair.at_hub.version().startswith("0.")
    pair.at_hub.ready()
    pair.at_leaf.connect(pair.hub.peer_address)
    peers = httpx.post(f"{pair.leaf.api_url}/api/v0/swarm/peers").json()["Peers"]
    assert [peer["Peer"] for peer in peers] == [pair.hub.peer_id]
    absent = f"/ip4/127.0.0.1/tcp/1/p2p/{cid_of(b'no peer')}"
    assert code_of(lambda: pair.at_leaf.connect(absent), UnavailableError) == "ipfs-connect-failed"


def test_many_threads(pair: Pair) -> None:
    wrong: list[object] = []

    def work(seed: int) -> None:
        try:
            for number in range(4):
                data = blob(1000 + 10 * seed + number, 60_000)
                if pair.at_leaf.get(pair.at_hub.add(data), 60_000) != data:
                    wrong.append(seed)
        except EmeritError as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_nothing_listens_beyond_loopback(pair: Pair) -> None:
    for node in (pair.hub, pair.leaf):
        connections = psutil.Process(node.pid).net_connections()
        assert len(connections) >= 2
        assert {connection.laddr.ip for connection in connections if connection.laddr} == {"127.0.0.1"}
        assert not [connection for connection in connections if connection.type.name == "SOCK_DGRAM"]


@pytest.mark.parametrize(
    ("path", "params", "words"),
    [
        ("cat", {"arg": "nonsense"}, "not a CID"),
        ("cat", {}, "one argument"),
        ("cat", {"arg": cid_of(b""), "length": "-1"}, "negative"),
        ("cat", {"arg": cid_of(b""), "length": "x"}, "not a number"),
        ("cat", {"arg": cid_of(b""), "timeout": "soon"}, "invalid duration"),
        ("cat", {"arg": cid_of(b"absent"), "offline": "true"}, "not found locally"),
        ("block/stat", {"arg": cid_of(b"absent"), "offline": "true"}, "not found locally"),
        ("pin/rm", {"arg": cid_of(b"absent")}, "not pinned"),
        ("swarm/connect", {"arg": "/ip4/127.0.0.1"}, "failure"),
    ],
)
def test_errors_have_kubos_shape(pair: Pair, path: str, params: dict[str, str], words: str) -> None:
    answer = httpx.post(f"{pair.hub.api_url}/api/v0/{path}", params=params)
    assert answer.status_code == 500
    assert answer.json()["Type"] == "error" and answer.json()["Code"] == 0 and words in answer.json()["Message"]


def test_options_that_would_change_the_cid_are_refused(pair: Pair) -> None:
    for options in ({"cid-version": "1"}, {"raw-leaves": "true"}, {"chunker": "size-1024"}, {"trickle": "true"}):
        answer = httpx.post(f"{pair.hub.api_url}/api/v0/add", params=options, files={"file": b"x"})
        assert answer.status_code == 500 and "adds files with" in answer.json()["Message"]


def test_uploads_over_the_limit_get_413_and_a_sentence(pair: Pair) -> None:
    url = f"{pair.hub.api_url}/api/v0/add"

    def chunks() -> Iterator[bytes]:
        yield b'--m\r\nContent-Disposition: form-data; name="file"\r\n\r\n'
        for _ in range(65):
            yield bytes(1 << 20)
        yield b"\r\n--m--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=m"}
    answer = httpx.post(url, content=chunks(), headers=headers, timeout=60)
    assert answer.status_code == 413 and "at most 67108864 bytes" in answer.json()["Message"]
    assert code_of(lambda: pair.at_hub.add(bytes(MAX_ADD_BYTES + 1)), RefusedError) == "blob-too-large"


@pytest.mark.parametrize(
    "header", [("Origin", "http://evil.example"), ("Referer", "http://x"), ("Host", "evil.example")]
)
def test_web_pages_are_turned_away(pair: Pair, header: tuple[str, str]) -> None:
    answer = httpx.post(f"{pair.hub.api_url}/api/v0/id", headers=dict([header]))
    assert answer.status_code == 403
    assert httpx.get(f"{pair.hub.api_url}/api/v0/id").status_code == 405


def test_offset_and_length(pair: Pair) -> None:
    data = blob(11, 700_000)
    cid = pair.at_hub.add(data)
    params = {"arg": f"/ipfs/{cid}", "offset": "262140", "length": "10"}
    assert httpx.post(f"{pair.leaf.api_url}/api/v0/cat", params=params).content == data[262_140:262_150]


def test_a_restart_keeps_identity_and_blobs(tmp_path: Path) -> None:
    data = blob(12, 900_000)
    with LocalNode(tmp_path / "n", kind="library") as node:
        cid, peer_id, first_pid = BlobStore(node.api_url).add(data), node.peer_id, node.pid
    assert first_pid is not None and not psutil.pid_exists(first_pid)
    with LocalNode(tmp_path / "n") as node:
        store = BlobStore(node.api_url)
        assert node.peer_id == peer_id and node.kind == "library"
        assert store.has_local(cid) and store.get(cid, 900_000, deadline_seconds=5) == data
        listed = httpx.post(f"{node.api_url}/api/v0/pin/ls", params={"arg": cid}).json()
        assert cid in listed["Keys"]


def test_ports_in_use_and_a_folder_in_use(tmp_path: Path) -> None:
    with bind_loopback(0, "API") as taken:
        port = taken.getsockname()[1]
        for api_port, swarm_port, purpose in ((port, 0, "API"), (0, port, "swarm")):
            node = LocalNode(tmp_path / "n", api_port, swarm_port, kind="library")
            with pytest.raises(PreconditionError, match=f"The {purpose} port {port} .* in use") as caught:
                node.start()
            assert caught.value.code == "port-in-use" and node.pid is None
        command = [sys.executable, "-m", "emerit.ipfs.local_node", "--repo", str(tmp_path / "n"), "--swarm-port=0"]
        done = subprocess.run([*command, f"--api-port={port}"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "port-in-use"
    assert len(done.stderr.strip().splitlines()) == 1 and f"port {port}" in done.stderr
    with LocalNode(tmp_path / "n", kind="library"):
        assert code_of(LocalNode(tmp_path / "n", kind="library").start, PreconditionError) == "ipfs-repo-unusable"


def start_by_hand(folder: Path, *more: str) -> tuple[subprocess.Popen[str], dict[str, str]]:
    """Start the command as a user would and wait for its line."""
    command = [sys.executable, "-m", "emerit.ipfs.local_node", f"--repo={folder}", "--api-port=0", "--swarm-port=0"]
    process = subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_two_seconds_even_while_a_get_waits(tmp_path: Path, number: signal.Signals) -> None:
    process, ready = start_by_hand(tmp_path / "n", "--kind=library")
    with process:
        assert ready["event"] == "ready" and ready["api"].startswith("http://127.0.0.1:")
        outcome: list[str] = []
        store = BlobStore(ready["api"])
        waiter = threading.Thread(target=lambda: outcome.append(code_of(lambda: store.get(cid_of(b"nobody"), 9))))
        waiter.start()
        deadline = time.monotonic() + 10
        while not [c for c in psutil.Process(process.pid).net_connections() if c.status == "ESTABLISHED"]:
            assert time.monotonic() < deadline
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(5) == 0
        assert time.monotonic() - started < 2
        waiter.join(10)
    assert outcome[0] in ("ipfs-unreachable", "ipfs-failed", "ipfs-timeout")


PARENT = """
import sys
from pathlib import Path
from emerit.ipfs.process import LocalNode
node = LocalNode(Path(sys.argv[1]))
node.start()
print(node.pid, flush=True)
sys.stdin.read()
"""


def test_the_node_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "n")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        node = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, alive = psutil.wait_procs([node], timeout=5)
    assert gone and not alive


def test_blobs_asked_for_in_vain_do_not_pile_up(tmp_path: Path) -> None:
    """Over 256 different absent blobs: the node drops the old waits and goes on serving, peers and all."""
    with (
        LocalNode(tmp_path / "a", kind="library") as one,
        LocalNode(tmp_path / "b", kind="library", peers=[one.peer_address]) as other,
    ):
        store = BlobStore(other.api_url)
        missing = [cid_of(b"absent %d" % number) for number in range(300)]

        def ask(share: list[str]) -> None:
            for cid in share:
                assert code_of(lambda cid=cid: store.get(cid, 9, deadline_seconds=0.02)) == "ipfs-timeout"

        askers = [threading.Thread(target=ask, args=(missing[start::4],)) for start in range(4)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        until(lambda: psutil.Process(other.pid).num_threads() < 256)  # what was dropped ends in its own time
        data = blob(13, 300_000)
        assert store.get(BlobStore(one.api_url).add(data), 300_000, deadline_seconds=20) == data


STAND_IN = """#!{python}
import json, os, subprocess, sys
from pathlib import Path
repo = Path(os.environ["IPFS_PATH"])
if sys.argv[1] == "init":
    repo.mkdir(exist_ok=True)
    (repo / "config").write_text(json.dumps({{"Addresses": {{}}, "AutoConf": {{}}}}))
    sys.exit(0)
config = json.loads((repo / "config").read_text())
ports = [config["Addresses"]["API"], config["Addresses"]["Swarm"][0]]
api, swarm = [address.rpartition("/")[2] for address in ports]
print("Daemon is ready")
os.execv(sys.executable, [sys.executable, "-m", "emerit.ipfs.local_node", "--kind=library", "--repo", str(repo / "in"),
    "--api-port", api, "--swarm-port", swarm])
"""


@pytest.fixture
def ipfs_on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `ipfs` command with the two subcommands we use, for machines without Kubo's own."""
    program = tmp_path / "bin" / "ipfs"
    program.parent.mkdir()
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("ipfs_on_path")
def test_ipfs_on_path_is_preferred_and_supervised(tmp_path: Path) -> None:
    with LocalNode(tmp_path / "n") as node:
        assert node.kind == "daemon"
        store = BlobStore(node.api_url)
        data = blob(14, 10_000)
        assert store.get(store.add(data), 10_000) == data
        assert store.id().peer_id == node.peer_id
        family = [psutil.Process(node.pid), *psutil.Process(node.pid).children(recursive=True)]
        assert len(family) == 2
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert code_of(LocalNode(tmp_path / "n", kind="library").start, PreconditionError) == "ipfs-repo-kind"


@pytest.mark.usefixtures("ipfs_on_path")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with a killed parent")
def test_killing_the_supervisor_leaves_no_daemon(tmp_path: Path) -> None:
    process, ready = start_by_hand(tmp_path / "n")
    with process:
        assert ready["kind"] == "daemon"
        daemon = psutil.Process(process.pid).children()[0]
        process.kill()
    assert psutil.wait_procs([daemon], timeout=5)[1] == []


@pytest.mark.usefixtures("ipfs_on_path")
def test_a_daemon_that_ends_is_reported(tmp_path: Path) -> None:
    process, ready = start_by_hand(tmp_path / "n")
    with process:
        assert ready["kind"] == "daemon" and process.stdout is not None
        psutil.Process(process.pid).children()[0].kill()
        assert select.select([process.stdout], [], [], 10)[0]
        assert json.loads(process.stdout.readline())["code"] == "ipfs-start-failed"
        assert process.wait(5) == 75
