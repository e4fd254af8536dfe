"""Every failed call as one exception, decoded from google.rpc.Status (https://google.aip.dev/193)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

Trailers: TypeAlias = Iterable[tuple[str, str | bytes]] | None
"""gRPC's trailing metadata."""

_STATUS_DETAILS = "grpc-status-details-bin"
_CODES: Mapping[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldProblem:
    """One field that is not as it must be. `path`: as in the request, `draft.values["points"]`."""

    path: str
    message: str


class PassmillError(Exception):
    """A call that was refused or failed."""

    def __init__(
        self,
        *,
        reason: str,
        message: str,
        code: grpc.StatusCode,
        fields: tuple[FieldProblem, ...] = (),
        retry_after: timedelta | None = None,
        metadata: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> None:
        """`reason`: a name of ErrorReason such as "NOT_FOUND", to branch on; the code's name when
        the call never reached the service. `fields`: what is wrong where. `retry_after`: set when
        waiting helps. `metadata`: short facts for programs. `request_id`: what a change was sent
        with: the same call sent again with it changes nothing twice."""
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message
        self.code = code
        self.fields = fields
        self.retry_after = retry_after
        self.metadata = dict(metadata or {})
        self.request_id = request_id

    def __reduce__(self) -> tuple[Callable[[], PassmillError], tuple[()]]:
        return partial(PassmillError, **vars(self)), ()


def ended_early() -> PassmillError:
    """The error of a call that ended before its time, and did not say why."""
    gone = grpc.StatusCode.UNAVAILABLE
    return PassmillError(reason=gone.name, message="The call ended early.", code=gone)


def error_of_call(
    code: grpc.StatusCode | None,
    details: str | None,
    trailers: Trailers,
    *,
    request_id: str | None,
) -> PassmillError:
    """The error of a call that ended with `code`, from its trailing metadata where they say it."""
    code = code or grpc.StatusCode.UNKNOWN
    for name, content in trailers or ():
        if name == _STATUS_DETAILS and isinstance(content, bytes):
            try:
                status = status_pb2.Status.FromString(content)
            except DecodeError:
                break
            return error_of_status(status, request_id=request_id)
    return PassmillError(
        reason=code.name, message=details or "no details", code=code, request_id=request_id
    )


def error_of_status(status: status_pb2.Status, *, request_id: str | None = None) -> PassmillError:
    """The error that a google.rpc.Status tells of: a failed call's, or one item's of a batch."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info = error_details_pb2.ErrorInfo(reason=code.name)
    request = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    for detail in status.details:
        for kind in (info, request, retry):
            if detail.TypeName() == kind.DESCRIPTOR.full_name:
                detail.Unpack(kind)
    return PassmillError(
        reason=info.reason,
        message=status.message,
        code=code,
        fields=tuple(
            FieldProblem(path=each.field, message=each.description)
            for each in request.field_violations
        ),
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        metadata=info.metadata,
        request_id=request_id,
    )
