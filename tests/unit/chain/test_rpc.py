from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from emerit.chain import transport
from emerit.chain.anvil import free_port
from emerit.chain.rpc import Chain
from emerit.chain.transport import DeadlineProvider
from emerit.errors import ChainError, EmeritError, PreconditionError, UnavailableError
from tests.unit.chain.stub import StubServer, on_chain_one, serving

DEADLINE = 0.3
BLOCK = {
    "number": "0x5",
    "hash": "0x" + "aa" * 32,
    "parentHash": "0x" + "bb" * 32,
    "timestamp": "0x64",
    "gasUsed": "0x7",
    "baseFeePerGas": "0x3",
}


def error_of(call: Any) -> EmeritError:
    with pytest.raises(EmeritError) as caught:
        call()
    return caught.value


def test_nothing_listens() -> None:
    error = error_of(lambda: Chain(f"http://127.0.0.1:{free_port()}"))
    assert isinstance(error, UnavailableError) and error.code == "rpc-unreachable" and error.fix


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "127.0.0.1:8545", "http://", "", "http://h:99999", "http://[::1"])
def test_url_must_be_http(url: str) -> None:
    assert error_of(lambda: Chain(url)).code == "rpc-url-invalid"


def test_wrong_chain() -> None:
    with serving(on_chain_one(lambda *_: None)) as server:
        assert Chain(server.url, 1).chain_id == 1
        error = error_of(lambda: Chain(server.url, 31337))
    assert isinstance(error, PreconditionError) and error.code == "wrong-chain"
    assert "31337" in error.cause and "chain 1" in error.cause


def test_credentials_are_sent_but_not_shown() -> None:
    with serving(on_chain_one(lambda *_: None)) as server:
        host = server.url.removeprefix("http://")
        chain = Chain(f"http://me:p%40ss@{host}/v1/0123456789abcdef0123456789?key=k")
        headers = server.requests[0][0]
    assert headers["authorization"] == "Basic bWU6cEBzcw=="
    assert headers[":path"] == "/v1/0123456789abcdef0123456789?key=k" and headers["host"] == host
    assert chain.display_url == f"http://***@{host}/v1/***?key=***"


def _never(stub: StubServer, _: socket.socket, __: dict[str, Any]) -> None:
    stub.stopped.wait()


def _drip(stub: StubServer, connection: socket.socket, prefix: bytes) -> None:
    connection.sendall(prefix)
    while not stub.stopped.wait(0.02):
        connection.sendall(b" ")


def _drip_body(stub: StubServer, connection: socket.socket, _: dict[str, Any]) -> None:
    _drip(stub, connection, b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")


def _drip_headers(stub: StubServer, connection: socket.socket, _: dict[str, Any]) -> None:
    _drip(stub, connection, b"HTTP/1.1 200 OK\r\nX-Slow:")


@pytest.mark.parametrize("answer", [_never, _drip_body, _drip_headers])
def test_a_call_has_one_total_deadline(answer: Any) -> None:
    with serving(on_chain_one(answer)) as server:
        chain = Chain(server.url, deadline_seconds=DEADLINE)
        start = time.monotonic()
        error = error_of(chain.block_number)
        assert time.monotonic() - start < 10 * DEADLINE
    assert isinstance(error, UnavailableError) and error.code == "rpc-timeout"
    assert "eth_blockNumber" in error.cause


def test_a_connection_closed_while_idle_is_opened_again() -> None:
    with serving(lambda s, c, h, r: (s.result(c, r, "0x1"), c.shutdown(socket.SHUT_RDWR))[0]) as server:
        chain = Chain(server.url)
        assert chain.block_number() == 1
        assert chain.block_number() == 1
        assert server.connections == 3


def test_the_connection_is_kept() -> None:
    with serving(lambda s, c, h, r: s.result(c, r, "0x1")) as server:
        chain = Chain(server.url)
        for _ in range(5):
            chain.block_number()
        assert server.connections == 1
        chain.close()
        chain.block_number()
        assert server.connections == 2


def test_each_thread_has_its_own_connection() -> None:
    with serving(lambda s, c, h, r: s.result(c, r, "0x2")) as server:
        chain = Chain(server.url)
        found: list[int] = []
        threads = [threading.Thread(target=lambda: found.append(chain.block_number())) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [2, 2, 2, 2] and server.connections == 5


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (429, b"slow down", "rpc-rate-limited"),
        (502, b"<html>bad gateway</html>", "rpc-http-error"),
        (200, b"<html>", "rpc-http-error"),
        (200, b"{not json", "rpc-http-error"),
        (200, b"\xff\xfe", "rpc-http-error"),
        (404, b'{"message": "no such path"}', "rpc-http-error"),
        (200, b"[]", "rpc-http-error"),
        (400, b'{"jsonrpc":"2.0","id":1,"error":{"code":-32602,"message":"bad params"}}', "rpc-refused"),
    ],
)
def test_answers_that_are_no_result(status: int, body: bytes, code: str) -> None:
    with serving(on_chain_one(lambda s, c, r: s.reply(c, body, status))) as server:
        assert error_of(Chain(server.url).block_number).code == code


def test_too_large_an_answer_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_RESPONSE_BYTES", 1000)
    with serving(on_chain_one(lambda s, c, r: s.result(c, r, "0x" + "0" * 5000))) as server:
        assert error_of(Chain(server.url).block_number).code == "rpc-response-too-large"


