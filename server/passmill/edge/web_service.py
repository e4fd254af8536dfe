"""Apple's web service for passes, the whole of it under /v1.

https://developer.apple.com/documentation/walletpasses/adding-a-web-service-to-update-passes
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from passmill.domain.clock import Clock
from passmill.domain.registrations import (
    SCHEMES,
    DeviceClaim,
    Wallet,
    check_push_token,
    is_device_library_identifier,
    parse_system_version,
    parse_update_tag,
)
from passmill.edge.exchange import Answer, Header, Request
from passmill.edge.http_dates import format_http_date, parse_http_date
from passmill.edge.personalize import Personalize
from passmill.edge.refusals import Refusal, RefusalReason
from passmill.telemetry.edge_metrics import EdgeMetrics, RouteMetrics
from passmill.usecases.authenticate_pass import AuthenticatePass, AuthenticPass
from passmill.usecases.list_updated_passes import ListUpdatedPasses
from passmill.usecases.note_device_logs import NoteDeviceLogs
from passmill.usecases.note_fetches import NoteFetches
from passmill.usecases.personalize_pass import PersonalizePass
from passmill.usecases.register_device import RegisterDevice
from passmill.usecases.serve_pass import PassVersion, ServePass
from passmill.usecases.unregister_device import UnregisterDevice

_MAX_REGISTRATION_BYTES: Final = 8 << 10
_MAX_LOG_BYTES: Final = 64 << 10
_MAX_LOG_LINES: Final = 100
_MAX_LOG_LINE: Final = 2 << 10
_MAX_USER_AGENT: Final = 512

_JSON: Final = (b"content-type", b"application/json")
_PKPASS: Final = (b"content-type", b"application/vnd.apple.pkpass")
# Kept by nobody on the way; whoever has it asks before it is used again.
_PRIVATE: Final = (b"cache-control", b"private, no-cache")

Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One kind of path: what may be done there, and how it is counted."""

    methods: Mapping[str, Handler]
    metrics: RouteMetrics

    def handler(self, method: str) -> Handler:
        """What answers this method; HEAD is answered as GET is. Refusal WRONG_METHOD, which names
        those that would do."""
        handler = self.methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            heads = ["HEAD"] if "GET" in self.methods else []
            allow = ", ".join([*self.methods, *heads])
            raise Refusal(RefusalReason.WRONG_METHOD, allow=allow)
        return handler


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServiceUseCases:
    """What the web service does."""

    authenticate_pass: AuthenticatePass
    register_device: RegisterDevice
    unregister_device: UnregisterDevice
    list_updated_passes: ListUpdatedPasses
    serve_pass: ServePass
    note_fetches: NoteFetches
    note_device_logs: NoteDeviceLogs
    personalize_pass: PersonalizePass


