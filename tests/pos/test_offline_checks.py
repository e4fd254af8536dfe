"""What a till says of barcodes without the service: what the service's own code writes is read, and
nothing else is believed."""

from __future__ import annotations

import base64
import hashlib
import random
import string
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain import barcodes as service
from passmill.domain.ids import PassId, TenantId
from passmill_pos.offline_bundle import CLOCK_SLACK, OfflineBundle
from passmill_pos.offline_checks import CheckResult, OfflineCheck, check_name
from passmill_pos.outcomes import Verdict
from passmill_pos.scanned_text import NamedBy, PassName
from passmill_pos.signed_barcodes import parse_signed

NOW: Final = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)
TENANT: Final = 0x0102030405060708
PASS_ID: Final = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
PRIVATE_KEY: Final = hashlib.sha256(b"a key of the tests").digest()
SYMBOLS: Final = string.ascii_letters + string.digits + "-_"


def public_key(private_key: bytes) -> bytes:
    """The other half."""
    key = Ed25519PrivateKey.from_private_bytes(private_key).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


BUNDLE: Final = OfflineBundle(
    tenant_id=TENANT,
    keys={7: public_key(PRIVATE_KEY)},
    voided=b"",
    digest=b"x",
    create_time=NOW - timedelta(hours=1),
    valid_until=NOW + timedelta(hours=23),
    max_uses={},
)


def token(
    *,
    pass_id: UUID = PASS_ID,
    key_id: int = 7,
    tenant_id: int = TENANT,
    not_after: int = 0,
    private_key: bytes = PRIVATE_KEY,
) -> str:
    """A token as the service writes it."""
    signer = service.BarcodeSigner(
        tenant_id=TenantId(tenant_id),
        key_id=service.BarcodeKeyId(key_id),
        private_key=private_key,
    )
    seal = signer.seal(pass_id.bytes, not_after=not_after)
    return service.format_signed(TenantId(tenant_id), pass_id.bytes, seal)


def check(text: str, bundle: OfflineBundle | None = BUNDLE, *, now: datetime = NOW) -> OfflineCheck:
    """What is said of a barcode."""
    return check_name(PassName(by=NamedBy.BARCODE, text=text), bundle, now=now)


@given(
    pass_id=st.uuids(),
    key_id=st.integers(0, 65_535),
    tenant_id=st.integers(-(2**63), 2**63 - 1),
    not_after=st.integers(0, 2**32 - 1),
)
def test_what_the_service_writes_is_read(
    pass_id: UUID, key_id: int, tenant_id: int, not_after: int
) -> None:
    """Any token of the service is read as it was made, and is good by its key while it lasts."""
    text = token(pass_id=pass_id, key_id=key_id, tenant_id=tenant_id, not_after=not_after)
    read = parse_signed(text)
    assert read is not None
    assert (read.pass_id, read.key_id, read.tenant_id, read.not_after) == (
        pass_id,
        key_id,
        tenant_id,
        not_after,
    )
    bundle = replace(BUNDLE, tenant_id=tenant_id, keys={key_id: public_key(PRIVATE_KEY)})
    told = check(text, bundle)
    is_over = 0 < not_after < NOW.timestamp()
    assert (told.result, told.reason) == (
        (CheckResult.REFUSED, "expired_code") if is_over else (CheckResult.GOOD, "")
    )


@given(st.text(max_size=140) | st.text(SYMBOLS, min_size=127, max_size=127).map("P.{}".format))
def test_nothing_else_is_read(text: str) -> None:
    """What the service reads as no token the till reads as none."""
    barcode = service.parse_signed(text)
    read = parse_signed(text)
    assert (read is None) == (barcode is None)


def test_no_mutated_token_is_good() -> None:
    """Each symbol of a token changed to each other, and ten thousand tokens changed in several
    places: all are refused."""
    good = token(not_after=int(NOW.timestamp()) + 60)
    assert check(good).result is CheckResult.GOOD
    mutants = [
        good[:at] + symbol + good[at + 1 :]
        for at in range(2, len(good))
        for symbol in SYMBOLS
        if symbol != good[at]
    ]
    chance = random.Random(20270301)  # noqa: S311 - a choice of mutants
    for _ in range(10_000):
        changed = list(good)
        for at in chance.sample(range(2, len(good)), chance.randint(2, 6)):
            changed[at] = chance.choice(SYMBOLS)
        mutants.append("".join(changed))
    mutants += [good[:-1], good + "A", good[:50] + good[51:], "P.", good.replace("P.", "P.P.")]
    told = [check(each) for each in mutants if each != good]
    assert {each.result for each in told} == {CheckResult.REFUSED}
    assert {each.reason for each in told} == {
        "bad_signature",
        "expired_code",
        "unknown_code",
        "unknown_key",
        "wrong_tenant",
    }


