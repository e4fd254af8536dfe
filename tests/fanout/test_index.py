"""The fan-out index says what PostgreSQL says, whatever becomes of Redis."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Sequence
from uuid import UUID

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from passmill.domain.registrations import BUCKETS
from passmill.push.registration_index import (
    IndexChange,
    encode_entry,
    encode_registration,
    read_entries,
    without_devices,
)
from passmill.store import fan_out as store
from passmill.v1.wallet_pass_pb2 import Pass
from tests.fanout.conftest import Opener
from tests.support.fan_out import FanOut

HELD = st.lists(
    st.tuples(st.integers(0, 2**62), st.binary(min_size=1, max_size=100)),
    unique_by=lambda each: each[0],
)


async def answers(fan_out: FanOut, passes: Sequence[bytes]) -> tuple[object, object]:
    """What the index finds for these passes, and what PostgreSQL does."""
    found = await fan_out.worker.push.resolve(fan_out.caller, passes)
    async with fan_out.database.statement(fan_out.caller) as tx:
        rows = await store.read_tokens_of_passes(tx, passes)
    wanted: dict[bytes, set[int]] = {}
    for number, token in rows:
        wanted.setdefault(bytes.fromhex(token), set()).add(number)
    return {token: set(numbers) for token, numbers in found.items()}, wanted


async def issue(fan_out: FanOut, count: int) -> list[Pass]:
    """Passes, all in two buckets at most: what many would be in the same."""
    return list(await asyncio.gather(*(fan_out.club.issue() for _ in range(count))))


def id_of(wallet_pass: Pass) -> bytes:
    """As the index knows it."""
    return UUID(wallet_pass.pass_id).bytes


@given(held=HELD, gone=st.integers(0, 2**62))
def test_an_entry_is_read_as_it_was_written(held: list[tuple[int, bytes]], gone: int) -> None:
    """Devices of a pass, joined to an entry, come out as they went in, and without one that ended."""
    entry = b"".join([encode_entry(number, token.hex()) for number, token in held])
    found: dict[bytes, list[int]] = {}
    read_entries([entry], found)
    assert {(number, token) for token, numbers in found.items() for number in numbers} == set(held)
    numbers = {gone} | {number for number, _ in held[::2]}
    left: dict[bytes, list[int]] = {}
    read_entries([without_devices(entry, numbers)], left)
    assert sum(left.values(), []) == [n for n, _ in held if n not in numbers] or len(left) < len(
        held
    )
    assert set(sum(left.values(), [])) == {number for number, _ in held} - numbers


def test_an_ended_registration_is_written_without_a_token() -> None:
    """A registration on its way into a bucket has its pass, its device and a length, 0 if ended."""
    ended = encode_registration(IndexChange(b"p" * 16, 5, ""))
    assert ended == b"p" * 16 + (5).to_bytes(8, "big") + b"\0"
    live = encode_registration(IndexChange(b"p" * 16, 5, "abcd"))
    assert live == b"p" * 16 + (5).to_bytes(8, "big") + b"\2\xab\xcd"


@pytest.mark.parametrize("seed", range(3))
async def test_the_index_agrees_with_postgresql_over_any_history(
    seed: int, open_worker_for: Opener, redis_url: str
) -> None:
    """Whatever happens in whatever order (registrations, removals, new tokens, transactions that
    commit late, Redis emptied, buckets lost, an old state restored, rebuilds), each look-up finds
    what PostgreSQL has."""
    chance = random.Random(seed)
    async with (
        open_worker_for(is_running=False) as fan_out,
        redis.asyncio.Redis.from_url(redis_url) as server,
    ):
        passes = await issue(fan_out, 6)
        devices = [secrets.token_hex(8) for _ in range(5)]
        saved: dict[bytes, bytes] = {}
        late: list[asyncio.Task[None]] = []
        ends: list[asyncio.Event] = []

        async def commit_late(end: asyncio.Event, begun: asyncio.Event) -> None:
            async with fan_out.database.transaction(fan_out.caller) as tx:
                await tx.execute(
                    "UPDATE registrations SET tag = pg_current_xact_id()::text::bigint,"
                    " remove_time = CASE WHEN remove_time IS NULL THEN now() END,"
                    " remove_reason = CASE WHEN remove_time IS NULL THEN 1 END"
                    " WHERE (device_number, pass_id) IN (SELECT device_number, pass_id"
                    "  FROM registrations ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)"
                )
                begun.set()
                await end.wait()

        for step in range(60):
            match chance.choice(
                ["add", "add", "drop", "token", "flush", "lose", "save", "restore", "rebuild"]
                + ["open", "close", "ask", "ask"]
            ):
                case "add" | "token" if not late:
                    await fan_out.register(chance.choice(passes), device=chance.choice(devices))
                case "drop" if not late:
                    await fan_out.unregister(chance.choice(passes), chance.choice(devices))
                case "flush":
                    await server.flushdb()
                case "lose" if keys := await server.keys("*:registrations"):
                    await server.delete(chance.choice(keys))
                case "save":
                    saved = {key: await server.dump(key) for key in await server.keys("passmill:*")}
                case "restore":
                    for key, content in saved.items():
                        await server.restore(key, 0, content, replace=True)
                case "rebuild":
                    tenant = fan_out.tenant_id
                    await fan_out.worker.push.rebuild.fill(tenant, id_of(passes[0])[-1] % BUCKETS)
                case "open" if len(late) < 2:
                    end, begun = asyncio.Event(), asyncio.Event()
                    late.append(asyncio.create_task(commit_late(end, begun)))
                    ends.append(end)
                    await begun.wait()
                case "close" if late:
                    ends.pop(0).set()
                    await late.pop(0)
                case _:
                    pass
            wanted = chance.sample(passes, chance.randint(1, len(passes)))
            found, real = await answers(fan_out, [id_of(each) for each in wanted])
            assert found == real, f"seed {seed}, step {step}"
        for end in ends:
            end.set()
        await asyncio.gather(*late)


async def test_a_missing_bucket_is_filled_by_itself(fan_out: FanOut, redis_url: str) -> None:
    """A look-up that finds no bucket is answered, and the next ones come from the index."""
    [wallet_pass] = await issue(fan_out, 1)
    token = await fan_out.register(wallet_pass)
    found = await fan_out.worker.push.resolve(fan_out.caller, [id_of(wallet_pass)])
    assert list(found) == [bytes.fromhex(token)]
    async with redis.asyncio.Redis.from_url(redis_url) as server, asyncio.timeout(10):
        while not await server.keys("*:registrations"):  # noqa: ASYNC110 - done elsewhere
            await asyncio.sleep(0.01)
        [key] = await server.keys("*:registrations")
        # What the index says is believed: here it says what PostgreSQL does not.
        assert await server.hdel(key, id_of(wallet_pass)) == 1
    assert await fan_out.worker.push.resolve(fan_out.caller, [id_of(wallet_pass)]) == {}


@pytest.mark.parametrize("mark", [b"another.1.00000001:9", b"%s:9223372036854775807", b"nonsense"])
async def test_the_index_of_another_database_is_not_used(
    mark: bytes, fan_out: FanOut, redis_url: str
) -> None:
    """A bucket that follows another database, or a moment this one has not come to, is not
    believed."""
    [wallet_pass] = await issue(fan_out, 1)
    token = await fan_out.register(wallet_pass)
    bucket = id_of(wallet_pass)[-1] % BUCKETS
    await fan_out.worker.push.rebuild.fill(fan_out.tenant_id, bucket)
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        [key] = await server.keys("*:registrations")
        database = (await server.hget(key, "w")).rpartition(b":")[0]
        await server.hset(key, mapping={b"w": mark.replace(b"%s", database)})
        await server.hdel(key, id_of(wallet_pass))
    found = await fan_out.worker.push.resolve(fan_out.caller, [id_of(wallet_pass)])
    assert list(found) == [bytes.fromhex(token)]


async def test_a_bucket_of_many_pages_is_filled_whole(fan_out: FanOut, redis_url: str) -> None:
    """More registrations than fit a page, with one tag, are all in the index; and only live ones
    of devices that APNs reaches."""
    [wallet_pass] = await issue(fan_out, 1)
    await fan_out.register_many([UUID(wallet_pass.pass_id)], each=12_000)
    bucket = id_of(wallet_pass)[-1] % BUCKETS
    assert await fan_out.worker.push.rebuild.fill(fan_out.tenant_id, bucket) == 12_000
    found, wanted = await answers(fan_out, [id_of(wallet_pass)])
    assert found == wanted
    assert len(await fan_out.tokens()) == 12_000


async def test_everything_is_rebuilt_with_progress(fan_out: FanOut, redis_url: str) -> None:
    """The whole index is filled, and says how far it is."""
    passes = await issue(fan_out, 8)
    await fan_out.register_many([UUID(each.pass_id) for each in passes], each=3)
    progress = [each async for each in fan_out.worker.push.rebuild.everything()]
    assert progress[-1] == (BUCKETS, BUCKETS, 24)
    assert [done for done, _, _ in progress] == sorted(done for done, _, _ in progress)
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        assert len(await server.keys("*:registrations")) == BUCKETS
