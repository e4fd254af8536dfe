"""Loading signing identities: what is accepted, and each refusal with its own name (F21)."""

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

from passmill._signer import (
    IdentityExpired,
    InvalidIdentity,
    PreparedRevision,
    SigningCertificate,
    SigningIdentity,
    seal,
)
from passmill.dev.authority import (
    PASS_SIGNING_USAGE,
    IssuedCertificate,
    KeyType,
    ThrowawayAuthority,
)
from tests.signer.documents import line
from tests.signer.signers import NOW, SIGNING_TIME, Signer
from tests.support.tools import run

DAY = 86_400
WRAPPING_KEY = bytes(range(32))


def load_pem(
    issued: IssuedCertificate,
    *,
    private_key: bytes | None = None,
    password: str | None = None,
    intermediates: list[bytes] | None = None,
    now: int = SIGNING_TIME,
) -> SigningIdentity:
    """Loads from PEM, by default with everything right."""
    return SigningIdentity.from_pem(
        issued.certificate_pem,
        issued.private_key_pem if private_key is None else private_key,
        password=password,
        intermediates=[issued.wwdr_pem] if intermediates is None else intermediates,
        now=now,
    )


def refusal(load: Callable[[], object]) -> str:
    """The reason for which loading is refused; the message must be a sentence that says what to
    do.
    """
    with pytest.raises(InvalidIdentity) as caught:
        load()
    assert ": " in str(caught.value), caught.value
    assert caught.value.item is None
    return caught.value.reason


def test_a_certificate_is_told_as_it_is(authority: ThrowawayAuthority) -> None:
    """All that the certificate says comes out, from the identity and from its DER alone."""
    issued = authority.issue_pass_certificate(
        now=NOW,
        pass_type_identifier="pass.example.tea",
        team_identifier="TEAM123456",
        organization="Tëa Ltd",
        nfc=True,
    )
    leaf = issued.certificate
    of_identity = load_pem(issued).certificate
    of_der = SigningCertificate.from_der(issued.certificate_der, issued.wwdr_der)
    for certificate in (of_identity, of_der):
        assert certificate.pass_type_identifier == "pass.example.tea"
        assert certificate.team_identifier == "TEAM123456"
        assert certificate.organization == "Tëa Ltd"
        assert certificate.common_name == "Pass Type ID with NFC: pass.example.tea"
        assert certificate.not_before == int(leaf.not_valid_before_utc.timestamp())
        assert certificate.not_after == int(leaf.not_valid_after_utc.timestamp())
        assert int(certificate.serial_number, 16) == leaf.serial_number
        assert certificate.fingerprint_sha256 == leaf.fingerprint(hashes.SHA256())
        assert certificate.key_algorithm == "RSA-2048"
        assert certificate.nfc_capable is True
        assert certificate.leaf_der == issued.certificate_der
        assert certificate.intermediate_der == issued.wwdr_der


def test_the_end_is_the_earlier_of_two(authority: ThrowawayAuthority) -> None:
    """A leaf that outlives its intermediate ends with it."""
    issued = authority.issue_pass_certificate(now=NOW, validity=timedelta(days=5000))
    identity = load_pem(issued)
    assert identity.certificate.not_after == int(issued.wwdr.not_valid_after_utc.timestamp())


def encodings(issued: IssuedCertificate, folder: Path) -> dict[str, tuple[bytes, str | None]]:
    """The same private key in every form that is read, with its password."""
    key = issued.private_key
    path = folder / "key.pem"
    path.write_bytes(issued.private_key_pem)
    pkcs8 = ("pkcs8", "-topk8", "-in", path, "-passout", "pass:secret")
    return {
        "PKCS#8 PEM": (issued.private_key_pem, None),
        "PKCS#8 DER": (key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()), None),
        "PKCS#1 or SEC1 PEM": (
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            None,
        ),
        "PKCS#1 or SEC1 DER": (
            key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
            None,
        ),
        "encrypted PKCS#8": (issued.encrypted_private_key_pem("secret"), "secret"),
        "encrypted PKCS#8 DER": (
            key.private_bytes(
                Encoding.DER, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
            ),
            "secret",
        ),
        "openssl's default": (run("openssl", *pkcs8), "secret"),
        "openssl with 3DES": (run("openssl", *pkcs8, "-v2", "des3"), "secret"),
        "openssl with scrypt": (run("openssl", *pkcs8, "-scrypt"), "secret"),
        "text around the PEM": (
            b"Bag Attributes\n  friendlyName: x\n"
            + issued.private_key_pem.replace(b"\n", b"\r\n")
            + b"\nend",
            None,
        ),
    }


