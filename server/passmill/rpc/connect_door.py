"""A door for browsers: the methods of a service that need no credential, as Connect's unary calls
in JSON (https://connectrpc.com/docs/protocol), before the same servicers as gRPC's."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import grpc
import structlog
from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from passmill.domain.callers import public_caller
from passmill.errors import AppError, Reason
from passmill.rpc.door import Call, MethodRule, snake_case
from passmill.rpc.status import RequestValidator, to_status

_MAX_BYTES: Final = 64 << 10
_CLIENT_CLOSED: Final = 499  # which the edge counts, and sends to nobody
_JSON: Final = "application/json"
_PREFLIGHT_SECONDS: Final = 3600
# https://connectrpc.com/docs/protocol#error-codes
_HTTP_STATUS: Final[Mapping[grpc.StatusCode, int]] = {
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}

Handler = Callable[[Any, Call], Awaitable[Message]]


class ConnectDoor:
    """Wraps the public methods of a servicer into routes."""

    def __init__(self, *, validator: RequestValidator, call_seconds: float) -> None:
        """`call_seconds`: how long a call may take."""
        self._validator = validator
        self._call_seconds = call_seconds
        self._log = structlog.get_logger("passmill.connect")

    def application(
        self,
        service: ServiceDescriptor,
        servicer: object,
        rules: Mapping[str, MethodRule],
        *,
        allowed_origins: Sequence[str],
    ) -> Starlette:
        """An ASGI application that serves `POST /{method}` for each public method and nothing else,
        to be put below `/{service}`. `allowed_origins`: of pages whose scripts may call (CORS)."""
        routes = [
            Route(
                f"/{method.name}",
                self._endpoint(method, getattr(servicer, snake_case(method.name))),
                methods=["POST"],
            )
            for method in service.methods
            if rules[method.name].is_public
        ]
        cors = Middleware(
            CORSMiddleware,
            allow_origins=allowed_origins,
            allow_methods=["POST"],
            allow_headers=["content-type", "connect-protocol-version", "connect-timeout-ms"],
            max_age=_PREFLIGHT_SECONDS,
        )
        application = Starlette(routes=routes, middleware=[cors])
        application.router.redirect_slashes = False  # to whatever host the request names
        return application

    def _endpoint(
        self, method: MethodDescriptor, handler: Handler
    ) -> Callable[[Request], Awaitable[Response]]:
        name = f"{method.containing_service.name}/{method.name}"
        request_class = message_factory.GetMessageClass(method.input_type)

        async def enter(request: Request) -> Response:
            deadline = asyncio.get_running_loop().time() + self._call_seconds
            try:
                async with asyncio.timeout_at(deadline):
                    message = self._decode(request_class, await _read_body(request))
                    call = Call(
                        caller=public_caller(deadline=deadline),
                        method=name,
                        fingerprint=b"",
                        client=request.state.client,
                    )
                    answer = await handler(message, call)
            except AppError as error:
                return self._refuse(error, name)
            except ClientDisconnect:
                return Response(status_code=_CLIENT_CLOSED)
            except TimeoutError:
                return self._refuse(
                    AppError(reason=Reason.DEADLINE_EXCEEDED, message="Call again."), name
                )
            except Exception as error:  # noqa: BLE001 - whatever it is, the caller gets an answer
                incident = secrets.token_hex(8)
                self._log.error("connect.failed", method=name, incident=incident, exc_info=error)
                message_text = f"An error inside the service, incident {incident}."
                return self._refuse(
                    AppError(
                        reason=Reason.INTERNAL,
                        message=message_text,
                        metadata={"incident": incident},
                    ),
                    name,
                )
            return Response(json_format.MessageToJson(answer, indent=None), media_type=_JSON)

        return enter

    def _decode(self, request_class: type[Message], body: bytes) -> Message:
        try:
            message = json_format.Parse(body, request_class())
        except (json_format.ParseError, UnicodeDecodeError, RecursionError):
            raise AppError(
                reason=Reason.INVALID_FIELD, message="The request is not the message it should be."
            ) from None
        self._validator.check(message)
        return message

    def _refuse(self, error: AppError, method: str) -> Response:
        status = to_status(error)
        code = _CODES[status.code]
        content = {
            "code": code.name.lower(),
            "message": status.message,
            "details": [
                {
                    "type": detail.type_url.rpartition("/")[2],
                    "value": base64.b64encode(detail.value).decode().rstrip("="),
                }
                for detail in status.details
            ],
        }
        headers = {}
        if error.retry_after is not None:
            headers["retry-after"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
        self._log.info("connect.refused", method=method, reason=error.reason.value)
        return Response(
            json.dumps(content), status_code=_HTTP_STATUS[code], headers=headers, media_type=_JSON
        )


async def _read_body(request: Request) -> bytes:
    """AppError INVALID_FIELD for another media type, or too much."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise AppError(reason=Reason.INVALID_FIELD, message=f"Send {_JSON}.")
    chunks, size = [], 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > _MAX_BYTES:
            raise AppError(reason=Reason.INVALID_FIELD, message="The request is too large.")
        chunks.append(chunk)
    return b"".join(chunks)
