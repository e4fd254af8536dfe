"""The rooms for people and machines with a browser's manners, on Starlette: claim pages, calls of
scripts, health."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from passmill.edge.claim_pages import ClaimPages


def make_pages(
    *, is_ready: Callable[[], bool], claim_pages: ClaimPages, calls: Mapping[str, ASGIApp]
) -> Starlette:
    """The application behind every path that is not the web service's. `is_ready`: whether a load
    balancer should send requests here. `calls`: what serves scripts, by the path it is below."""

    async def healthz(_: Request) -> Response:
        if is_ready():
            return PlainTextResponse("ok\n")
        return PlainTextResponse("not ready\n", status_code=503, headers={"retry-after": "5"})

    application = Starlette(
        routes=[
            Route("/healthz", healthz, methods=["GET"]),
            *claim_pages.routes(),
            *(Mount(path, app=served) for path, served in calls.items()),
        ]
    )
    application.router.redirect_slashes = False  # to whatever host the request names
    return application
