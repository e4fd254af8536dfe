"""A gRPC server on a real port that answers as a test says, to see what a client sends and how it
bears failures. The service itself is met in tests/e2e."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from passmill_client import messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One call as it arrived."""

    method: str
    content: bytes
    metadata: dict[str, str | bytes]
    seconds_left: float
    peer: str


Behaviour = Callable[[Received, grpc.ServicerContext], Message]


@dataclass(slots=True, kw_only=True)
class ScriptedService(grpc.GenericRpcHandler):
    """Keeps what it receives and answers by `behave`."""

    behave: Behaviour
    received: list[Received] = field(default_factory=list)
    address: str = ""

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Takes every method."""
        method = handler_call_details.method.rsplit("/", 1)[-1]
        metadata = dict(handler_call_details.invocation_metadata)

        def answer(content: bytes, context: grpc.ServicerContext) -> bytes:
            call = Received(
                method=method,
                content=content,
                metadata=metadata,
                seconds_left=context.time_remaining(),
                peer=context.peer(),
            )
            self.received.append(call)
            return self.behave(call, context).SerializeToString()

        return grpc.unary_unary_rpc_method_handler(answer)


@contextmanager
def serve(
    behave: Behaviour, *, credentials: grpc.ServerCredentials | None = None
) -> Iterator[ScriptedService]:
    """A running service."""
    service = ScriptedService(behave=behave)
    with ThreadPoolExecutor(16) as threads:
        server = grpc.server(
            threads, handlers=[service], options=[("grpc.max_send_message_length", -1)]
        )
        if credentials is None:
            port = server.add_insecure_port("127.0.0.1:0")
        else:
            port = server.add_secure_port("127.0.0.1:0", credentials)
        service.address = f"127.0.0.1:{port}"
        server.start()
        yield service
        server.stop(grace=None).wait()


def refuse(
    context: grpc.ServicerContext, code: grpc.StatusCode, *details: Message, message: str = "No."
) -> Message:
    """Ends a call with a google.rpc.Status."""
    number: int = code.value[0]
    status = status_pb2.Status(code=number, message=message)
    for detail in details:
        packed = any_pb2.Any()
        packed.Pack(detail)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError  # abort_with_status raised


def reason(name: str) -> error_details_pb2.ErrorInfo:
    """The detail that names a reason."""
    return error_details_pb2.ErrorInfo(reason=name, domain="passmill")


def retry_in(seconds: float) -> error_details_pb2.RetryInfo:
    """The detail that says when to come again."""
    detail = error_details_pb2.RetryInfo()
    detail.retry_delay.FromNanoseconds(int(seconds * 1e9))
    return detail


def batch_request(call: Received) -> messages.BatchIssuePassesRequest:
    """The batch that arrived."""
    return messages.BatchIssuePassesRequest.FromString(call.content)


def issue_all(call: Received, context: grpc.ServicerContext) -> messages.BatchIssuePassesResponse:
    """Answers a batch with passes that bear their holders' names; a holder "bad" is refused."""
    answer = messages.BatchIssuePassesResponse()
    for draft in batch_request(call).drafts:
        if draft.holder.name == "bad":
            result = answer.results.add()
            result.error.code = grpc.StatusCode.INVALID_ARGUMENT.value[0]
            result.error.message = "No."
            result.error.details.add().Pack(reason("INVALID_VALUES"))
        else:
            answer.results.add(wallet_pass=messages.Pass(holder=draft.holder))
    return answer
