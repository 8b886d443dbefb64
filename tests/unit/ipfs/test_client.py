"""The blob store against daemons that are absent, silent, slow or hostile; no IPFS needed."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from emerit.errors import EmeritError, PreconditionError, RefusedError, UnavailableError, UsageError
from emerit.ipfs import MAX_ADD_BYTES, BlobStore, cid_of

DATA = b"some blob"
CID = cid_of(DATA)
Answer = Callable[[BaseHTTPRequestHandler], None]


class Daemon:
    """A server that answers each command as the test says, and keeps what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.over = threading.Event()
        daemon = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                daemon.asked.append(self.path)
                daemon.headers.append(dict(self.headers))
                while self.headers.get("Transfer-Encoding") == "chunked":
                    size = int(self.rfile.readline(), 16)
                    self.rfile.read(size + 2)
                    if size == 0:
                        break
                try:
                    daemon.answers[self.path.partition("?")[0].removeprefix("/api/v0/")](self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def close(self) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()


def body(data: bytes, status: int = 200, declared: int | None = None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(data) if declared is None else declared))
        request.end_headers()
        request.wfile.write(data)

    return answer


def kubo_error(message: str) -> Answer:
    return body(json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode(), 500)


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    started = Daemon()
    yield started
    started.close()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(EmeritError) as caught:
        call()
    return caught.value.code


def test_nothing_is_contacted_at_construction_and_cid_of_needs_no_daemon() -> None:
    assert BlobStore("http://127.0.0.1:1").cid_of(DATA) == CID


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
        ("http://localhost", "http://localhost:5001"),
        ("https://ipfs.example/", "https://ipfs.example:443"),
        ("http://[::1]:5001/api/v0", "http://[::1]:5001"),
        ("https://someone:s3cret@gateway.example:8443/kubo", "https://gateway.example:8443/kubo"),
        ("/ip4/127.0.0.1/tcp/5001", "/ip4/127.0.0.1/tcp/5001"),
        ("/dns/ipfs/tcp/5001/http", "/dns/ipfs/tcp/5001/http"),
    ],
)
def test_addresses(url: str, shown: str) -> None:
    assert BlobStore(url).address == shown


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:5001", "ftp://h:1", "http://", "http://h:1?x=y", "http://h:99999", "/ip4", "/ip4/1.2.3.4/tcp/5 1"],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        BlobStore(url)
    assert caught.value.code == "ipfs-url-invalid"


def test_multiaddr_that_is_none_is_refused() -> None:
    assert code_of(lambda: BlobStore("/no/such/protocol")) == "ipfs-url-invalid"


def test_no_daemon() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    store = BlobStore(f"http://someone:s3cret@127.0.0.1:{port}")
    for call in (store.ready, store.version, store.id, lambda: store.get(CID, 10), lambda: store.add(DATA)):
        with pytest.raises(UnavailableError) as caught:
            call()
        assert caught.value.code == "ipfs-unreachable"
        text = str(caught.value) + repr(caught.value) + str(caught.value.__cause__) + json.dumps(caught.value.as_dict())
        assert str(port) in caught.value.cause and "s3cret" not in text and "someone" not in text
        assert "local_node" in caught.value.fix


def test_credentials_are_sent_in_the_header_alone(daemon: Daemon) -> None:
    daemon.answers["version"] = body(b'{"Version": "0.33.0"}')
    assert BlobStore(daemon.url.replace("://", "://someone:s3cret@")).version() == "0.33.0"
    assert daemon.headers[0]["Authorization"].startswith("Basic ") and "s3cret" not in daemon.asked[0]


def test_silent_daemon_is_given_up_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        store = BlobStore(f"http://127.0.0.1:{silent.getsockname()[1]}", deadline_seconds=0.2)
        started = time.monotonic()
        assert code_of(store.ready) == "ipfs-timeout"
        assert code_of(lambda: store.get(CID, 10)) == "ipfs-timeout"
        assert time.monotonic() - started < 4


def test_dribbling_daemon_is_given_up_in_time(daemon: Daemon) -> None:
    def dribble(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        while not daemon.over.wait(0.05):
            request.wfile.write(b".")
            request.wfile.flush()

    daemon.answers["cat"] = dribble
    started = time.monotonic()
    assert code_of(lambda: BlobStore(daemon.url).get(CID, 1 << 20, deadline_seconds=0.3)) == "ipfs-timeout"
    assert time.monotonic() - started < 5


def test_daemon_that_sends_without_end_is_cut_at_the_limit(daemon: Daemon) -> None:
    sent = 0

    def flood(request: BaseHTTPRequestHandler) -> None:
        nonlocal sent
        request.send_response(200)
        request.end_headers()
        while not daemon.over.is_set():
            sent += request.wfile.write(b"\0" * 65536)

    daemon.answers["cat"] = flood
    assert code_of(lambda: BlobStore(daemon.url).get(CID, 100_000)) == "blob-too-large"
    assert "length=100001" in daemon.asked[0]
    daemon.close()
    assert sent < 64 << 20


def test_blob_of_just_the_limit_passes(daemon: Daemon) -> None:
    daemon.answers["cat"] = body(DATA)
    store = BlobStore(daemon.url)
    assert store.get(CID, len(DATA)) == DATA
    assert code_of(lambda: store.get(CID, len(DATA) - 1)) == "blob-too-large"


def test_daemon_is_told_the_deadline(daemon: Daemon) -> None:
    daemon.answers["cat"] = body(DATA)
    BlobStore(daemon.url).get(CID, 100, deadline_seconds=2.5)
    assert any(f"timeout={ms}ms" in daemon.asked[0] for ms in range(2400, 2501))


def test_content_cut_in_the_middle_is_not_taken_for_the_blob(daemon: Daemon) -> None:
    daemon.answers["cat"] = body(DATA[:4])
    daemon.answers["files/stat"] = body(json.dumps({"Size": len(DATA)}).encode())
    store = BlobStore(daemon.url)
    assert code_of(lambda: store.get(CID, 100)) == "ipfs-incomplete"
    daemon.answers["cat"] = body(DATA[:4], declared=len(DATA))
    assert code_of(lambda: store.get(CID, 100)) in ("ipfs-unreachable", "ipfs-incomplete")


def test_blob_imported_in_another_way_is_left_to_its_content_hash(daemon: Daemon) -> None:
    daemon.answers["cat"] = body(DATA)
    daemon.answers["files/stat"] = body(json.dumps({"Size": len(DATA)}).encode())
    store, other = BlobStore(daemon.url), cid_of(b"root of another shape")
    assert store.get(other, 100) == DATA
    assert code_of(lambda: store.get(other, 100, canonical=True)) == "cid-not-canonical"
    assert store.get(CID, 100, canonical=True) == DATA


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("context deadline exceeded", "ipfs-timeout"),
        ("block was not found locally (offline): ipld: could not find Qm", "ipfs-timeout"),
        ("this dag node is a directory", "blob-not-a-file"),
        ("lock repo.lock: someone else has the lock", "ipfs-failed"),
    ],
)
def test_errors_in_kubos_words(daemon: Daemon, message: str, code: str) -> None:
    daemon.answers["cat"] = kubo_error(message)
    assert code_of(lambda: BlobStore(daemon.url).get(CID, 10)) == code


