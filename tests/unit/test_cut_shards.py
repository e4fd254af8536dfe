"""How a campaign's recipients are cut into shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.campaigns import (
    SHARD_RECIPIENTS,
    RecipientStream,
    RolloutPlan,
    StreamState,
    plan_waves,
)
from passmill.domain.ids import CampaignId, StreamId, new_uuid
from passmill.usecases.campaign_steps import cut_shards

plans = st.builds(
    RolloutPlan,
    canary_ppm=st.integers(0, 1_000_000),
    canary_seconds=st.integers(0, 60),
    recipients_per_minute=st.just(0) | st.integers(500, 20_000),
)


def stream(count: int) -> RecipientStream:
    """A complete stream."""
    return RecipientStream(
        stream_id=StreamId(new_uuid()),
        campaign_id=CampaignId(new_uuid()),
        next_offset=count,
        writer_epoch=1,
        state=StreamState.FINALIZED,
        invalid_count=0,
    )


@given(st.lists(st.integers(0, 12_000), max_size=4), plans)
def test_every_recipient_is_in_one_shard(counts: list[int], plan: RolloutPlan) -> None:
    """The shards hold every recipient once, in order, with positions without a gap; none is larger
    than a shard may be, and each wave is as large as the plan says."""
    streams = [stream(count) for count in counts]
    shards = list(cut_shards(streams, plan))
    assert [each.shard_number for each in shards] == list(range(len(shards)))
    places = [
        (each.stream_id, offset)
        for each in shards
        for offset in range(each.first_offset, each.end_offset)
    ]
    assert places == [(each.stream_id, at) for each in streams for at in range(each.next_offset)]
    position = 0
    for each in shards:
        size = each.end_offset - each.first_offset
        assert each.first_position == position
        assert 0 < size <= SHARD_RECIPIENTS
        position += size
    waves = [size for size, _ in plan_waves(plan, sum(counts))]
    assert waves == [
        sum(each.end_offset - each.first_offset for each in shards if each.wave == wave)
        for wave in range(len(waves))
    ]
