"""Sealed bundles, judged by programs and libraries that are not ours."""

import hashlib
import io
import json
import random
import stat
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric import rsa as rsa_keys
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from hypothesis import given
from hypothesis import strategies as st

from passmill._signer import (
    DigestMismatch,
    InvalidBundle,
    PreparedRevision,
    assemble,
    pack_passes,
    read_bundle,
    render,
    seal,
    sign_batch,
)
from passmill.dev.authority import ThrowawayAuthority
from tests.signer.documents import line
from tests.signer.images import png
from tests.signer.signers import SIGNING_TIME, Signer
from tests.support.tools import read_with_libarchive, run

RenderPass = Callable[[int], bytes]

ALPHANUMERIC = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
file_names = st.tuples(
    st.sampled_from(["", "en.lproj/", "zh-Hans.lproj/", "pt_BR.lproj/"]),
    st.sampled_from(ALPHANUMERIC),
    st.text(ALPHANUMERIC + "_-@", max_size=30),
    st.sampled_from(["", ".strings", ".json", ".txt", ".bin"]),
).map("".join)
file_sets = st.dictionaries(file_names, st.binary(max_size=2000), max_size=12).filter(
    lambda files: (
        len({name.lower() for name in files}) == len(files)
        and not {"signature", "pass.json", "manifest.json"} & {name.lower() for name in files}
    )
)


def entries(bundle: bytes) -> dict[str, bytes]:
    """Reads a bundle with Python's zipfile, CRCs checked."""
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def sealed(revision: PreparedRevision, signer: Signer) -> bytes:
    """A bundle of each kind of key."""
    return seal_one(revision, line(1), signer)


def seal_one(revision: PreparedRevision, one: bytes, signer: Signer) -> bytes:
    """The bundle of one pass."""
    [bundle] = seal(revision, one, signer.identity, [SIGNING_TIME])
    return bundle


