"""Brings accepted pushes to devices, as Apple's service does: best effort, one kept for a device
that is offline.

Source: Apple, "Viewing the status of push notifications using metrics and APNs": of several for an
offline device and one topic the last is kept, until its expiration.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

from passmill.dev.fake_apns.records import PushRecord


class Delivery(NamedTuple):
    """A push as a device gets it. `accepted_at`: seconds of `time.monotonic`."""

    token: str
    topic: str
    accepted_at: float


Listener = Callable[[Delivery], None]
"""Called in the loop of whoever brings the push; must not block."""


class Post:
    """Devices that are online, and what waits for those that are not. `now`: gives the aware
    time."""

    def __init__(self, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._listeners: dict[tuple[str, str], list[Listener]] = {}
        self._kept: dict[tuple[str, str], tuple[Delivery, int]] = {}

    def go_online(self, token: str, topic: str, listener: Listener) -> None:
        """From now a device hears of its pushes; of the one kept for it at once. Several devices
        may share a token: each hears."""
        place = (token, topic)
        self._listeners.setdefault(place, []).append(listener)
        kept = self._kept.pop(place, None)
        if kept is not None and self._is_due(kept[1]):
            listener(kept[0])

    def go_offline(self, token: str, topic: str, listener: Listener) -> None:
        """From now the device hears nothing."""
        place = (token, topic)
        left = self._listeners.get(place, [])
        left.remove(listener)
        if not left:
            del self._listeners[place]

    def bring(self, record: PushRecord) -> None:
        """Bring a push that was accepted, or keep it."""
        if record.is_lost or not record.is_accepted:
            return
        place = (record.token, record.topic)
        delivery = Delivery(record.token, record.topic, record.at)
        listeners = self._listeners.get(place)
        if listeners:
            for listener in tuple(listeners):
                listener(delivery)
        elif record.expiration and self._is_due(record.expiration):
            self._kept[place] = (delivery, record.expiration)

    def kept(self, token: str, topic: str) -> Delivery | None:
        """Give what waits for an offline device."""
        kept = self._kept.get((token, topic))
        return kept[0] if kept is not None and self._is_due(kept[1]) else None

    def _is_due(self, expiration: int) -> bool:
        return self._now().timestamp() < expiration
