"""Barcodes that can be checked: what they say, how they are found in what a scanner gives, and that
nothing else is believed."""

from __future__ import annotations

import base64
import io
import os
import random
import string
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

import pytest
import segno
import zxingcpp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from passmill.domain.barcodes import (
    SAMPLE_HANDLE,
    SAMPLE_SEAL,
    SAMPLE_SIGNED,
    SEAL_BYTES,
    BarcodeHandles,
    BarcodeKey,
    BarcodeKeyId,
    BarcodeSigner,
    CodeKind,
    CodeRefusal,
    ScannedCode,
    check_signed,
    find_code,
    format_signed,
    not_after_of,
    parse_signed,
    seal_key_id,
    seal_not_after,
)
from passmill.domain.ids import PassId, SerialNumbers, TenantId, encode_base32
from passmill.domain.pass_tokens import PassTokens
from tests.support.tools import run

NOW: Final = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
TENANT: Final = TenantId(0x0102030405060708)
PASS_ID: Final = PassId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
# RFC 8032, section 7.1, test 1: a key that everybody knows.
PRIVATE_KEY: Final = bytes.fromhex(
    "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
)
PUBLIC_KEY: Final = bytes.fromhex(
    "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
)
KEY: Final = BarcodeKey(key_id=BarcodeKeyId(7), public_key=PUBLIC_KEY, create_time=NOW)
SIGNER: Final = BarcodeSigner(tenant_id=TENANT, key_id=KEY.key_id, private_key=PRIVATE_KEY)
NEXT_DAY: Final = not_after_of(NOW + timedelta(days=1))
SYMBOLS: Final = string.ascii_letters + string.digits + "-_."
# The whole million takes minutes; PASSMILL_MUTATED_BARCODES=1000000 asks for it.
MUTATED: Final = int(os.environ.get("PASSMILL_MUTATED_BARCODES", "20000"))

pass_ids = st.binary(min_size=16, max_size=16)


def token(not_after: int = NEXT_DAY, pass_id: PassId = PASS_ID) -> str:
    """A good token of a pass."""
    return format_signed(TENANT, pass_id.bytes, SIGNER.seal(pass_id.bytes, not_after=not_after))


def verdict(text: str, key: BarcodeKey | None = KEY, **more: object) -> CodeRefusal | None:
    """What becomes of a scanned text at a till of the tenant."""
    barcode = parse_signed(text)
    if barcode is None:
        return CodeRefusal.UNKNOWN_CODE
    given_ = {"tenant_id": TENANT, "now": NOW} | more
    return check_signed(barcode, key, **given_)  # type: ignore[arg-type]


def test_golden_bytes(tmp_path: Path) -> None:
    """A token is, byte for byte, what the format says, and openssl verifies its signature."""
    text = token()
    raw = base64.urlsafe_b64decode(text.removeprefix("P.") + "=")
    claims = bytes.fromhex("01 0007 0102030405060708 01890a5dac96774bbcceb302099a8057 6b86af40")
    assert raw[:31] == claims
    assert text == (
        "P.AQAHAQIDBAUGBwgBiQpdrJZ3S7zOswIJmoBXa4avQFYfAJHWiaugt0njUeDjj1WChhimLNI6xus2MICWBc_FSen"
        "3Lut6F0sYH11Ehfko6Wrt1TSL0kboAwkVFrpN0Qs"
    )
    assert len(text) == len(SAMPLE_SIGNED) == 129
    public_key = Ed25519PublicKey.from_public_bytes(PUBLIC_KEY)
    der = public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    for name, content in {"key": der, "claims": claims, "signature": raw[31:]}.items():
        (tmp_path / name).write_bytes(content)
    run(
        *("openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER"),
        *("-inkey", tmp_path / "key", "-in", tmp_path / "claims"),
        *("-sigfile", tmp_path / "signature"),
    )


