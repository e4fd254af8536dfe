"""A throw-away certificate authority shaped like Apple's: root, WWDR-like intermediate, pass
certificates.

For development, the demo and the tests. No device trusts it. Layout of the certificates: Apple's
"Worldwide Developer Relations" G4 and a Pass Type ID certificate as issued in 2025. It can also
make the wrong ones that must be refused.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

PASS_TYPE_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.1.16")
"""The pass type identifier, as UTF8String."""
PUSH_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.3.2")
"""Marks a client certificate for the push service."""
PASS_SIGNING_USAGE = ObjectIdentifier("1.2.840.113635.100.4.14")
WWDR_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.2.1")
"""Marks the intermediate of Worldwide Developer Relations."""
APPLE_POLICY = ObjectIdentifier("1.2.840.113635.100.5.1")

PASS_CERTIFICATE_VALIDITY = timedelta(days=395)
"""About 13 months, as Apple's."""
_AUTHORITY_VALIDITY = timedelta(days=3650)
_CLOCK_SLACK = timedelta(hours=1)
"""Certificates begin a little before "now", so that a fresh one is valid on a clock that lags."""
_DER_NULL = b"\x05\x00"
_UTF8_STRING = 0x0C
_SHORT_LENGTH = 0x80

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyType(StrEnum):
    """What key a certificate gets."""

    RSA_2048 = "rsa-2048"
    RSA_3072 = "rsa-3072"
    RSA_1024 = "rsa-1024"
    """Too short: for a refusal."""
    P256 = "p-256"
    P384 = "p-384"
    """Not supported for signing passes: for a refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCertificate:
    """A pass certificate with its private key and the intermediate that issued it."""

    certificate: x509.Certificate = field(repr=False)
    wwdr: x509.Certificate = field(repr=False)
    private_key: _PrivateKey = field(repr=False)
    pass_type_identifier: str
    team_identifier: str

    @property
    def certificate_pem(self) -> bytes:
        """The leaf as PEM."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def certificate_der(self) -> bytes:
        """The leaf as DER."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def private_key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    @property
    def wwdr_pem(self) -> bytes:
        """The intermediate as PEM."""
        return self.wwdr.public_bytes(Encoding.PEM)

    @property
    def wwdr_der(self) -> bytes:
        """The intermediate as DER."""
        return self.wwdr.public_bytes(Encoding.DER)

    def encrypted_private_key_pem(self, password: str) -> bytes:
        """Give the private key as encrypted PKCS#8 PEM."""
        return self.private_key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(password.encode())
        )

    def pkcs12(self, password: str, *, with_intermediate: bool = False) -> bytes:
        """Give leaf and key as a PKCS#12 file; Keychain Access leaves the intermediate out."""
        return pkcs12.serialize_key_and_certificates(
            name=self.pass_type_identifier.encode(),
            key=self.private_key,
            cert=self.certificate,
            cas=[self.wwdr] if with_intermediate else None,
            encryption_algorithm=BestAvailableEncryption(password.encode()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerCertificate:
    """What a TLS server of this machine shows, issued by the root itself."""

    certificate: x509.Certificate = field(repr=False)
    private_key: _PrivateKey = field(repr=False)

    @property
    def certificate_pem(self) -> bytes:
        """The leaf as PEM; no intermediate stands between it and the root."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def private_key_pem(self) -> bytes:
        """The private key as unencrypted PKCS#8 PEM."""
        return self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class ThrowawayAuthority:
    """A root and a WWDR-like intermediate, made anew with each instance.

    Two authorities made with the same `generation` have intermediates of one name and different
    keys, as Apple's G1 to G6 have: only the key identifier tells them apart.
    """

    def __init__(self, *, now: datetime, generation: str = "G4") -> None:
        """Make root and intermediate, valid for ten years from `now` (aware)."""
        self._generation = generation
        self._root_key = _generate(KeyType.RSA_2048)
        self._wwdr_key = _generate(KeyType.RSA_2048)
        self._root = self._issue_root(now)
        self._wwdr = self.issue_intermediate(now=now)

    @property
    def root_pem(self) -> bytes:
        """The root as PEM."""
        return self._root.public_bytes(Encoding.PEM)

    @property
    def root_der(self) -> bytes:
        """The root as DER."""
        return self._root.public_bytes(Encoding.DER)

    @property
    def wwdr_pem(self) -> bytes:
        """The intermediate as PEM."""
        return self._wwdr.public_bytes(Encoding.PEM)

    @property
    def wwdr_der(self) -> bytes:
        """The intermediate as DER."""
        return self._wwdr.public_bytes(Encoding.DER)

    def issue_intermediate(
        self,
        *,
        now: datetime,
        validity: timedelta = _AUTHORITY_VALIDITY,
        is_authority: bool = True,
        signed_by_root: bool = True,
    ) -> x509.Certificate:
        """Issue a certificate for the intermediate's name and key.

        The first one is what `wwdr_pem` gives. Further ones are renewals with other dates, or
        wrong: one that may not issue certificates, or one that another root's key signed.
        """
        name = _authority_name("Developer Relations CA", unit=self._generation)
        root_key = self._root_key if signed_by_root else _generate(KeyType.RSA_2048)
        builder = (
            _builder(name, self._root.subject, self._wwdr_key, now, validity)
            .add_extension(
                x509.BasicConstraints(ca=is_authority, path_length=0 if is_authority else None),
                critical=True,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()),
                critical=False,
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._wwdr_key.public_key()),
                critical=False,
            )
            .add_extension(_key_usage(signs_certificates=is_authority), critical=True)
            .add_extension(x509.UnrecognizedExtension(WWDR_EXTENSION, _DER_NULL), critical=False)
        )
        return builder.sign(root_key, hashes.SHA256())

    def issue_pass_certificate(
        self,
        *,
        now: datetime,
        pass_type_identifier: str = "pass.example.coffee",  # noqa: S107 - an identifier
        team_identifier: str | None = "A1B2C3D4E5",
        organization: str = "Example Coffee Ltd",
        validity: timedelta = PASS_CERTIFICATE_VALIDITY,
        key_type: KeyType = KeyType.RSA_2048,
        nfc: bool = False,
        subject_uid: str | None = "",
        extension_identifier: str | None = "",
        usages: tuple[ObjectIdentifier, ...] = (
            ExtendedKeyUsageOID.CLIENT_AUTH,
            PASS_SIGNING_USAGE,
        ),
        signs_data: bool = True,
        names_issuer_key: bool = True,
        signed_by_authority: bool = True,
    ) -> IssuedCertificate:
        """Issue a Pass Type ID certificate, valid from `now` (aware), with a new key.

        The rest makes wrong ones. `subject_uid`, `extension_identifier`: what the UID and extension
        6.1.16 say instead of the pass type identifier, or None to leave them out; `team_identifier`
        None leaves OU out; `usages`: the extended key usages; `signs_data`: whether key usage has
        digitalSignature; `names_issuer_key`: whether there is an authority key identifier;
        `signed_by_authority`: whether the intermediate's own key makes the signature.
        """
        private_key = _generate(key_type)
        uid = pass_type_identifier if subject_uid == "" else subject_uid
        extension = pass_type_identifier if extension_identifier == "" else extension_identifier
        kind = "Pass Type ID with NFC" if nfc else "Pass Type ID"
        attributes = [
            (NameOID.USER_ID, uid),
            (NameOID.COMMON_NAME, f"{kind}: {pass_type_identifier}"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, team_identifier),
            (NameOID.ORGANIZATION_NAME, organization or None),
            (NameOID.COUNTRY_NAME, "US"),
        ]
        name = x509.Name(
            [x509.NameAttribute(oid, text) for oid, text in attributes if text is not None]
        )
        builder = (
            _builder(name, self._wwdr.subject, private_key, now, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False
            )
            .add_extension(_key_usage(signs_data=signs_data), critical=True)
            .add_extension(
                x509.CertificatePolicies([x509.PolicyInformation(APPLE_POLICY, None)]),
                critical=False,
            )
            .add_extension(x509.UnrecognizedExtension(PUSH_EXTENSION, _DER_NULL), critical=False)
        )
        if usages:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        if names_issuer_key:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(
                self._wwdr_key.public_key()
            )
            builder = builder.add_extension(identifier, critical=False)
        if extension is not None:
            builder = builder.add_extension(
                x509.UnrecognizedExtension(PASS_TYPE_EXTENSION, _utf8_string(extension)),
                critical=False,
            )
        issuer_key = self._wwdr_key if signed_by_authority else _generate(KeyType.RSA_2048)
        return IssuedCertificate(
            certificate=builder.sign(issuer_key, hashes.SHA256()),
            wwdr=self._wwdr,
            private_key=private_key,
            pass_type_identifier=pass_type_identifier,
            team_identifier=team_identifier or "",
        )

    def issue_server_certificate(
        self,
        *,
        now: datetime,
        names: tuple[str, ...] = ("localhost", "127.0.0.1"),
        validity: timedelta = PASS_CERTIFICATE_VALIDITY,
    ) -> ServerCertificate:
        """Issue a certificate for a TLS server, valid from `now` (aware), with a new P-256 key.

        `names`: host names and IP addresses that clients may know the server by.
        """
        private_key = _generate(KeyType.P256)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
        builder = (
            _builder(name, self._root.subject, private_key, now, validity)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(
                x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False
            )
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(private_key.public_key()), critical=False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._root_key.public_key()),
                critical=False,
            )
            .add_extension(_key_usage(signs_data=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        )
        return ServerCertificate(
            certificate=builder.sign(self._root_key, hashes.SHA256()), private_key=private_key
        )

    def _issue_root(self, now: datetime) -> x509.Certificate:
        name = _authority_name("Root CA", unit="Certification Authority")
        builder = (
            _builder(name, name, self._root_key, now, _AUTHORITY_VALIDITY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._root_key.public_key()),
                critical=False,
            )
            .add_extension(_key_usage(signs_certificates=True), critical=True)
        )
        return builder.sign(self._root_key, hashes.SHA256())


def _authority_name(common_name: str, *, unit: str) -> x509.Name:
    """Give an authority's name, shaped like Apple's and plainly not Apple's."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, f"Throw-away {common_name}"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Passmill development"),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "US"),
        ]
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: _PrivateKey,
    now: datetime,
    validity: timedelta,
) -> x509.CertificateBuilder:
    begin = now.astimezone(UTC) - _CLOCK_SLACK
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + validity)
    )


def _generate(key_type: KeyType) -> _PrivateKey:
    match key_type:
        case KeyType.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyType.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyType.RSA_1024 | KeyType.RSA_2048 | KeyType.RSA_3072:
            bits = int(key_type.removeprefix("rsa-"))
            return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _key_usage(*, signs_data: bool = False, signs_certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs_data,
        content_commitment=False,
        key_encipherment=not signs_data and not signs_certificates,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _utf8_string(text: str) -> bytes:
    """Encode a UTF8String in DER; identifiers are shorter than 128 bytes."""
    content = text.encode()
    if len(content) >= _SHORT_LENGTH:
        raise ValueError(f"an identifier of {len(content)} bytes is too long")
    return bytes([_UTF8_STRING, len(content)]) + content
