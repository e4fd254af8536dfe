"""A network between a till and the service that a test cuts where it wants to."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import cast

import grpc

from passmill_client.errors import Trailers


@dataclass(slots=True, kw_only=True)
class Relay(grpc.GenericRpcHandler):
    """Passes calls on as they are. `loses_requests`, `loses_answers`: of these methods calls end as
    if the network had broken, before or after the service had them. `before`, `after`: called with
    the method's name at these moments. `passed`: the calls that the service had."""

    channel: grpc.Channel
    address: str = ""
    loses_requests: bool = False
    loses_answers: frozenset[str] = frozenset()
    before: Callable[[str], None] = lambda method: None
    after: Callable[[str], None] = lambda method: None
    passed: list[tuple[str, bytes]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def methods(self) -> list[str]:
        """The names of the calls that the service had."""
        return [method for method, _ in self.passed]

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Takes every method."""
        path = handler_call_details.method
        method = path.rsplit("/", 1)[-1]
        metadata = tuple(
            (name, value)
            for name, value in handler_call_details.invocation_metadata
            if name == "authorization"
        )
        there: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self.channel.unary_unary(path)

        def pass_on(content: bytes, context: grpc.ServicerContext) -> bytes:
            self.before(method)
            if self.loses_requests:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the network is down")
            with self._lock:
                self.passed.append((method, content))
            try:
                answer = there(content, timeout=20, metadata=metadata)
            except grpc.RpcError as refused:
                trailers = cast(Trailers, refused.trailing_metadata())  # the stubs differ
                context.set_trailing_metadata(tuple(trailers or ()))
                context.abort(refused.code(), refused.details() or "")
            self.after(method)
            if method in self.loses_answers:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the network is down")
            return answer

        return grpc.unary_unary_rpc_method_handler(pass_on)


@contextmanager
def open_relay(service_address: str) -> Iterator[Relay]:
    """A relay before a service on this machine."""
    with grpc.insecure_channel(service_address) as channel, ThreadPoolExecutor(8) as threads:
        relay = Relay(channel=channel)
        server = grpc.server(threads, handlers=[relay])
        relay.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
        server.start()
        yield relay
        server.stop(grace=None).wait()
