"""Reference ids: the short id on a card that a person reads out or types, `K7M3-Q8TX`.

Seven symbols of Crockford's base 32 (no I, L, O, U) hold a 35-bit number, the eighth is a check
symbol: a weighted sum over GF(32), which catches every single wrong symbol and every swap of two
symbols, next to each other or one apart. A tenant's numbers come from a counter sent through a
keyed permutation: unique without looking, in no visible order. They are no secret: looking one up
takes staff rights.
"""

from __future__ import annotations

import functools
import itertools
import unicodedata
from collections.abc import Iterable
from typing import NewType

ReferenceNumber = NewType("ReferenceNumber", int)

NUMBER_BITS = 35
_DATA_SYMBOLS = 7
ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_FOLD = str.maketrans({"O": "0", "I": "1", "L": "1"})
_DIGIT_OF = {symbol: digit for digit, symbol in enumerate(ALPHABET)}
_FIELD_POLYNOMIAL = 0b100101  # x^5 + x^2 + 1, primitive over GF(2)


def _times_alpha(element: int) -> int:
    doubled = element << 1
    return doubled ^ _FIELD_POLYNOMIAL if doubled & 32 else doubled


def _check_digit(digits: list[int]) -> int:
    # Horner: the sum of digit_i * alpha^(7-i); distinct powers make each position's weight
    # different.
    check = 0
    for digit in digits:
        check = _times_alpha(check ^ digit)
    return check


def format_reference_id(number: ReferenceNumber) -> str:
    """A 35-bit number as shown to people: four symbols, a hyphen, four symbols."""
    digits = [number >> shift & 31 for shift in range(30, -1, -5)]
    digits.append(_check_digit(digits))
    symbols = "".join(ALPHABET[digit] for digit in digits)
    return f"{symbols[:4]}-{symbols[4:]}"


def format_reference_ids(numbers: Iterable[ReferenceNumber]) -> list[str]:
    """`format_reference_id` of many, in their order, quickly."""
    runs, first_checks, middle_checks, last_checks = _tables()
    formatted = []
    for number in numbers:
        first, middle, last = number >> 20, number >> 5 & 32767, number & 31
        run = runs[middle]
        check = first_checks[first] ^ middle_checks[middle] ^ last_checks[last]
        formatted.append(f"{runs[first]}{run[0]}-{run[1:]}{ALPHABET[last]}{ALPHABET[check]}")
    return formatted


@functools.cache
def _tables() -> tuple[list[str], list[int], list[int], list[int]]:
    # The check symbol is linear: those of the parts of a number, added up.
    runs = list(itertools.product(range(32), repeat=3))
    return (
        ["".join([ALPHABET[digit] for digit in run]) for run in runs],
        [_check_digit([*run, 0, 0, 0, 0]) for run in runs],
        [_check_digit([0, 0, 0, *run, 0]) for run in runs],
        [_check_digit([0] * 6 + [digit]) for digit in range(32)],
    )


def parse_reference_id(text: str) -> ReferenceNumber | None:
    """The number behind a reference id in any spelling; None when length, alphabet or check symbol
    is wrong.

    Spelling: any case, width (NFKC) and punctuation; I and L are read as 1, O as 0.
    """
    symbols = fold_symbols(text)
    if symbols is None or len(symbols) != _DATA_SYMBOLS + 1:
        return None
    digits = [_DIGIT_OF[symbol] for symbol in symbols]
    if _check_digit(digits[:-1]) != digits[-1]:
        return None
    number = 0
    for digit in digits[:-1]:
        number = number << 5 | digit
    return ReferenceNumber(number)


def fold_symbols(text: str) -> str | None:
    """The symbols of `ALPHABET` that `text` spells, as `parse_reference_id` reads them; None when
    it holds another letter, or is longer than anybody spells."""
    if len(text) > 64:
        return None
    upper = unicodedata.normalize("NFKC", text).upper()
    folded = "".join(c for c in upper if c.isascii() and c.isalnum()).translate(_FOLD)
    return folded if all(symbol in _DIGIT_OF for symbol in folded) else None


class ReferencePermutation:
    """A keyed permutation of the numbers below 2^bits: three rounds of multiply and xor-shift."""

    __slots__ = ("_mask", "_rounds", "_shift")

    def __init__(self, key: bytes, *, bits: int = NUMBER_BITS) -> None:
        """`key`: 24 random bytes, the tenant's own."""
        self._mask = (1 << bits) - 1
        self._shift = (bits + 1) // 2
        self._rounds = tuple(
            (
                int.from_bytes(key[at : at + 8], "big") & self._mask | 1,
                int.from_bytes(key[at : at + 8], "little") & self._mask,
            )
            for at in (0, 8, 16)
        )

    def number(self, index: int) -> ReferenceNumber:
        """The reference number of a tenant's `index`-th pass; distinct for distinct indexes below
        2^bits."""
        x = index & self._mask
        for factor, offset in self._rounds:
            x = (x * factor + offset) & self._mask  # odd factor: invertible modulo a power of two
            x ^= x >> self._shift  # shift of at least half: its own inverse
        return ReferenceNumber(x)

    def numbers(self, first_index: int, count: int) -> list[ReferenceNumber]:
        """`number` of so many indexes from the first on, quickly."""
        (f1, o1), (f2, o2), (f3, o3) = self._rounds
        mask, shift = self._mask, self._shift
        numbers = []
        for index in range(first_index, first_index + count):
            x = (index * f1 + o1) & mask
            x = ((x ^ x >> shift) * f2 + o2) & mask
            x = ((x ^ x >> shift) * f3 + o3) & mask
            numbers.append(ReferenceNumber(x ^ x >> shift))
        return numbers
