"""The Kubo RPC paths that Emerit uses, in front of the library node: a small FastAPI app for loopback only.

Answers and errors have Kubo's JSON shapes, so any Kubo client works against it. Like Kubo, it takes POST alone and
refuses requests that a web page could have caused.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from emerit.errors import EmeritError, RefusedError
from emerit.ipfs.node_service import NodeService, deadline_after, is_true
from emerit.ipfs.upload import read_body, single_file

_T = TypeVar("_T")
_Answer = Callable[[Request], Awaitable[Any]]
_LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


def build_app(service: NodeService) -> FastAPI:
    """Return the app; slow commands (those that may wait for peers) and quick ones have threads of their own."""
    app = FastAPI(openapi_url=None, dependencies=[Depends(_refuse_browsers)])
    app.add_exception_handler(EmeritError, _kubo_error)
    commands = _quick_commands(service, _Workers(8)) | _slow_commands(service, _Workers(32))
    for path, answer in commands.items():
        app.add_api_route(f"/api/v0/{path}", answer, methods=["POST"], response_model=None)
    return app


class _Workers:
    """A bound on how many calls of one kind run at once, each in a thread that is left behind on shutdown."""

    def __init__(self, threads: int) -> None:
        self._limiter = anyio.CapacityLimiter(threads)

    async def run(self, call: Callable[..., _T], *arguments: Any) -> _T:
        return await anyio.to_thread.run_sync(lambda: call(*arguments), abandon_on_cancel=True, limiter=self._limiter)


def _quick_commands(service: NodeService, workers: _Workers) -> dict[str, _Answer]:
    async def version(request: Request) -> dict[str, Any]:
        return await workers.run(service.version)

    async def identity(request: Request) -> dict[str, Any]:
        return await workers.run(service.identity)

    async def add(request: Request) -> Response:
        declared = request.headers.get("content-length", "")
        body = await read_body(request.stream(), int(declared) if declared.isdigit() else None)
        options = dict(request.query_params)
        data = single_file(request.headers.get("content-type", ""), body)
        line = json.dumps(await workers.run(service.add, data, "", options)) + "\n"
        return Response(line, media_type="application/json")

    async def pin_remove(request: Request) -> dict[str, Any]:
        return await workers.run(service.pin_remove, _argument(request))

    async def pin_list(request: Request) -> dict[str, Any]:
        return await workers.run(service.pin_list, request.query_params.get("arg"))

    async def swarm_peers(request: Request) -> dict[str, Any]:
        return await workers.run(service.swarm_peers)

    async def repo_stat(request: Request) -> dict[str, Any]:
        return await workers.run(service.repo_stat)

    return {
        "version": version,
        "id": identity,
        "add": add,
        "pin/rm": pin_remove,
        "pin/ls": pin_list,
        "swarm/peers": swarm_peers,
        "repo/stat": repo_stat,
    }


def _slow_commands(service: NodeService, workers: _Workers) -> dict[str, _Answer]:
    async def cat(request: Request) -> Response:
        offset = _integer(request, "offset") or 0
        length = _integer(request, "length")
        data = await workers.run(service.cat, _argument(request), offset, length, _deadline(request), _offline(request))
        return Response(data, media_type="text/plain", headers={"X-Stream-Output": "1"})

    async def pin_add(request: Request) -> dict[str, Any]:
        return await workers.run(service.pin_add, _argument(request), _deadline(request))

    async def files_stat(request: Request) -> dict[str, Any]:
        return await workers.run(service.files_stat, _argument(request), _deadline(request), _offline(request))

    async def block_stat(request: Request) -> dict[str, Any]:
        return await workers.run(service.block_stat, _argument(request), _deadline(request), _offline(request))

    async def swarm_connect(request: Request) -> dict[str, Any]:
        return await workers.run(service.swarm_connect, _argument(request))

    return {
        "cat": cat,
        "pin/add": pin_add,
        "files/stat": files_stat,
        "block/stat": block_stat,
        "swarm/connect": swarm_connect,
    }


async def _kubo_error(request: Request, error: Exception) -> JSONResponse:
    message = error.cause if isinstance(error, EmeritError) else str(error)
    upload_too_large = (
        isinstance(error, RefusedError)
        and error.code == "blob-too-large"
        and (request.url.path.endswith("/add") and "/pin/" not in request.url.path)
    )
    return JSONResponse({"Message": message, "Code": 0, "Type": "error"}, status_code=413 if upload_too_large else 500)


def _refuse_browsers(request: Request) -> None:
    """A page in a browser sends Origin or Referer, or reaches us under a host name that is not loopback."""
    headers = request.headers
    if "origin" in headers or "referer" in headers or request.url.hostname not in _LOOPBACK_HOSTS:
        raise HTTPException(403, "403 - Forbidden")


def _argument(request: Request) -> str:
    values = request.query_params.getlist("arg")
    if len(values) != 1:
        raise RefusedError("ipfs-option-unsupported", f"one argument is required, {len(values)} were given")
    return values[0]


def _integer(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    if text is None:
        return None
    if not (text.removeprefix("-").isascii() and text.removeprefix("-").isdigit() and len(text) < 20):
        raise RefusedError("ipfs-option-unsupported", f"{name} is not a number")
    return int(text)


def _deadline(request: Request) -> float:
    return deadline_after(request.query_params.get("timeout"))


def _offline(request: Request) -> bool:
    return is_true(request.query_params.get("offline"))