class WebService:
    """The routes. A wrong token, an unknown pass and one of another pass type are told apart by
    nothing."""

    def __init__(
        self, *, use_cases: WebServiceUseCases, clock: Clock, metrics: EdgeMetrics
    ) -> None:
        self._use_cases = use_cases
        self._clock = clock
        self._registration = Route(
            methods={"POST": self._register, "DELETE": self._unregister},
            metrics=metrics.route("registration"),
        )
        self._registrations = Route(methods={"GET": self._list}, metrics=metrics.route("list"))
        self._pass = Route(methods={"GET": self._get_pass}, metrics=metrics.route("pass"))
        self._personalization = Route(
            methods={"POST": Personalize(personalize_pass=use_cases.personalize_pass)},
            metrics=metrics.route("personalize"),
        )
        self._log = Route(methods={"POST": self._note_logs}, metrics=metrics.route("log"))

    def find(self, segments: Sequence[bytes]) -> Route | None:
        """The route of a path, given by its parts after "/"."""
        match segments:
            case (b"v1", b"passes", _, _):
                return self._pass
            case (b"v1", b"devices", _, b"registrations", _, _):
                return self._registration
            case (b"v1", b"devices", _, b"registrations", _):
                return self._registrations
            case (b"v1", b"passes", _, _, b"personalize"):
                return self._personalization
            case (b"v1", b"log"):
                return self._log
            case _:
                return None

    async def _register(self, request: Request) -> Answer:
        authentic, wallet = await self._authenticate(request, pass_type_at=4)
        device = _device(request)
        given = _json_object(await request.body(at_most=_MAX_REGISTRATION_BYTES)).get("pushToken")
        push_token = check_push_token(given, wallet) if isinstance(given, str) else None
        if push_token is None:
            raise Refusal(RefusalReason.MALFORMED)
        is_new = await self._use_cases.register_device(
            authentic,
            DeviceClaim(
                device_library_identifier=device,
                pass_type_identifier=authentic.pass_type_identifier,
                push_token=push_token,
                wallet=wallet,
                system_version=_system_version(request),
            ),
        )
        return Answer(status=201 if is_new else 200)

    async def _unregister(self, request: Request) -> Answer:
        authentic, _ = await self._authenticate(request, pass_type_at=4)
        await self._use_cases.unregister_device(authentic, _device(request))
        return Answer(status=200)

    async def _list(self, request: Request) -> Answer:
        device, pass_type = request.segment(2), request.segment(4)
        if device is None or pass_type is None:
            return Answer(status=204)  # nobody's: as of an unknown one
        updated = await self._use_cases.list_updated_passes(
            device,
            pass_type,
            parse_update_tag(request.query("passesUpdatedSince")),
            deadline=request.deadline,
        )
        if updated is None or not updated.serial_numbers:
            return Answer(status=204)
        told = {
            "serialNumbers": list(updated.serial_numbers),
            "lastUpdated": str(updated.last_updated),
        }
        return Answer(status=200, headers=(_JSON,), body=json.dumps(told).encode())

    async def _get_pass(self, request: Request) -> Answer:
        authentic, _ = await self._authenticate(request, pass_type_at=2)
        # Before anything is built. If-None-Match would come first (RFC 9110, 13.2.2): we give no
        # ETag, so nobody has one of ours.
        if (given := request.header(b"if-modified-since")) is not None:
            version = await self._use_cases.serve_pass.version(authentic)
            modified = format_http_date(version.last_modified)
            if given == modified or self._is_since(given, version):
                self._note(request, authentic, version)
                return Answer(status=304, headers=(_last_modified(modified), _PRIVATE))
        served = await self._use_cases.serve_pass.bundle(authentic)
        self._note(request, authentic, served.version)
        return Answer(
            status=200,
            headers=(
                _PKPASS,
                _last_modified(format_http_date(served.version.last_modified)),
                _PRIVATE,
            ),
            body=served.content,
        )

    async def _note_logs(self, request: Request) -> Answer:
        lines = _json_object(await request.body(at_most=_MAX_LOG_BYTES)).get("logs")
        if not isinstance(lines, list) or not all(isinstance(line, str) for line in lines):
            raise Refusal(RefusalReason.MALFORMED)
        self._use_cases.note_device_logs(
            [line[:_MAX_LOG_LINE] for line in lines[:_MAX_LOG_LINES]],
            system_version=_system_version(request),
        )
        return Answer(status=200)

    async def _authenticate(
        self, request: Request, *, pass_type_at: int
    ) -> tuple[AuthenticPass, Wallet]:
        """The pass that is asked for, and whose wallet asks. `pass_type_at`: where in the path the
        pass type is; the serial number follows."""
        scheme, _, token = (request.header(b"authorization") or "").partition(" ")
        wallet = SCHEMES.get(scheme.lower())
        pass_type, serial_number = request.segment(pass_type_at), request.segment(pass_type_at + 1)
        if wallet is None or pass_type is None or serial_number is None:
            raise Refusal(RefusalReason.UNAUTHORIZED)
        authentic = await self._use_cases.authenticate_pass(
            pass_type, serial_number, token.strip(), deadline=request.deadline
        )
        if authentic is None:
            raise Refusal(RefusalReason.UNAUTHORIZED)
        return authentic, wallet

    def _is_since(self, given: str, version: PassVersion) -> bool:
        since = parse_http_date(given, now=self._clock.now())
        return since is not None and version.last_modified <= since

    def _note(self, request: Request, authentic: AuthenticPass, version: PassVersion) -> None:
        if request.method == "GET":
            self._use_cases.note_fetches.note(authentic, version)


def _device(request: Request) -> str:
    device = request.segment(2)
    if device is None or not is_device_library_identifier(device):
        raise Refusal(RefusalReason.MALFORMED)
    return device


def _system_version(request: Request) -> str:
    return parse_system_version((request.header(b"user-agent") or "")[:_MAX_USER_AGENT])


def _last_modified(date: str) -> Header:
    return (b"last-modified", date.encode("ascii"))


def _json_object(content: bytes) -> dict[str, object]:
    """The JSON object. Refusal MALFORMED for anything else, however deep."""
    try:
        parsed = json.loads(content)
    except (ValueError, RecursionError):  # bad JSON, bad UTF-8, a number of 5,000 digits; "[[[[…"
        raise Refusal(RefusalReason.MALFORMED) from None
    if not isinstance(parsed, dict):
        raise Refusal(RefusalReason.MALFORMED)
    return parsed
