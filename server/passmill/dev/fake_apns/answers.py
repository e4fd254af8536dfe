"""Answers as header lists and bodies."""

from __future__ import annotations

import json
import uuid
from typing import Any, Final, NamedTuple, assert_never

from hpack import NeverIndexedHeaderTuple

from passmill.dev.fake_apns.script import Accept, Body, Headers, Refuse

LONG_REASON: Final = "Long" * 10_000
_HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_JSON: Final = (b"content-type", b"application/json")

HeaderList = list[tuple[bytes, bytes]]


class Encoded(NamedTuple):
    """What goes on the wire. `ends`: whether the stream ends with it."""

    headers: HeaderList
    body: bytes
    ends: bool


def encode_answer(answer: Accept | Refuse, apns_id: str) -> Encoded:
    """Encode an answer. `apns_id`: the client's own, empty for one that is made here."""
    name = apns_id or str(uuid.uuid4()).upper()
    if isinstance(answer, Accept):
        return Encoded(_order(answer.headers, b"200", name, []), b"", ends=True)
    more = [(b"retry-after", answer.retry_after.encode())] if answer.retry_after else []
    body = _body(answer)
    if answer.body is Body.HTML:
        more.append((b"content-type", b"text/html"))
    elif body:
        more.append(_JSON)
    headers = _order(answer.headers, str(answer.status).encode(), name, more)
    return Encoded(headers, body, ends=answer.body is not Body.UNFINISHED)


def _order(form: Headers, status: bytes, apns_id: str, more: HeaderList) -> HeaderList:
    # An id is never seen again: not worth a place in HPACK's table.
    name: tuple[bytes, bytes] = NeverIndexedHeaderTuple(b"apns-id", apns_id.encode())
    first = (b":status", status)
    match form:
        case Headers.USUAL:
            return [first, name, *more]
        case Headers.ODD:
            small = (b"apns-id", apns_id.lower().encode())
            odd = [(b"x-edge", b""), *reversed(more), (b"date", b"yesterday"), small]
            return [first, *odd, (b"server", b"a"), (b"server", b"b"), small]
        case Headers.UPPER_CASE:
            return [first, (b"Apns-Id", apns_id.encode()), *more]
        case _:
            assert_never(form)


def _body(answer: Refuse) -> bytes:
    match answer.body:
        case Body.NONE:
            return b""
        case Body.HTML:
            return _HTML
        case Body.JSON | Body.UNFINISHED:
            return _document(answer, answer.reason)
        case Body.TRUNCATED:
            whole = _document(answer, answer.reason)
            return whole[: len(whole) // 2]
        case Body.LONG:
            return _document(answer, LONG_REASON)
        case _:
            assert_never(answer.body)


def _document(answer: Refuse, reason: str) -> bytes:
    document: dict[str, Any] = {"reason": reason}
    if answer.timestamp is not None:
        document["timestamp"] = int(answer.timestamp.timestamp() * 1000)
    return json.dumps(document, separators=(",", ":")).encode()