def test_requests_are_counted_by_outcome() -> None:
    def answer(stub: StubServer, connection: socket.socket, request: dict[str, Any]) -> None:
        if request["method"] == "eth_blockNumber":
            stub.error(connection, request, {"code": -32601, "message": "no"})
        else:
            stub.reply(connection, b"nonsense")

    counted: list[tuple[str, str]] = []
    with serving(on_chain_one(answer)) as server:
        chain = Chain(server.url, observe=lambda method, outcome: counted.append((method, outcome)))
        error_of(chain.block_number)
        error_of(chain.head)
    assert counted == [
        ("eth_chainId", "ok"),
        ("eth_blockNumber", "error"),
        ("eth_getBlockByNumber", "unavailable"),
    ]


def test_blocks() -> None:
    def answer(stub: StubServer, connection: socket.socket, request: dict[str, Any]) -> None:
        stub.result(connection, request, BLOCK if request["params"][0] in ("latest", "0x5") else None)

    with serving(on_chain_one(answer)) as server:
        chain = Chain(server.url)
        block = chain.head()
        assert (block.number, block.timestamp, block.gas_used, block.base_fee_wei) == (5, 100, 7, 3)
        assert chain.block(5) == block and chain.block(6) is None and chain.timestamp() == 100


# ---- logs


def _log(block: int) -> dict[str, Any]:
    return {
        "address": "0x" + "11" * 20,
        "topics": [],
        "data": "0x",
        "blockNumber": hex(block),
        "blockHash": "0x" + "00" * 32,
        "transactionHash": "0x" + "22" * 32,
        "logIndex": "0x0",
    }


class LimitedLogs:
    """Answers eth_getLogs for at most `limit` blocks, with one log in every block, and refuses in `how`."""

    def __init__(self, limit: int, how: str = "error") -> None:
        self.limit = limit
        self.how = how
        self.spans: list[int] = []

    def __call__(self, stub: StubServer, connection: socket.socket, request: dict[str, Any]) -> None:
        first, last = (int(request["params"][0][name], 16) for name in ("fromBlock", "toBlock"))
        self.spans.append(last - first + 1)
        if last - first + 1 <= self.limit:
            stub.result(connection, request, [_log(block) for block in range(first, last + 1)])
        elif self.how == "error":
            stub.error(connection, request, {"code": -32005, "message": "query returned more than 10000 results"})
        elif self.how == "http":
            stub.reply(connection, b"payload too large", 413)
        else:
            stub.stopped.wait()


@pytest.mark.parametrize("how", ["error", "http", "hang"])
def test_log_ranges_are_halved_on_any_refusal(how: str) -> None:
    answer = LimitedLogs(700, how)
    with serving(on_chain_one(answer)) as server:
        chain = Chain(server.url, deadline_seconds=0.2 if how == "hang" else 20.0)
        logs = chain.logs("0x" + "11" * 20, 10, 2009)
        assert [log.block_number for log in logs] == list(range(10, 2010))
        worked = len(answer.spans)
        chain.logs("0x" + "11" * 20, 10, 510)
        assert answer.spans[:3] == [2000, 1000, 500] and max(answer.spans[worked:]) <= 700


def test_the_span_grows_again_after_a_while() -> None:
    answer = LimitedLogs(1)
    with serving(on_chain_one(answer)) as server:
        chain = Chain(server.url)
        chain.logs("0x" + "11" * 20, 0, 40)
        answer.limit = 1000
        answer.spans.clear()
        chain.logs("0x" + "11" * 20, 0, 400)
        assert answer.spans[0] == 1 and answer.spans[-1] >= 8


def test_a_single_refused_block_is_an_error() -> None:
    with serving(on_chain_one(LimitedLogs(0))) as server:
        error = error_of(lambda: Chain(server.url).logs("0x" + "11" * 20, 0, 7))
    assert isinstance(error, ChainError) and error.code == "logs-refused" and "more than 10000" in error.cause


def test_a_dead_node_is_not_asked_for_smaller_ranges() -> None:
    calls: list[int] = []

    def answer(stub: StubServer, connection: socket.socket, request: dict[str, Any]) -> None:
        calls.append(1)
        stub.reply(connection, b"", 429)

    with serving(on_chain_one(answer)) as server:
        assert error_of(lambda: Chain(server.url).logs("0x" + "11" * 20, 0, 7)).code == "rpc-rate-limited"
    assert len(calls) == 1


# ---- TLS


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for a certificate")
def test_tls_verifies_and_keeps_the_deadline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(
        ["openssl", *command.split(), "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://localhost:{listener.getsockname()[1]}"

        def serve() -> None:
            while True:
                try:
                    raw, _ = listener.accept()
                    with context.wrap_socket(raw, server_side=True) as connection:
                        if b"eth_chainId" in connection.recv(65536):
                            body = b'{"jsonrpc":"2.0","id":0,"result":"0x1"}'
                            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
                            connection.recv(65536)
                            stopped.wait()
                except ssl.SSLError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            untrusted = error_of(lambda: Chain(url, deadline_seconds=5.0))
            assert untrusted.code == "rpc-unreachable" and "certificate" in untrusted.cause.lower()
            monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
            chain = Chain(url, deadline_seconds=0.5)
            start = time.monotonic()
            assert error_of(chain.block_number).code == "rpc-timeout"
            assert time.monotonic() - start < 5
        finally:
            stopped.set()
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_the_provider_is_web3s() -> None:
    with serving(lambda s, c, h, r: s.result(c, r, "stub/1.0")) as server:
        from web3 import Web3

        assert Web3(DeadlineProvider(server.url, 5.0)).client_version == "stub/1.0"
