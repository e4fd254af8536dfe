"""What each barcode can hold, and how much of it a scanner still reads from a telephone's screen.

Sources: ISO/IEC 18004 (QR), 15438 (PDF417), 24778 (Aztec), 15417 (Code 128), 16388 (Code 39),
15420 (EAN), 16390 (Interleaved 2 of 5), EN 798 (Codabar).
"""

from __future__ import annotations

import re
from typing import Final

from passmill.domain.templates.content import BarcodeFormat
from passmill.domain.values import describe_character

MAX_NFC_BYTES: Final = 64

# Bytes at the lowest error correction; the symbologies' own upper bounds.
_MAX_BYTES: Final = {
    BarcodeFormat.QR: 2953,
    BarcodeFormat.PDF417: 1108,
    BarcodeFormat.AZTEC: 1914,
}
# Characters of a linear code that fit the width of a telephone.
MAX_LINEAR_LENGTH: Final = 80
ADVISED_LINEAR_LENGTH: Final = 20
_ALPHABETS: Final = {
    BarcodeFormat.CODE128: (re.compile(r"[\x20-\x7e]"), "ASCII characters"),
    BarcodeFormat.CODE39: (
        re.compile(r"[0-9A-Z\-. $/+%]"),
        "capitals, digits and - . $ / + % space",
    ),
    BarcodeFormat.CODABAR: (re.compile(r"[0-9\-$:/.+A-D]"), "digits, - $ : / . + and A to D"),
    BarcodeFormat.EAN13: (re.compile(r"[0-9]"), "digits"),
    BarcodeFormat.I2OF5: (re.compile(r"[0-9]"), "digits"),
}
_TITLES: Final = {
    BarcodeFormat.QR: "QR code",
    BarcodeFormat.PDF417: "PDF417 code",
    BarcodeFormat.AZTEC: "Aztec code",
    BarcodeFormat.CODE128: "Code 128",
    BarcodeFormat.CODE39: "Code 39",
    BarcodeFormat.CODABAR: "Codabar code",
    BarcodeFormat.EAN13: "EAN-13",
    BarcodeFormat.I2OF5: "Interleaved 2 of 5 code",
}

# Drawn by every system; the others since iOS 27 only.
CLASSIC_FORMATS: Final = frozenset(
    {BarcodeFormat.QR, BarcodeFormat.PDF417, BarcodeFormat.AZTEC, BarcodeFormat.CODE128}
)
LINEAR_FORMATS: Final = frozenset(_ALPHABETS)


class InvalidMessage(ValueError):
    """A message that its barcode cannot hold; the message says why."""


def check_message(barcode_format: BarcodeFormat, message: str) -> None:
    """Raises InvalidMessage unless the format can hold the whole message."""
    title = _TITLES[barcode_format]
    if not message:
        raise InvalidMessage(f"makes the message of the {title} empty")
    if barcode_format in _MAX_BYTES:
        size, limit = _size(message), _MAX_BYTES[barcode_format]
        if size > limit:
            raise InvalidMessage(f"makes the {title} {size} bytes long; it holds {limit}")
        return
    check_characters(barcode_format, message)
    if len(message) > MAX_LINEAR_LENGTH:
        raise InvalidMessage(
            f"makes the {title} {len(message)} characters long; {MAX_LINEAR_LENGTH} are allowed"
        )
    if barcode_format is BarcodeFormat.EAN13:
        _check_ean13(message)
    if barcode_format is BarcodeFormat.I2OF5 and len(message) % 2:
        raise InvalidMessage(f"gives the {title} an odd number of digits; put a 0 in front")


def check_characters(barcode_format: BarcodeFormat, text: str) -> None:
    """Raises InvalidMessage unless the format can hold every character of a part of a message."""
    if barcode_format not in _ALPHABETS:
        return
    alphabet, description = _ALPHABETS[barcode_format]
    for character in text:
        if not alphabet.fullmatch(character):
            raise InvalidMessage(
                f"goes into a {_TITLES[barcode_format]}, which holds {description} only, "
                f"not {describe_character(character)}"
            )


def _size(message: str) -> int:
    try:
        return len(message.encode("iso-8859-1"))
    except UnicodeEncodeError:
        # A lone surrogate in a template is the linter's to report; values have none.
        return len(message.encode(errors="surrogatepass"))


def _check_ean13(digits: str) -> None:
    if len(digits) != 13:
        raise InvalidMessage(f"gives an EAN-13 of {len(digits)} digits; it has 13")
    weighted = sum(int(d) * (3 if at % 2 else 1) for at, d in enumerate(digits[:12]))
    check = -weighted % 10
    if check != int(digits[12]):
        raise InvalidMessage(
            f"gives an EAN-13 whose check digit is {digits[12]} instead of {check}"
        )
