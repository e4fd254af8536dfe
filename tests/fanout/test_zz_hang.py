import asyncio, traceback, pytest, redis.asyncio
from tests.fanout.conftest import *
from tests.fanout.test_index import issue, id_of
from passmill.domain.registrations import BUCKETS
@pytest.mark.parametrize("n", range(12))
async def test_hang(open_worker_for, redis_url, n):
    async def watch():
        await asyncio.sleep(12)
        for t in asyncio.all_tasks():
            print("TASK", t.get_coro()); 
            t.print_stack()
        import os; os._exit(3)
    w=asyncio.create_task(watch())
    async with open_worker_for() as fan_out:
        [wallet_pass] = await issue(fan_out, 1)
        token = await fan_out.register(wallet_pass)
        bucket = id_of(wallet_pass)[-1] % BUCKETS
        await fan_out.worker.push.rebuild.fill(fan_out.tenant_id, bucket)
        async with redis.asyncio.Redis.from_url(redis_url) as server:
            [key] = await server.keys("*:registrations")
            await server.hset(key, mapping={b"w": b"nonsense"})
        found = await fan_out.worker.push.resolve(fan_out.caller, [id_of(wallet_pass)])
    w.cancel()
