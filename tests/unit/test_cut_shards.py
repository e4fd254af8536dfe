"""How a campaign's recipients are cut into shards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.campaigns import (
    SHARD_BYTES,
    SHARD_RECIPIENTS,
    RecipientStream,
    RolloutPlan,
    StreamState,
    plan_waves,
)
from passmill.domain.ids import CampaignId, StreamId, new_uuid
from passmill.store.recipient_streams import ChunkRun
from passmill.usecases.campaign_steps import cut_shards

MIB = 1 << 20

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


def runs_of(
    streams: Sequence[RecipientStream], sizes: Sequence[int], *, recipients: int
) -> Mapping[StreamId, Sequence[ChunkRun]]:
    """Runs of so many recipients each, of these sizes by turns."""
    return {
        each.stream_id: [
            ChunkRun(first_offset=start, content_bytes=sizes[at % len(sizes)])
            for at, start in enumerate(range(0, each.next_offset, recipients))
        ]
        for each in streams
    }


@given(
    st.lists(st.integers(0, 12_000), max_size=4),
    plans,
    st.lists(st.integers(1, 20 * MIB) | st.just(1000), min_size=1, max_size=5),
    st.integers(300, 1000),
)
def test_every_recipient_is_in_one_shard(
    counts: list[int], plan: RolloutPlan, sizes: list[int], recipients: int
) -> None:
    """The shards hold every recipient once, in order, with positions without a gap; none is larger
    than a shard may be, nor cut without need, and each wave is as large as the plan says."""
    streams = [stream(count) for count in counts]
    runs = runs_of(streams, sizes, recipients=recipients)
    shards = list(cut_shards(streams, plan, runs))
    for at, each in enumerate(shards):
        held = [
            run.content_bytes
            for run in runs[each.stream_id]
            if each.first_offset - recipients < run.first_offset < each.end_offset
        ]
        assert sum(held) <= SHARD_BYTES or len(held) == 1
        after = shards[at + 1 : at + 2]
        if [(other.stream_id, other.wave) for other in after] == [(each.stream_id, each.wave)]:
            following = runs[each.stream_id][each.end_offset // recipients].content_bytes
            is_full = each.end_offset - each.first_offset == SHARD_RECIPIENTS
            assert is_full or sum(held) + following > SHARD_BYTES
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
