"""Whether Wallet would install a bundle: container, manifest, signature, identity, content.

By zipfile, hashlib, `cryptography` and, for a sample, openssl; nothing of the service's own.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
import zipfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import ExtensionOID, NameOID, ObjectIdentifier

from passmill.dev.wallet_device.cms import DetachedSignature, read_signature
from passmill.dev.wallet_device.errors import BundleRefused
from passmill.dev.wallet_device.strings import read_strings

STYLES = {"boardingPass", "coupon", "eventTicket", "generic", "storeCard"}
FIELD_GROUPS = [
    "headerFields",
    "primaryFields",
    "secondaryFields",
    "auxiliaryFields",
    "backFields",
    "additionalInfoFields",
]
_REQUIRED = [
    *("passTypeIdentifier", "teamIdentifier", "serialNumber", "organizationName"),
    "description",
]
_PASS_TYPE_EXTENSION = ObjectIdentifier("1.2.840.113635.100.6.1.16")
_PASS_SIGNING = ObjectIdentifier("1.2.840.113635.100.4.14")
_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:\d\d)")
_STRINGS = re.compile(r"([A-Za-z-]+)\.lproj/pass\.strings")
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension)
_OPENSSL_SECONDS = 30
MIN_TOKEN_LENGTH = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class PassContent:
    """A pass that may be installed. `strings`: translations by language, empty without any."""

    pass_type_identifier: str
    serial_number: str
    authentication_token: str = field(repr=False)
    web_service_url: str
    document: dict[str, Any] = field(repr=False)
    strings: dict[str, dict[str, str]] = field(repr=False)
    signing_time: datetime
    digest: str
    """SHA-256 of the bundle."""


@dataclass(frozen=True, slots=True)
class _Identity:
    pass_type_identifier: str
    team_identifier: str
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    not_before: datetime
    not_after: datetime


class BundleVerifier:
    """Trusts the given roots (PEM). `openssl_every`: each so many-th bundle is given to openssl
    too, 0 for none. Chains are checked once and remembered; everything else each time."""

    def __init__(self, *roots: bytes, openssl_every: int = 0) -> None:
        self._roots_pem = roots
        self._roots = [x509.load_pem_x509_certificate(root) for root in roots]
        self._openssl_every = openssl_every
        self._identities: dict[tuple[bytes, ...], _Identity] = {}
        self.verified = 0

    def verify(self, bundle: bytes) -> PassContent:
        """Gives what is in it; BundleRefused says why Wallet would not have it."""
        files = _unzip(bundle)
        _check_manifest(files)
        signature = read_signature(files["signature"])
        identity = self._identify(signature)
        _check_signature(signature, identity, files["manifest.json"])
        document = _read_document(files)
        for key, expected in (
            ("passTypeIdentifier", identity.pass_type_identifier),
            ("teamIdentifier", identity.team_identifier),
        ):
            _require(document[key] == expected, f"{key} is not the certificate's")
        self.verified += 1
        if self._openssl_every and self.verified % self._openssl_every == 0:
            self._verify_with_openssl(files)
        return PassContent(
            pass_type_identifier=document["passTypeIdentifier"],
            serial_number=document["serialNumber"],
            authentication_token=document.get("authenticationToken", ""),
            web_service_url=document.get("webServiceURL", ""),
            document=document,
            strings={
                found[1]: read_strings(content)
                for name, content in files.items()
                if (found := _STRINGS.fullmatch(name))
            },
            signing_time=signature.signing_time,
            digest=hashlib.sha256(bundle).hexdigest(),
        )

    def _identify(self, signature: DetachedSignature) -> _Identity:
        place = (*signature.certificates, signature.serial_number.to_bytes(24))
        if place not in self._identities:
            try:
                self._identities[place] = self._check_chain(signature)
            except _UNREADABLE as error:
                raise BundleRefused("a certificate cannot be read") from error
        return self._identities[place]

    def _check_chain(self, signature: DetachedSignature) -> _Identity:
        certificates = [x509.load_der_x509_certificate(der) for der in signature.certificates]
        leaves = [
            each
            for each in certificates
            if each.serial_number == signature.serial_number
            and each.issuer.public_bytes() == signature.issuer
        ]
        _require(len(leaves) == 1, "the signer's certificate is not in the signature")
        [leaf] = leaves
        issuers = [each for each in certificates if each.subject == leaf.issuer]
        _require(len(issuers) == 1, "the intermediate is not in the signature")
        [intermediate] = issuers
        roots = [each for each in self._roots if each.subject == intermediate.issuer]
        _require(len(roots) == 1, "the chain does not end at a trusted root")
        try:
            leaf.verify_directly_issued_by(intermediate)
            intermediate.verify_directly_issued_by(roots[0])
        except (ValueError, TypeError, InvalidSignature) as error:
            raise BundleRefused("the certificate trust chain could not be verified") from error
        return _read_identity(leaf)

    def _verify_with_openssl(self, files: dict[str, bytes]) -> None:
        with TemporaryDirectory() as name:
            folder = Path(name)
            (folder / "roots.pem").write_bytes(b"".join(self._roots_pem))
            for each in ("signature", "manifest.json"):
                (folder / each).write_bytes(files[each])
            done = subprocess.run(
                [
                    *("openssl", "cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
                    *("-in", "signature", "-content", "manifest.json"),
                    *("-CAfile", "roots.pem", "-out", "verified"),
                ],
                cwd=folder,
                capture_output=True,
                timeout=_OPENSSL_SECONDS,
                check=False,
            )
        _require(done.returncode == 0, f"openssl: {done.stderr.decode(errors='replace')}")


def _unzip(bundle: bytes) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            names = archive.namelist()
            _require(len(names) == len(set(names)), "a name twice in the archive")
            files = {name: archive.read(name) for name in names}
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise BundleRefused(f"no readable archive: {error}") from error
    for name in names:
        steps = name.split("/")
        _require("" not in steps and ".." not in steps and "\\" not in name, f"name {name!r}")
    for needed in ("pass.json", "manifest.json", "signature", "icon.png"):
        _require(needed in files, f"{needed} is missing")
    return files


def _check_manifest(files: dict[str, bytes]) -> None:
    digests = {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
        if name not in {"manifest.json", "signature"}
    }
    _require(_json(files["manifest.json"]) == digests, "the manifest does not fit the files")


def _read_identity(leaf: x509.Certificate) -> _Identity:
    names = {each.oid: str(each.value) for each in leaf.subject}
    key = leaf.public_key()
    try:
        extension = leaf.extensions.get_extension_for_oid(_PASS_TYPE_EXTENSION).value
        usages = leaf.extensions.get_extension_for_oid(ExtensionOID.EXTENDED_KEY_USAGE).value
        usage = leaf.extensions.get_extension_for_oid(ExtensionOID.KEY_USAGE).value
        pass_type = names[NameOID.USER_ID]
        team = names[NameOID.ORGANIZATIONAL_UNIT_NAME]
    except (x509.ExtensionNotFound, KeyError) as error:
        raise BundleRefused("the certificate is not of a pass type") from error
    if not (
        isinstance(extension, x509.UnrecognizedExtension)
        and isinstance(usages, x509.ExtendedKeyUsage)
        and isinstance(usage, x509.KeyUsage)
    ):
        raise BundleRefused("an extension of the certificate is of another kind")
    _require(extension.value[2:] == pass_type.encode(), "UID and extension differ")
    _require(_PASS_SIGNING in usages, "the certificate is not for signing passes")
    _require(usage.digital_signature, "the certificate may not sign")
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise BundleRefused("kind of key")
    return _Identity(pass_type, team, key, leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _check_signature(signature: DetachedSignature, identity: _Identity, manifest: bytes) -> None:
    _require(
        identity.not_before <= signature.signing_time <= identity.not_after,
        "signed outside the certificate's time",
    )
    _require(
        signature.digest == hashlib.sha256(manifest).digest(), "the signature is of other content"
    )
    try:
        if isinstance(identity.key, rsa.RSAPublicKey):
            identity.key.verify(
                signature.signature, signature.signed, padding.PKCS1v15(), hashes.SHA256()
            )
        else:
            identity.key.verify(signature.signature, signature.signed, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as error:
        raise BundleRefused("the signature is wrong") from error


def _read_document(files: dict[str, bytes]) -> dict[str, Any]:
    document = _json(files["pass.json"])
    if not isinstance(document, dict):
        raise BundleRefused("pass.json is no object")
    version = document.get("formatVersion")
    _require(version == 1 and type(version) is int, "formatVersion is not 1")
    for key in _REQUIRED:
        _require(isinstance(document.get(key), str) and document[key], f"{key} is missing")
    _require(len(STYLES & document.keys()) == 1, "exactly one style is expected")
    has_service = "webServiceURL" in document
    _require(
        has_service == ("authenticationToken" in document), "web service and token belong together"
    )
    if has_service:
        url, token = document["webServiceURL"], document["authenticationToken"]
        _require(url.startswith("https://"), "the web service is not https")
        _require(len(token) >= MIN_TOKEN_LENGTH, "the authentication token is too short")
    for key in ("expirationDate", "relevantDate"):
        _require(key not in document or _DATE.fullmatch(document[key]), f"{key} is no date")
    keys = [each["key"] for each in pass_fields(document)]
    _require(len(keys) == len(set(keys)), "a field's key twice")
    for each in pass_fields(document):
        _require("value" in each, f"field {each['key']} has no value")
        _require("%@" in each.get("changeMessage", "%@"), "a changeMessage without %@")
    return document


def pass_fields(document: dict[str, Any]) -> list[dict[str, Any]]:
    """All fields of a pass.json in the order of their groups."""
    [style] = STYLES & document.keys()
    return [each for group in FIELD_GROUPS for each in document[style].get(group, [])]


def _json(content: bytes) -> object:
    try:
        read: object = json.loads(content)
    except ValueError as error:
        raise BundleRefused("a file is no JSON") from error
    return read


def _require(holds: object, otherwise: str) -> None:
    if not holds:
        raise BundleRefused(otherwise)
