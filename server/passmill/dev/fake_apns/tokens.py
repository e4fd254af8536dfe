"""Which device tokens Apple knows, as far as a run says so."""

from __future__ import annotations

from datetime import datetime

from passmill.dev.fake_apns.script import Refuse


class Tokens:
    """Every token is good for every topic, but those that something else is said of.

    `is_strict`: tokens never heard of are refused too.
    """

    def __init__(self, *, is_strict: bool = False) -> None:
        self._is_strict = is_strict
        self._topics: dict[str, str] = {}
        self._retired: dict[str, datetime] = {}

    def add(self, token: str, topic: str) -> None:
        """A device has this token for one topic alone."""
        self._topics[token] = topic
        self._retired.pop(token, None)

    def retire(self, token: str, at: datetime) -> None:
        """The token ended at `at` (aware): pushes to it are answered 410 with that time."""
        self._retired[token] = at

    def refusal(self, token: str, topic: str) -> Refuse | None:
        """Give the answer for a token that is not good, None for one that is."""
        ended = self._retired.get(token)
        if ended is not None:
            return Refuse(status=410, reason="Unregistered", timestamp=ended)
        known = self._topics.get(token)
        if known is None:
            return Refuse(status=400, reason="BadDeviceToken") if self._is_strict else None
        return None if known == topic else Refuse(status=400, reason="DeviceTokenNotForTopic")
