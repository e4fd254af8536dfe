"""API keys as text."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.api_keys import bearer_token, new_api_key, parse_api_key


def test_new_keys_parse_and_differ() -> None:
    """A new key parses to its id and the SHA-256 of its secret, has 256 random bits, and is not
    shown by `repr`."""
    keys = [new_api_key() for _ in range(200)]
    for key in keys:
        presented = parse_api_key(key.text)
        assert presented is not None
        assert (presented.key_id, presented.secret_hash) == (key.key_id, key.secret_hash)
        secret = key.text.removeprefix(f"pm_{key.key_id}_")
        assert len(secret) == 43
        assert key.secret_hash == hashlib.sha256(secret.encode()).digest()
        assert secret not in repr(key)
        assert repr(key.secret_hash) not in repr(key) + repr(presented)
    assert len({key.key_id for key in keys}) == len({key.text for key in keys}) == 200


@given(text=st.text(max_size=80))
def test_whatever_is_sent_is_a_key_or_not(text: str) -> None:
    """No header raises; no text that is not exactly a key is taken for one."""
    token = bearer_token(text)
    if token is not None:
        assert parse_api_key(token) is None


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("", None),
        ("Bearer", None),
        ("Basic abc", None),
        ("Bearer abc", "abc"),
        ("bearer abc", "abc"),
        ("BEARER   abc ", "abc"),
    ],
)
def test_bearer_scheme(header: str | None, token: str | None) -> None:
    """The scheme's case is free and spaces around the token do not count (RFC 9110, 11.4)."""
    assert bearer_token(header) == token


@pytest.mark.parametrize(
    "change", [str.upper, lambda t: t + "\n", lambda t: t[:-1], lambda t: t + "a"]
)
def test_no_other_spelling_is_taken(change: object) -> None:
    """A key has one spelling."""
    assert callable(change)
    assert parse_api_key(change(new_api_key().text)) is None
