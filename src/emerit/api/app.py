"""The HTTP API: its routes. Answers come from a `Source`; errors are problem+json, amounts wei as decimal strings."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from importlib.resources import files
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emerit import PROTOCOL_VERSION, __version__
from emerit.api import dispute_views, views
from emerit.api.answers import (
    Alive,
    ClaimAnswer,
    EventsAnswer,
    ParticipantAnswer,
    ParticipantsAnswer,
    Problem,
    Ready,
    ReputationAnswer,
    RoundAnswer,
    RoundsAnswer,
    RunAnswer,
    Version,
)
from emerit.api.dispute_answers import ChallengesAnswer, GatewayAnswer, GatewayProblem
from emerit.api.problems import GATEWAY, describe_problems, handle_errors, not_found
from emerit.api.snapshot import Snapshot
from emerit.errors import UsageError
from emerit.indexer.index import Index, Position
from emerit.protocol.types import RegistryEntry

HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        b"frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-cache"),
)
# A contract's client in a browser asks the gateway from any page.
OPEN_HEADER: Final = (b"access-control-allow-origin", b"*")
MAX_PAGE: Final = 500
MAX_ROUNDS: Final = 1_000
MAX_MEMBERS: Final = 1_000

Address = Annotated[str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="Owner account or operator")]
Number = Annotated[int, Path(ge=0, lt=1 << 32, description="Number of the round")]
_LIMIT = Query(ge=1, le=MAX_PAGE, description="At most so many")
_SINCE = Query(ge=0, lt=1 << 32, description="Rounds from this number on, the oldest first; without it the newest")
_OFFSET = Query(ge=0, lt=1 << 32, description="`next` of the page before")
_ROUNDS = Query(ge=1, le=MAX_ROUNDS, description="At most so many")
_MEMBERS = Query(ge=1, le=MAX_MEMBERS, description="At most so many")
_KIND = Query(description="Only disputes of this kind; may be repeated")
_NAME = Query(max_length=64, description="Only events of this name; may be repeated")
_PERSPECTIVE = Query(
    pattern="^0x[0-9a-fA-F]{40}$",
    description="Account or operator. With the graph `seed` a validator: also the trainer's visits as it sees them. "
    "With `wide` any participant: whose point of view it is",
)
_GRAPH = Query(
    description="`seed`: what is settled and on chain. `wide`: also what trainers say of each other, which nobody can "
    "verify and nothing depends on"
)
_BEFORE = Query(pattern="^[0-9]{1,15}:[0-9]{1,9}$", description="`next` of the page before")
Sender = Annotated[
    str, Path(pattern="^0x[0-9a-fA-F]{40}$", description="`sender` of OffchainLookup: the run's Reputation contract")
]
CallData = Annotated[
    str,
    Path(
        pattern="^0x([0-9a-fA-F]{2})*$",
        max_length=2 + 2 * dispute_views.SCORE_OF_BYTES,
        description="`callData` of OffchainLookup: a call of scoreOf(address)",
    ),
]
Kind = Literal["voided-header", "punishment", "equivocation", "demand", "fine"]


class Source(Protocol):
    """Where answers come from: the newest snapshot (None at the start), the index, and the contract's reputation."""

    @property
    def index(self) -> Index:
        """The events."""

    def snapshot(self) -> Snapshot | None:
        """Return the newest snapshot."""

    def reputation_on_chain(self, account: str) -> int:
        """Return what the Reputation contract answers."""


@dataclass(frozen=True)
class Health:
    """Named checks for `/readyz`, and whether the refresh loop still turns for `/livez`."""

    alive: Callable[[], bool]
    checks: Callable[[], dict[str, str]]


