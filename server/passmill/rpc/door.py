"""The door every call comes through: count it, find out who calls, check right, rules and deadline,
call the servicer, give errors their status, write one line to the log.

One wrapper round the servicer's methods, not a chain of grpc interceptors, so that another door
(Connect for browsers) can stand before the same servicers.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol, TypeAlias

import grpc
import structlog
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from passmill.domain.callers import Caller, Scope, public_caller
from passmill.domain.ids import TenantId
from passmill.domain.keyring import Keyring
from passmill.errors import AppError, Reason
from passmill.rpc.places import Places, RequestBytes
from passmill.rpc.request_ids import request_id_from
from passmill.rpc.status import RequestValidator, code_of, to_status
from passmill.rpc.streams import Stream
from passmill.telemetry.metrics import Metrics
from passmill.usecases.mutation import Answer, Mutation

REPLAYED_METADATA = "passmill-replayed"
_READ_SECONDS = 30.0  # for a read that came without a deadline
_SOON = timedelta(milliseconds=200)

Result: TypeAlias = Message | Answer


class Authenticator(Protocol):
    """Finds out who calls."""

    async def authenticate(self, credential: str | None, *, deadline: float) -> Caller:
        """The caller behind an `authorization` header; AppError UNAUTHENTICATED otherwise."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRule:
    """What a method demands. `scope` None: any credential of this door. `mutates`: request id and
    deadline needed; a stream, whose messages may be repeated, never does. `is_public`: no
    credential; the request holds a secret, by which the use case finds the tenant
    (`presented_secret` of `Database.transaction`; then `Call.within`)."""

    scope: Scope | None
    mutates: bool = False
    operator_only: bool = False
    is_public: bool = False

    def __post_init__(self) -> None:
        if self.is_public and (self.scope is not None or self.operator_only):
            raise ValueError("A public method cannot demand a right.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call past the door. `client`: the address of the person who calls, '' where it is a
    service's or nobody knows."""

    caller: Caller
    method: str
    fingerprint: bytes
    client: str = ""

    def within(self, tenant_id: TenantId) -> Call:
        """This call of a public method, inside the tenant that its secret turned out to be of."""
        return replace(self, caller=self.caller.acting_for(tenant_id))

    def mutation(
        self,
        request: Any,
        encode: Callable[[Any], Message],
        *,
        holds_secret: bool = False,
    ) -> Mutation[Any]:
        """This call as the change its caller identified; `encode` turns the result into the
        response message."""
        return Mutation(
            caller=self.caller,
            method=self.method,
            request_id=request_id_from(request.meta.request_id, path="meta.request_id"),
            fingerprint=self.fingerprint,
            validate_only=request.meta.validate_only,
            encode=lambda result: encode(result).SerializeToString(),
            holds_secret=holds_secret,
        )


Handler: TypeAlias = Callable[[Any, Call], Awaitable[Result]]
# Of a method that answers with a stream: its request, None when requests are a stream too.
StreamHandler: TypeAlias = Callable[[Any, Stream], Awaitable[None]]


class Door:
    """Wraps servicers into grpc handlers. One a listening port."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        keyring: Keyring,
        metrics: Metrics,
        validator: RequestValidator,
        calls: Places,
        streams: Places,
        request_bytes: RequestBytes,
        idle_seconds: float = 60.0,
    ) -> None:
        """`calls`, `streams`, `request_bytes`: how many calls and streams, and how much of
        requests, may be under way in this process before more are sent away to come again.
        `idle_seconds`: so long a stream waits for its caller's next message."""
        self._authenticator = authenticator
        self._keyring = keyring
        self._metrics = metrics
        self._validator = validator
        self._calls = calls
        self._stream_places = streams
        self._bytes = request_bytes
        self._idle_seconds = idle_seconds
        self._streams: set[asyncio.Timeout] = set()
        self._is_ending = False
        self._log = structlog.get_logger("passmill.rpc")

    def handlers(
        self, service: ServiceDescriptor, servicer: object, rules: Mapping[str, MethodRule]
    ) -> grpc.GenericRpcHandler:
        """The grpc handler of a service. ValueError when a method has no rule or the servicer lacks
        it: a method nobody thought about is never open."""
        methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        for method in service.methods:
            rule = rules.get(method.name)
            handler = getattr(servicer, snake_case(method.name), None)
            if rule is None or handler is None:
                raise ValueError(f"{method.full_name} has no rule or no implementation.")
            methods[method.name] = self._method_handler(method, handler, rule)
        unknown = set(rules) - {method.name for method in service.methods}
        if unknown:
            raise ValueError(f"{service.full_name} has no method {sorted(unknown)}.")
        return grpc.method_handlers_generic_handler(service.full_name, methods)

    def end_streams(self) -> None:
        """Sends the callers of streams to another process: a stream may last for hours, and the end
        of this one is not to wait for it."""
        self._is_ending = True
        now = asyncio.get_running_loop().time()
        for stream in self._streams:
            with contextlib.suppress(RuntimeError):  # its deadline has just passed
                stream.reschedule(now)

    def _method_handler(
        self, method: MethodDescriptor, handler: Any, rule: MethodRule
    ) -> grpc.RpcMethodHandler[Any, Any]:
        if not method.server_streaming:
            return grpc.unary_unary_rpc_method_handler(self._wrap(method, handler, rule))
        if rule.mutates:
            raise ValueError(f"{method.full_name} is a stream, which has no request id.")
        entry = self._wrap_stream(method, handler, rule)
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(entry)
        return grpc.unary_stream_rpc_method_handler(entry)

    def _wrap_stream(
        self, method: MethodDescriptor, handler: StreamHandler, rule: MethodRule
    ) -> Callable[[Any, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[None]]:
        name = f"{method.containing_service.name}/{method.name}"
        request_class = message_factory.GetMessageClass(method.input_type)
        rpc = self._metrics.rpc(name)

        async def enter(content: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
            started = asyncio.get_running_loop().time()
            rpc.started()
            self._stream_places.enter()
            deadline = _deadline(started, context.time_remaining())
            stream = Stream(
                context=context,
                authenticate=lambda until: self._caller(context, rule, until),
                decode=lambda message: self._decode(request_class, message),
                tell=lambda error: self._told(self._refusal(error, name)),
                request_bytes=self._bytes,
                deadline=deadline,
                idle_seconds=self._idle_seconds,
            )
            scope = asyncio.timeout_at(deadline)
            self._streams.add(scope)
            key_id = ""
            code = grpc.StatusCode.OK
            refusal: AppError | None = None
            try:
                self._stream_places.require()
                self._bytes.require()
                async with scope:
                    key_id = (await stream.caller()).key_id
                    self._stream_places.take(key_id)
                    self._stream_places.require_share(key_id)
                    is_bytes = isinstance(content, bytes)
                    request = self._decode(request_class, content) if is_bytes else None
                    await handler(request, stream)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the caller gets a status
                is_sent_away = isinstance(error, TimeoutError) and self._is_ending
                refusal = _ending() if is_sent_away else self._refusal(error, name)
                code = code_of(refusal)
            finally:
                self._stream_places.leave(key_id)
                self._streams.discard(scope)
                stream.close()
                seconds = asyncio.get_running_loop().time() - started
                rpc.handled(code.name, seconds)
                self._log.info(
                    "rpc.handled",
                    method=name,
                    code=code.name,
                    key_id=key_id,
                    milliseconds=round(seconds * 1000, 2),
                    received=stream.received,
                    sent=stream.sent,
                )
            if refusal is not None:
                await context.abort_with_status(rpc_status.to_status(self._told(refusal)))

        return enter

    def _wrap(
        self, method: MethodDescriptor, handler: Handler, rule: MethodRule
    ) -> Callable[[bytes, grpc.aio.ServicerContext[bytes, bytes]], Awaitable[bytes]]:
        name = f"{method.containing_service.name}/{method.name}"
        request_class = message_factory.GetMessageClass(method.input_type)
        rpc = self._metrics.rpc(name)

        async def enter(content: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
            started = asyncio.get_running_loop().time()
            rpc.started()
            self._calls.enter()
            self._bytes.enter(len(content))
            key_id = ""
            code = grpc.StatusCode.OK
            try:
                deadline = self._admit(started, context.time_remaining(), rule)
                async with asyncio.timeout_at(deadline):
                    caller = await self._caller(context, rule, deadline)
                    key_id = caller.key_id
                    self._calls.take(key_id)
                    self._bytes.take(key_id, len(content))
                    self._calls.require_share(key_id)
                    self._bytes.require_share(key_id)
                    request = self._decode(request_class, content)
                    call = Call(
                        caller=caller,
                        method=name,
                        fingerprint=self._fingerprint(request) if rule.mutates else b"",
                    )
                    result = await handler(request, call)
                return self._encode(result, context)
            except asyncio.CancelledError:
                code = grpc.StatusCode.CANCELLED
                raise
            except Exception as error:  # noqa: BLE001 - the edge: whatever it is, the caller gets a status
                refusal = self._refusal(error, name)
                code = code_of(refusal)
                status = rpc_status.to_status(self._told(refusal))
            finally:
                self._calls.leave(key_id)
                self._bytes.leave(key_id, len(content))
                seconds = asyncio.get_running_loop().time() - started
                rpc.handled(code.name, seconds)
                self._log.info(
                    "rpc.handled",
                    method=name,
                    code=code.name,
                    key_id=key_id,
                    milliseconds=round(seconds * 1000, 2),
                )
            await context.abort_with_status(status)
            raise AssertionError  # abort_with_status raised

        return enter

    def _admit(self, started: float, remaining: float | None, rule: MethodRule) -> float:
        self._calls.require()
        self._bytes.require()
        if remaining is None:
            if rule.mutates:
                raise AppError(
                    reason=Reason.DEADLINE_REQUIRED,
                    message="A call that changes something needs a deadline: set a timeout.",
                )
            remaining = _READ_SECONDS
        return started + remaining

    async def _caller(
        self,
        context: grpc.aio.ServicerContext[bytes, bytes],
        rule: MethodRule,
        deadline: float,
    ) -> Caller:
        if rule.is_public:
            return public_caller(deadline=deadline)
        credential = _credential(tuple(context.invocation_metadata() or ()))
        caller = await self._authenticator.authenticate(credential, deadline=deadline)
        if rule.operator_only and not caller.is_operator:
            raise AppError(
                reason=Reason.SCOPE_MISSING,
                message="Only an operator may call this.",
                metadata={"scope": "operator"},
            )
        if rule.scope is not None and rule.scope not in caller.scopes:
            raise AppError(
                reason=Reason.SCOPE_MISSING,
                message=f"The API key lacks the scope {rule.scope.value}.",
                metadata={"scope": rule.scope.value},
            )
        return caller

    def _decode(self, request_class: type[Message], content: bytes) -> Message:
        try:
            request = request_class.FromString(content)
        except DecodeError:
            raise AppError(
                reason=Reason.INVALID_FIELD, message="The request is not the message it should be."
            ) from None
        self._validator.check(request)
        return request

    def _fingerprint(self, request: Message) -> bytes:
        # Of the message, not of the bytes sent: maps have no order there, and a client that was
        # restarted may send the same request with another one.
        return self._keyring.request_fingerprint(request.SerializeToString(deterministic=True))

    def _encode(self, result: Result, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if isinstance(result, Answer):
            if result.is_replayed:
                self._metrics.replayed()
                context.set_trailing_metadata(((REPLAYED_METADATA, "true"),))
            return result.content
        return result.SerializeToString()

    def _told(self, refusal: AppError) -> Status:
        self._metrics.refused(refusal.reason.value)
        return to_status(refusal)

    def _refusal(self, error: Exception, method: str) -> AppError:
        if isinstance(error, AppError) and error.reason is not Reason.INTERNAL:
            return error
        if isinstance(error, TimeoutError):
            return AppError(
                reason=Reason.DEADLINE_EXCEEDED,
                message="The deadline passed. Retry with the same request_id.",
            )
        incident = secrets.token_hex(8)
        self._log.error("rpc.failed", method=method, incident=incident, exc_info=error)
        known = error if isinstance(error, AppError) else None
        return AppError(
            reason=Reason.INTERNAL,
            message=(f"{known.message} " if known else "")
            + f"An error inside the service; its operator finds it as incident {incident}.",
            metadata={**(known.metadata if known else {}), "incident": incident},
        )


def _deadline(started: float, remaining: float | None) -> float | None:
    return None if remaining is None else started + remaining


def _ending() -> AppError:
    message = "This process ends. Call again: another one goes on."
    return AppError(reason=Reason.UNAVAILABLE, message=message, retry_after=_SOON)


def _credential(metadata: Sequence[tuple[str, str | bytes]]) -> str | None:
    for name, value in metadata:
        if name == "authorization" and isinstance(value, str):
            return value
    return None


def snake_case(name: str) -> str:
    """`BatchIssuePasses` as `batch_issue_passes`."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")
