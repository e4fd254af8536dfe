"""What scanners give, and what it is taken for."""

from __future__ import annotations

import base64
import uuid
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.barcodes import find_code
from passmill.domain.reference_ids import (
    ReferenceNumber,
    format_reference_id,
    parse_reference_id,
)
from passmill_pos.scanned_text import LONGEST_SCAN, NamedBy, PassName, read_scan

signed = st.binary(min_size=95, max_size=95).map(
    lambda token: "P." + base64.urlsafe_b64encode(token).decode().rstrip("=")
)
handles = st.binary(min_size=16, max_size=16).map(
    lambda block: base64.urlsafe_b64encode(block).decode().rstrip("=")
)
serials = st.text("0123456789ABCDEFGHJKMNPQRSTVWXYZ", min_size=26, max_size=26)
reference_numbers = st.integers(0, 2**35 - 1).map(ReferenceNumber)
wrappers = st.sampled_from(
    [
        "{}",
        "]Q1{}",
        "https://passes.example.com/p/{}",
        "HTTPS://PASSES.EXAMPLE.COM/p/{}/",
        "https://example.com/?utm_source=card&c={}",
        "https://example.com/card#{}",
        "]Q3https://example.com/p/{}?utm_source=card",
        " \t{}\r\n",
        "\x1d{}\x00",
    ]
)


@given(code=st.one_of(signed, handles, serials), wrapper=wrappers)
def test_a_code_of_the_service_is_found_in_what_is_around_it(code: str, wrapper: str) -> None:
    """Barcodes lose what scanners and addresses put around them, and nothing of themselves; what is
    left the service reads as it reads the whole."""
    name = read_scan(wrapper.format(code))
    assert name == PassName(by=NamedBy.BARCODE, text=code)
    assert find_code(name.text) == find_code(code)


@given(number=reference_numbers, wrapper=wrappers, data=st.data())
def test_a_reference_id_is_seen_in_any_spelling(
    number: ReferenceNumber, wrapper: str, data: st.DataObject
) -> None:
    """A reference id, in capitals or not, with hyphens, spaces or full stops anywhere, with letters
    for its digits, is taken for one, and the service reads the same number."""
    symbols = format_reference_id(number).replace("-", "")
    spelt = "".join(
        data.draw(st.sampled_from([c, c.lower(), {"0": "o", "1": "l"}.get(c, c)]))
        + data.draw(st.sampled_from(["", "", "-", " ", "."]))
        for c in symbols
    )
    name = read_scan(wrapper.format(quote(spelt) if "://" in wrapper else spelt))
    assert name.by is NamedBy.REFERENCE_ID
    assert parse_reference_id(name.text) == number


@pytest.mark.parametrize(
    ("scanned", "by"),
    [
        ("+1 (206) 555-0123", NamedBy.PHONE),
        ("+12065550123", NamedBy.PHONE),
        ("0196F0C2-7A40-7B1E-8000-000000000001", NamedBy.PASS_ID),
        ("COUPON12", NamedBy.BARCODE),  # no reference id has a U
        ("12345678", NamedBy.REFERENCE_ID),
        ("any other text", NamedBy.BARCODE),
        ("https://", NamedBy.BARCODE),
    ],
)
def test_kinds_are_seen_by_their_form(scanned: str, by: NamedBy) -> None:
    """A telephone number, a pass id and a reference id are told from barcodes."""
    assert read_scan(scanned).by is by


@given(st.text(max_size=60), st.sampled_from(list(NamedBy)))
def test_the_kind_can_be_said(scanned: str, by: NamedBy) -> None:
    """A kind that is said is kept; whatever is typed is read, or refused with a ValueError."""
    try:
        name = read_scan(scanned, by=by)
    except ValueError:
        assert len("".join(c for c in scanned if c.isprintable() or c.isspace()).split()) < 2
    else:
        assert name.by is by
        assert name.text


@pytest.mark.parametrize("scanned", ["", " \r\n", "]Q1", "\x00", "x" * (LONGEST_SCAN + 1)])
def test_nothing_and_far_too_much_are_refused(scanned: str) -> None:
    """An empty scan and one longer than any barcode name no pass."""
    with pytest.raises(ValueError, match="pass"):
        read_scan(scanned)


def test_a_name_is_not_shown_by_accident() -> None:
    """A name may be a telephone number: its repr does not show it."""
    name = read_scan(f"+{uuid.uuid4().int % 10**11:011d}")
    assert name.text not in repr(name)