def test_keys_are_read_in_every_form(signer: Signer, tmp_path: Path) -> None:
    """Every form in which openssl and `cryptography` write a key is read."""
    for form, (private_key, password) in encodings(signer.issued, tmp_path).items():
        identity = load_pem(signer.issued, private_key=private_key, password=password)
        assert identity.certificate.leaf_der == signer.issued.certificate_der, form


def test_certificates_are_read_as_pem_and_der(rsa: Signer) -> None:
    """Leaf and intermediate may be DER, or stand together in one PEM."""
    issued = rsa.issued
    for certificate, intermediates in (
        (issued.certificate_der, [issued.wwdr_der]),
        (issued.certificate_pem + issued.wwdr_pem, []),
        (issued.certificate_pem, [issued.wwdr_pem]),
    ):
        identity = SigningIdentity.from_pem(
            certificate,
            issued.private_key_pem,
            password=None,
            intermediates=intermediates,
            now=SIGNING_TIME,
        )
        assert identity.certificate.intermediate_der == issued.wwdr_der


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("-legacy",),
        ("-legacy", "-certpbe", "PBE-SHA1-RC2-40", "-keypbe", "PBE-SHA1-3DES", "-macalg", "sha1"),
        ("-certpbe", "AES-128-CBC", "-keypbe", "AES-256-CBC", "-macalg", "sha512"),
        ("-certpbe", "NONE", "-keypbe", "NONE"),
    ],
    ids=["modern", "legacy", "Keychain Access", "AES and SHA-512", "not encrypted"],
)
def test_pkcs12_of_openssl_is_read(rsa: Signer, tmp_path: Path, flags: tuple[str, ...]) -> None:
    """PKCS#12 files are read in every encryption that openssl and Keychain Access export."""
    (tmp_path / "all.pem").write_bytes(
        rsa.issued.private_key_pem + rsa.issued.certificate_pem + rsa.issued.wwdr_pem
    )
    exported = run(
        *("openssl", "pkcs12", "-export", "-passout", "pass:pässword ☕"),
        *("-in", tmp_path / "all.pem"),
        *flags,
    )
    identity = SigningIdentity.from_pkcs12(
        exported, password="pässword ☕", intermediates=[], now=SIGNING_TIME
    )
    assert identity.certificate.leaf_der == rsa.issued.certificate_der
    wrong = refusal(
        lambda: SigningIdentity.from_pkcs12(
            exported, password="password", intermediates=[], now=SIGNING_TIME
        )
    )
    assert wrong == "WRONG_PASSWORD"


def test_pkcs12_with_other_certificates(authority: ThrowawayAuthority, rsa: Signer) -> None:
    """The leaf is the certificate of the key, wherever it stands in the file."""
    other = authority.issue_pass_certificate(now=NOW)
    data = pkcs12.serialize_key_and_certificates(
        name=None,
        key=rsa.issued.private_key,
        cert=None,
        cas=[other.certificate, rsa.issued.wwdr, rsa.issued.certificate],
        encryption_algorithm=NoEncryption(),
    )
    identity = SigningIdentity.from_pkcs12(data, password="", intermediates=[], now=SIGNING_TIME)
    assert identity.certificate.leaf_der == rsa.issued.certificate_der


def test_every_cut_of_a_pkcs12_is_refused(rsa: Signer) -> None:
    """A truncated upload is told from a wrong password, wherever it was cut."""
    data = rsa.issued.pkcs12("secret")

    def load(cut: bytes) -> SigningIdentity:
        return SigningIdentity.from_pkcs12(
            cut, password="secret", intermediates=[rsa.issued.wwdr_pem], now=SIGNING_TIME
        )

    for length in range(0, len(data), 7):
        assert refusal(functools.partial(load, data[:length])) == "UNREADABLE_PKCS12", length


def test_incomplete_pkcs12_is_refused(rsa: Signer) -> None:
    """A file without key, without certificate, or beyond any sensible size is refused by name."""

    def reason(data: bytes) -> str:
        return refusal(
            lambda: SigningIdentity.from_pkcs12(
                data, password="x", intermediates=[rsa.issued.wwdr_pem], now=SIGNING_TIME
            )
        )

    encryption = BestAvailableEncryption(b"x")
    issued = rsa.issued
    no_key = pkcs12.serialize_key_and_certificates(None, None, issued.certificate, None, encryption)
    no_certificate = pkcs12.serialize_key_and_certificates(
        None, issued.private_key, None, None, encryption
    )
    assert reason(no_key) == "NO_PRIVATE_KEY"
    assert reason(no_certificate) == "NO_CERTIFICATE"
    assert reason(issued.pkcs12("x") + bytes(300_000)) == "UNREADABLE_PKCS12"
    assert reason(b"") == "UNREADABLE_PKCS12"


