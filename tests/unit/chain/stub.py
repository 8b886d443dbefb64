"""A JSON-RPC server on a loopback port whose answers a test writes itself; real sockets, no mock."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

Request = tuple[dict[str, str], dict[str, Any]]


class StubServer:
    """Hands each connection's requests to `answer(stub, connection, headers, request)`."""

    def __init__(self, answer: Callable[[StubServer, socket.socket, dict[str, str], dict[str, Any]], None]) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self.requests: list[Request] = []
        self.stopped = threading.Event()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def reply(self, connection: socket.socket, body: Any, status: int = 200, close: bool = False) -> None:
        """Send a whole HTTP answer; a dict or list becomes JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        head += "Connection: close\r\n\r\n" if close else "\r\n"
        connection.sendall(head.encode() + data)

    def result(self, connection: socket.socket, request: dict[str, Any], result: Any, close: bool = False) -> None:
        """Send a JSON-RPC result."""
        self.reply(connection, {"jsonrpc": "2.0", "id": request["id"], "result": result}, close=close)

    def error(self, connection: socket.socket, request: dict[str, Any], error: Any) -> None:
        """Send a JSON-RPC error."""
        self.reply(connection, {"jsonrpc": "2.0", "id": request["id"], "error": error})

    def stop(self) -> None:
        """End all threads."""
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            try:
                while (line := reader.readline()).strip():
                    assert line.startswith(b"POST ")
                    headers: dict[str, str] = {":path": line.split()[1].decode()}
                    while (line := reader.readline()).strip():
                        name, _, value = line.decode().partition(":")
                        headers[name.lower()] = value.strip()
                    request = json.loads(reader.read(int(headers["content-length"])))
                    self.requests.append((headers, request))
                    self._answer(self, connection, headers, request)
            except OSError:
                return


@contextmanager
def serving(
    answer: Callable[[StubServer, socket.socket, dict[str, str], dict[str, Any]], None],
) -> Iterator[StubServer]:
    """Run a stub for the length of a block; `eth_chainId` is answered with 1 unless `answer` sees it first."""
    server = StubServer(answer)
    try:
        yield server
    finally:
        server.stop()


def on_chain_one(
    answer: Callable[[StubServer, socket.socket, dict[str, Any]], None],
) -> Callable[[StubServer, socket.socket, dict[str, str], dict[str, Any]], None]:
    """Wrap an answer so that `eth_chainId` is 1."""

    def wrapped(stub: StubServer, connection: socket.socket, _: dict[str, str], request: dict[str, Any]) -> None:
        if request["method"] == "eth_chainId":
            stub.result(connection, request, "0x1")
        else:
            answer(stub, connection, request)

    return wrapped
