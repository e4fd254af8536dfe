"""One call as data, for every kind of client: which method, what is sent, what is taken from the
answer. Each operation is written once, in `operations`; a client only carries it out."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import update_wrapper
from typing import Generic, TypedDict, TypeVar
from uuid import UUID, uuid4

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from passmill.v1.request_meta_pb2 import RequestMeta
from passmill_client.errors import Trailers

R = TypeVar("R")
Item = TypeVar("Item")
Answer = TypeVar("Answer", bound=Message)

_REPLAYED = ("passmill-replayed", "true")


class Reply:
    """What a call tells beside its result: give one as `reply=`, read it when the call is done."""

    def __init__(self) -> None:
        self.request_id: str | None = None
        """What the call was sent with, when it would change something."""
        self.replayed = False
        """Whether the service knew the request id: the first answer came again, nothing changed."""


class ReadOptions(TypedDict, total=False):
    """What every call takes. `timeout`: seconds, retries included; the client's when left out."""

    timeout: float
    reply: Reply


class ChangeOptions(ReadOptions, total=False):
    """What every call that changes something takes.

    `request_id`: a UUID of the intended change; a fresh one when left out. `validate_only`: do
    every check and change nothing.
    """

    request_id: UUID | str
    validate_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Call(Generic[R]):
    """One call, ready to be sent as often as it takes."""

    method: str
    content: bytes
    decode: Callable[[bytes], R]
    request_id: str | None
    timeout: float | None
    reply: Reply | None

    def finish(self, content: bytes, trailers: Trailers) -> R:
        """The result in an answer."""
        if self.reply is not None:
            self.reply.request_id = self.request_id
            self.reply.replayed = any((name, value) == _REPLAYED for name, value in trailers or ())
        return self.decode(content)


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[Item]):
    """A list that comes in pages. `page`: from a page token to the call for that page, which gives
    its items and the next page's token, empty after the last."""

    page: Callable[[str], Call[tuple[Sequence[Item], str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed(Generic[Item]):
    """Items that the service sends by itself, some in each message. `after`: from the last item
    received, None at first, to the call that goes on behind it."""

    after: Callable[[Item | None], Call[Sequence[Item]]]


def call_of(
    service: ServiceDescriptor,
    request: Message,
    answer: type[Answer],
    take: Callable[[Answer], R],
    options: ReadOptions,
) -> Call[R]:
    """The call that sends `request`, whose name says the method; `take` picks the result."""
    name = type(request).__name__.removesuffix("Request")
    meta = getattr(request, "meta", None)
    return Call(
        method=f"/{service.full_name}/{service.methods_by_name[name].name}",
        content=request.SerializeToString(),
        decode=lambda content: take(answer.FromString(content)),
        request_id=None if meta is None else meta.request_id,
        timeout=options.get("timeout"),
        reply=options.get("reply"),
    )


def describe(method: Callable[..., object], operation: Callable[..., object]) -> None:
    """Gives a client's method the name, docstring and signature of its operation, for help()."""
    update_wrapper(method, operation)
    signature = inspect.signature(operation)
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    vars(method)["__signature__"] = signature.replace(
        parameters=[itself, *signature.parameters.values()],
        return_annotation=inspect.Signature.empty,
    )


def meta_of(options: ChangeOptions) -> RequestMeta:
    """What goes with a change."""
    return RequestMeta(
        request_id=str(options.get("request_id") or uuid4()),
        validate_only=options.get("validate_only", False),
    )
