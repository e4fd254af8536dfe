"""How a device speaks to a pass' web service, and what it has against the answers.

Source: Apple, PassKit Web Service Reference.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote

import httpx

from passmill.dev.wallet_device.errors import (
    BadUpdateList,
    BodyNotAllowed,
    GaveUp,
    MissingLastModified,
    UnaskedNotModified,
    UnexpectedStatus,
    WrongContentType,
)

PASS_CONTENT_TYPE = "application/vnd.apple.pkpass"  # noqa: S105 - no password
TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPlan:
    """How a failed task is tried again: a few times with growing delay, never sooner than
    Retry-After."""

    attempts: int = 4
    first_seconds: float = 1.0
    growth: float = 3.0

    def delay(self, attempt: int, retry_after: float) -> float:
        """Seconds after the attempt-th (from 1) failed."""
        return max(self.first_seconds * self.growth ** (attempt - 1), retry_after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How slow a device is: `reaction_seconds` before it asks, `chunk_seconds` after each piece of
    a pass it reads."""

    reaction_seconds: float = 0.0
    chunk_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateList:
    """Serial numbers to fetch, and the tag to ask with the next time."""

    serial_numbers: tuple[str, ...]
    last_updated: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedPass:
    """A pass as it was answered. `last_modified`: as written, and the time it means."""

    bundle: bytes = field(repr=False)
    last_modified: str
    modified_at: datetime


@dataclass(slots=True)
class Traffic:
    """How many requests ended how, by route and status ("list 204")."""

    answers: dict[str, int] = field(default_factory=dict)

    def count(self, route: str, status: int) -> None:
        """One more."""
        name = f"{route} {status}"
        self.answers[name] = self.answers.get(name, 0) + 1

    def of(self, route: str, *statuses: int) -> int:
        """How many there were."""
        return sum(self.answers.get(f"{route} {status}", 0) for status in statuses)


@asynccontextmanager
async def open_http(
    tls: ssl.SSLContext, *, connections: int = 4
) -> AsyncIterator[httpx.AsyncClient]:
    """HTTP/2 over TLS on few connections, as many devices behind one address."""
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    timeout = httpx.Timeout(TIMEOUT_SECONDS, pool=None)
    async with httpx.AsyncClient(
        http2=True, verify=tls, limits=limits, timeout=timeout, follow_redirects=False
    ) as client:
        yield client


