"""Errors as google.rpc.Status: the one table from kinds to gRPC codes
(https://google.aip.dev/193, https://grpc.io/docs/guides/status-codes/)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import grpc
import protovalidate
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from passmill.errors import AppError, ErrorKind, FieldError, Reason

DOMAIN = "passmill"
# An error travels in HTTP/2 trailers, of which gRPC takes 8 KiB
# (https://grpc.github.io/grpc/core/group__grpc__arg__keys.html, max_metadata_size). The message
# goes twice, once with up to three bytes for each of its own.
_MAX_STATUS_BYTES = 4000
_MAX_MESSAGE_BYTES = 512
_MAX_PATH_BYTES = 256
_FIELDS_LEFT_OUT = "fields_left_out"

CODE_OF_KIND: Mapping[ErrorKind, grpc.StatusCode] = {
    ErrorKind.INVALID_INPUT: grpc.StatusCode.INVALID_ARGUMENT,
    ErrorKind.UNAUTHENTICATED: grpc.StatusCode.UNAUTHENTICATED,
    ErrorKind.PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    ErrorKind.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    ErrorKind.ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    ErrorKind.OUT_OF_RANGE: grpc.StatusCode.OUT_OF_RANGE,
    ErrorKind.FAILED_PRECONDITION: grpc.StatusCode.FAILED_PRECONDITION,
    ErrorKind.EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorKind.CONFLICT: grpc.StatusCode.ABORTED,
    ErrorKind.UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    ErrorKind.DEADLINE: grpc.StatusCode.DEADLINE_EXCEEDED,
    ErrorKind.INTERNAL: grpc.StatusCode.INTERNAL,
}


def code_of(error: AppError) -> grpc.StatusCode:
    """The gRPC code of an error."""
    return CODE_OF_KIND[error.kind]


def to_status(error: AppError) -> status_pb2.Status:
    """An error with ErrorInfo always, BadRequest when fields are named, RetryInfo when waiting
    helps. Of more fields than an error can carry the first are named, and ErrorInfo tells under
    "fields_left_out" how many more there are."""
    info = error_details_pb2.ErrorInfo(
        reason=error.reason.value, domain=DOMAIN, metadata=dict(error.metadata)
    )
    message = _cut(error.message, _MAX_MESSAGE_BYTES)
    details: list[Message] = [info]
    if error.fields:
        bad = _bad_request(error, _MAX_STATUS_BYTES - info.ByteSize() - len(message.encode()))
        left_out = len(error.fields) - len(bad.field_violations)
        if left_out:
            info.metadata[_FIELDS_LEFT_OUT] = str(left_out)
        details.append(bad)
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        details.append(retry)
    code: int = code_of(error).value[0]
    return status_pb2.Status(
        code=code, message=message, details=[_packed(detail) for detail in details]
    )


def _bad_request(error: AppError, room: int) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for each in error.fields:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(each.path, _MAX_PATH_BYTES),
            description=_cut(each.message, _MAX_MESSAGE_BYTES),
            reason=error.reason.value,
        )
        room -= violation.ByteSize() + 4
        if room < 0:
            break
        bad.field_violations.append(violation)
    return bad


def _cut(text: str, size: int) -> str:
    """The text, or as much of it as `size` bytes hold, with an ellipsis."""
    content = text.encode()
    if len(content) <= size:
        return text
    return content[: size - 3].decode(errors="ignore") + "…"


def _packed(message: Message) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def validation_error(violations: Iterable[Any]) -> AppError:
    """What protovalidate found, as one error naming each field as in the request."""
    fields = [
        FieldError(path=_path(each.proto.field), message=each.proto.message or each.proto.rule_id)
        for each in violations
    ]
    first = fields[0]
    more = f" ({len(fields) - 1} more)" if len(fields) > 1 else ""
    return AppError(
        reason=Reason.INVALID_FIELD,
        message=f"{first.path}: {first.message}{more}",
        fields=fields,
    )


def _path(field_path: Any) -> str:
    if field_path is None:
        return ""
    text = ""
    for element in field_path.elements:
        text += f".{element.field_name}" if text else element.field_name
        subscript = element.subscript
        if subscript is not None:
            key = subscript.value
            text += f'["{key}"]' if isinstance(key, str) else f"[{key}]"
    return text


class RequestValidator:
    """The rules in the protos, enforced. Compiles each message's rules once."""

    __slots__ = ("_validator",)

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def check(self, request: Message) -> None:
        """AppError INVALID_FIELD naming every field that breaks its rule."""
        violations = self._validator.collect_violations(request)
        if violations:
            raise validation_error(violations)
