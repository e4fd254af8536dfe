"""What campaigns make by the thousand is what is made one by one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.apple import PassData, encode_pass_columns, encode_pass_data
from passmill.domain.ids import (
    CampaignId,
    PassId,
    SerialNumbers,
    TenantId,
    campaign_pass_id,
    campaign_pass_ids,
)
from passmill.domain.keyring import Keyring
from passmill.domain.reference_ids import (
    NUMBER_BITS,
    ReferenceNumber,
    ReferencePermutation,
    format_reference_id,
    format_reference_ids,
)

blocks = st.lists(st.binary(min_size=16, max_size=16), max_size=20)


@given(st.uuids(), st.lists(st.text(max_size=20), max_size=20))
def test_campaign_pass_ids(campaign_id: UUID, external_ids: list[str]) -> None:
    """The ids of many recipients are those of each."""
    campaign = CampaignId(campaign_id)
    assert campaign_pass_ids(campaign, external_ids) == [
        campaign_pass_id(campaign, each).bytes for each in external_ids
    ]


@given(st.binary(min_size=16, max_size=16), blocks)
def test_serial_numbers(key: bytes, pass_ids: list[bytes]) -> None:
    """The serial numbers of many passes are those of each."""
    numbers = SerialNumbers(key)
    assert numbers.of_many(pass_ids) == [numbers.of(PassId(UUID(bytes=each))) for each in pass_ids]


def test_serial_numbers_from_several_threads() -> None:
    """Several threads at once get the numbers that one gets."""
    numbers = SerialNumbers(bytes(range(16)))
    pass_ids = [index.to_bytes(16, "big") for index in range(20_000)]
    with ThreadPoolExecutor(4) as threads:
        made = list(threads.map(numbers.of_many, [pass_ids] * 8))
    assert made == [numbers.of_many(pass_ids)] * 8


@given(st.lists(st.integers(0, (1 << NUMBER_BITS) - 1), max_size=20))
def test_reference_ids(numbers: list[int]) -> None:
    """The reference ids of many numbers are those of each, check symbol included."""
    references = [ReferenceNumber(each) for each in numbers]
    assert format_reference_ids(references) == [format_reference_id(each) for each in references]


@given(st.binary(min_size=24, max_size=24), st.integers(0, 1 << 34), st.integers(0, 20))
def test_reference_numbers(key: bytes, first: int, count: int) -> None:
    """The numbers of a run of indexes are those of each."""
    permutation = ReferencePermutation(key)
    assert permutation.numbers(first, count) == [
        permutation.number(index) for index in range(first, first + count)
    ]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 1 << 62), blocks)
def test_authentication_tokens(master_key: bytes, tenant: int, pass_ids: list[bytes]) -> None:
    """The first tokens of many passes are those of each."""
    keyring = Keyring(master_key)
    assert keyring.pass_tokens.first_of_many(TenantId(tenant), pass_ids) == [
        keyring.pass_tokens.of(TenantId(tenant), PassId(UUID(bytes=each)), 0) for each in pass_ids
    ]


@given(
    st.lists(
        st.tuples(
            st.text(max_size=10),
            st.text(max_size=10),
            st.none() | st.datetimes(timezones=st.just(UTC)),
        ),
        max_size=10,
    ),
    st.booleans(),
)
def test_lines(rows: list[tuple[str, str, datetime | None]], has_barcodes: bool) -> None:
    """The lines of many passes are those of each, hostile names included."""
    lines = encode_pass_columns(
        serial_numbers=["S"] * len(rows),
        authentication_tokens=["T"] * len(rows),
        reference_ids=["K7M3-Q8TX"] * len(rows),
        holder_names=[name for name, _, _ in rows],
        holder_phones=[phone for _, phone, _ in rows],
        expire_times=[moment for _, _, moment in rows],
        slot_values=['{"points":7}'] * len(rows),
        barcodes=[f"B{at}" for at in range(len(rows))] if has_barcodes else None,
    )
    assert [line.encode() for line in lines] == [
        encode_pass_data(
            PassData(
                serial_number="S",
                authentication_token="T",
                reference_id="K7M3-Q8TX",
                holder_name=name,
                holder_phone=phone,
                expires_at=moment,
                barcode=f"B{at}" if has_barcodes else "",
            ),
            '{"points":7}',
        )
        for at, (name, phone, moment) in enumerate(rows)
    ]
