"""A device installs what Wallet would install, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import pkcs7

from passmill.dev.authority import KeyType, ThrowawayAuthority
from passmill.dev.wallet_device.bundle import BundleVerifier
from passmill.dev.wallet_device.errors import BundleRefused
from tests.support.bundles import read_bundle
from tests.support.service import Club, authority
from tests.wallet_device.conftest import Shop
from tests.wallet_device.made_passes import (
    PASS_TYPE,
    TEAM,
    TOKEN,
    make_archive,
    make_bundle,
    pass_document,
)


def _refusal(shop: Shop, bundle: bytes) -> str:
    with pytest.raises(BundleRefused) as caught:
        BundleVerifier(shop.authority.root_pem).verify(bundle)
    return str(caught.value)


@pytest.mark.parametrize("key_type", [KeyType.RSA_2048, KeyType.P256])
def test_sound_bundles(shop: Shop, key_type: KeyType) -> None:
    """A sound bundle verifies, by openssl too, and its content is read: translations in UTF-16 and
    UTF-8, with their escapes."""
    issued = shop.authority.issue_pass_certificate(
        now=datetime.now(UTC),
        pass_type_identifier=PASS_TYPE,
        team_identifier=TEAM,
        key_type=key_type,
    )
    more = {
        "de.lproj/pass.strings": '/* für alle */\n"Points" = "Pu\\"nk\\nte";\n'.encode("utf-16"),
        "fr.lproj/pass.strings": '"Points"="Unités";'.encode(),
    }
    verifier = BundleVerifier(shop.authority.root_pem, openssl_every=1)
    content = verifier.verify(make_bundle(issued, more=more))
    assert (content.pass_type_identifier, content.serial_number) == (PASS_TYPE, "A1")
    assert content.authentication_token == TOKEN
    assert content.strings == {"de": {"Points": 'Pu"nk\nte'}, "fr": {"Points": "Unités"}}
    assert TOKEN not in repr(content)


@pytest.mark.asyncio(loop_scope="session")
async def test_our_own_passes(rowing_club: Club) -> None:
    """What the service issues is installed."""
    issued = await rowing_club.issue()
    verifier = BundleVerifier(authority().root_pem, openssl_every=1)
    content = verifier.verify(await rowing_club.bundle(issued))
    assert content.serial_number == issued.serial_number


WRONG_DOCUMENTS: list[tuple[dict[str, Any], str]] = [
    ({"passTypeIdentifier": "pass.com.example.other"}, "passTypeIdentifier is not"),
    ({"teamIdentifier": "ZZZZZZZZZZ"}, "teamIdentifier is not"),
    ({"formatVersion": True}, "formatVersion"),
    ({"organizationName": None}, "organizationName is missing"),
    ({"coupon": {}}, "exactly one style"),
    ({"storeCard": None}, "exactly one style"),
    ({"authenticationToken": None}, "belong together"),
    ({"authenticationToken": "short"}, "too short"),
    ({"webServiceURL": "http://passes.example.com"}, "not https"),
    ({"expirationDate": "2026-01-01"}, "expirationDate is no date"),
    ({"storeCard": {"backFields": [{"key": "a", "value": 1}] * 2}}, "key twice"),
    ({"storeCard": {"backFields": [{"key": "a"}]}}, "has no value"),
    (
        {"storeCard": {"backFields": [{"key": "a", "value": 1, "changeMessage": "new"}]}},
        "without %@",
    ),
]


@pytest.mark.parametrize(("changed", "reason"), WRONG_DOCUMENTS)
def test_wrong_documents(shop: Shop, changed: dict[str, Any], reason: str) -> None:
    """A pass.json that does not fit the certificate, or says what no pass may, is refused."""
    bundle = make_bundle(shop.issued, pass_document(**changed))
    assert reason in _refusal(shop, bundle)


def test_wrong_containers(shop: Shop) -> None:
    """No archive, a missing file, one outside the manifest, and a name out of the folder are
    refused."""
    issued = shop.issued
    assert "no readable archive" in _refusal(shop, b"<html>")
    assert "no readable archive" in _refusal(shop, make_bundle(issued)[:-30])
    assert "icon.png is missing" in _refusal(shop, make_bundle(issued, without="icon.png"))
    assert "does not fit" in _refusal(shop, make_bundle(issued, unlisted={"a.png": b"a"}))
    assert "name" in _refusal(shop, make_bundle(issued, more={"../a.png": b"a"}))
    swapped = make_bundle(issued, unlisted={"pass.json": b"{}"})
    assert "does not fit" in _refusal(shop, swapped)


def test_wrong_signatures(shop: Shop) -> None:
    """Another authority, a wrong intermediate, an expired certificate, one for something else, and
    a signature with the content inside or without a date are refused."""
    now = datetime.now(UTC)
    other = ThrowawayAuthority(now=now)
    foreign = other.issue_pass_certificate(
        now=now, pass_type_identifier=PASS_TYPE, team_identifier=TEAM
    )
    chain = "chain could not be verified"
    assert chain in _refusal(shop, make_bundle(foreign))
    renewed = other.issue_intermediate(now=now)
    assert chain in _refusal(shop, make_bundle(shop.issued, wwdr=renewed))

    def refusal_of(**wrong: Any) -> str:
        given: dict[str, Any] = {"now": now, "team_identifier": TEAM, **wrong}
        made = shop.authority.issue_pass_certificate(pass_type_identifier=PASS_TYPE, **given)
        return _refusal(shop, make_bundle(made))

    expired = {"now": now - timedelta(days=60), "validity": timedelta(days=30)}
    assert "outside the certificate's time" in refusal_of(**expired)
    assert "UID and extension differ" in refusal_of(extension_identifier="pass.other")
    assert "not of a pass type" in refusal_of(extension_identifier=None)
    assert "may not sign" in refusal_of(signs_data=False)
    embedded = make_bundle(shop.issued, options=[pkcs7.PKCS7Options.Binary])
    assert "content inside" in _refusal(shop, embedded)
    bare = make_bundle(
        shop.issued,
        options=[
            *(pkcs7.PKCS7Options.Binary, pkcs7.PKCS7Options.DetachedSignature),
            pkcs7.PKCS7Options.NoAttributes,
        ],
    )
    assert "signed attributes" in _refusal(shop, bare)


def test_every_byte_counts(shop: Shop) -> None:
    """A changed byte anywhere in a file, in the manifest or in the signature's value is noticed,
    in an archive that is sound; elsewhere in the signature it is refused at most."""
    files = read_bundle(make_bundle(shop.issued))
    verifier = BundleVerifier(shop.authority.root_pem)
    for name, content in files.items():
        for at in range(0, len(content), max(1, len(content) // 150)):
            changed = bytearray(content)
            changed[at] ^= 0x41
            bundle = make_archive(files | {name: bytes(changed)})
            is_covered = name != "signature" or at >= len(content) - 256
            with pytest.raises(BundleRefused) if is_covered else suppress(BundleRefused):
                verifier.verify(bundle)