def test_openssl_verifies(sealed: bytes, authority: ThrowawayAuthority, tmp_path: Path) -> None:
    """`openssl cms -verify` accepts the signature up to the root, and refuses another manifest."""
    files = entries(sealed)
    (tmp_path / "signature").write_bytes(files["signature"])
    (tmp_path / "manifest.json").write_bytes(files["manifest.json"])
    (tmp_path / "root.pem").write_bytes(authority.root_pem)
    command = (
        *("cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
        *("-in", tmp_path / "signature", "-content", tmp_path / "manifest.json"),
        *("-CAfile", tmp_path / "root.pem", "-attime", str(SIGNING_TIME)),
        *("-out", tmp_path / "verified"),
    )
    run("openssl", *command)
    assert (tmp_path / "verified").read_bytes() == files["manifest.json"]
    (tmp_path / "manifest.json").write_bytes(files["manifest.json"] + b"\n")
    with pytest.raises(AssertionError, match="content verify error"):
        run("openssl", *command)


def test_openssl_reads_the_cms_as_specified(revision: PreparedRevision, signer: Signer) -> None:
    """Golden: the structure of the CMS as `openssl cms -cmsout -print` tells it, line by line."""
    bundle = seal_one(revision, line(1), signer)
    printed = run(
        "openssl", "cms", "-cmsout", "-print", "-inform", "der", stdin=entries(bundle)["signature"]
    )
    text = [line.strip() for line in printed.decode().splitlines()]
    is_rsa = signer.identity.certificate.key_algorithm.startswith("RSA")
    signature_algorithm = (
        ["algorithm: rsaEncryption (1.2.840.113549.1.1.1)", "parameter: NULL"]
        if is_rsa
        else ["algorithm: ecdsa-with-SHA256 (1.2.840.10045.4.3.2)", "parameter: <ABSENT>"]
    )
    sha256 = ["algorithm: sha256 (2.16.840.1.101.3.4.2.1)", "parameter: NULL"]
    head = text[: text.index("certificates:")]
    assert head == [
        *("CMS_ContentInfo:", "contentType: pkcs7-signedData (1.2.840.113549.1.7.2)"),
        *("d.signedData:", "version: 1", "digestAlgorithms:", *sha256),
        *("encapContentInfo:", "eContentType: pkcs7-data (1.2.840.113549.1.7.1)"),
        "eContent: <ABSENT>",
    ]
    assert text.count("d.certificate:") == 2
    tail = text[text.index("crls:") :]
    signature_at = tail.index("signature:")
    digest_at = tail.index("object: messageDigest (1.2.840.113549.1.9.4)")
    assert tail[:4] == ["crls:", "<ABSENT>", "signerInfos:", "version: 1"]
    assert tail[4] == "d.issuerAndSerialNumber:"
    algorithm_at = tail.index("digestAlgorithm:")
    assert tail[algorithm_at : digest_at + 2] == [
        *("digestAlgorithm:", *sha256, "signedAttrs:"),
        *("object: contentType (1.2.840.113549.1.9.3)", "set:"),
        *("OBJECT:pkcs7-data (1.2.840.113549.1.7.1)", ""),
        *(
            "object: signingTime (1.2.840.113549.1.9.5)",
            "set:",
            "UTCTIME:Mar  1 12:00:00 2026 GMT",
            "",
        ),
        *("object: messageDigest (1.2.840.113549.1.9.4)", "set:"),
    ]
    assert tail[signature_at - 3 : signature_at] == ["signatureAlgorithm:", *signature_algorithm]
    assert tail[-3:-1] == ["unsignedAttrs:", "<ABSENT>"] or tail[-2:] == [
        "unsignedAttrs:",
        "<ABSENT>",
    ]


def test_cryptography_verifies(sealed: bytes, signer: Signer) -> None:
    """Python's `cryptography` finds leaf and intermediate, and the leaf's key verifies the signed
    attributes.
    """
    files = entries(sealed)
    certificates = pkcs7.load_der_pkcs7_certificates(files["signature"])
    ders = {certificate.public_bytes(Encoding.DER) for certificate in certificates}
    assert ders == {signer.issued.certificate_der, signer.issued.wwdr_der}
    attributes = signed_attributes(hashlib.sha256(files["manifest.json"]).digest())
    assert files["signature"].count(b"\xa0" + attributes[1:]) == 1
    verify_with_leaf(
        signer.issued.certificate, trailing_signature(files["signature"], signer), attributes
    )


def signed_attributes(digest: bytes) -> bytes:
    """The signed attributes as they must be, written by hand. [RFC 5652, section 5.3]"""
    time = datetime.fromtimestamp(SIGNING_TIME, UTC).strftime("%y%m%d%H%M%SZ").encode()
    oid = bytes.fromhex("06092a864886f70d0109")
    return (
        b"\x31\x69"
        + (b"\x30\x18" + oid + b"\x03\x31\x0b" + bytes.fromhex("06092a864886f70d010701"))
        + (b"\x30\x1c" + oid + b"\x05\x31\x0f\x17\x0d" + time)
        + (b"\x30\x2f" + oid + b"\x04\x31\x22\x04\x20" + digest)
    )


def trailing_signature(cms: bytes, signer: Signer) -> bytes:
    """The signature value, which is the CMS's last field."""
    key = signer.issued.certificate.public_key()
    if isinstance(key, rsa_keys.RSAPublicKey):
        return cms[-key.key_size // 8 :]
    return cms[cms.rindex(b"\x04\x03\x02\x04") + 5 :]


def verify_with_leaf(certificate: x509.Certificate, signature: bytes, message: bytes) -> None:
    """Raises InvalidSignature if the certificate's key did not sign the message."""
    key = certificate.public_key()
    if isinstance(key, rsa_keys.RSAPublicKey):
        key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
    else:
        assert isinstance(key, ec.EllipticCurvePublicKey)
        key.verify(signature, message, ec.ECDSA(hashes.SHA256()))


def test_every_zip_reader_opens_it(sealed: bytes, files: dict[str, bytes], tmp_path: Path) -> None:
    """Info-ZIP, libarchive and zipfile read the same files."""
    path = tmp_path / "card.pkpass"
    path.write_bytes(sealed)
    expected = entries(sealed)
    assert set(expected) == {*files, "pass.json", "manifest.json", "signature"}
    assert b"No errors detected" in run("unzip", "-t", path)
    assert run("unzip", "-Z1", path).decode().split() == list(expected)
    for name, content in expected.items():
        assert run("unzip", "-p", path, name) == content
    read = read_with_libarchive(sealed, tmp_path)
    assert list(read.items()) == list(expected.items())


def test_the_zip_has_nothing_optional(sealed: bytes) -> None:
    """Stored, no flags, no extras, no comments, one fixed time, plain files, manifest, pass and
    signature last.
    """
    with zipfile.ZipFile(io.BytesIO(sealed)) as archive:
        infos = archive.infolist()
        assert archive.comment == b""
    for info in infos:
        assert (info.compress_type, info.flag_bits, info.extra, info.comment) == (0, 0, b"", b"")
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
        assert stat.filemode(info.external_attr >> 16) == "-rw-r--r--"
        assert info.filename.isascii()
    names = [info.filename for info in infos]
    assert names[-3:] == ["manifest.json", "pass.json", "signature"]
    assert names[:-3] == sorted(names[:-3])


def test_the_manifest_lists_every_file(sealed: bytes) -> None:
    """The manifest is one compact line of all SHA-1 digests, sorted, of every file but itself and
    the signature.
    """
    files = entries(sealed)
    digests = {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
        if name not in {"manifest.json", "signature"}
    }
    expected = json.dumps(digests, sort_keys=True, separators=(",", ":")).encode()
    assert files["manifest.json"] == expected


def test_our_reader_agrees(
    sealed: bytes,
    signer: Signer,
    files: dict[str, bytes],
    pass_json: RenderPass,
    authority: ThrowawayAuthority,
) -> None:
    """The strict reader gives back what was sealed, and by whom and when."""
    report = read_bundle(sealed, root=authority.root_der)
    assert report.files == files
    assert report.pass_json == pass_json(1)
    assert report.signing_time == SIGNING_TIME
    assert report.certificate.fingerprint_sha256 == signer.identity.certificate.fingerprint_sha256
    assert (report.manifest, report.cms) == (
        entries(sealed)["manifest.json"],
        entries(sealed)["signature"],
    )


def test_equal_input_gives_equal_bytes(
    revision: PreparedRevision, files: dict[str, bytes], card: str, rsa: Signer
) -> None:
    """Sealing again, with a revision prepared from other order, gives the same bundle; another
    second does not.
    """
    again = PreparedRevision(dict(reversed(files.items())), card)
    first = seal_one(revision, line(1), rsa)
    assert seal_one(again, line(1), rsa) == first
    assert seal(revision, line(1), rsa.identity, [SIGNING_TIME + 1]) != [first]


def test_assembling_is_sealing_without_the_key(
    revision: PreparedRevision, pass_json: RenderPass, rsa: Signer
) -> None:
    """From the stored recipe and the certificate alone comes the very bundle that sealing gives."""
    lines = [line(number) for number in range(40)]
    times = [SIGNING_TIME + number for number in range(40)]
    digests, signatures = sign_batch(revision, b"".join(lines), rsa.identity, times)
    columns = zip(lines, times, digests, signatures, strict=True)
    for number, (one, time, digest, signature) in enumerate(columns):
        assert digest == hashlib.sha1(pass_json(number), usedforsecurity=False).digest()
        assert len(signature) == 256
        bundle = assemble(
            revision,
            one,
            rsa.identity.certificate,
            signing_time=time,
            digest=digest,
            signature=signature,
        )
        assert [bundle] == seal(revision, one, rsa.identity, [time])


def test_a_p256_recipe_assembles_to_the_same_bytes(
    revision: PreparedRevision, signer: Signer
) -> None:
    """P-256 signs differently each time, yet one stored signature gives one bundle."""
    [digest], [signature] = sign_batch(revision, line(1), signer.identity, [SIGNING_TIME])
    bundles = {
        assemble(
            revision,
            line(1),
            signer.identity.certificate,
            signing_time=SIGNING_TIME,
            digest=digest,
            signature=signature,
        )
        for _ in range(3)
    }
    assert len(bundles) == 1
    assert trailing_signature(entries(bundles.pop())["signature"], signer) == signature


@given(files=file_sets, note=st.none() | st.text(max_size=3000))
def test_any_files_round_trip(
    files: dict[str, bytes], note: str | None, card: str, rsa: Signer
) -> None:
    """Whatever the files and the note: the bundle unzips to them, a manifest and a signature."""
    files = {**files, "icon.png": png(1, 1)}
    revision = PreparedRevision(files, card)
    [content] = render(revision, line(1, note))
    assert json.loads(content).get("userInfo") == (None if note is None else {"note": note})
    unzipped = entries(seal_one(revision, line(1, note), rsa))
    manifest = json.loads(unzipped.pop("manifest.json"))
    assert set(manifest) == {*files, "pass.json"}
    del unzipped["signature"]
    assert unzipped == {**files, "pass.json": content}


def test_no_changed_recipe_is_assembled(
    revision: PreparedRevision, files: dict[str, bytes], card: str, signer: Signer
) -> None:
    """A flipped bit in digest, signature, values, document, image or time never becomes a bundle:
    it is refused, or shows what it showed before."""
    own = line(1)
    [content] = render(revision, own)
    [digest], [signature] = sign_batch(revision, own, signer.identity, [SIGNING_TIME])
    certificate = signer.identity.certificate

    def reason(**changed: bytes) -> str:
        recipe = {"line": own, "digest": digest, "signature": signature, **changed}
        with pytest.raises(DigestMismatch) as refusal:
            assemble(
                changed_revision,
                recipe["line"],
                certificate,
                signing_time=signing_time,
                digest=recipe["digest"],
                signature=recipe["signature"],
            )
        return refusal.value.reason

    changed_revision, signing_time = revision, SIGNING_TIME
    for flipped in flips(digest):
        assert reason(digest=flipped) == "PASS_JSON_DIGEST"
    for flipped in flips(signature):
        assert reason(signature=flipped) == "SIGNATURE"
    shown = 0
    for flipped in flips(own):
        try:
            [other] = render(revision, flipped)
        except (InvalidBundle, ValueError):
            continue
        if other != content:
            shown += 1
            assert reason(line=flipped) == "PASS_JSON_DIGEST"
            digest_of_flipped = hashlib.sha1(other, usedforsecurity=False).digest()
            assert reason(line=flipped, digest=digest_of_flipped) == "SIGNATURE"
    assert shown > 20
    for wrong_time in (SIGNING_TIME - 1, SIGNING_TIME + 1):
        signing_time = wrong_time
        assert reason() == "SIGNATURE"
    signing_time = SIGNING_TIME
    strings = files["en.lproj/pass.strings"]
    for flipped in flips(strings):
        changed_revision = PreparedRevision({**files, "en.lproj/pass.strings": flipped}, card)
        assert reason() == "SIGNATURE"
    changed_revision = PreparedRevision(files, card.replace("A card", "A cart"))
    assert reason() == "PASS_JSON_DIGEST"


def flips(content: bytes) -> list[bytes]:
    """The content with one bit flipped: each bit if it is short, else a repeatable hundred."""
    bits: list[int] = list(range(len(content) * 8))
    if len(bits) > 256:
        bits = random.Random(7).sample(bits, 100)  # noqa: S311 - which bits, not a secret
    return [
        bytes(
            byte ^ (1 << bit % 8 if position == bit // 8 else 0)
            for position, byte in enumerate(content)
        )
        for bit in bits
    ]


def test_ten_passes_in_one_download(
    revision: PreparedRevision, rsa: Signer, tmp_path: Path
) -> None:
    """A `.pkpasses` holds the bundles unchanged, under names in order, for every reader."""
    lines = b"".join(line(number) for number in range(10))
    bundles = seal(revision, lines, rsa.identity, [SIGNING_TIME] * 10)
    packed = pack_passes(bundles)
    assert entries(packed) == {
        f"pass-{number}.pkpass": bundle for number, bundle in enumerate(bundles, start=1)
    }
    path = tmp_path / "cards.pkpasses"
    path.write_bytes(packed)
    assert b"No errors detected" in run("unzip", "-t", path)
    assert list(read_with_libarchive(packed, tmp_path).values()) == bundles
