"""The stand-in takes what Apple takes, and refuses the rest with Apple's words."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.dev.fake_apns import FakeApns
from passmill.dev.fake_apns.request_checks import PushRequest, Refused, check_request
from tests.fake_apns.conftest import TOPIC, Trust
from tests.support.push_client import client_tls, open_push_client, push_headers

UUID = "eabeae54-14a8-11e5-b60b-1697f925ec7b"


class Case(NamedTuple):
    """What is wrong with a request, and what Apple says to it."""

    changed: dict[str, str | None]
    payload: bytes
    status: int
    reason: str


REFUSALS = [
    Case({"method": "GET"}, b"{}", 405, "MethodNotAllowed"),
    Case({"path": "/4/device/00"}, b"{}", 404, "BadPath"),
    Case({"path": "/3/device/"}, b"{}", 400, "MissingDeviceToken"),
    Case({"path": "/3/device/" + "g" * 64}, b"{}", 400, "BadDeviceToken"),
    Case({"path": "/3/device/" + "a" * 63}, b"{}", 400, "BadDeviceToken"),
    Case({"apns_topic": None}, b"{}", 400, "MissingTopic"),
    Case({"apns_topic": ""}, b"{}", 400, "BadTopic"),
    Case({"apns_topic": "pass.com.example.other"}, b"{}", 400, "TopicDisallowed"),
    Case({"apns_push_type": "pass"}, b"{}", 400, "InvalidPushType"),
    Case({"apns_priority": "10"}, b"{}", 400, "BadPriority"),
    Case({"apns_priority": "high"}, b"{}", 400, "BadPriority"),
    Case({"apns_expiration": "tomorrow"}, b"{}", 400, "BadExpirationDate"),
    Case({"apns_id": "1"}, b"{}", 400, "BadMessageId"),
    Case({"apns_collapse_id": "c" * 65}, b"{}", 400, "BadCollapseId"),
    Case({}, b"", 400, "PayloadEmpty"),
    Case({}, b"[]", 400, "PayloadEmpty"),
    Case({}, b"[" * 4000, 400, "PayloadEmpty"),
    Case({}, b'{"a":"' + b"x" * 4089 + b'"}', 413, "PayloadTooLarge"),
]


@pytest.mark.parametrize("case", REFUSALS, ids=lambda case: case.reason)
async def test_refusals(apns: FakeApns, trust: Trust, token: str, case: Case) -> None:
    """Each thing that may be wrong in a request has Apple's status and reason."""
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        answer = await client.ask(push_headers(token, TOPIC, **case.changed), case.payload)
    assert (answer.status, json.loads(answer.body)) == (case.status, {"reason": case.reason})
    assert [(each.status, each.reason) for each in apns.log.records] == [(case.status, case.reason)]
    assert not apns.log.accepted()


async def test_largest_payload_is_taken(apns: FakeApns, trust: Trust, token: str) -> None:
    """4096 bytes are not too large, and the given id comes back."""
    payload = b'{"a":"' + b"x" * 4088 + b'"}'
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        answer = await client.ask(push_headers(token, TOPIC, apns_id=UUID), payload)
    assert (answer.status, answer.body) == (200, b"")
    assert dict(answer.headers)["apns-id"] == UUID
    assert apns.log.accepted() == {token: 1}


async def test_a_header_twice(apns: FakeApns, trust: Trust, token: str) -> None:
    """A header of Apple's may stand once only."""
    headers = [*push_headers(token, TOPIC), ("apns-priority", "5")]
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        answer = await client.ask(headers)
    assert json.loads(answer.body) == {"reason": "DuplicateHeaders"}


async def test_no_client_certificate(apns: FakeApns, trust: Trust, token: str) -> None:
    """Who shows no certificate gets no answer at all."""
    async with open_push_client(apns.host, apns.port, client_tls(trust.authority, None)) as client:
        client.send(push_headers(token, TOPIC))
        await client.until_lost()
        assert client.answers[1].status == 0
    assert apns.log.records == []
    assert apns.open_connections == 0


async def test_certificate_of_another_authority(trust: Trust, apns: FakeApns, token: str) -> None:
    """A certificate that the authority did not make, and one that has expired, are refused by
    TLS."""
    now = datetime.now(UTC)
    wrong = [
        trust.authority.issue_pass_certificate(now=now, signed_by_authority=False),
        trust.authority.issue_pass_certificate(
            now=now - timedelta(days=400), validity=timedelta(days=30)
        ),
    ]
    for issued in wrong:
        tls = client_tls(trust.authority, issued)
        async with open_push_client(apns.host, apns.port, tls) as client:
            client.send(push_headers(token, TOPIC))
            await client.until_lost()
            assert client.answers[1].status == 0
    assert apns.log.records == []


async def test_certificate_of_another_pass_type(apns: FakeApns, trust: Trust, token: str) -> None:
    """A certificate opens its own topic alone."""
    other = trust.authority.issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier="pass.com.example.other"
    )
    tls = client_tls(trust.authority, other)
    async with open_push_client(apns.host, apns.port, tls) as client:
        refused = await client.ask(push_headers(token, TOPIC))
        taken = await client.ask(push_headers(token, "pass.com.example.other"))
    assert json.loads(refused.body) == {"reason": "TopicDisallowed"}
    assert taken.status == 200


async def test_certificate_without_pass_type(apns: FakeApns, trust: Trust, token: str) -> None:
    """A certificate without a pass type identifier is not for pushes."""
    issued = trust.authority.issue_pass_certificate(now=datetime.now(UTC), subject_uid=None)
    tls = client_tls(trust.authority, issued)
    async with open_push_client(apns.host, apns.port, tls) as client:
        answer = await client.ask(push_headers(token, TOPIC))
    assert (answer.status, json.loads(answer.body)) == (403, {"reason": "BadCertificate"})


async def test_without_alpn(apns: FakeApns, trust: Trust) -> None:
    """Who does not speak HTTP/2 by ALPN is cut off."""
    issued = trust.authority.issue_pass_certificate(now=datetime.now(UTC))
    tls = client_tls(trust.authority, issued)
    tls.set_alpn_protocols(["http/1.1"])
    assert isinstance(tls, ssl.SSLContext)
    async with open_push_client(apns.host, apns.port, tls) as client:
        await client.until_lost()
    assert apns.log.protocol_errors == ["ALPN did not agree on h2"]


async def test_too_many_streams(apns: FakeApns, trust: Trust, token: str) -> None:
    """A client that opens more streams than it may is told so by the end of its connection."""
    async with open_push_client(apns.host, apns.port, trust.client) as client:
        await client.until_settings(1)
        client.h2.remote_settings.max_concurrent_streams = 10_000
        client.h2.remote_settings.acknowledge()
        for _ in range(1001):
            client.send(push_headers(token, TOPIC), b"{", ends=False)
        await client.until_lost()
    assert len(apns.log.protocol_errors) == 1
    assert apns.log.protocol_errors[0].startswith("TooManyStreamsError")


@given(
    headers=st.lists(st.tuples(st.binary(max_size=20), st.binary(max_size=70)), max_size=8),
    payload=st.binary(max_size=5000),
)
def test_checks_are_total(headers: list[tuple[bytes, bytes]], payload: bytes) -> None:
    """Whatever a request says, it is a push or a refusal, never an exception."""
    sound = [(name.encode(), text.encode()) for name, text in push_headers("ab" * 32, TOPIC)]
    for request in (headers, sound + headers):
        checked = check_request(request, payload, certificate_topic=TOPIC)
        assert isinstance(checked, PushRequest | Refused)
