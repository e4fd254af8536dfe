"""What every request goes through: who asks how often, how many are under way, until when, how it
ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import Final

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from passmill.edge.client_rates import ClientAddresses, ClientRates
from passmill.edge.exchange import CLIENT_CLOSED, Answer, BodyTooLarge, ClientGone, Header, Request
from passmill.edge.refusals import Refusal, RefusalReason, answer_of, refusal_of
from passmill.edge.web_service import Route, WebService
from passmill.errors import AppError
from passmill.telemetry.edge_metrics import EdgeMetrics
from passmill.telemetry.sampling import Sampler

_NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")
_SERVER: Final[Header] = (b"server", b"passmill")
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
# A year, as browsers ask for (RFC 6797).
_HTTPS_ONLY: Final[Header] = (b"strict-transport-security", b"max-age=31536000")
# An answer that comes before the request is whole confuses some clients, so of what is refused the
# rest is read, if it is little; not of these, which are to cost us nothing.
_MAX_REST_BYTES: Final = 128 << 10
_AT_ONCE: Final = frozenset(
    {
        RefusalReason.RATE_LIMITED,
        RefusalReason.BUSY,
        RefusalReason.TOO_SLOW,
        RefusalReason.DEADLINE,
    }
)


class EdgeDoor:
    """The ASGI application. The web service is called straight, as it has nearly all of the
    requests; everything else is `pages`'."""

    def __init__(
        self,
        *,
        web_service: WebService,
        pages: ASGIApp,
        page_refusals: Callable[[Scope, Refusal], Answer],
        addresses: ClientAddresses,
        rates: ClientRates | None,
        metrics: EdgeMetrics,
        refusals: Sampler,
        max_requests: int,
        deadline_seconds: float,
        is_encrypted: bool,
    ) -> None:
        """`page_refusals`: how one is told where pages are. `rates`: None for no limit. `refusals`:
        which of them get into the log. `is_encrypted`: whether clients come by HTTPS, here or at a
        proxy of ours."""
        self._web_service = web_service
        self._pages = pages
        self._page_refusals = page_refusals
        self._addresses = addresses
        self._rates = rates
        self._metrics = metrics
        self._refusals = refusals
        self._max_requests = max_requests
        self._deadline_seconds = deadline_seconds
        self._constant_headers = [_NOSNIFF, _SERVER, *([_HTTPS_ONLY] if is_encrypted else [])]
        self._pages_metrics = metrics.route("pages")
        self._log = structlog.get_logger("passmill.edge")
        self.under_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            return  # neither WebSocket nor lifespan events
        began = perf_counter()
        segments = _segments(scope)
        route = self._web_service.find(segments)
        self.under_way += 1
        try:
            if route is None:
                scope["state"] = {"client": self._client(scope)}  # which Starlette's requests have
                status = await self._open_pages(scope, receive, send)
                self._pages_metrics.answered(status, perf_counter() - began)
                return
            answer = await self._answer(route, scope, receive, segments)
            route.metrics.answered(answer.status, perf_counter() - began)
        finally:
            self.under_way -= 1
        if answer.status != CLIENT_CLOSED:
            await self._send(send, answer, is_head=scope["method"] == "HEAD")

    async def _answer(
        self, route: Route, scope: Scope, receive: Receive, segments: Sequence[bytes]
    ) -> Answer:
        deadline = asyncio.get_running_loop().time() + self._deadline_seconds
        request = Request(scope, receive, segments=segments, deadline=deadline)
        try:
            self._admit(scope)
            handler = route.handler(request.method)
            async with asyncio.timeout_at(deadline):
                return await handler(request)
        except ClientGone:
            return Answer(status=CLIENT_CLOSED)
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the client gets an answer
            refusal = self._refuse(error, is_reading=request.is_reading)
            if refusal.reason not in _AT_ONCE and request.method not in ("GET", "HEAD"):
                await _read_rest(request, deadline)
            return answer_of(refusal)

    async def _open_pages(self, scope: Scope, receive: Receive, send: Send) -> int:
        """Has the pages answer, with our headers; gives the status."""
        status = 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = self._headers(message.get("headers", ()))
            elif scope["method"] == "HEAD":
                message["body"] = b""  # measured, not sent (RFC 9110, 9.3.2)
            if status != CLIENT_CLOSED:
                await send(message)

        try:
            self._admit(scope)
            async with asyncio.timeout(self._deadline_seconds):
                await self._pages(scope, receive, send_with_headers)
        except Exception as error:  # noqa: BLE001 - as above
            answer = self._page_refusals(scope, self._refuse(error, is_reading=False))
            if not status:
                status = answer.status
                await self._send(send, answer, is_head=scope["method"] == "HEAD")
        return status

    def _admit(self, scope: Scope) -> None:
        """Refusal BUSY or RATE_LIMITED."""
        if self.under_way > self._max_requests:
            raise Refusal(RefusalReason.BUSY)
        if self._rates is not None:
            wait = self._rates.take(self._client(scope))
            if wait:
                raise Refusal(RefusalReason.RATE_LIMITED, retry_after=wait)

    def _client(self, scope: Scope) -> str:
        return self._addresses.of(
            scope["client"][0],
            [
                value.decode("latin-1")
                for name, value in scope["headers"]
                if name == b"x-forwarded-for"
            ],
        )

    def _refuse(self, error: Exception, *, is_reading: bool) -> Refusal:
        refusal = self._refusal_of(error, is_reading=is_reading)
        self._metrics.refused(refusal.reason.value)
        left_out = self._refusals.take()
        if left_out is not None:
            self._log.info(
                "edge.refused",
                reason=refusal.reason.value,
                cause=error.reason.value if isinstance(error, AppError) else "",
                refusals_left_out=left_out,
            )
        return refusal

    def _refusal_of(self, error: Exception, *, is_reading: bool) -> Refusal:
        if isinstance(error, Refusal):
            return error
        if isinstance(error, BodyTooLarge):
            return Refusal(RefusalReason.TOO_LARGE)
        if isinstance(error, TimeoutError):
            return Refusal(RefusalReason.TOO_SLOW if is_reading else RefusalReason.DEADLINE)
        refusal = (
            refusal_of(error) if isinstance(error, AppError) else Refusal(RefusalReason.INTERNAL)
        )
        if refusal.reason is RefusalReason.INTERNAL:
            self._log.error("edge.failed", exc_info=error)
        return refusal

    async def _send(self, send: Send, answer: Answer, *, is_head: bool) -> None:
        headers = self._headers(answer.headers)
        if answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % len(answer.body)))
        await send(
            {"type": "http.response.start", "status": int(answer.status), "headers": headers}
        )
        await send({"type": "http.response.body", "body": b"" if is_head else answer.body})

    def _headers(self, headers: Iterable[Header]) -> list[Header]:
        given = [*headers, *self._constant_headers]
        if not any(name == b"cache-control" for name, _ in given):
            given.append(_NO_STORE)
        return given


async def _read_rest(request: Request, deadline: float) -> None:
    with contextlib.suppress(BodyTooLarge, ClientGone, TimeoutError):
        async with asyncio.timeout_at(deadline):
            await request.skip(at_most=_MAX_REST_BYTES)


def _segments(scope: Scope) -> list[bytes]:
    raw: bytes = scope["raw_path"]
    # One more than the longest path of ours has.
    return raw.split(b"/", 8)[1:]
