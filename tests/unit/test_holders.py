"""Identities: their one spelling, their keyed hash, and numbers that must not be sent."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from passmill.domain.holders import (
    HolderRefusal,
    Identity,
    IdentityKind,
    InvalidIdentity,
    is_card_number,
    read_identity,
)
from passmill.domain.ids import TenantId
from passmill.domain.keyring import Keyring
from passmill.v1 import holder_pb2

MASTER_KEY = bytes(range(32))
TENANT = TenantId(7)
# ISO/IEC 7812-1: test numbers that card schemes publish, and one of 19 digits.
CARD_NUMBERS = (
    "4111111111111111",
    "5555 5555 5555 4444",
    "3782-822463-10005",
    "6011111111111117",
    "3056930009020004",
    "4222222222222",
    "6304000000000000000",
)

identities = st.builds(
    Identity,
    kind=st.sampled_from(IdentityKind),
    system=st.from_regex(r"([a-z][a-z0-9_]{0,31})?", fullmatch=True),
    text=st.text(max_size=50),
)


def test_numbers_are_the_protocols() -> None:
    """Kinds and refusals have the names and numbers that the protocol gives them."""
    for ours, theirs, prefix in (
        (IdentityKind, holder_pb2.IdentityKind, "IDENTITY_KIND_"),
        (HolderRefusal, holder_pb2.HolderRefusal, "HOLDER_REFUSAL_"),
    ):
        named = {f"{prefix}{each.name}": each.value for each in ours}
        assert named | {f"{prefix}UNSPECIFIED": 0} == dict(theirs.items())


@given(first=identities, second=identities)
def test_each_identity_has_its_own_hash(first: Identity, second: Identity) -> None:
    """Two identities that differ in kind, system or text are hashed of different bytes, and so are
    the same two in different tenants."""
    assume(first != second)
    keyring = Keyring(MASTER_KEY)
    hashes = {
        keyring.identity_hash(tenant, each.encode())
        for tenant in (TENANT, TenantId(8))
        for each in (first, second)
    }
    assert len(hashes) == 4


def test_the_hash_is_fixed() -> None:
    """The hash is the one computed by hand: rows outlive the library, and another master key finds
    nothing."""
    extracted = hmac.digest(bytes(32), MASTER_KEY, "sha256")
    child = hmac.digest(extracted, b"passmill/holder-identity\x01", "sha256")
    of_tenant = hmac.digest(child, (7).to_bytes(8, "big"), hashlib.sha256)
    identity = read_identity(IdentityKind.PAYMENT_CARD, "adyen", "tok_1")
    wanted = hmac.digest(of_tenant, b"2/adyen/tok_1", hashlib.sha256)
    assert Keyring(MASTER_KEY).identity_hash(TENANT, identity.encode()) == wanted
    assert Keyring(bytes(32)).identity_hash(TENANT, identity.encode()) != wanted


@pytest.mark.parametrize("number", CARD_NUMBERS)
def test_card_numbers_are_refused(number: str) -> None:
    """A number that may be a payment card's is refused, however it is grouped, and not repeated."""
    assert is_card_number(number)
    with pytest.raises(InvalidIdentity) as caught:
        read_identity(IdentityKind.PAYMENT_CARD, "terminal", number)
    assert number not in str(caught.value)


@given(digits=st.text("0123456789", min_size=12, max_size=18))
def test_one_check_digit_in_ten_is_right(digits: str) -> None:
    """Of the ten numbers that differ in the last digit exactly one may be a card's."""
    assert sum(is_card_number(digits + str(last)) for last in range(10)) == 1


@given(text=st.text("0123456789 -", max_size=12) | st.text("0123456789", min_size=20))
def test_other_lengths_are_no_card_numbers(text: str) -> None:
    """Fewer than 13 digits, or more than 19, are no card's."""
    assert not is_card_number(text)


@given(local=st.from_regex(r"[A-Za-z0-9.+_-]{1,20}", fullmatch=True))
def test_an_address_is_its_hash(local: str) -> None:
    """An e-mail address in any case, with spaces around it, or as the SHA-256 of its small letters
    is one identity."""
    address = f"{local}@Club.Example"
    small = hashlib.sha256(address.lower().encode()).hexdigest()
    spellings = (address, address.upper(), f"  {address}\t", small, small.upper())
    assert {read_identity(IdentityKind.EMAIL, "", each) for each in spellings} == {
        Identity(kind=IdentityKind.EMAIL, system="", text=small)
    }


@pytest.mark.parametrize("text", ["", "ada", "@", "ada@", "@club", "a da@club", "a@b@c", "f" * 63])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A text without exactly one @ and something on both sides is no address."""
    with pytest.raises(InvalidIdentity):
        read_identity(IdentityKind.EMAIL, "", text)


def test_an_identity_shows_nothing() -> None:
    """`repr`, which may end in a log, leaves the text out."""
    assert "tok_1" not in repr(read_identity(IdentityKind.EXTERNAL, "till", "tok_1"))