@pytest.mark.parametrize(
    "answer",
    [
        body(b"<html>hello</html>"),
        body(b""),
        body(b"[]"),
        body(b'"text"'),
        body(b"{}"),
        body(b"{}{}"),
        body(b"no", 404),
    ],
)
def test_what_is_no_kubo_is_named(daemon: Daemon, answer: Answer) -> None:
    daemon.answers |= {"version": answer, "add": answer, "id": answer}
    store = BlobStore(daemon.url)
    for call in (store.version, store.id, lambda: store.add(DATA)):
        assert code_of(call) == "ipfs-failed"


def test_daemon_that_imports_in_another_way_is_found_out(daemon: Daemon) -> None:
    daemon.answers["add"] = body(json.dumps({"Name": "x", "Hash": cid_of(b"other")}).encode())
    with pytest.raises(PreconditionError) as caught:
        BlobStore(daemon.url).add(DATA)
    assert caught.value.code == "ipfs-cid-differs"
    for option in ("cid-version=0", "raw-leaves=false", "chunker=size-262144", "pin=true"):
        assert option in daemon.asked[0]


def test_too_large_to_add() -> None:
    with pytest.raises(RefusedError) as caught:
        BlobStore("http://127.0.0.1:1").add(bytes(MAX_ADD_BYTES + 1))
    assert caught.value.code == "blob-too-large"


@pytest.mark.parametrize("cid", ["", "Qm", CID + "/x", CID + "&offline=true", "../etc", "b" * 129])
def test_bad_cids_never_leave(cid: str) -> None:
    store = BlobStore("http://127.0.0.1:1")
    calls = (lambda: store.get(cid, 1), lambda: store.pin(cid), lambda: store.unpin(cid), lambda: store.has_local(cid))
    for call in calls:
        assert code_of(call) == "cid-invalid"


def test_connect_sends_the_whole_address_once(daemon: Daemon) -> None:
    daemon.answers["swarm/connect"] = body(b'{"Strings": ["connect Qm success"]}')
    store = BlobStore(daemon.url)
    store.connect(f"/ip4/127.0.0.1/tcp/4001/p2p/{CID}")
    assert daemon.asked[0].count("arg=") == 1 and "tcp%2F4001" in daemon.asked[0]
    daemon.answers["swarm/connect"] = kubo_error("connect Qm failure: failed to dial")
    assert code_of(lambda: store.connect(f"/ip4/127.0.0.1/tcp/4001/p2p/{CID}")) == "ipfs-connect-failed"
    for address in ("", "127.0.0.1:4001", "/ip4/127.0.0.1/tcp/4001", f"/ip4/a b/p2p/{CID}"):
        assert code_of(lambda address=address: store.connect(address)) == "ipfs-address-invalid"


def test_pins_that_are_not_there_and_locality(daemon: Daemon) -> None:
    daemon.answers["pin/rm"] = kubo_error("not pinned or pinned indirectly")
    daemon.answers["files/stat"] = kubo_error("block was not found locally (offline): ipld: could not find Qm")
    store = BlobStore(daemon.url)
    store.unpin(CID)
    assert store.has_local(CID) is False
    assert "offline=true" in daemon.asked[-1] and "with-local=true" in daemon.asked[-1]
    daemon.answers["files/stat"] = body(b'{"Size": 9, "WithLocality": true, "Local": true}')
    assert store.has_local(CID) is True
    daemon.answers["pin/rm"] = kubo_error("disk on fire")
    assert code_of(lambda: store.unpin(CID)) == "ipfs-failed"


def test_many_threads_share_a_store(daemon: Daemon) -> None:
    daemon.answers |= {"cat": body(DATA), "pin/add": body(b'{"Pins": []}'), "version": body(b'{"Version": "1.0.0"}')}
    store = BlobStore(daemon.url)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            for _ in range(10):
                assert store.get(CID, 100) == DATA
                store.pin(CID)
                store.ready()
        except (EmeritError, AssertionError, KeyError) as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