def create_app(source: Source, health: Health, registry: CollectorRegistry) -> FastAPI:
    """Build the application; nothing runs until a server serves it."""
    app = FastAPI(
        title="Emerit",
        version=__version__,
        description="Who earned what in a run, and why. Every answer says as of which block it is.",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # the bundled page of FastAPI loads from a CDN
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    handle_errors(app)
    _run_routes(app, source)
    _dispute_routes(app, source)
    _participant_routes(app, source)
    _gateway_route(app, source)
    _operating_routes(app, health, registry)
    app.mount("/", StaticFiles(directory=str(files("emerit.api").joinpath("static")), html=True), name="page")
    app.add_middleware(Frame)
    plain = app.openapi
    app.openapi = lambda: describe_problems(plain())  # type: ignore[method-assign]
    return app


class Frame:
    """Around every response: headers for browsers; a HEAD request is answered as a GET, whose body the server drops."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""

        added = (*HEADERS, OPEN_HEADER) if scope.get("path", "").startswith(GATEWAY) else HEADERS

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *added]
            await send(message)

        if scope["type"] == "http" and scope["method"] == "HEAD":
            scope = {**scope, "method": "GET"}
        await self._app(scope, receive, send_with_headers)


def reply(request: Request, answer: BaseModel | None, missing: str = "") -> Response:
    """Return an answer with an ETag of its content, or 304 when the client has it.

    Raises:
        HTTPException: 404 when there is no answer; `missing` says what is not there.
    """
    if answer is None:
        raise not_found(missing)
    body = answer.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:24]}"'
    known = [part.strip().removeprefix("W/") for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
    return Response(body, media_type="application/json", headers={"etag": tag})


def _now(source: Source) -> Snapshot:
    now = source.snapshot()
    if now is None:
        raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "The API has not read the whole run yet.")
    return now


def _errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    texts = {404: "Not there", 422: "The request is not valid", 503: "Starting, or a service does not answer"}
    return {status: {"model": Problem, "description": texts[status]} for status in (*statuses, 503)}


def _run_routes(app: FastAPI, source: Source) -> None:
    @app.get("/v1/run", summary="The run: clock, members, money", response_model=RunAnswer, responses=_errors())
    def run(request: Request) -> Response:
        return reply(request, views.run_answer(_now(source)))

    @app.get("/v1/rounds", summary="The settled rounds", response_model=RoundsAnswer, responses=_errors(422))
    def rounds(
        request: Request, since: Annotated[int | None, _SINCE] = None, limit: Annotated[int, _ROUNDS] = MAX_ROUNDS
    ) -> Response:
        return reply(request, views.rounds_answer(_now(source), since, limit))

    @app.get(
        "/v1/rounds/{number}",
        summary="One settled round with every verdict",
        response_model=RoundAnswer,
        responses=_errors(404, 422),
    )
    def one_round(request: Request, number: Number) -> Response:
        now = _now(source)
        state = "was given up" if number in now.chronicle.void else "has not settled"
        return reply(request, views.round_answer(now, number), f"Round {number} {state}.")

    @app.get("/v1/events", summary="The events, the newest first", response_model=EventsAnswer, responses=_errors(422))
    def events(
        request: Request,
        name: Annotated[list[str] | None, _NAME] = None,
        limit: Annotated[int, _LIMIT] = 50,
        before: Annotated[str | None, _BEFORE] = None,
    ) -> Response:
        page = (limit, _position(before))
        return reply(request, views.events_answer(_now(source), source.index, name or [], *page))


def _position(before: str | None) -> Position | None:
    block, _, place = (before or "").partition(":")
    return (int(block), int(place)) if before else None


def _dispute_routes(app: FastAPI, source: Source) -> None:
    @app.get(
        "/v1/challenges",
        summary="Voided headers, punishments, demands and fines, the newest first",
        response_model=ChallengesAnswer,
        responses=_errors(422),
    )
    def challenges(
        request: Request,
        kind: Annotated[list[Kind] | None, _KIND] = None,
        limit: Annotated[int, _LIMIT] = 50,
        before: Annotated[str | None, _BEFORE] = None,
    ) -> Response:
        kinds: list[str] = [*(kind or ())]
        page = (limit, _position(before))
        return reply(request, dispute_views.challenges_answer(_now(source), source.index, kinds, *page))


def _gateway_route(app: FastAPI, source: Source) -> None:
    @app.get(
        "/v1/ccip/{sender}/{data}",
        summary="Gateway of Reputation.scoreOf (ERC-3668)",
        response_model=GatewayAnswer,
        responses={status: {**response, "model": GatewayProblem} for status, response in _errors(404, 422).items()},
    )
    def ccip(request: Request, sender: Sender, data: CallData) -> Response:
        now, call = _now(source), bytes.fromhex(data[2:])
        if sender.lower() != now.context.client.reputation_address.lower():
            raise not_found(f"{sender} is not the reputation contract of this run.")
        if call[:4] != dispute_views.SCORE_OF or len(call) != dispute_views.SCORE_OF_BYTES or any(call[4:16]):
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "data: It is not a call of scoreOf(address).")
        account = "0x" + call[16:].hex()
        return reply(request, dispute_views.gateway_answer(now, account), f"{account} is no account in this run.")


def _participant_routes(app: FastAPI, source: Source) -> None:
    @app.get(
        "/v1/participants",
        summary="Everybody, the best paid first",
        response_model=ParticipantsAnswer,
        responses=_errors(422),
    )
    def participants(
        request: Request, offset: Annotated[int, _OFFSET] = 0, limit: Annotated[int, _MEMBERS] = MAX_MEMBERS
    ) -> Response:
        return reply(request, views.participants_answer(_now(source), offset, limit))

    @app.get(
        "/v1/participants/{address}",
        summary="What one earned in each round, and why",
        response_model=ParticipantAnswer,
        responses=_errors(404, 422),
    )
    def participant(
        request: Request,
        address: Address,
        since: Annotated[int | None, _SINCE] = None,
        limit: Annotated[int, _LIMIT] = MAX_PAGE,
    ) -> Response:
        return reply(request, views.participant_answer(_now(source), address, since, limit), _not_member(address))

    @app.get(
        "/v1/reputation/{address}",
        summary="MeritRank of a participant",
        response_model=ReputationAnswer,
        responses=_errors(404, 422),
    )
    def reputation(
        request: Request,
        address: Address,
        since: Annotated[int | None, _SINCE] = None,
        limit: Annotated[int, _ROUNDS] = MAX_ROUNDS,
        perspective: Annotated[str | None, _PERSPECTIVE] = None,
        graph: Annotated[Literal["seed", "wide"], _GRAPH] = "seed",
    ) -> Response:
        now = _now(source)
        entry = now.member(address)
        if entry is None:
            raise not_found(_not_member(address))
        viewer = _viewer(now, perspective)
        on_chain = source.reputation_on_chain(entry.account)
        is_wide = graph == "wide"
        return reply(request, views.reputation_answer(now, entry, on_chain, since, limit, viewer, is_wide))

    @app.get(
        "/v1/claims/{address}",
        summary="Amount and proof that the contract accepts",
        response_model=ClaimAnswer,
        responses=_errors(404, 422),
    )
    def claims(request: Request, address: Address) -> Response:
        return reply(request, views.claim_answer(_now(source), address), _not_member(address))


def _viewer(now: Snapshot, perspective: str | None) -> RegistryEntry | None:
    viewer = now.member(perspective) if perspective is not None else None
    if perspective is not None and viewer is None:
        raise UsageError("not-in-run", _not_member(perspective), "Name one whom /v1/participants lists.")
    return viewer


def _not_member(address: str) -> str:
    return f"{address} is neither an account nor an operator in this run."


def _operating_routes(app: FastAPI, health: Health, registry: CollectorRegistry) -> None:
    @app.get(
        "/livez",
        summary="Whether the refresh loop turns",
        response_model=Alive,
        responses={503: {"model": Alive, "description": "It hangs or has ended: start the API again"}},
    )
    def livez() -> Response:
        alive = health.alive()
        return JSONResponse(Alive(alive=alive).model_dump(), status_code=200 if alive else 503)

    @app.get(
        "/readyz",
        summary="Named checks",
        response_model=Ready,
        responses={503: {"model": Ready, "description": "A check fails; its code says why"}},
    )
    def readyz() -> Response:
        checks = health.checks()
        ready = all(value == "ok" for value in checks.values())
        return JSONResponse(Ready(ready=ready, checks=checks).model_dump(), status_code=200 if ready else 503)

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response)
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    @app.get("/version", summary="Program and protocol version", response_model=Version)
    def version() -> Response:
        return JSONResponse(Version(emerit=__version__, protocol=PROTOCOL_VERSION).model_dump())
