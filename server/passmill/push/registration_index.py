"""The fan-out index: which devices hold which pass, and their push tokens, as PostgreSQL had them
up to some update tag.

A bucket (256 of a tenant, by the pass id) is a hash. Its field `w` is the mark: the database it
follows and the tag T up to which it does. Every other field is a pass (16 bytes), whose value holds
its live registrations one after the other: 8 bytes device number, 1 byte length, token.

**Why it never lacks a registration.** T is the snapshot's xmin - 1 of the statement that filled the
bucket, so every transaction up to T had ended and was seen. A registration carries its
transaction's number as its tag, at every change of it or of its device's token. Whoever looks up
reads from PostgreSQL, after the bucket, all registrations with a tag > T: what they say replaces
what the bucket says, as they were read later. So the answer is PostgreSQL's at that moment,
whatever T is. Nothing needs to be told when a device registers.

- *Emptied, restarted empty, evicted, expired, a cluster's node lost*: there is no mark, so the
  bucket is not used; PostgreSQL answers for its passes, and it is filled anew.
- *An hour old* (restored from an append-only file or a snapshot, or a replica that lagged): mark
  and fields are written by one script, so they are of one moment; T is smaller, more is read.
- *Two who write at once*: what was read above T is written only if the mark is the one its writer
  read. If T did not move, rows above T may be written in any order: they are read again each time.
  A bucket that was filled anew is right by itself, whichever it replaces.
- *Emptied while a bucket is filled anew*: what is being built counts its pages (field `n`), takes
  one only after the one before, and takes the bucket's place only if it has them all.
- *Another database, or the same one after a failover that lost commits*: transaction numbers begin
  to mean something else. The mark names the system, the database and the timeline; a bucket that
  names others is not used.
- *Forgotten rows*: a registration that ended is deleted from PostgreSQL after 30 days; a bucket
  lives for 14 days after it was written last.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from passmill.domain.ids import TenantId
from passmill.push.redis_link import Command, RedisLink

_LIFE_SECONDS: Final = 14 * 86_400
_BUILDING_SECONDS: Final = 300
_HEAD_BYTES: Final = 9  # device number and length of the token

# KEYS: the bucket. ARGV: passes, 16 bytes each. Gives nothing where there is no mark, else the mark
# and of each pass 4 bytes length and the entry: one text a bucket, as a list would take the reader
# longer than the look-up takes Redis.
_READ: Final = """
local mark = redis.call('HGET', KEYS[1], 'w')
if not mark then return false end
local found = {}
for at = 1, #ARGV[1], 16 do
  local entry = redis.call('HGET', KEYS[1], string.sub(ARGV[1], at, at + 15)) or ''
  found[#found + 1] = struct.pack('>I4', #entry)
  found[#found + 1] = entry
end
return {mark, table.concat(found)}
"""

# KEYS: the bucket. ARGV: the mark it must have ('' for any), the mark it gets ('' to leave it), its
# life in seconds, then registrations: of each 16 bytes pass, 8 bytes device number, 1 byte length
# (0: it ended), token; the page's number where a bucket is being built, which must have the one
# before (or this one already: a question may be asked twice), else 0.
_APPLY: Final = """
local page = tonumber(ARGV[5])
if page > 0 then
  local pages = tonumber(redis.call('HGET', KEYS[1], 'n') or '0')
  if pages ~= page - 1 and pages ~= page then return 0 end
  redis.call('HSET', KEYS[1], 'n', ARGV[5])
end
if ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'w') ~= ARGV[1] then return 0 end
local all, at, fields = ARGV[4], 1, {}
while at <= #all do
  local field = string.sub(all, at, at + 15)
  local stop = at + 24 + string.byte(all, at + 24)
  if not fields[field] then fields[field] = {} end
  fields[field][string.sub(all, at + 16, at + 23)] =
    stop > at + 24 and string.sub(all, at + 16, stop) or ''
  at = stop + 1
end
for field, devices in pairs(fields) do
  local kept, held, from = {}, redis.call('HGET', KEYS[1], field), 1
  while held and from <= #held do
    local size = 9 + string.byte(held, from + 8)
    if not devices[string.sub(held, from, from + 7)] then
      kept[#kept + 1] = string.sub(held, from, from + size - 1)
    end
    from = from + size
  end
  for _, entry in pairs(devices) do kept[#kept + 1] = entry end
  local entry = table.concat(kept)
  if entry ~= '' then redis.call('HSET', KEYS[1], field, entry)
  elseif held then redis.call('HDEL', KEYS[1], field) end
end
if ARGV[2] ~= '' then redis.call('HSET', KEYS[1], 'w', ARGV[2]) end
redis.call('EXPIRE', KEYS[1], ARGV[3])
return 1
"""

# KEYS: the bucket, what was built for it. ARGV: the mark it gets, its life in seconds, how many
# pages it must have.
_REPLACE: Final = """
if (redis.call('HGET', KEYS[2], 'n') or '0') ~= ARGV[3] then
  redis.call('DEL', KEYS[2])
  return 0
end
redis.call('HDEL', KEYS[2], 'n')
redis.call('HSET', KEYS[2], 'w', ARGV[1])
redis.call('EXPIRE', KEYS[2], ARGV[2])
redis.call('RENAME', KEYS[2], KEYS[1])
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """How far a bucket follows which database."""

    database: str
    tag: int

    def encode(self) -> bytes:
        """As the bucket keeps it."""
        return f"{self.database}:{self.tag}".encode()


@dataclass(frozen=True, slots=True)
class Bucket:
    """What the index holds of the passes asked for. `entries`: by pass, where there are any."""

    mark: Mark
    entries: Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class IndexChange:
    """A registration as it is now. `token`: '' when it ended."""

    pass_id: bytes
    device_number: int
    token: str


class RegistrationIndex:
    """Reads and writes buckets."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    async def read(
        self, tenant_id: TenantId, passes: Mapping[int, Sequence[bytes]]
    ) -> dict[int, Bucket]:
        """The buckets that are there, with their entries of these passes (by bucket)."""
        replies = await self._link.ask(
            [
                ("EVAL", _READ, 1, _key(tenant_id, bucket), b"".join(wanted))
                for bucket, wanted in passes.items()
            ]
        )
        if replies is None:
            return {}
        found = {}
        for (bucket, wanted), reply in zip(passes.items(), replies, strict=True):
            if isinstance(reply, list) and (mark := _decode_mark(reply[0])):
                found[bucket] = Bucket(mark, _split(wanted, reply[1]))
        return found

    async def add(
        self,
        tenant_id: TenantId,
        changes: Mapping[int, Sequence[IndexChange]],
        *,
        before: Mapping[int, Mark],
        after: Mark,
    ) -> int:
        """Brings buckets up to `after`, those that still are at the mark they had `before`; gives
        how many."""
        replies = await self._link.ask(
            [
                _apply(
                    _key(tenant_id, bucket),
                    b"".join([encode_registration(each) for each in some]),
                    before=before[bucket],
                    after=after,
                )
                for bucket, some in changes.items()
            ]
        )
        return sum(reply == 1 for reply in replies or ())

    def build(self, tenant_id: TenantId, bucket: int) -> BucketBuild:
        """Begins to fill a bucket anew, beside the one that is there."""
        return BucketBuild(self._link, tenant_id, bucket)

    async def claim_build(self, tenant_id: TenantId, bucket: int) -> bool:
        """Whether nobody else has filled this bucket anew in the last seconds. Two who do hinder
        each other, and harm nothing."""
        key = f"passmill:{{{tenant_id}:{bucket}}}:builder"
        return await self._link.ask_one("SET", key, b"", "NX", "EX", 20) is not None


class BucketBuild:
    """A bucket being filled anew under a key of its own; `finish` puts it in its place."""

    def __init__(self, link: RedisLink, tenant_id: TenantId, bucket: int) -> None:
        self._link = link
        self._key = _key(tenant_id, bucket)
        self._building = f"passmill:{{{tenant_id}:{bucket}}}:building:{secrets.token_hex(8)}"
        self._pages = 0

    async def add(self, registrations: bytes) -> bool:
        """Adds registrations, each once, as `encode_registration` writes them; False when Redis did
        not take them, or has lost what was added before."""
        self._pages += 1
        reply = await self._link.ask(
            [_apply(self._building, registrations, before=None, after=None, page=self._pages)]
        )
        return reply is not None and reply[0] == 1

    async def finish(self, *, after: Mark) -> bool:
        """Puts it in place of the bucket, whatever that is by now: it is right by itself. `after`:
        how far the first of its pages followed. False when Redis did not answer, or has lost some
        of its pages."""
        reply = await self._link.ask_one(
            "EVAL",
            _REPLACE,
            2,
            self._key,
            self._building,
            after.encode(),
            _LIFE_SECONDS,
            self._pages,
        )
        return reply == 1


def _split(wanted: Sequence[bytes], joined: bytes) -> dict[bytes, bytes]:
    entries, at = {}, 0
    for pass_id in wanted:
        start = at + 4
        at = start + int.from_bytes(joined[at:start], "big")
        if at > start:
            entries[pass_id] = joined[start:at]
    return entries


def read_entries(entries: Iterable[bytes], found: dict[bytes, list[int]]) -> None:
    """Adds the devices of these passes to `found`: device numbers by token."""
    for entry in entries:
        at, end = 0, len(entry)
        while at < end:
            start = at + _HEAD_BYTES
            stop = start + entry[at + 8]
            number = int.from_bytes(entry[at : at + 8], "big")
            token = entry[start:stop]
            if (numbers := found.get(token)) is None:
                found[token] = [number]
            elif number not in numbers:
                numbers.append(number)
            at = stop


def without_devices(entry: bytes, device_numbers: set[int]) -> bytes:
    """A pass's entry without these devices."""
    kept, at = [], 0
    while at < len(entry):
        stop = at + _HEAD_BYTES + entry[at + 8]
        if int.from_bytes(entry[at : at + 8], "big") not in device_numbers:
            kept.append(entry[at:stop])
        at = stop
    return b"".join(kept)


def encode_entry(device_number: int, token: str) -> bytes:
    """One registration as a bucket holds it; b"" for one that ended. `token`: in hex."""
    if not token:
        return b""
    content = bytes.fromhex(token)
    return device_number.to_bytes(8, "big") + bytes([len(content)]) + content


def encode_registration(change: IndexChange) -> bytes:
    """A registration on its way into a bucket: the pass, then the entry, of one that ended without
    a token."""
    entry = encode_entry(change.device_number, change.token)
    return change.pass_id + (entry or change.device_number.to_bytes(8, "big") + b"\0")


def _apply(
    key: str, registrations: bytes, *, before: Mark | None, after: Mark | None, page: int = 0
) -> Command:
    return (
        "EVAL",
        _APPLY,
        1,
        key,
        before.encode() if before else b"",
        after.encode() if after else b"",
        _LIFE_SECONDS if after else _BUILDING_SECONDS,
        registrations,
        page,
    )


def _key(tenant_id: TenantId, bucket: int) -> str:
    return f"passmill:{{{tenant_id}:{bucket}}}:registrations"


def _decode_mark(value: object) -> Mark | None:
    if not isinstance(value, bytes):
        return None
    database, _, tag = value.decode("ascii", "replace").rpartition(":")
    return Mark(database=database, tag=int(tag)) if tag.isdigit() else None
