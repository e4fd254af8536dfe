"""What Apple's push service refuses in a request, with its own statuses and reasons.

Sources: Apple, "Sending notification requests to APNs" and "Handling notification responses from
APNs". Where those leave a choice the strict one is taken: apns-topic must be there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final, NamedTuple

PATH: Final = "/3/device/"
MAX_PAYLOAD: Final = 4096
MAX_COLLAPSE_ID: Final = 64
PUSH_TYPES: Final = frozenset(
    {
        *("alert", "background", "complication", "controls", "fileprovider", "liveactivity"),
        *("location", "mdm", "pushtotalk", "voip", "widgets"),
    }
)
_TOKEN: Final = re.compile(r"(?:[0-9a-fA-F]{2}){32,100}")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_EXPIRATION: Final = re.compile(r"[0-9]{1,19}")


class Refused(NamedTuple):
    """A refusal of the request itself."""

    status: int
    reason: str


class PushRequest(NamedTuple):
    """A sound request. `expiration`: Unix seconds, 0 for a single attempt. `apns_id`: empty when
    the client gave none."""

    token: str
    topic: str
    push_type: str
    expiration: int
    apns_id: str


def check_request(
    headers: Sequence[tuple[bytes, bytes]], payload: bytes, *, certificate_topic: str | None
) -> PushRequest | Refused:
    """Check a request as it came. `certificate_topic`: the pass type identifier of the client's
    certificate, None for one that is not for pushes."""
    named = {name: value.decode("latin-1") for name, value in headers}
    if certificate_topic is None:
        return Refused(403, "BadCertificate")
    token = _find_token(named)
    if isinstance(token, Refused):
        return token
    return (
        _refuse_twice(headers, named)
        or _refuse_topic(named, certificate_topic)
        or _refuse_delivery(named)
        or _refuse_payload(payload)
        or PushRequest(
            token=token,
            topic=certificate_topic,
            push_type=named.get(b"apns-push-type", ""),
            expiration=int(named.get(b"apns-expiration", "0")),
            apns_id=named.get(b"apns-id", ""),
        )
    )


def _find_token(named: dict[bytes, str]) -> str | Refused:
    if named.get(b":method") != "POST":
        return Refused(405, "MethodNotAllowed")
    path = named.get(b":path", "")
    if not path.startswith(PATH):
        return Refused(404, "BadPath")
    token = path[len(PATH) :]
    if not token:
        return Refused(400, "MissingDeviceToken")
    return token if _TOKEN.fullmatch(token) else Refused(400, "BadDeviceToken")


def _refuse_twice(
    headers: Sequence[tuple[bytes, bytes]], named: dict[bytes, str]
) -> Refused | None:
    if len(headers) == len(named):
        return None
    names = [name for name, _ in headers if name.startswith(b"apns-")]
    return Refused(400, "DuplicateHeaders") if len(names) != len(set(names)) else None


def _refuse_topic(named: dict[bytes, str], certificate_topic: str) -> Refused | None:
    topic = named.get(b"apns-topic")
    if topic is None:
        return Refused(400, "MissingTopic")
    if not topic:
        return Refused(400, "BadTopic")
    return None if topic == certificate_topic else Refused(400, "TopicDisallowed")


def _refuse_delivery(named: dict[bytes, str]) -> Refused | None:
    push_type = named.get(b"apns-push-type")
    if push_type is not None and push_type not in PUSH_TYPES:
        return Refused(400, "InvalidPushType")
    # Ten is what a push without a priority has, but an error for one that shows nothing.
    allowed = {"1", "5"} if push_type == "background" else {"1", "5", "10"}
    reason = ""
    if named.get(b"apns-priority", "5") not in allowed:
        reason = "BadPriority"
    elif not _EXPIRATION.fullmatch(named.get(b"apns-expiration", "0")):
        reason = "BadExpirationDate"
    elif b"apns-id" in named and not _UUID.fullmatch(named[b"apns-id"]):
        reason = "BadMessageId"
    elif len(named.get(b"apns-collapse-id", "")) > MAX_COLLAPSE_ID:
        reason = "BadCollapseId"
    return Refused(400, reason) if reason else None


def _refuse_payload(payload: bytes) -> Refused | None:
    if payload == b"{}":
        return None
    if len(payload) > MAX_PAYLOAD:
        return Refused(413, "PayloadTooLarge")
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError):
        document = None
    # There is no reason of its own for what is no JSON object.
    return None if isinstance(document, dict) else Refused(400, "PayloadEmpty")