@given(pass_id=pass_ids, not_after=st.integers(0, 2**32 - 1), key_id=st.integers(1, 32_767))
def test_what_is_sealed_is_read(pass_id: bytes, not_after: int, key_id: int) -> None:
    """A token says what it was made of, its seal is the same each time, and it is believed until
    its last second."""
    signer = BarcodeSigner(tenant_id=TENANT, key_id=BarcodeKeyId(key_id), private_key=PRIVATE_KEY)
    seal = signer.seal(pass_id, not_after=not_after)
    assert seal == signer.seal(pass_id, not_after=not_after)
    assert (len(seal), seal_key_id(seal), seal_not_after(seal)) == (SEAL_BYTES, key_id, not_after)
    text = format_signed(TENANT, pass_id, seal)
    barcode = parse_signed(text)
    assert barcode is not None
    assert (barcode.pass_id.bytes, barcode.key_id, barcode.tenant_id, barcode.not_after) == (
        pass_id,
        key_id,
        TENANT,
        not_after,
    )
    key = BarcodeKey(key_id=BarcodeKeyId(key_id), public_key=PUBLIC_KEY, create_time=NOW)
    last = datetime.fromtimestamp(not_after or 2**33, UTC)
    assert verdict(text, key, now=last) is None
    after = verdict(text, key, now=last + timedelta(seconds=1))
    assert after is (CodeRefusal.EXPIRED_CODE if not_after else None)


def test_refusals() -> None:
    """Another tenant's token, one of no key or another key, of a revoked key and one that is over
    are refused, each with its reason; a retired key's is not."""
    text = token()
    assert verdict(text) is None
    assert verdict(text, tenant_id=TenantId(TENANT + 1)) is CodeRefusal.WRONG_TENANT
    assert verdict(text, None) is CodeRefusal.BAD_SIGNATURE
    other = BarcodeKey(key_id=KEY.key_id, public_key=bytes(32), create_time=NOW)
    assert verdict(text, other) is CodeRefusal.BAD_SIGNATURE
    retired = BarcodeKey(key_id=KEY.key_id, public_key=PUBLIC_KEY, create_time=NOW, retire_time=NOW)
    assert verdict(text, retired) is None
    revoked = BarcodeKey(
        key_id=KEY.key_id,
        public_key=PUBLIC_KEY,
        create_time=NOW,
        retire_time=NOW,
        revoke_time=NOW,
    )
    assert verdict(text, revoked) is CodeRefusal.KEY_REVOKED
    assert verdict(token(NEXT_DAY - 90_000)) is CodeRefusal.EXPIRED_CODE
    assert verdict(SAMPLE_SIGNED) is CodeRefusal.UNKNOWN_CODE
    unsigned = format_signed(TENANT, PASS_ID.bytes, SAMPLE_SEAL)
    assert verdict(unsigned) is CodeRefusal.BAD_SIGNATURE


def test_no_mutation_is_believed() -> None:
    """Of good tokens with symbols changed, swapped, cut out, doubled or taken from another one, and
    with single bits turned, none is accepted."""
    choose = random.Random(20_270_301)  # noqa: S311 - to repeat a failure
    good = [token(NEXT_DAY + at, PassId(UUID(int=PASS_ID.int + at))) for at in range(50)]
    known = set(good)
    accepted = 0
    for at in range(MUTATED):
        text = _mutated(good[at % len(good)], good[choose.randrange(len(good))], choose)
        accepted += text not in known and verdict(text) is None
    assert accepted == 0


