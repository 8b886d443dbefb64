"""The HTTP API: routes over `Views`; errors are problem+json (RFC 9457), amounts wei as decimal strings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException as StarletteHTTPException

from emerit import PROTOCOL_VERSION, __version__
from emerit.api.views import Views
from emerit.errors import EmeritError, StateError, UnavailableError

CONTENT_POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
Address = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="Owner account or operator")]


@dataclass(frozen=True)
class Health:
    """Named checks for `/readyz`, and whether the refresh loop still turns for `/livez`."""

    alive: Callable[[], bool]
    checks: Callable[[], dict[str, str]]


def create_app(views: Views, health: Health, registry: CollectorRegistry) -> FastAPI:
    """Build the application; nothing runs until a server serves it."""
    app = FastAPI(
        title="Emerit",
        version=__version__,
        description="Who earned what in a run, and why. Every answer says as of which block it is.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the bundled page of FastAPI loads from a CDN
        redoc_url=None,
    )
    _errors(app)
    _run_routes(app, views)
    _participant_routes(app, views)
    _operating_routes(app, health, registry)
    static = files("emerit.api").joinpath("static")
    app.mount("/", StaticFiles(directory=str(static), html=True), name="page")

    @app.middleware("http")
    async def _headers(request: Request, call_next: Any) -> Response:
        response: Response = await call_next(request)
        response.headers["content-security-policy"] = CONTENT_POLICY
        response.headers["x-content-type-options"] = "nosniff"
        return response

    return app


def problem(status: int, code: str, cause: str, fix: str = "") -> JSONResponse:
    """An error as problem+json with the project's code, cause and fix."""
    return JSONResponse(
        {"type": f"urn:emerit:{code}", "title": cause, "status": status, "code": code, "fix": fix},
        status_code=status,
        media_type="application/problem+json",
    )


def _errors(app: FastAPI) -> None:
    @app.exception_handler(StarletteHTTPException)
    async def _http(_request: Request, error: StarletteHTTPException) -> JSONResponse:
        code = "not-found" if error.status_code == 404 else "request-refused"
        return problem(error.status_code, code, str(error.detail), "See /v1/openapi.json for the routes.")

    @app.exception_handler(RequestValidationError)
    async def _invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        return problem(
            422, "request-invalid", f"{where}: {first['msg']}.", "See /v1/openapi.json for what is accepted."
        )

    @app.exception_handler(EmeritError)
    async def _emerit(_request: Request, error: EmeritError) -> JSONResponse:
        status = 503 if isinstance(error, UnavailableError) else 409 if isinstance(error, StateError) else 500
        return problem(status, error.code, error.cause, error.fix)


def _found(answer: dict[str, Any] | None, what: str) -> Any:
    return answer if answer is not None else problem(404, "not-found", f"{what} is not in this run.")


def _run_routes(app: FastAPI, views: Views) -> None:
    @app.get("/v1/run", summary="The run: phase, members, money")
    def run() -> dict[str, Any]:
        return views.run()

    @app.get("/v1/rounds", summary="All settled rounds")
    def rounds() -> dict[str, Any]:
        return views.rounds()

    @app.get("/v1/rounds/{number}", summary="One settled round with every verdict", response_model=None)
    def one_round(number: Annotated[int, Path(ge=0, lt=1 << 32)]) -> Any:
        return _found(views.round(number), f"Settled round {number}")

    @app.get("/v1/events", summary="The newest events, from the index")
    def events(
        limit: Annotated[int, Query(ge=1, le=500)] = 50,
        before: Annotated[str | None, Query(pattern="^[0-9]{1,15}:[0-9]{1,9}$", description="`next` of a page")] = None,
    ) -> dict[str, Any]:
        block, _, position = (before or "").partition(":")
        return views.events(limit, (int(block), int(position)) if before else None)


def _participant_routes(app: FastAPI, views: Views) -> None:
    @app.get("/v1/participants", summary="Everybody, the best paid first")
    def participants() -> dict[str, Any]:
        return views.participants()

    @app.get("/v1/participants/{address}", summary="What one earned in each round, and why", response_model=None)
    def participant(address: Address) -> Any:
        return _found(views.participant(address), address)

    @app.get("/v1/reputation/{address}", summary="MeritRank of a participant", response_model=None)
    def reputation(address: Address) -> Any:
        return _found(views.reputation(address), address)

    @app.get("/v1/claims/{address}", summary="Amount and proof that the contract accepts", response_model=None)
    def claims(address: Address) -> Any:
        return _found(views.claim(address), address)


def _operating_routes(app: FastAPI, health: Health, registry: CollectorRegistry) -> None:
    @app.get("/livez", summary="Whether the refresh loop turns")
    def livez() -> JSONResponse:
        alive = health.alive()
        return JSONResponse({"alive": alive}, status_code=200 if alive else 503)

    @app.get("/readyz", summary="Named checks; 503 when one fails")
    def readyz() -> JSONResponse:
        checks = health.checks()
        ready = all(value == "ok" for value in checks.values())
        return JSONResponse({"ready": ready, "checks": checks}, status_code=200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics")
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type="text/plain; version=0.0.4")

    @app.get("/version", summary="Program and protocol version")
    def version() -> dict[str, Any]:
        return {"emerit": __version__, "protocol": PROTOCOL_VERSION}
