"""What an outcome says of token, topic and the next try."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from passmill.domain.push_outcomes import ACCEPTED, PushOutcome, PushState

_TOPIC = "stops the topic"
_TOKEN = "dead token"
_LATER = "may pass"
_OURS = "our own fault"


def _verdict(outcome: PushOutcome) -> str:
    found = [
        name
        for name, holds in (
            (_TOKEN, outcome.is_terminal_token),
            (_TOPIC, outcome.stops_topic),
            (_LATER, outcome.may_pass),
        )
        if holds
    ]
    assert len(found) < 2
    return found[0] if found else _OURS


@pytest.mark.parametrize(
    ("status", "reason", "verdict"),
    [
        (400, "BadDeviceToken", _TOKEN),
        (400, "DeviceTokenNotForTopic", _TOKEN),
        (400, "BadTopic", _TOPIC),
        (400, "MissingTopic", _TOPIC),
        (400, "TopicDisallowed", _TOPIC),
        (400, "BadExpirationDate", _OURS),
        (400, "BadPriority", _OURS),
        (400, "PayloadEmpty", _OURS),
        (400, "", _OURS),
        (403, "BadCertificate", _TOPIC),
        (403, "BadCertificateEnvironment", _TOPIC),
        (403, "ExpiredProviderToken", _TOPIC),
        (403, "Forbidden", _TOPIC),
        (403, "InvalidProviderToken", _TOPIC),
        (403, "MissingProviderToken", _TOPIC),
        (403, "UnrelatedKeyIdInToken", _TOPIC),
        (403, "SomethingNew", _TOPIC),
        (404, "BadPath", _OURS),
        (405, "MethodNotAllowed", _OURS),
        (410, "Unregistered", _TOKEN),
        (410, "ExpiredToken", _TOKEN),
        (413, "PayloadTooLarge", _OURS),
        (418, "SomethingNew", _OURS),
        (429, "TooManyRequests", _LATER),
        (429, "TooManyProviderTokenUpdates", _LATER),
        (500, "InternalServerError", _LATER),
        (502, "", _LATER),
        (503, "ServiceUnavailable", _LATER),
        (503, "Shutdown", _LATER),
    ],
)
def test_rejections(status: int, reason: str, verdict: str) -> None:
    """Apple's table: each reason says one thing at most; unknown ones go by their status."""
    outcome = PushOutcome(state=PushState.REJECTED, status=status, reason=reason)
    assert _verdict(outcome) == verdict


@pytest.mark.parametrize(
    ("reason", "verdict"),
    [
        ("DNS", _LATER),
        ("CONNECT", _LATER),
        ("TLS", _TOPIC),
        ("TIMEOUT", _LATER),
        ("GOAWAY", _LATER),
        ("RESET", _LATER),
        ("PROTOCOL", _LATER),
        ("CLOSED", _LATER),
    ],
)
def test_unreachable(reason: str, verdict: str) -> None:
    """Only a refusal of TLS says that trying again will not help."""
    outcome = PushOutcome(state=PushState.UNREACHABLE, status=0, reason=reason)
    assert _verdict(outcome) == verdict


def test_accepted_and_invalidated() -> None:
    """Accepted says nothing further of its token, an invalidated one is dead; both say that the
    topic is good, which no refusal does."""
    assert _verdict(ACCEPTED) == _OURS
    at = datetime(2026, 11, 1, tzinfo=UTC)
    dead = PushOutcome(state=PushState.INVALIDATED, status=410, reason="Unregistered", at=at)
    assert _verdict(dead) == _TOKEN
    refused = PushOutcome(state=PushState.REJECTED, status=400, reason="BadDeviceToken")
    assert [each.proves_topic for each in (ACCEPTED, dead, refused)] == [True, True, False]
