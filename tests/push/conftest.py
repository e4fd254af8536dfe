"""Certificates, and engines to push with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

import pytest

from passmill._signer import PushEngine, PushPool, SigningIdentity
from tests.push.trust import TOPIC, PushTrust

_HOST: Final = "127.0.0.1"


@pytest.fixture(scope="session")
def trust() -> PushTrust:
    """Made once."""
    return PushTrust.made_at(datetime.now(UTC))


@pytest.fixture
def open_pool(trust: PushTrust) -> Iterator[Callable[..., PushPool]]:
    """Opens pools, which are closed after the test. Times are short."""
    engine = PushEngine()
    pools: list[PushPool] = []

    def open_one(
        port: int,
        *,
        host: str = _HOST,
        identity: SigningIdentity | None = None,
        roots: bytes | None = None,
        ping_seconds: float = 1.5,
        connect_seconds: float = 1.0,
    ) -> PushPool:
        pool = PushPool(
            engine,
            identity or trust.identity,
            host=host,
            port=port,
            roots=roots or trust.roots,
            ping_seconds=ping_seconds,
            connect_seconds=connect_seconds,
        )
        pools.append(pool)
        return pool

    yield open_one
    for pool in pools:
        pool.close()


def push(
    pool: PushPool, tokens: Sequence[str], *, deadline_seconds: float = 10.0
) -> list[tuple[int, int, str, int]]:
    """Pushes; the details of what was not accepted."""
    outcomes = pool.push_many(tokens, topic=TOPIC, expiration=0, deadline_seconds=deadline_seconds)
    assert len(outcomes) == len(tokens)
    marked = {index for index, status in enumerate(outcomes.statuses) if status}
    assert marked == {index for index, _, _, _ in outcomes.details}
    return outcomes.details


async def until(holds: Callable[[], bool]) -> None:
    """Waits for something that other tasks and threads bring about."""
    while not holds():  # noqa: ASYNC110 - there is no event for what it looks at
        await asyncio.sleep(0.01)
