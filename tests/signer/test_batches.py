"""Batches, which sign RSA-2048 eight at a time, against signatures OpenSSL makes one by one."""

import hashlib
import io
import zipfile
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from passmill._signer import PreparedRevision, assemble, repaired_signatures, seal, sign_batch
from tests.signer.documents import line
from tests.signer.signers import SIGNING_TIME, Signer

FULL_BATCH = 20
"""Passes: two groups of eight, and a rest."""


def signed_attributes(manifest: bytes, signing_time: int) -> bytes:
    """What is signed for a manifest: content type, signing time and message digest, in DER."""
    time = datetime.fromtimestamp(signing_time, UTC).strftime("%y%m%d%H%M%SZ").encode()
    return (
        bytes.fromhex("3169 3018 06092a864886f70d010903 310b 06092a864886f70d010701")
        + bytes.fromhex("301c 06092a864886f70d010905 310f 170d")
        + time
        + bytes.fromhex("302f 06092a864886f70d010904 3122 0420")
        + hashlib.sha256(manifest).digest()
    )


@pytest.fixture(scope="module")
def by_openssl(revision: PreparedRevision, rsa: Signer) -> list[bytes]:
    """The signature of each pass of a full batch, made by OpenSSL."""
    key = rsa.issued.private_key
    assert isinstance(key, RSAPrivateKey)
    found = []
    for number in range(FULL_BATCH):
        time = SIGNING_TIME + number
        [bundle] = seal(revision, line(number), rsa.identity, [time])
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            attributes = signed_attributes(archive.read("manifest.json"), time)
        found.append(key.sign(attributes, padding.PKCS1v15(), hashes.SHA256()))
    return found


@pytest.mark.parametrize("portable", [False, True])
def test_batches_of_any_size_are_signed_as_openssl_signs(
    revision: PreparedRevision,
    rsa: Signer,
    by_openssl: list[bytes],
    portable: bool,
) -> None:
    """The signatures of 1 to 20 passes are OpenSSL's, in their order, by each way to compute them,
    and none had to be made again.
    """
    lines = [line(number) for number in range(FULL_BATCH)]
    times = [SIGNING_TIME + number for number in range(FULL_BATCH)]
    for count in range(1, FULL_BATCH + 1):
        _, signatures = sign_batch(
            revision, b"".join(lines[:count]), rsa.identity, times[:count], portable=portable
        )
        assert signatures == by_openssl[:count]
    assert repaired_signatures() == 0


@pytest.mark.parametrize("portable", [False, True])
def test_sealing_a_batch_is_signing_and_assembling_it(
    revision: PreparedRevision, rsa: Signer, portable: bool
) -> None:
    """The bundles of a batch come in order, and are those that are assembled from its signatures,
    by any number of threads and each way to compute them."""
    lines = [line(number) for number in range(40)]
    times = [SIGNING_TIME + number for number in range(40)]
    digests, signatures = sign_batch(revision, b"".join(lines), rsa.identity, times)
    assembled = [
        assemble(
            revision,
            each,
            rsa.identity.certificate,
            signing_time=time,
            digest=digest,
            signature=signature,
        )
        for each, time, digest, signature in zip(lines, times, digests, signatures, strict=True)
    ]
    for threads in (1, 3, None):
        sealed = seal(
            revision, b"".join(lines), rsa.identity, times, threads=threads, portable=portable
        )
        assert sealed == assembled