class WebService:
    """The requests of one device. `origins`: where a web service really is in a test, by
    the address its passes name (`https://passes.example.com`). `under_way`: of several devices."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        *,
        user_agent: str,
        origins: Mapping[str, str],
        retry: RetryPlan,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        traffic: Traffic | None = None,
        under_way: asyncio.Semaphore | None = None,
    ) -> None:
        self._client = client
        self._user_agent = user_agent
        self._origins = origins
        self._retry = retry
        self._sleep = sleep
        self._under_way = under_way or asyncio.Semaphore(100)
        self.traffic = traffic or Traffic()

    async def register(
        self, base: str, device: str, pass_type: str, serial: str, *, token: str, push_token: str
    ) -> bool:
        """Registers; whether the service calls it new."""
        answer = await self._try(
            "register",
            "POST",
            f"{base}/v1/devices/{_part(device)}/registrations/{_part(pass_type)}/{_part(serial)}",
            headers={"authorization": f"ApplePass {token}"},
            document={"pushToken": push_token},
        )
        return _status(answer, 200, 201) == 201

    async def unregister(
        self, base: str, device: str, pass_type: str, serial: str, *, token: str
    ) -> None:
        """Ends a registration."""
        answer = await self._try(
            "unregister",
            "DELETE",
            f"{base}/v1/devices/{_part(device)}/registrations/{_part(pass_type)}/{_part(serial)}",
            headers={"authorization": f"ApplePass {token}"},
        )
        _status(answer, 200)

    async def list_updated(
        self, base: str, device: str, pass_type: str, *, since: str | None
    ) -> UpdateList | None:
        """What is new since a tag, None for nothing."""
        answer = await self._try(
            "list",
            "GET",
            f"{base}/v1/devices/{_part(device)}/registrations/{_part(pass_type)}",
            params={} if since is None else {"passesUpdatedSince": since},
        )
        if _status(answer, 200, 204) == 204:
            _no_body(answer)
            return None
        return _read_list(answer)

    async def fetch(
        self,
        base: str,
        pass_type: str,
        serial: str,
        *,
        token: str,
        since: str | None,
        pace: Pace | None = None,
    ) -> FetchedPass | None:
        """The pass, None when it is the one that `since` (a Last-Modified) names."""
        headers = {"authorization": f"ApplePass {token}"}
        if since is not None:
            headers["if-modified-since"] = since
        url = f"{base}/v1/passes/{_part(pass_type)}/{_part(serial)}"
        answer = await self._try("fetch", "GET", url, headers=headers, pace=pace)
        if _status(answer, 200, 304) == 304:
            _no_body(answer)
            if since is None:
                raise UnaskedNotModified(url)
            return None
        _content_type(answer, PASS_CONTENT_TYPE)
        written, modified_at = _last_modified(answer)
        return FetchedPass(bundle=answer.content, last_modified=written, modified_at=modified_at)

    async def head(self, base: str, pass_type: str, serial: str, *, token: str) -> str:
        """The Last-Modified of the pass."""
        url = f"{base}/v1/passes/{_part(pass_type)}/{_part(serial)}"
        headers = {"authorization": f"ApplePass {token}"}
        answer = await self._try("head", "HEAD", url, headers=headers)
        _status(answer, 200)
        _no_body(answer)
        _content_type(answer, PASS_CONTENT_TYPE)
        return _last_modified(answer)[0]

    async def log(self, base: str, *messages: str) -> None:
        """Tells the service what went wrong here."""
        answer = await self._try("log", "POST", f"{base}/v1/log", document={"logs": messages})
        _status(answer, 200)

    async def _try(
        self,
        route: str,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        document: object = None,
        pace: Pace | None = None,
    ) -> httpx.Response:
        """One task of PassKit's: tried again while that may help. GaveUp in the end."""
        request = self._client.build_request(
            method,
            self._resolve(url),
            headers={"user-agent": self._user_agent, **(headers or {})},
            params=params or None,
            json=document,
        )
        attempt, failure = 0, ""
        while True:
            attempt, retry_after = attempt + 1, 0.0
            try:
                answer = await self._send(request, pace)
            except httpx.TransportError as error:
                self.traffic.count(route, 0)
                failure = type(error).__name__
            else:
                self.traffic.count(route, answer.status_code)
                if answer.status_code not in TRY_AGAIN:
                    return answer
                failure = f"status {answer.status_code}"
                written = answer.headers.get("retry-after", "0")
                retry_after = float(written) if written.isdigit() else 0.0
            if attempt >= self._retry.attempts:
                raise GaveUp(f"{route}: {failure} at attempt {attempt}")
            await self._sleep(self._retry.delay(attempt, retry_after))

    async def _send(self, request: httpx.Request, pace: Pace | None) -> httpx.Response:
        async with self._under_way:
            if pace is None or not pace.chunk_seconds:
                return await self._client.send(request)
            answer = await self._client.send(request, stream=True)
            try:
                pieces = []
                async for piece in answer.aiter_raw(chunk_size=1024):
                    pieces.append(piece)
                    await self._sleep(pace.chunk_seconds)
            finally:
                await answer.aclose()
            return httpx.Response(
                answer.status_code, headers=answer.headers, content=b"".join(pieces)
            )

    def _resolve(self, url: str) -> str:
        for named, real in self._origins.items():
            if url.startswith(f"{named}/"):
                return real + url.removeprefix(named)
        return url


def _part(text: str) -> str:
    return quote(text, safe="")


def _status(answer: httpx.Response, *expected: int) -> int:
    if answer.status_code not in expected:
        raise UnexpectedStatus(f"{answer.status_code}, expected {' or '.join(map(str, expected))}")
    return answer.status_code


def _no_body(answer: httpx.Response) -> None:
    if answer.content:
        raise BodyNotAllowed(f"{len(answer.content)} bytes with {answer.status_code}")


def _content_type(answer: httpx.Response, expected: str) -> None:
    found = answer.headers.get("content-type", "")
    if found.partition(";")[0].strip().lower() != expected:
        raise WrongContentType(f"{found!r}, expected {expected}")


def _last_modified(answer: httpx.Response) -> tuple[str, datetime]:
    written = answer.headers.get("last-modified")
    if written is None:
        raise MissingLastModified("no Last-Modified")
    try:
        read = parsedate_to_datetime(written)
    except ValueError as error:
        raise MissingLastModified(f"{written!r} is no HTTP date") from error
    if not written.endswith(" GMT") or read.tzinfo is None:
        raise MissingLastModified(f"{written!r} is no HTTP date in GMT")
    return written, read


def _read_list(answer: httpx.Response) -> UpdateList:
    _content_type(answer, "application/json")
    try:
        document: Any = json.loads(answer.content)
    except ValueError as error:
        raise BadUpdateList("no JSON") from error
    serials = document.get("serialNumbers") if isinstance(document, dict) else None
    if not isinstance(serials, list) or not serials:
        raise BadUpdateList("200 without serial numbers")
    if not all(isinstance(each, str) for each in serials) or len(set(serials)) != len(serials):
        raise BadUpdateList("serial numbers must be different texts")
    tag = document.get("lastUpdated")
    if not isinstance(tag, str) or not tag:
        raise BadUpdateList("lastUpdated is missing or no text")
    return UpdateList(serial_numbers=tuple(serials), last_updated=tag)
