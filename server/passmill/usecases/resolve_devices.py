"""Find who is to be pushed: from passes to the devices that hold them, and their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from time import perf_counter
from typing import Final

from passmill.domain.callers import Caller
from passmill.domain.registrations import BUCKETS
from passmill.push.registration_index import (
    Bucket,
    IndexChange,
    Mark,
    RegistrationIndex,
    encode_entry,
    read_entries,
    without_devices,
)
from passmill.store import fan_out
from passmill.store.database import Database
from passmill.store.fan_out import Followed, FollowedRegistration
from passmill.telemetry.push_metrics import PushMetrics
from passmill.usecases.rebuild_index import RebuildIndex

# A bucket that is further behind is not read up to the end by everybody who looks into it.
_MOST_BEHIND: Final = 200


class ResolveDevices:
    """Looks passes up in the fan-out index, brought up to PostgreSQL's present; where it has no
    answer PostgreSQL does, and the index is mended behind our back."""

    def __init__(
        self,
        *,
        database: Database,
        index: RegistrationIndex,
        rebuild: RebuildIndex,
        metrics: PushMetrics,
    ) -> None:
        self._database = database
        self._index = index
        self._rebuild = rebuild
        self._metrics = metrics

    async def __call__(self, caller: Caller, pass_ids: Sequence[bytes]) -> dict[bytes, list[int]]:
        """Device numbers by push token (bytes), of all live registrations of these passes (16 bytes
        each) that APNs reaches, as PostgreSQL has them at some moment after the call began.

        AppError UNAVAILABLE, DEADLINE_EXCEEDED.
        """
        began = perf_counter()
        passes: dict[int, list[bytes]] = {}
        for pass_id in pass_ids:
            passes.setdefault(pass_id[-1] % BUCKETS, []).append(pass_id)
        found: dict[bytes, list[int]] = {}
        buckets = await self._index.read(caller.tenant_id, passes)
        usable = await self._bring_up(caller, passes, buckets) if buckets else {}
        for entries in usable.values():
            read_entries(entries.values(), found)
        missing = [bucket for bucket in passes if bucket not in usable]
        if missing:
            asked = [pass_id for bucket in missing for pass_id in passes[bucket]]
            async with self._database.statement(caller) as tx:
                rows = await fan_out.read_tokens_of_passes(tx, asked)
            for device_number, token in rows:
                numbers = found.setdefault(bytes.fromhex(token), [])
                if device_number not in numbers:
                    numbers.append(device_number)
            for bucket in missing:
                self._rebuild.request(caller.tenant_id, bucket, is_missing=bucket not in buckets)
        self._metrics.looked_up(
            seconds=perf_counter() - began,
            from_index=len(pass_ids) - sum(len(passes[bucket]) for bucket in missing),
            from_database=sum(len(passes[bucket]) for bucket in missing),
        )
        return found

    async def _bring_up(
        self,
        caller: Caller,
        passes: Mapping[int, Sequence[bytes]],
        buckets: Mapping[int, Bucket],
    ) -> dict[int, dict[bytes, bytes]]:
        """The entries of those buckets that follow this database closely, with what is newer."""
        async with self._database.statement(caller) as tx:
            followed, rows = await fan_out.read_changes(
                tx,
                list(buckets),
                [bucket.mark.tag for bucket in buckets.values()],
                at_most=_MOST_BEHIND,
            )
        newer: dict[int, list[FollowedRegistration]] = {}
        for row in rows:
            newer.setdefault(row.bucket, []).append(row)
        usable, changes = {}, {}
        for number, bucket in buckets.items():
            changed = newer.get(number, [])
            if not _follows(bucket.mark, followed) or len(changed) >= _MOST_BEHIND:
                continue
            usable[number] = _overlaid(bucket.entries, set(passes[number]), changed)
            if changed:
                changes[number] = [
                    IndexChange(each.pass_id, each.device_number, each.token) for each in changed
                ]
        if changes:
            self._metrics.caught_up(sum(len(some) for some in changes.values()))
            await self._index.add(
                caller.tenant_id,
                changes,
                before={number: buckets[number].mark for number in changes},
                after=Mark(database=followed.database, tag=followed.settled),
            )
        return usable


def _follows(mark: Mark, followed: Followed) -> bool:
    # Where the transaction of the mark has not begun yet, the numbers begin anew.
    return mark.database == followed.database and mark.tag < followed.next


def _overlaid(
    entries: Mapping[bytes, bytes], asked: Set[bytes], changed: Sequence[FollowedRegistration]
) -> dict[bytes, bytes]:
    by_pass: dict[bytes, list[FollowedRegistration]] = {}
    for each in changed:
        if each.pass_id in asked:
            by_pass.setdefault(each.pass_id, []).append(each)
    result = dict(entries)
    for pass_id, some in by_pass.items():
        kept = without_devices(result.get(pass_id, b""), {each.device_number for each in some})
        result[pass_id] = kept + b"".join(
            [encode_entry(each.device_number, each.token) for each in some]
        )
    return result
