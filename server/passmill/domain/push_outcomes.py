"""How a push ended, and what that says of the device's token, the topic and the next try.

Source: Apple, "Handling notification responses from APNs".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final

_DEAD_TOKEN: Final = frozenset(
    {"BadDeviceToken", "DeviceTokenNotForTopic", "ExpiredToken", "Unregistered"}
)
_STOPPED_TOPIC: Final = frozenset(
    {
        "BadCertificate",
        "BadCertificateEnvironment",
        "BadTopic",
        "ExpiredProviderToken",
        "Forbidden",
        "InvalidProviderToken",
        "MissingProviderToken",
        "MissingTopic",
        "TopicDisallowed",
        "UnrelatedKeyIdInToken",
    }
)
_TLS: Final = "TLS"


class PushState(enum.IntEnum):
    """Stored as its number."""

    ACCEPTED = 1
    """Apple took it; whether the device hears of it, nobody says."""
    REJECTED = 2
    INVALIDATED = 3
    """The token is dead since a known time."""
    UNREACHABLE = 4
    """No answer came in time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOutcome:
    """How one push ended. `status`: HTTP's, 0 without an answer. `reason`: Apple's own, '' when the
    answer had none; of an unreachable one the engine's: DNS, CONNECT, TLS, TIMEOUT, GOAWAY, RESET,
    PROTOCOL or CLOSED. `at`: since when an invalidated token is dead (aware, UTC).
    """

    state: PushState
    status: int
    reason: str = ""
    at: datetime | None = None

    @property
    def is_terminal_token(self) -> bool:
        """Nothing will ever reach this token. Without `at` nobody knows since when; and where every
        token of a topic is told so, it is the topic (a wrong certificate says the same)."""
        return self.state is PushState.INVALIDATED or (
            self.state is PushState.REJECTED and self.reason in _DEAD_TOKEN
        )

    @property
    def proves_topic(self) -> bool:
        """Apple takes this certificate for this topic: it accepts, or knows since when a token of
        the topic is dead."""
        return self.state in (PushState.ACCEPTED, PushState.INVALIDATED)

    @property
    def is_blamed(self) -> bool:
        """Refused for its token, with nothing that says since when: a wrong certificate looks
        alike."""
        return self.is_terminal_token and self.at is None

    @property
    def is_unanswered(self) -> bool:
        """Apple said nothing of the token: it was not reached, was silent, or failed itself."""
        return self.state is PushState.UNREACHABLE or (
            self.state is PushState.REJECTED and self.status >= 500
        )

    @property
    def stops_topic(self) -> bool:
        """No push of this topic will pass before somebody puts the certificate right; no token is
        to blame."""
        match self.state:
            case PushState.REJECTED:
                return self.status == 403 or self.reason in _STOPPED_TOPIC
            case PushState.UNREACHABLE:
                return self.reason == _TLS
            case _:
                return False

    @property
    def may_pass(self) -> bool:
        """The same push may pass later: Apple is busy, or was not reached."""
        match self.state:
            case PushState.REJECTED:
                return self.status == 429 or self.status >= 500
            case PushState.UNREACHABLE:
                return not self.stops_topic
            case _:
                return False


ACCEPTED: Final = PushOutcome(state=PushState.ACCEPTED, status=200)