def _mutated(text: str, other: str, choose: random.Random) -> str:
    place = choose.randrange(len(text))
    match choose.randrange(6):
        case 0:
            return text[:place] + choose.choice(SYMBOLS) + text[place + 1 :]
        case 1:
            other_place = choose.randrange(len(text))
            symbols = list(text)
            symbols[place], symbols[other_place] = symbols[other_place], symbols[place]
            return "".join(symbols)
        case 2:
            return text[:place] + text[place + 1 :]
        case 3:
            return text[:place] + text[place] + text[place:]
        case 4:
            return text[:place] + other[place:]
        case _:
            raw = bytearray(base64.urlsafe_b64decode(text[2:] + "="))
            bit = choose.randrange(len(raw) * 8)
            raw[bit // 8] ^= 1 << bit % 8
            return "P." + base64.urlsafe_b64encode(raw).decode()[:127]


def test_one_spelling_only() -> None:
    """A token's last symbol has two bits to spare; the other three spellings of it are refused."""
    text = token()
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet.index(text[-1])
    spellings = [text[:-1] + alphabet[last & ~3 | more] for more in range(4)]
    assert [parse_signed(each) is not None for each in spellings] == [True, False, False, False]


@given(key=pass_ids, blocks=st.lists(pass_ids, max_size=20))
def test_handles(key: bytes, blocks: list[bytes]) -> None:
    """Handles are 22 symbols, those of many are those of each, and each finds its pass again if
    that can have one."""
    handles = BarcodeHandles(key)
    ids = [PassId(UUID(bytes=block)) for block in blocks]
    texts = handles.of_many(blocks)
    assert texts == [handles.of(each) for each in ids]
    assert all(len(text) == len(SAMPLE_HANDLE) for text in texts)
    for text, pass_id in zip(texts, ids, strict=True):
        assert handles.find(text) == (pass_id if pass_id.version in {7, 8} else None)


def test_handles_are_nobody_elses() -> None:
    """Each tenant's handles are its own, and unlike serial numbers under the same key."""
    tokens = PassTokens(bytes(range(32)))
    mine, theirs = tokens.barcode_handles(TENANT), tokens.barcode_handles(TenantId(TENANT + 1))
    assert mine.of(PASS_ID) == tokens.barcode_handles(TENANT).of(PASS_ID)
    assert mine.of(PASS_ID) != theirs.of(PASS_ID)
    assert theirs.find(mine.of(PASS_ID)) != PASS_ID
    key = bytes(range(16))
    block = base64.urlsafe_b64decode(BarcodeHandles(key).of(PASS_ID) + "==")
    assert SerialNumbers(key).of(PASS_ID) == encode_base32(block)  # so the keys must differ
    assert mine.of(PASS_ID) == "UGP2-VefBIw7EyDoh7E6Lw"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (token(), CodeKind.SIGNED),
        (BarcodeHandles(bytes(16)).of(PASS_ID), CodeKind.HANDLE),
        (encode_base32(PASS_ID.bytes), CodeKind.SERIAL),
    ],
)
def test_codes_are_found_in_wrappers(text: str, kind: CodeKind) -> None:
    """A code is found bare, with what scanners add, and in the query, fragment or path of an
    address; with anything else around it, it is none."""
    code = ScannedCode(kind, text)
    for around in (
        "{}",
        "{}\r\n",
        " {}\t",
        "]Q1{}",
        "]C0{}\x1d",
        "https://acme.example/c/{}",
        "https://acme.example/c/{}/",
        "HTTPS://acme.example/c/{}?utm_source=card",
        "https://acme.example/?c={}&x=1",
        "https://acme.example/?{}",
        "https://acme.example/#{}",
        "acme://x/{}",
    ):
        assert find_code(around.format(text)) == code, around
    for around in ("x{}", "{}x", "{} {}", "acme.example/{}", "https://acme.example/x{}"):
        assert find_code(around.format(text, text)) is None, around
    if kind is CodeKind.SERIAL:
        assert find_code(text.lower()) == code


@given(st.text(max_size=300) | st.text(alphabet=SYMBOLS + ":/?#&=%[]", max_size=300))
def test_any_text_can_be_scanned(text: str) -> None:
    """Whatever a scanner gives is read without a fault, in an address too."""
    for scanned in (text, f"https://{text}", f"https://x.example/?a={text}"):
        code = find_code(scanned)
        if code is not None and code.kind is CodeKind.SIGNED:
            verdict(code.text)


@pytest.mark.parametrize(
    ("moment", "not_after"),
    [
        (None, 0),
        (datetime(1969, 1, 1, tzinfo=UTC), 1),
        (datetime(2027, 3, 1, 12, tzinfo=UTC), 1_803_902_400),
        (datetime(9999, 1, 1, tzinfo=UTC), 2**32 - 1),
    ],
)
def test_not_after(moment: datetime | None, not_after: int) -> None:
    """A time that does not fit becomes the nearest that does; never is 0, and nothing else is."""
    assert not_after_of(moment) == not_after


@pytest.mark.parametrize("text", [token(), BarcodeHandles(bytes(16)).of(PASS_ID)])
def test_scanners_read_it(text: str) -> None:
    """A QR code of it, drawn by one program, is read by another one, from few pixels."""
    drawn = io.BytesIO()
    segno.make_qr(text, error="m").save(drawn, kind="png", scale=3, border=4)
    [read] = zxingcpp.read_barcodes(Image.open(drawn))
    assert read.text == text
    assert find_code(read.text) == find_code(text)
