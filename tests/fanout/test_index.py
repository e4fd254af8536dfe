"""The fan-out index says what PostgreSQL says, whatever becomes of Redis."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import Sequence
from uuid import UUID

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from passmill.cli import registrations
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
from tests.support.service import Service

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
    """Devices of a pass, joined to an entry, come out as they went in, and without those that
    ended."""
    entry = b"".join([encode_entry(number, token.hex()) for number, token in held])
    assert devices_of(entry) == set(held)
    numbers = {gone} | {number for number, _ in held[::2]}
    left = {each for each in held if each[0] not in numbers}
    assert devices_of(without_devices(entry, numbers)) == left


def devices_of(entry: bytes) -> set[tuple[int, bytes]]:
    """Device numbers and tokens."""
    found: dict[bytes, list[int]] = {}
    read_entries([entry], found)
    return {(number, token) for token, numbers in found.items() for number in numbers}


def test_an_ended_registration_is_written_without_a_token() -> None:
    """A registration on its way into a bucket has its pass, its device and a length, 0 if ended."""
    ended = encode_registration(IndexChange(b"p" * 16, 5, ""))
    assert ended == b"p" * 16 + (5).to_bytes(8, "big") + b"\0"
    live = encode_registration(IndexChange(b"p" * 16, 5, "abcd"))
    assert live == b"p" * 16 + (5).to_bytes(8, "big") + b"\2\xab\xcd"


class History:
    """What may happen, in any order."""

    def __init__(
        self, fan_out: FanOut, server: redis.asyncio.Redis, passes: Sequence[Pass], seed: int
    ) -> None:
        self.chance = random.Random(seed)  # noqa: S311 - what happens, no secret
        self._fan_out = fan_out
        self._server = server
        self._passes = passes
        self._devices = [secrets.token_hex(8) for _ in range(5)]
        self._saved: dict[bytes, bytes] = {}
        self._late: list[tuple[asyncio.Event, asyncio.Task[None]]] = []
        self.events = [
            *(self.register, self.register, self.unregister, self.flush, self.lose_a_bucket),
            *(self.save, self.restore, self.fill, self.open_late, self.commit_late),
        ]

    async def register(self) -> None:
        """A device registers, with a new token."""
        if not self._late:
            await self._fan_out.register(
                self.chance.choice(self._passes), device=self.chance.choice(self._devices)
            )

    async def unregister(self) -> None:
        """A device does not want a pass any more."""
        if not self._late:
            await self._fan_out.unregister(
                self.chance.choice(self._passes), self.chance.choice(self._devices)
            )

    async def flush(self) -> None:
        """Redis is emptied."""
        await self._server.flushdb()

    async def lose_a_bucket(self) -> None:
        """One bucket goes, as if it had been evicted."""
        if keys := await self._server.keys("*:registrations"):
            await self._server.delete(self.chance.choice(keys))

    async def save(self) -> None:
        """Redis' state is kept."""
        keys = await self._server.keys("passmill:*")
        self._saved = {key: await self._server.dump(key) for key in keys}  # type: ignore[misc]

    async def restore(self) -> None:
        """The state that was kept is back, besides what came since."""
        for key, content in self._saved.items():
            await self._server.restore(key, 0, content, replace=True)

    async def fill(self) -> None:
        """A bucket is filled anew."""
        bucket = id_of(self.chance.choice(self._passes))[-1] % BUCKETS
        await self._fan_out.worker.push.rebuild.fill(self._fan_out.tenant_id, bucket)

    async def open_late(self) -> None:
        """A registration ends or begins again in a transaction that stays open."""
        if len(self._late) < 2:
            end, begun = asyncio.Event(), asyncio.Event()
            self._late.append((end, asyncio.create_task(self._change_late(end, begun))))
            await begun.wait()

    async def commit_late(self) -> None:
        """The first of those commits."""
        if self._late:
            end, change = self._late.pop(0)
            end.set()
            await change

    async def _change_late(self, end: asyncio.Event, begun: asyncio.Event) -> None:
        async with self._fan_out.database.transaction(self._fan_out.caller) as tx:
            await tx.execute(
                "UPDATE registrations SET tag = pg_current_xact_id()::text::bigint,"
                " remove_time = CASE WHEN remove_time IS NULL THEN now() END,"
                " remove_reason = CASE WHEN remove_time IS NULL THEN 1 END"
                " WHERE (device_number, pass_id) IN (SELECT device_number, pass_id"
                "  FROM registrations ORDER BY random() LIMIT 1 FOR UPDATE SKIP LOCKED)"
            )
            begun.set()
            await end.wait()


@pytest.mark.parametrize("seed", range(3))
async def test_the_index_agrees_with_postgresql_over_any_history(
    seed: int, open_worker_for: Opener, redis_url: str
) -> None:
    """Whatever happens in whatever order (registrations, removals, new tokens, transactions that
    commit late, Redis emptied, buckets lost, an old state restored, rebuilds), each look-up finds
    what PostgreSQL has."""
    async with (
        open_worker_for(is_running=False) as fan_out,
        redis.asyncio.Redis.from_url(redis_url) as server,
    ):
        passes = await issue(fan_out, 6)
        history = History(fan_out, server, passes, seed)
        for step in range(80):
            event = history.chance.choice(history.events)
            await event()
            wanted = history.chance.sample(passes, history.chance.randint(1, len(passes)))
            found, real = await answers(fan_out, [id_of(each) for each in wanted])
            assert found == real, f"seed {seed}, step {step}, {event.__name__}"
        await history.commit_late()
        await history.commit_late()


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
        held = await server.hget(key, "w")
        assert isinstance(held, bytes)
        database = held.rpartition(b":")[0]
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


async def test_the_command_line_rebuilds(
    fan_out: FanOut, redis_url: str, capsys: pytest.CaptureFixture[str], own_service: Service
) -> None:
    """`passmill registrations rebuild` fills the index and says with how many; where Redis does not
    answer it says so, with status 1."""
    passes = await issue(fan_out, 2)
    await fan_out.register_many([UUID(each.pass_id) for each in passes], each=3)
    capsys.readouterr()
    settings = own_service.settings.model_copy(update={"redis_url": SecretStr(redis_url)})
    assert await asyncio.to_thread(registrations.rebuild, settings) == 0
    assert re.fullmatch(r"6 registrations in \d+\.\d s\n", capsys.readouterr().out)
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        assert len(await server.keys("*:registrations")) == BUCKETS
    assert await asyncio.to_thread(registrations.rebuild, own_service.settings) == 1
    assert "Redis does not answer" in capsys.readouterr().err


async def test_everything_is_rebuilt_with_progress(fan_out: FanOut, redis_url: str) -> None:
    """The whole index is filled, and says how far it is."""
    passes = await issue(fan_out, 8)
    await fan_out.register_many([UUID(each.pass_id) for each in passes], each=3)
    progress = [each async for each in fan_out.worker.push.rebuild.everything()]
    assert progress[-1] == (BUCKETS, BUCKETS, 24)
    assert [done for done, _, _ in progress] == sorted(done for done, _, _ in progress)
    async with redis.asyncio.Redis.from_url(redis_url) as server:
        assert len(await server.keys("*:registrations")) == BUCKETS
