"""Reference ids: check symbol, spelling, permutation."""

from __future__ import annotations

import secrets
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.reference_ids import (
    NUMBER_BITS,
    ReferenceNumber,
    ReferencePermutation,
    format_reference_id,
    parse_reference_id,
)

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
NUMBERS = st.integers(min_value=0, max_value=(1 << NUMBER_BITS) - 1).map(ReferenceNumber)
FULL_WIDTH = {ord(symbol): chr(ord(symbol) + 0xFEE0) for symbol in ALPHABET}
# What people write for a digit, by hand and by mistake.
LOOKALIKES = {"0": "0Oo", "1": "1IiLl"}


def symbols_of(number: ReferenceNumber) -> str:
    """The eight symbols without the hyphen."""
    return format_reference_id(number).replace("-", "")


@given(number=NUMBERS)
def test_shown_as_four_and_four_symbols(number: ReferenceNumber) -> None:
    """A reference id has no letter that looks like a digit, and parses to its number."""
    text = format_reference_id(number)
    assert len(text) == 9
    assert text[4] == "-"
    assert set(text) <= {*ALPHABET, "-"}
    assert parse_reference_id(text) == number


@given(number=NUMBERS, data=st.data())
def test_any_spelling_finds_it(number: ReferenceNumber, data: st.DataObject) -> None:
    """Case, width, O for 0, I and L for 1, and punctuation anywhere make no difference."""
    separators = st.sampled_from(["", "", "-", " ", "\u2013", ".", "\u00a0", "/", "\n"])
    text = data.draw(separators)
    for symbol in symbols_of(number):
        spelling = data.draw(st.sampled_from([*LOOKALIKES.get(symbol, symbol + symbol.lower())]))
        is_wide = data.draw(st.booleans())
        text += spelling.translate(FULL_WIDTH) if is_wide else spelling
        text += data.draw(separators)
    assert parse_reference_id(text) == number


@given(number=NUMBERS)
def test_every_single_wrong_symbol_is_caught(number: ReferenceNumber) -> None:
    """All 8 * 31 substitutions of one symbol, the check symbol included, are refused."""
    symbols = symbols_of(number)
    for at in range(8):
        for wrong in ALPHABET:
            if wrong != symbols[at]:
                assert parse_reference_id(symbols[:at] + wrong + symbols[at + 1 :]) is None


@given(number=NUMBERS)
def test_every_swap_of_two_symbols_is_caught(number: ReferenceNumber) -> None:
    """Swapping any two different symbols is refused: next to each other, one apart, or further."""
    symbols = symbols_of(number)
    for first, second in combinations(range(8), 2):
        if symbols[first] != symbols[second]:
            swapped = list(symbols)
            swapped[first], swapped[second] = swapped[second], swapped[first]
            assert parse_reference_id("".join(swapped)) is None


@given(text=st.text(max_size=100))
def test_whatever_is_typed_is_a_number_or_not(text: str) -> None:
    """No text raises; what parses is the number of a reference id with these symbols."""
    number = parse_reference_id(text)
    assert number is None or 0 <= number < 1 << NUMBER_BITS


@pytest.mark.parametrize("text", ["", "-", "K7M3-Q8T", "K7M3-Q8TXX", "K7M3-Q8TU", "\u00e9" * 8])
def test_wrong_length_or_alphabet_is_refused(text: str) -> None:
    """Seven or nine symbols, a U, and other letters are no reference id."""
    assert parse_reference_id(text) is None


@pytest.mark.parametrize("bits", [16, 17, 18, 19, 20])
def test_permutation_misses_and_repeats_nothing(bits: int) -> None:
    """Over every index of a small width, with a random key, each number comes exactly once."""
    permutation = ReferencePermutation(secrets.token_bytes(24), bits=bits)
    seen = bytearray(1 << bits)
    for index in range(1 << bits):
        seen[permutation.number(index)] += 1
    assert seen == b"\x01" * (1 << bits)


@given(key=st.binary(min_size=24, max_size=24), indexes=st.sets(st.integers(0, (1 << 35) - 1)))
def test_distinct_indexes_give_distinct_numbers(key: bytes, indexes: set[int]) -> None:
    """At the real width as well: no two of a tenant's passes share a number."""
    permutation = ReferencePermutation(key)
    numbers = {permutation.number(index) for index in indexes}
    assert len(numbers) == len(indexes)
    assert all(0 <= number < 1 << NUMBER_BITS for number in numbers)


def test_neighbouring_passes_have_unlike_reference_ids() -> None:
    """Two thousand passes in a row, under a random key, rise about as often as they fall."""
    permutation = ReferencePermutation(secrets.token_bytes(24))
    numbers = [permutation.number(index) for index in range(2_000)]
    rises = sum(later > earlier for earlier, later in pairwise(numbers))
    assert 0 < rises < 1_999
    # In no visible order: the leading symbols are spread over the alphabet.
    assert len({format_reference_id(number)[0] for number in numbers}) > 8
