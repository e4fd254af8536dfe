"""Single passes that are signed at the same time ride along with each other."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from passmill._signer import PreparedRevision, SignerError, sign_batch
from passmill.signing.sealer import Sealer, SignRequest, open_sealer
from passmill.telemetry.metrics import Metrics
from tests.signer.documents import line
from tests.signer.signers import SIGNING_TIME, Signer

MOMENT = datetime.fromtimestamp(SIGNING_TIME, UTC)


@pytest.fixture
def registry() -> CollectorRegistry:
    """What is counted here."""
    return CollectorRegistry()


@pytest.fixture
async def sealer(registry: CollectorRegistry) -> AsyncIterator[Sealer]:
    """A sealer with two threads."""
    async with open_sealer(threads=2, metrics=Metrics(registry)) as opened:
        yield opened


def request(number: int, *, moment: datetime = MOMENT) -> SignRequest:
    """A pass of its own."""
    return SignRequest(line=line(number), signing_time=moment)


def jobs(registry: CollectorRegistry) -> float:
    """How often the signer was called."""
    return registry.get_sample_value("passmill_sign_seconds_count") or 0


async def test_a_burst_is_signed_in_a_few_batches(
    sealer: Sealer, registry: CollectorRegistry, revision: PreparedRevision, rsa: Signer
) -> None:
    """Forty passes at once take two calls of the signer, a first one alone and the rest together,
    and each gets its own signature, the same as by itself."""
    requests = [request(number) for number in range(40)]
    signed = await asyncio.gather(
        *(sealer.sign(revision, rsa.identity, [each]) for each in requests)
    )
    assert jobs(registry) == 2
    lines = b"".join(each.line for each in requests)
    digests, signatures = sign_batch(revision, lines, rsa.identity, [SIGNING_TIME] * 40)
    assert [one.digest for [one] in signed] == digests
    assert [one.signature for [one] in signed] == signatures


async def test_a_fault_stays_with_its_pass(
    sealer: Sealer, revision: PreparedRevision, rsa: Signer
) -> None:
    """A pass that cannot be signed (its time is outside the certificate's) fails alone."""
    long_ago = MOMENT - timedelta(days=36500)
    requests = [request(n, moment=long_ago if n in {0, 5} else MOMENT) for n in range(12)]
    outcomes = await asyncio.gather(
        *(sealer.sign(revision, rsa.identity, [each]) for each in requests),
        return_exceptions=True,
    )
    failed = [n for n, outcome in enumerate(outcomes) if isinstance(outcome, SignerError)]
    assert failed == [0, 5]
    assert not any(
        isinstance(each, BaseException) for n, each in enumerate(outcomes) if n not in failed
    )


async def test_whoever_gives_up_leaves_the_others_their_turn(
    sealer: Sealer, revision: PreparedRevision, rsa: Signer
) -> None:
    """Whichever of the callers are cancelled, and whenever, the others are answered, and the next
    one finds nobody in its way."""
    for ticks in range(8):
        tasks = [
            asyncio.create_task(sealer.sign(revision, rsa.identity, [request(number)]))
            for number in range(12)
        ]
        for _ in range(ticks):
            await asyncio.sleep(0)
        gone = [tasks[0], tasks[1], tasks[7]] if ticks % 2 else tasks[1:4]
        for task in gone:
            task.cancel()
        async with asyncio.timeout(20):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for task, outcome in zip(tasks, outcomes, strict=True):
            assert task in gone or isinstance(outcome, list), outcome
        async with asyncio.timeout(20):
            await sealer.sign(revision, rsa.identity, [request(99)])
