"""Private keys and passwords: not in texts, not in exceptions, and not in memory once they are done
with.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from passmill._signer import SignerError, SigningIdentity
from passmill.dev.authority import IssuedCertificate
from tests.signer.documents import EMPTY_DOCUMENT
from tests.signer.images import png
from tests.signer.signers import SIGNING_TIME, Signer
from tests.support.tools import run

PASSWORD = "canary-password-4711"


def secret_numbers(issued: IssuedCertificate) -> list[bytes]:
    """The private numbers as they can lie in memory: as in DER, as little-endian words, and as the
    limbs of 52 bits, in 64 each, that sign eight at a time.
    """
    assert isinstance(issued.private_key, RSAPrivateKey)
    numbers = issued.private_key.private_numbers()
    found = []
    for number in (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.dmq1):
        size = (number.bit_length() + 7) // 8
        found += [number.to_bytes(size, "big"), number.to_bytes(size, "little")]
        limbs = [(number >> place) % 2**52 for place in range(0, number.bit_length(), 52)]
        found.append(b"".join(limb.to_bytes(8, "little") for limb in limbs))
    return [number[8:56] for number in found]  # a stretch from the middle is enough to know it


def test_texts_show_no_secret(rsa: Signer) -> None:
    """The text of an identity names the pass type, and has neither key nor address."""
    text = repr(rsa.identity) + str(rsa.identity) + repr(rsa.identity.certificate)
    assert rsa.issued.pass_type_identifier in text
    assert "key" not in text.lower()
    assert not [name for name in dir(rsa.identity) if "key" in name or "der" in name]
    assert "PRIVATE" not in repr(rsa.issued)


def test_exceptions_show_no_secret(rsa: Signer) -> None:
    """Messages and arguments of refusals quote neither password nor key."""
    data = rsa.issued.pkcs12(PASSWORD)
    keys = [rsa.issued.private_key_pem, rsa.issued.encrypted_private_key_pem(PASSWORD)]
    wrapped = rsa.identity.wrap(wrapping_key=bytes(32))
    attempts: list[Callable[[], object]] = [
        lambda: SigningIdentity.from_pkcs12(
            data, password=PASSWORD + "x", intermediates=[], now=SIGNING_TIME
        ),
        lambda: SigningIdentity.from_pkcs12(
            data[:-1], password=PASSWORD, intermediates=[], now=SIGNING_TIME
        ),
        lambda: SigningIdentity.from_pem(
            rsa.issued.certificate_pem, keys[0], password=None, intermediates=[], now=SIGNING_TIME
        ),
        lambda: SigningIdentity.from_pem(
            keys[0], keys[0], password=None, intermediates=[], now=SIGNING_TIME
        ),
        lambda: SigningIdentity.from_pem(
            rsa.issued.certificate_pem,
            keys[1],
            password=PASSWORD + "x",
            intermediates=[rsa.issued.wwdr_pem],
            now=SIGNING_TIME,
        ),
        lambda: SigningIdentity.unwrap(
            wrapped,
            wrapping_key=PASSWORD.encode(),
            certificate=rsa.identity.certificate,
            now=SIGNING_TIME,
        ),
    ]
    for attempt in attempts:
        with pytest.raises(SignerError) as caught:
            attempt()
        text = repr(caught.value) + str(caught.value.args) + str(vars(caught.value))
        assert PASSWORD not in text
        assert keys[0].splitlines()[3].decode() not in text


# Loads the identity in each way, signs a batch, says so, waits, drops it, says so, waits.
CHILD = """
import gc, sys
from pathlib import Path
from passmill._signer import PreparedRevision, SigningCertificate, SigningIdentity, sign_batch
folder, now = Path(sys.argv[1]), int(sys.argv[2])
wwdr = (folder / "wwdr.pem").read_bytes()
held = []
for name in ("modern.p12", "keychain.p12"):
    held.append(SigningIdentity.from_pkcs12(
        (folder / name).read_bytes(), password="secret", intermediates=[wwdr], now=now))
held.append(SigningIdentity.from_pem(
    (folder / "leaf.pem").read_bytes(), (folder / "encrypted.pem").read_bytes(), password="secret",
    intermediates=[wwdr], now=now))
wrapped = held[0].wrap(wrapping_key=bytes(32))
held.append(SigningIdentity.unwrap(
    wrapped, wrapping_key=bytes(32), certificate=held[0].certificate, now=now))
revision = PreparedRevision({"icon.png": (folder / "icon.png").read_bytes()}, sys.argv[3])
sign_batch(revision, b"[{}]\\n" * 20, held[0], [now] * 20)
print("loaded", flush=True)
sys.stdin.readline()
held.clear()
gc.collect()
print("dropped", flush=True)
sys.stdin.readline()
"""


def count_in_memory(process_id: int, needles: list[bytes]) -> int:
    """How many of the needles lie in the process's writable memory."""
    found: set[bytes] = set()
    process = Path("/proc") / str(process_id)
    with (process / "mem").open("rb", buffering=0) as memory:
        for line in (process / "maps").read_text().splitlines():
            addresses, permissions, *_ = line.split()
            if not permissions.startswith("rw") or "[vvar" in line:
                continue
            start, end = (int(address, 16) for address in addresses.split("-"))
            memory.seek(start)
            region = memory.read(end - start)
            found.update(needle for needle in needles if needle in region)
    return len(found)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into memory by /proc")
def test_no_key_stays_in_memory(rsa: Signer, tmp_path: Path) -> None:
    """Once an identity is dropped, none of its private numbers is found in the process, however it
    was loaded and although it has signed.
    """
    issued = rsa.issued
    (tmp_path / "icon.png").write_bytes(png(1, 1))
    (tmp_path / "modern.p12").write_bytes(issued.pkcs12("secret"))
    (tmp_path / "leaf.pem").write_bytes(issued.certificate_pem)
    (tmp_path / "wwdr.pem").write_bytes(issued.wwdr_pem)
    (tmp_path / "encrypted.pem").write_bytes(issued.encrypted_private_key_pem("secret"))
    (tmp_path / "all.pem").write_bytes(issued.private_key_pem + issued.certificate_pem)
    run(
        *("openssl", "pkcs12", "-export", "-legacy", "-passout", "pass:secret"),
        *("-in", tmp_path / "all.pem", "-out", tmp_path / "keychain.p12"),
    )
    needles = secret_numbers(issued)
    with subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path), str(SIGNING_TIME), EMPTY_DOCUMENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == b"loaded\n"
        while_held = count_in_memory(child.pid, needles)
        child.stdin.write(b"\n")
        child.stdin.flush()
        assert child.stdout.readline() == b"dropped\n"
        when_dropped = count_in_memory(child.pid, needles)
        child.stdin.write(b"\n")
    assert while_held >= 5, "the search must be able to find a key that is there"
    assert when_dropped == 0