SPARE = token()[:-1] + chr(ord(token()[-1]) + 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (token(tenant_id=TENANT + 1), "wrong_tenant"),
        (token(private_key=bytes(32)), "bad_signature"),
        (token(key_id=8), "unknown_key"),
        (token(not_after=int(NOW.timestamp()) - 1), "expired_code"),
        (token()[:-1], "unknown_code"),
        (SPARE, "unknown_code"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """Another tenant's, a forged one, one of a key that was revoked or never was, one that is over,
    one that is cut off, and one in another spelling are refused, each by its reason."""
    told = check(text)
    assert (told.result, told.reason, told.pass_id) == (CheckResult.REFUSED, reason, "")
    assert told.outcome.verdict is Verdict.REFUSED


def test_the_last_second() -> None:
    """A barcode is good in its last second, and not after it."""
    text = token(not_after=int(NOW.timestamp()))
    assert check(text).result is CheckResult.GOOD
    assert check(text, now=NOW + timedelta(seconds=1)).reason == "expired_code"


@given(ids=st.lists(st.uuids(), min_size=1, max_size=40, unique=True), listed=st.integers(0, 40))
def test_the_voided_are_refused(ids: list[UUID], listed: int) -> None:
    """Of any passes those that the bundle lists are refused, and no other."""
    hashes = sorted(service.offline_hash(PassId(each)) for each in ids[:listed])
    bundle = replace(BUNDLE, voided=b"".join(hashes))
    for at, pass_id in enumerate(ids):
        told = check(token(pass_id=pass_id), bundle)
        assert told.reason == ("voided" if at < listed else "")


@pytest.mark.parametrize(
    "now",
    [BUNDLE.valid_until, NOW + timedelta(days=400), BUNDLE.create_time - CLOCK_SLACK * 1.01],
)
def test_a_stale_bundle(now: datetime) -> None:
    """By a bundle that is too old, or newer than the clock, nothing is called good, and nothing
    refused that may be good since; what never will be good is refused."""
    bundle = replace(BUNDLE, voided=service.offline_hash(PassId(PASS_ID)))
    for text in (token(), token(key_id=8)):
        told = check(text, bundle, now=now)
        assert told.result is CheckResult.STALE_BUNDLE
        assert told.outcome.verdict is Verdict.UNREACHED
    for text, reason in (
        (token(private_key=bytes(32)), "bad_signature"),
        (token(tenant_id=1), "wrong_tenant"),
        (token(not_after=1), "expired_code"),
    ):
        assert check(text, bundle, now=now).reason == reason


def test_no_bundle() -> None:
    """Without a bundle only what is no token, or says itself that it is over, is refused."""
    assert check(token(), None).result is CheckResult.NO_BUNDLE
    assert check(token(not_after=1), None).reason == "expired_code"
    assert check(token()[:-1], None).reason == "unknown_code"


@pytest.mark.parametrize(
    "name",
    [
        PassName(by=NamedBy.REFERENCE_ID, text="K7M3-Q8TX"),
        PassName(by=NamedBy.PHONE, text="+12065550123"),
        PassName(by=NamedBy.PASS_ID, text=str(PASS_ID)),
        PassName(by=NamedBy.BARCODE, text=base64.urlsafe_b64encode(bytes(16)).decode()[:22]),
        PassName(by=NamedBy.BARCODE, text="anything"),
    ],
)
def test_what_cannot_be_checked(name: PassName) -> None:
    """Of a handle, and of every other name of a pass, nothing is said."""
    told = check_name(name, BUNDLE, now=NOW)
    assert told == OfflineCheck(result=CheckResult.OPAQUE)
    assert told.outcome.verdict is Verdict.UNREACHED
    assert "cannot be checked offline" in told.outcome.message
