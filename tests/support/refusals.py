"""What a client is told when a call is refused."""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from datetime import timedelta

import grpc
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A google.rpc.Status taken apart. `fields`: description by path. `content`: its bytes."""

    code: grpc.StatusCode
    reason: str
    domain: str
    message: str
    metadata: dict[str, str]
    fields: dict[str, str]
    retry_after: timedelta | None
    content: bytes = field(repr=False)


def refusal_of(error: grpc.aio.AioRpcError) -> Refusal:
    """The refusal that a failed call carries."""
    packed = dict(error.trailing_metadata()).get("grpc-status-details-bin")
    assert isinstance(packed, bytes), f"not a refusal of the service: {error}"
    status = status_pb2.Status.FromString(packed)
    assert (status.code, status.message) == (error.code().value[0], error.details())
    return _refusal(error.code(), status)


def refusal_of_status(status: status_pb2.Status) -> Refusal:
    """The refusal that an answer holds for one of its items."""
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return _refusal(code, status)


async def refused(call: Awaitable[Message]) -> Refusal:
    """How a call is refused; it fails the test if it is not."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


def _refusal(code: grpc.StatusCode, status: status_pb2.Status) -> Refusal:
    info = error_details_pb2.ErrorInfo()
    bad = error_details_pb2.BadRequest()
    retry = error_details_pb2.RetryInfo()
    details: list[AnyMessage] = list(status.details)
    for detail in details:
        assert any(detail.Unpack(each) for each in (info, bad, retry)), detail.type_url
    return Refusal(
        code=code,
        reason=info.reason,
        domain=info.domain,
        message=status.message,
        metadata=dict(info.metadata),
        fields={each.field: each.description for each in bad.field_violations},
        retry_after=retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None,
        content=status.SerializeToString(deterministic=True),
    )
