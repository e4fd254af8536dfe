"""A throw-away authority, an identity of each kind of key, a revision, and what sealed passes look
like.
"""

from collections.abc import Callable

import pytest

from passmill._signer import PreparedRevision, SigningIdentity
from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from tests.signer.documents import document, rendered
from tests.signer.images import png
from tests.signer.signers import NOW, SIGNING_TIME, Signer


@pytest.fixture(scope="session")
def authority() -> ThrowawayAuthority:
    """One authority for all tests that need a good one."""
    return ThrowawayAuthority(now=NOW)


@pytest.fixture(scope="session")
def load(authority: ThrowawayAuthority) -> Callable[[IssuedCertificate], SigningIdentity]:
    """Loads a certificate as a PKCS#12 file, with the authority's intermediate beside it."""

    def load_issued(issued: IssuedCertificate) -> SigningIdentity:
        return SigningIdentity.from_pkcs12(
            issued.pkcs12("open sesame"),
            password="open sesame",
            intermediates=[authority.wwdr_pem],
            now=SIGNING_TIME,
        )

    return load_issued


@pytest.fixture(scope="session")
def rsa(
    authority: ThrowawayAuthority, load: Callable[[IssuedCertificate], SigningIdentity]
) -> Signer:
    """An identity with the key all known pass certificates have, RSA-2048."""
    issued = authority.issue_pass_certificate(now=NOW)
    return Signer(load(issued), issued)


@pytest.fixture(scope="session", params=[KeyType.RSA_2048, KeyType.RSA_3072, KeyType.P256])
def signer(
    request: pytest.FixtureRequest,
    authority: ThrowawayAuthority,
    load: Callable[[IssuedCertificate], SigningIdentity],
) -> Signer:
    """An identity of each supported kind of key."""
    issued = authority.issue_pass_certificate(now=NOW, key_type=request.param)
    return Signer(load(issued), issued)


@pytest.fixture(scope="session")
def files() -> dict[str, bytes]:
    """The fixed files of a small revision."""
    return {
        "icon.png": png(38, 38),
        "icon@2x.png": png(76, 76),
        "logo@3x.png": png(480, 150),
        "en.lproj/pass.strings": '"offer" = "Offer";\n'.encode("utf-16"),
        "zh-Hans.lproj/pass.strings": '"offer" = "优惠";\n'.encode("utf-16"),
    }


@pytest.fixture(scope="session")
def card(rsa: Signer) -> str:
    """The document of a small card."""
    return document(rsa.issued.pass_type_identifier, rsa.issued.team_identifier)


@pytest.fixture(scope="session")
def revision(files: dict[str, bytes], card: str) -> PreparedRevision:
    """Files and document, prepared."""
    return PreparedRevision(files, card)


@pytest.fixture(scope="session")
def pass_json(rsa: Signer) -> Callable[[int], bytes]:
    """What the card's line with a serial number becomes."""
    identifiers = rsa.issued.pass_type_identifier, rsa.issued.team_identifier
    return lambda serial_number: rendered(*identifiers, serial_number)