def test_wrong_certificates_are_refused_by_name(authority: ThrowawayAuthority) -> None:
    """F21: each way a certificate can be wrong has its own reason."""

    def reason(**wrong: object) -> str:
        return refusal(lambda: load_pem(authority.issue_pass_certificate(now=NOW, **wrong)))  # type: ignore[arg-type]

    client_auth = ExtendedKeyUsageOID.CLIENT_AUTH
    assert reason(subject_uid=None) == "NO_PASS_TYPE_IDENTIFIER"
    assert reason(subject_uid="pass.example.other") == "PASS_TYPE_IDENTIFIER_MISMATCH"
    assert reason(extension_identifier="pass.example.other") == "PASS_TYPE_IDENTIFIER_MISMATCH"
    assert reason(extension_identifier=None) == "NO_PASS_TYPE_EXTENSION"
    assert reason(team_identifier=None) == "NO_TEAM_IDENTIFIER"
    assert reason(usages=()) == "EXTENDED_KEY_USAGE_MISSING"
    assert reason(usages=(client_auth,)) == "EXTENDED_KEY_USAGE_MISSING"
    assert reason(usages=(PASS_SIGNING_USAGE,)) == "EXTENDED_KEY_USAGE_MISSING"
    assert reason(signs_data=False) == "KEY_USAGE_MISSING"
    assert reason(names_issuer_key=False) == "NO_AUTHORITY_KEY_IDENTIFIER"
    assert reason(signed_by_authority=False) == "ISSUER_SIGNATURE_INVALID"
    assert reason(key_type=KeyType.P384) == "UNSUPPORTED_KEY"
    assert reason(key_type=KeyType.RSA_1024) == "UNSUPPORTED_KEY"


def test_wrong_keys_are_refused_by_name(
    authority: ThrowawayAuthority, rsa: Signer, tmp_path: Path
) -> None:
    """F21: another key, no key, junk, and each trouble with a password has its own reason."""
    issued = rsa.issued
    other = authority.issue_pass_certificate(now=NOW)
    p256 = authority.issue_pass_certificate(now=NOW, key_type=KeyType.P256)
    p384 = authority.issue_pass_certificate(now=NOW, key_type=KeyType.P384)
    encrypted = issued.encrypted_private_key_pem("secret")
    legacy = issued.private_key.private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")
    )

    def reason(private_key: bytes, password: str | None = None) -> str:
        return refusal(lambda: load_pem(issued, private_key=private_key, password=password))

    assert reason(other.private_key_pem) == "KEY_MISMATCH"
    assert reason(p256.private_key_pem) == "KEY_MISMATCH"
    assert reason(p384.private_key_pem) == "UNSUPPORTED_KEY"
    assert reason(encrypted) == "PASSWORD_REQUIRED"
    assert reason(encrypted, "Secret") == "WRONG_PASSWORD"
    assert reason(legacy, "secret") == "UNSUPPORTED_ENCRYPTION"
    assert reason(issued.certificate_pem) == "NO_PRIVATE_KEY"
    assert reason(b"") == "UNREADABLE_PRIVATE_KEY"
    assert reason(b"junk") == "UNREADABLE_PRIVATE_KEY"
    assert reason(issued.private_key_pem[:-40]) == "UNREADABLE_PRIVATE_KEY"
    assert reason(issued.private_key_pem.replace(b"M", b"!", 1)) == "UNREADABLE_PRIVATE_KEY"

    # The conversion that the message for the old PEM encryption gives does work.
    (tmp_path / "old.pem").write_bytes(legacy)
    passwords = ("-passin", "pass:secret", "-passout", "pass:secret")
    run(
        *("openssl", "pkcs8", "-topk8", "-v2", "aes-256-cbc", *passwords),
        *("-in", tmp_path / "old.pem", "-out", tmp_path / "key.pem"),
    )
    load_pem(issued, private_key=(tmp_path / "key.pem").read_bytes(), password="secret")


def test_a_mismatched_pkcs12_is_refused(authority: ThrowawayAuthority, rsa: Signer) -> None:
    """A PKCS#12 file whose key belongs to no certificate in it is refused."""
    other = authority.issue_pass_certificate(now=NOW)
    mixed = replace(rsa.issued, private_key=other.private_key)

    def load() -> SigningIdentity:
        data = pkcs12.serialize_key_and_certificates(
            None, mixed.private_key, None, [mixed.certificate], NoEncryption()
        )
        return SigningIdentity.from_pkcs12(
            data, password="", intermediates=[mixed.wwdr_pem], now=SIGNING_TIME
        )

    assert refusal(load) == "KEY_MISMATCH"


