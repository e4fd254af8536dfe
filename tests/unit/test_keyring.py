"""The keyring: one key a purpose, and what is derived and sealed with them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from uuid import UUID

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from passmill.domain.ids import PassId, TenantId
from passmill.domain.keyring import Keyring
from passmill.domain.pass_tokens import LAST_GENERATION

MASTER_KEY = bytes(range(32))
PASS_ID = PassId(UUID("01890a5d-ac96-774b-bcce-b302099a8057"))
TENANT = TenantId(7)


def hkdf_sha256(master_key: bytes, info: bytes) -> bytes:
    """RFC 5869 with an empty salt and 32 bytes of output, written out."""
    extracted = hmac.digest(bytes(32), master_key, "sha256")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def test_children_are_derived_as_rfc_5869_says() -> None:
    """The wrapping key equals HKDF-SHA-256 computed by hand: data outlives the library."""
    expected = hkdf_sha256(MASTER_KEY, b"passmill/signing-identity")
    assert Keyring(MASTER_KEY).wrapping_key == expected


def test_authentication_token_is_fixed_by_its_pass() -> None:
    """The token is the one computed by hand, 32 symbols, for this tenant, pass and generation."""
    key = hkdf_sha256(MASTER_KEY, b"passmill/authentication-token")
    digest = hmac.digest(key, b"7/" + PASS_ID.bytes + b"/0", hashlib.sha256)
    token = Keyring(MASTER_KEY).pass_tokens.of(TENANT, PASS_ID, 0)
    assert token == base64.urlsafe_b64encode(digest[:24]).decode()
    assert len(token) == 32


@given(
    first=st.tuples(st.integers(1, 1 << 62), st.uuids(), st.integers(0, 100)),
    second=st.tuples(st.integers(1, 1 << 62), st.uuids(), st.integers(0, 100)),
)
def test_authentication_tokens_differ(
    first: tuple[int, UUID, int], second: tuple[int, UUID, int]
) -> None:
    """Another tenant, pass or generation has another token."""
    assume(first != second)
    keyring = Keyring(MASTER_KEY)
    tokens = {
        keyring.pass_tokens.of(TenantId(tenant), PassId(pass_id), generation)
        for tenant, pass_id, generation in (first, second)
    }
    assert len(tokens) == 2


def test_generations_of_a_token_are_few() -> None:
    """A token is known by its generation, up to the last that is given out; of a later one, of
    another tenant's or a text that is no token there is none."""
    tokens = Keyring(MASTER_KEY).pass_tokens
    for generation in range(LAST_GENERATION + 1):
        token = tokens.of(TENANT, PASS_ID, generation)
        assert tokens.find_generation(TENANT, PASS_ID, token) == generation
    others = [
        tokens.of(TENANT, PASS_ID, LAST_GENERATION + 1),
        tokens.of(TenantId(8), PASS_ID, 0),
        "",
        "\N{SNOWMAN}",
        "\ud800",  # half a character, as a header read with surrogates may hold
    ]
    assert [tokens.find_generation(TENANT, PASS_ID, each) for each in others] == [None] * 5


@given(answer=st.binary(max_size=200), context=st.binary(max_size=20))
def test_sealed_answer_opens_for_its_request_only(answer: bytes, context: bytes) -> None:
    """Sealing hides and keeps the bytes; another context or master key does not open them."""
    keyring = Keyring(MASTER_KEY)
    sealed = keyring.seal_answer(answer, context=context)
    assert keyring.open_answer(sealed, context=context) == answer
    assert sealed != keyring.seal_answer(answer, context=context)
    with pytest.raises(ValueError, match="another master key"):
        keyring.open_answer(sealed, context=context + b"x")
    with pytest.raises(ValueError, match="another master key"):
        Keyring(bytes(32)).open_answer(sealed, context=context)


@given(data=st.data(), answer=st.binary(max_size=50))
def test_no_flipped_bit_is_overlooked(data: st.DataObject, answer: bytes) -> None:
    """A sealed answer with any one bit changed does not open."""
    keyring = Keyring(MASTER_KEY)
    sealed = bytearray(keyring.seal_answer(answer, context=b"request"))
    at = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[at // 8] ^= 1 << at % 8
    with pytest.raises(ValueError, match="another master key"):
        keyring.open_answer(bytes(sealed), context=b"request")


@given(first=st.binary(max_size=50), second=st.binary(max_size=50))
def test_fingerprints_and_macs_tell_messages_apart(first: bytes, second: bytes) -> None:
    """Equal messages have equal fingerprints and macs of 16 bytes, others have others."""
    keyring = Keyring(MASTER_KEY)
    for function in (keyring.request_fingerprint, keyring.page_mac):
        assert len(function(first)) == 16
        assert (function(first) == function(second)) == (first == second)
    assert keyring.request_fingerprint(first) != Keyring(bytes(32)).request_fingerprint(first)


def test_a_keyring_shows_nothing() -> None:
    """`repr` and `str` hold no byte of a key."""
    keyring = Keyring(MASTER_KEY)
    assert repr(keyring) == str(keyring) == "Keyring(…)"


@pytest.mark.parametrize("length", [0, 16, 31, 33, 64])
def test_a_master_key_has_32_bytes(length: int) -> None:
    """Any other length is refused at start."""
    with pytest.raises(ValueError, match="32 bytes"):
        Keyring(bytes(length))
