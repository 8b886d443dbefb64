"""Errors of the API as problem+json (RFC 9457) with this project's code, cause and fix."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from emerit.api.answers import Problem
from emerit.api.dispute_answers import GatewayProblem
from emerit.errors import EmeritError, UnavailableError

log = structlog.get_logger("emerit.api")

MEDIA_TYPE: Final = "application/problem+json"
GATEWAY: Final = "/v1/ccip/"
SEE_ROUTES: Final = "See /v1/openapi.json for the routes and what they accept."
STARTING_FIX: Final = "Ask again in a few seconds; /readyz says what it waits for."
_SHOWN: Final = 200
_NOT_THERE: Final = frozenset({"nothing-settled", "not-in-registry", "not-in-run"})
_NOT_SENSE: Final = frozenset({"perspective-invalid"})
_CODES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        404: ("not-found", SEE_ROUTES),
        405: ("method-not-allowed", SEE_ROUTES),
        422: ("request-invalid", SEE_ROUTES),
        503: ("starting", STARTING_FIX),
    }
)


def problem(request: Request, status: int, code: str, cause: str, fix: str = "") -> JSONResponse:
    """Return an error as a response; the gateway's has the `message` that clients of ERC-3668 show."""
    body = Problem(type=f"urn:emerit:{code}", title=cause, status=status, code=code, fix=fix)
    if request.url.path.startswith(GATEWAY):
        body = GatewayProblem(**body.model_dump(), message=cause)
    headers = {"retry-after": "2"} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(body.model_dump(), status_code=status, media_type=MEDIA_TYPE, headers=headers)


def not_found(cause: str) -> HTTPException:
    """Return the error for something that is not there."""
    return HTTPException(HTTPStatus.NOT_FOUND, cause)


def handle_errors(app: FastAPI) -> None:
    """Have every error of the application answered as a problem."""

    @app.exception_handler(EmeritError)
    async def _emerit(request: Request, error: EmeritError) -> JSONResponse:
        if error.code in _NOT_THERE:
            return problem(request, 404, error.code, error.cause, error.fix)
        if error.code in _NOT_SENSE:
            return problem(request, 422, error.code, error.cause, error.fix)
        return problem(request, 503 if isinstance(error, UnavailableError) else 500, error.code, error.cause, error.fix)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> JSONResponse:
        code, fix = _CODES.get(error.status_code, ("request-refused", SEE_ROUTES))
        plain = error.detail == HTTPStatus(error.status_code).phrase
        asked = f"{request.method} {request.url.path[:_SHOWN]}"
        cause = f"{asked} is no route of this API." if plain else error.detail
        return problem(request, error.status_code, code, cause, fix)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return problem(request, 422, "request-invalid", f"{where}: {first['msg']}.", SEE_ROUTES)

    @app.exception_handler(Exception)
    async def _fault(request: Request, error: Exception) -> JSONResponse:
        # Our log has what went wrong; a stranger is told no more than that it did.
        log.error("internal error", path=request.url.path, exc_info=error)
        return problem(request, 500, "internal-error", "The API failed to answer.", "Report it, with the API's log.")


def describe_problems(schema: dict[str, Any]) -> dict[str, Any]:
    """Give every error response of an OpenAPI document the media type that it has."""
    for path in schema["paths"].values():
        for operation in path.values():
            for status, response in operation["responses"].items():
                content = response.get("content", {})
                if status[0] in "45" and content.get("application/json", {}).get("schema", {}).get("$ref", "").endswith(
                    "Problem"
                ):
                    response["content"] = {MEDIA_TYPE: content["application/json"]}
    return schema
