"""Identifiers: ids as text, and serial numbers."""

from __future__ import annotations

import secrets
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.ids import (
    PassId,
    SerialNumbers,
    decode_base32,
    encode_base32,
    new_number,
    new_uuid,
    parse_number,
    parse_uuid,
)

KEYS = st.binary(min_size=16, max_size=16)
PASS_IDS = st.uuids().map(PassId)


@given(key=KEYS, pass_id=PASS_IDS)
def test_serial_number_leads_back_to_its_pass(key: bytes, pass_id: PassId) -> None:
    """A serial number has 26 symbols and deciphers to the pass id it was made of."""
    serial_numbers = SerialNumbers(key)
    serial_number = serial_numbers.of(pass_id)
    assert len(serial_number) == 26
    assert serial_numbers.find(serial_number) == pass_id


@given(keys=st.lists(KEYS, min_size=2, max_size=2, unique=True), pass_id=PASS_IDS)
def test_serial_numbers_of_two_tenants_differ(keys: list[bytes], pass_id: PassId) -> None:
    """Another tenant's key gives another serial number, and does not find this pass by it."""
    mine, theirs = SerialNumbers(keys[0]), SerialNumbers(keys[1])
    assert mine.of(pass_id) != theirs.of(pass_id)
    assert theirs.find(mine.of(pass_id)) != pass_id


def test_serial_numbers_tell_nothing_of_neighbouring_ids() -> None:
    """Ids that differ in one bit give serial numbers that differ in about half of their bits."""
    serial_numbers = SerialNumbers(secrets.token_bytes(16))
    base = new_uuid()
    changed = 0
    for bit in range(128):
        blocks = [
            decode_base32(serial_numbers.of(PassId(each)))
            for each in (base, UUID(int=base.int ^ 1 << bit))
        ]
        first, second = (int.from_bytes(block or b"", "big") for block in blocks)
        changed += (first ^ second).bit_count()
    # 128 * 128 fair coins: mean 8192, standard deviation 64. Six of those on either side.
    assert 8192 - 6 * 64 < changed < 8192 + 6 * 64


@given(text=st.text(max_size=30))
def test_whatever_is_typed_as_a_serial_number_is_found_or_not(text: str) -> None:
    """No text raises; what is found has exactly this serial number."""
    serial_numbers = SerialNumbers(bytes(16))
    found = serial_numbers.find(text)
    assert found is None or serial_numbers.of(found) == text


@given(block=st.binary(min_size=16, max_size=16))
def test_base32_round_trip(block: bytes) -> None:
    """16 bytes come back from their 26 symbols."""
    assert decode_base32(encode_base32(block)) == block


def test_base32_refuses_numbers_above_128_bits() -> None:
    """26 symbols hold 130 bits; those that spell more than 128 are no output of ours."""
    assert decode_base32("7" + "Z" * 25) == b"\xff" * 16
    assert decode_base32("8" + "0" * 25) is None
    assert decode_base32("Z" * 26) is None


@given(known=st.uuids())
def test_uuid_has_one_spelling_but_for_case(known: UUID) -> None:
    """Canonical text parses in either case; other spellings Python takes are refused."""
    assert parse_uuid(str(known)) == known
    assert parse_uuid(str(known).upper()) == known
    for other in (known.hex, f"{{{known}}}", known.urn, f" {known}", f"{known}\n"):
        assert parse_uuid(other) is None


@given(number=st.integers(min_value=1, max_value=(1 << 63) - 1))
def test_number_round_trip(number: int) -> None:
    """A positive 63-bit integer parses from its decimal digits."""
    assert parse_number(str(number)) == number


@given(text=st.text(max_size=25))
def test_whatever_is_typed_as_a_number_is_parsed_or_not(text: str) -> None:
    """No text raises, and what parses fits a database bigint."""
    number = parse_number(text)
    assert number is None or 0 < number < 1 << 63


def test_numbers_out_of_range_are_refused() -> None:
    """Zero, signs, 2^63 and other scripts' digits are no ids."""
    for text in ("", "0", "-1", "+1", " 1", "1_0", str(1 << 63), "9" * 40, "\u0661", "\u00b2"):
        assert parse_number(text) is None


def test_new_ids_are_in_range_and_distinct() -> None:
    """Numbers fit 63 bits and do not repeat; UUIDs are version 7 and rise."""
    numbers = [new_number() for _ in range(10_000)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 1 << 63 for number in numbers)
    uuids = [new_uuid() for _ in range(10_000)]
    assert all(each.version == 7 for each in uuids)
    assert uuids == sorted(set(uuids))
