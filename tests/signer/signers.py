"""When the tests of the signer take place, and who signs."""

from datetime import UTC, datetime
from typing import NamedTuple

from passmill._signer import SigningIdentity
from passmill.dev.authority import IssuedCertificate

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SIGNING_TIME = int(NOW.timestamp())


class Signer(NamedTuple):
    """An identity, with what it was made from."""

    identity: SigningIdentity
    issued: IssuedCertificate
