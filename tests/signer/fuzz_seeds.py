"""What the signer's fuzz targets begin with: good and nearly good inputs, made anew for each run.

`python -m tests.signer.fuzz_seeds FOLDER` writes a folder of seeds for each target of
`signer_ext/fuzz`. Inputs of several parts have each part behind its length, as
`signer_ext/fuzz/src/lib.rs` reads them.
"""

import io
import struct
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    serialize_key_and_certificates,
)

from passmill._signer import PreparedRevision, SigningIdentity, seal
from passmill.dev.authority import IssuedCertificate, KeyType, ThrowawayAuthority
from passmill.domain.apple import encode_pass_data, write_document
from tests.signer.documents import document, line
from tests.signer.images import png, png_header
from tests.signer.signers import NOW, SIGNING_TIME
from tests.support import templates

_PASSWORD = "open sesame"
_ITERATIONS = 2
"""Of key derivation: the fuzzer's time is for reading, not for deriving."""
_ICON = png(1, 1)
_STRINGS = '"offer" = "优惠";\n'.encode("utf-16")


def write_seeds(folder: Path) -> None:
    """Write the seeds of all targets as `folder/<target>/<number>`, over old ones."""
    numbers: dict[str, int] = {}
    for target, seed in _seeds():
        numbers[target] = numbers.get(target, 0) + 1
        path = folder / target / f"seed-{numbers[target]:02}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(seed)


def _seeds() -> Iterator[tuple[str, bytes]]:
    """Yield target and seed."""
    authority = ThrowawayAuthority(now=NOW)
    for key_type in (KeyType.P256, KeyType.RSA_2048):
        issued = authority.issue_pass_certificate(now=NOW, key_type=key_type)
        yield from _bundles(authority, issued)
        yield from _keys(issued)
        yield from _stores(issued)
    unusual = authority.issue_pass_certificate(now=NOW, key_type=KeyType.P384, nfc=True, usages=())
    yield from _keys(unusual)
    yield from _revisions()
    yield from _documents()
    yield from _answers()


def _bundles(
    authority: ThrowawayAuthority, issued: IssuedCertificate
) -> Iterator[tuple[str, bytes]]:
    identity = SigningIdentity.from_pem(
        issued.certificate_pem,
        issued.private_key_pem,
        password=None,
        intermediates=[issued.wwdr_pem],
        now=SIGNING_TIME,
    )
    card = document(issued.pass_type_identifier, issued.team_identifier)
    plain = {"icon.png": _ICON}
    for files in (plain, plain | {"zh-Hans.lproj/pass.strings": _STRINGS}):
        [bundle] = seal(PreparedRevision(files, card), line(1), identity, [SIGNING_TIME])
        yield "archive", bundle
        yield "bundle", _join(bundle, authority.root_der)
        if files == plain:
            with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
                pass_json, cms = archive.read("pass.json"), archive.read("signature")
            yield "cms", _join(_ICON, pass_json, authority.root_der, cms)


def _keys(issued: IssuedCertificate) -> Iterator[tuple[str, bytes]]:
    """Yield the key in each form that people have, beside its certificate."""
    key, leaf, wwdr = issued.private_key, issued.certificate_der, issued.wwdr_der
    forms = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    for form in forms:
        for encoding in (Encoding.DER, Encoding.PEM):
            yield "pem", _join(leaf, key.private_bytes(encoding, form, NoEncryption()), wwdr)
        if isinstance(key, rsa.RSAPrivateKey):
            yield "rsa_key", key.private_bytes(Encoding.DER, form, NoEncryption())
    encrypted = BestAvailableEncryption(_PASSWORD.encode())
    for encoding in (Encoding.DER, Encoding.PEM):
        key_bytes = key.private_bytes(encoding, PrivateFormat.PKCS8, encrypted)
        yield "pem", _join(issued.certificate_pem, key_bytes, issued.wwdr_pem)


def _stores(issued: IssuedCertificate) -> Iterator[tuple[str, bytes]]:
    """Yield PKCS#12 files, not encrypted and by the old and the new algorithms."""
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ITERATIONS)
    encryptions: list[KeySerializationEncryption] = [NoEncryption()]
    for algorithm in PBES:
        for digest in (hashes.SHA1(), hashes.SHA256()):  # noqa: S303 - what old files have
            chosen = builder.key_cert_algorithm(algorithm).hmac_hash(digest)
            encryptions.append(chosen.build(_PASSWORD.encode()))
    for encryption in encryptions:
        for others in (None, [issued.wwdr]):
            store = serialize_key_and_certificates(
                b"pass", issued.private_key, issued.certificate, others, encryption
            )
            yield "pkcs12", _join(store, issued.wwdr_der)


def _revisions() -> Iterator[tuple[str, bytes]]:
    """Yield sets of files: names and contents by turns."""
    padded = png(3, 2, padding=b"text")
    yield "revision", _join(b"icon.png", _ICON, b"logo@2x.png", padded)
    yield "revision", _join(b"icon@3x.png", padded, b"en.lproj/pass.strings", _STRINGS, b"a", b"")
    yield "revision", _join(b"icon.png", png_header(60_000, 60_000), b"Pass.json", b"{}")


def _documents() -> Iterator[tuple[str, bytes]]:
    """Yield templates of each kind with two passes, one with all values and one with few."""
    for content in (templates.store_card(), templates.coupon(), templates.semantic_boarding_pass()):
        passes = (templates.pass_data(content), templates.bare_pass_data(content))
        batch = b"".join(encode_pass_data(pass_data) for pass_data in passes)
        yield "document", _join(write_document(content, templates.PINS).encode(), batch)
    yield "document", _join(document("pass.example", "TEAM").encode(), line(1) + line(2, None))


def _answers() -> Iterator[tuple[str, bytes]]:
    """Yield what the push service answers, one time after another: status, headers, body."""
    shutdown = (b"503", b"retry-after:1\napns-id:0", b'{"reason":"Shutdown"}')
    odd = (b"429", b"Retry-After: 2\nretry-after:Sun, 06 Nov 1994 08:49:37 GMT", b"<html>Wait")
    idle = (b"400", b"", b'{"reason":"IdleTimeout"}')
    bad = (b"400", b"content-type:application/json", b'{"reason":"BadDeviceToken"}')
    dead = (b"410", b"", b'{"reason":"Unregistered","timestamp":1764000000123}')
    for last in (bad, dead, (b"200", b"", b"")):
        yield "answers", _join(*last)
        yield "answers", _join(*shutdown, *odd, *idle, *last)
    yield "answers", _join(*idle * 9)


def _join(*parts: bytes) -> bytes:
    return b"".join(struct.pack("<H", len(part)) + part for part in parts)


if __name__ == "__main__":
    write_seeds(Path(sys.argv[1]))
