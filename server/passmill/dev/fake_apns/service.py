"""What the connections of a server share, and what the server asks of them."""

from __future__ import annotations

from typing import Protocol

from passmill.dev.fake_apns.director import Director
from passmill.dev.fake_apns.records import PushRecord
from passmill.dev.fake_apns.script import GoAway
from passmill.dev.fake_apns.tokens import Tokens


class Link(Protocol):
    """A connection, for the server."""

    def disconnect(self, *, abort: bool) -> None:
        """End the connection now."""

    def go_away(self, answer: GoAway) -> None:
        """Say GOAWAY as if the last request seen had a rule for it."""

    def freeze(self) -> None:
        """From now read and write nothing."""


class Service(Protocol):
    """What all connections of a server share."""

    director: Director
    tokens: Tokens
    pushes: int

    def record(self, record: PushRecord) -> None:
        """Keep what became of a push, and bring it to its device."""

    def report_protocol_error(self, text: str) -> None:
        """Keep what a client did that HTTP/2 forbids."""

    def admit(self, link: Link) -> int:
        """Hear that a connection stands; give the how many-th it is."""

    def forget(self, link: Link) -> None:
        """Hear that it ended."""