def test_the_issuer_is_chosen_by_its_key(authority: ThrowawayAuthority, rsa: Signer) -> None:
    """F21: among generations of one name the right one is taken, and a wrong one alone is
    refused.
    """
    other = ThrowawayAuthority(now=NOW)
    many = [other.wwdr_pem, other.root_pem, authority.root_der, rsa.issued.wwdr_pem]
    assert (
        load_pem(rsa.issued, intermediates=many).certificate.intermediate_der == rsa.issued.wwdr_der
    )

    def reason(*intermediates: bytes) -> str:
        return refusal(lambda: load_pem(rsa.issued, intermediates=list(intermediates)))

    not_an_authority = authority.issue_intermediate(now=NOW, is_authority=False)
    assert reason() == "ISSUER_NOT_FOUND"
    assert reason(other.wwdr_pem) == "ISSUER_NOT_FOUND"
    assert reason(authority.root_pem) == "ISSUER_NOT_FOUND"
    assert reason(b"junk") == "UNREADABLE_INTERMEDIATE"
    assert reason(not_an_authority.public_bytes(Encoding.PEM)) == "ISSUER_NOT_AN_AUTHORITY"


def test_a_renewed_intermediate_is_preferred(authority: ThrowawayAuthority, rsa: Signer) -> None:
    """Of two certificates of the issuing key, the one that lives longer is embedded."""
    renewed = authority.issue_intermediate(now=NOW, validity=timedelta(days=5000))
    both = [rsa.issued.wwdr_pem, renewed.public_bytes(Encoding.PEM)]
    for intermediates in (both, both[::-1]):
        identity = load_pem(rsa.issued, intermediates=intermediates)
        assert identity.certificate.intermediate_der == renewed.public_bytes(Encoding.DER)


def test_dates_are_checked_when_loading(authority: ThrowawayAuthority, rsa: Signer) -> None:
    """F21: expired and not yet valid, of leaf and of intermediate, four reasons; they are
    InvalidIdentity too.
    """
    leaf = rsa.issued.certificate
    begin, end = (
        int(time.timestamp()) for time in (leaf.not_valid_before_utc, leaf.not_valid_after_utc)
    )

    def reason(now: int, intermediate: bytes = authority.wwdr_pem) -> str:
        with pytest.raises(IdentityExpired) as caught:
            load_pem(rsa.issued, intermediates=[intermediate], now=now)
        assert issubclass(IdentityExpired, InvalidIdentity)
        return caught.value.reason

    load_pem(rsa.issued, now=begin)
    load_pem(rsa.issued, now=end)
    assert reason(begin - 1) == "NOT_YET_VALID"
    assert reason(end + 1) == "EXPIRED"
    short = authority.issue_intermediate(now=NOW, validity=timedelta(days=30))
    late = authority.issue_intermediate(now=NOW + timedelta(days=30))
    assert (
        reason(SIGNING_TIME + 31 * DAY, short.public_bytes(Encoding.PEM)) == "INTERMEDIATE_EXPIRED"
    )
    assert reason(SIGNING_TIME, late.public_bytes(Encoding.PEM)) == "INTERMEDIATE_NOT_YET_VALID"


def test_a_wrapped_key_opens_for_its_certificate_alone(
    revision: PreparedRevision, authority: ThrowawayAuthority, signer: Signer
) -> None:
    """The stored form signs again; another key, another certificate, a flipped bit or a late date
    do not open it.
    """
    identity, certificate = signer.identity, signer.identity.certificate
    wrapped = identity.wrap(wrapping_key=WRAPPING_KEY)
    assert wrapped != identity.wrap(wrapping_key=WRAPPING_KEY)
    opened = SigningIdentity.unwrap(
        wrapped, wrapping_key=WRAPPING_KEY, certificate=certificate, now=SIGNING_TIME
    )
    [again] = seal(revision, line(1), opened, [SIGNING_TIME])
    [first] = seal(revision, line(1), identity, [SIGNING_TIME])
    assert len(again) == pytest.approx(len(first), abs=4)
    other = load_pem(authority.issue_pass_certificate(now=NOW)).certificate

    def reason(
        data: bytes = wrapped,
        *,
        key: bytes = WRAPPING_KEY,
        of: SigningCertificate = certificate,
        now: int = SIGNING_TIME,
    ) -> str:
        return refusal(
            lambda: SigningIdentity.unwrap(data, wrapping_key=key, certificate=of, now=now)
        )

    assert reason(key=bytes(32)) == "WRAPPED_KEY_REFUSED"
    assert reason(of=other) == "WRAPPED_KEY_REFUSED"
    for position in (0, 5, 20, len(wrapped) - 1):
        flipped = wrapped[:position] + bytes([wrapped[position] ^ 1]) + wrapped[position + 1 :]
        assert reason(flipped) == "WRAPPED_KEY_REFUSED"
    assert reason(b"") == "WRAPPED_KEY_REFUSED"
    assert reason(key=bytes(31)) == "WRAPPING_KEY_LENGTH"
    assert refusal(lambda: identity.wrap(wrapping_key=b"short")) == "WRAPPING_KEY_LENGTH"
    assert reason(now=certificate.not_after + 1) == "EXPIRED"
