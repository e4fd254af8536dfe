"""Concurrent issues of a tenant in one group: one's trouble is not another's, and none is lost."""

import asyncio
import secrets
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import asyncpg
import grpc
import pytest
from prometheus_client import CollectorRegistry

from passmill.domain.callers import Caller
from passmill.domain.clock import SystemClock
from passmill.domain.ids import PassId, SigningIdentityId, new_uuid
from passmill.domain.keyring import Keyring
from passmill.domain.passes import Holder, PassState, WalletPass
from passmill.domain.reference_ids import ReferenceNumber
from passmill.rpc.convert_template import ProtoTemplateCodec
from passmill.signing.identities import IdentityCache
from passmill.signing.native import SigningIdentity
from passmill.signing.revisions import LoadedRevision, RevisionCache
from passmill.signing.sealer import Sealer
from passmill.store.answers import StoredAnswer, find_answers
from passmill.store.database import Database as StoreDatabase
from passmill.store.signing_identities import IdentityReader
from passmill.telemetry.metrics import Metrics
from passmill.usecases.issue_group import IssueGroups, PreparedIssue, RenderedPass
from passmill.usecases.load_revision import LoadRevision, RevisionReader
from passmill.usecases.pass_content import PassContents, digest_of
from passmill.usecases.tenant_numbers import TenantNumbers
from passmill.v1 import pass_service_pb2 as pb
from tests.support.bundles import verify
from tests.support.postgres import Database
from tests.support.service import (
    PASS_TYPE,
    Club,
    authority,
    open_service,
)
from tests.support.small_card import draft

pytestmark = pytest.mark.asyncio(loop_scope="session")

GONE = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A tenant's lane, and what passes are made of in it."""

    groups: IssueGroups
    club: Club
    caller: Caller
    contents: PassContents
    loaded: LoadedRevision
    identity_id: SigningIdentityId
    identity: SigningIdentity

    async def prepare(
        self, names: list[str], *, request_id: uuid.UUID | None = None, **changes: object
    ) -> PreparedIssue:
        """A request to issue passes to these names. `changes`: of the row, to make it unfit."""
        content = await self.contents.of(self.caller)
        rendered = []
        for name in names:
            wallet_pass = WalletPass(
                pass_id=PassId(new_uuid()),
                revision_id=self.loaded.revision.revision_id,
                signing_identity_id=self.identity_id,
                reference_number=ReferenceNumber(secrets.randbits(35)),
                create_time=datetime.now(UTC),
                signing_time=datetime.now(UTC).replace(microsecond=0),
                expire_time=None,
                version=1,
                token_generation=0,
                state=PassState.ACTIVE,
                holder=Holder(name=name),
                slot_values='{"points":1}',
                void_reason="",
                digest=b"",
                signature=None,
            )
            line = content.encode(self.loaded, wallet_pass)
            wallet_pass = wallet_pass.with_digest(digest_of(self.loaded.render(line)))
            unfit = replace(wallet_pass, **changes)  # type: ignore[arg-type]
            rendered.append(RenderedPass(wallet_pass=unfit, line=line))
        return PreparedIssue(
            answer=StoredAnswer(
                request_id=request_id or uuid.uuid4(),
                method="test",
                fingerprint=b"f",
                answer=",".join(names).encode(),
            ),
            rendered=rendered,
            loaded=self.loaded,
            identity=self.identity,
        )

    async def submit(self, issue: PreparedIssue) -> bool:
        """Hands a request to the group."""
        return await self.groups.submit(self.caller, issue)

    async def names(self) -> list[str]:
        """Whose passes there are, signed ones alone."""
        rows = await self.club.tenant.fetch(
            "SELECT holder_name FROM passes WHERE signature IS NOT NULL ORDER BY 1"
        )
        return [row["holder_name"] for row in rows]

    async def answer(self, request_id: uuid.UUID) -> bytes | None:
        """The answer kept for a request."""
        database = self.club.tenant.service.services.database
        async with database.transaction(self.caller) as tx:
            found = await find_answers(tx, [request_id])
        return found[request_id].answer if request_id in found else None


@asynccontextmanager
async def open_lane(club: Club, *, sealer: Sealer | None = None) -> AsyncIterator[Lane]:
    """A lane of a club on the service's database, with a signer of its own."""
    services = club.tenant.service.services
    database: StoreDatabase = services.database
    clock, metrics = SystemClock(), Metrics(CollectorRegistry())
    keyring: Keyring = services.keyring
    revisions = RevisionCache(loader=RevisionReader(database=database, codec=ProtoTemplateCodec()))
    caller = club.tenant.caller
    loaded = await LoadRevision(database=database, cache=revisions).for_issue(
        caller, club.template_id, 0
    )
    identities = IdentityCache(
        loader=IdentityReader(database=database), wrapping_key=keyring.wrapping_key, clock=clock
    )
    identity_id, identity = await identities.active(caller, PASS_TYPE)
    async with AsyncExitStack() as stack:
        executor = stack.enter_context(ThreadPoolExecutor(max_workers=2))
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        yield Lane(
            groups=IssueGroups(
                database=database,
                sealer=sealer or Sealer(executor=executor, metrics=metrics),
                clock=clock,
                metrics=metrics,
                tasks=tasks,
            ),
            club=club,
            caller=caller,
            contents=PassContents(
                numbers=TenantNumbers(database=database), tokens=keyring.pass_tokens
            ),
            loaded=loaded,
            identity_id=identity_id,
            identity=identity,
        )


async def test_all_of_a_burst_are_issued(rowing_club: Club) -> None:
    """Two hundred requests at once, of one pass and of many, are all written and signed."""
    async with open_lane(rowing_club) as lane:
        issues = [
            await lane.prepare([f"{at:03}/{number}" for number in range(1 + (at % 5) * 60)])
            for at in range(40)
        ]
        assert all(await asyncio.gather(*(lane.submit(each) for each in issues)))
        expected = [row.wallet_pass.holder.name for each in issues for row in each.rendered]
        assert await lane.names() == sorted(expected)
        assert await rowing_club.tenant.count("signing_intents") == 0


async def test_twins_are_written_once(rowing_club: Club) -> None:
    """Of requests with one id, in one burst, one is new and the others are told so; the answer kept
    is the one that was new."""
    async with open_lane(rowing_club) as lane:
        request_id = uuid.uuid4()
        twins = [await lane.prepare([f"twin {at}"], request_id=request_id) for at in range(10)]
        others = [await lane.prepare([f"other {at}"]) for at in range(10)]
        mixed = [each for pair in zip(twins, others, strict=True) for each in pair]
        answers = await asyncio.gather(*(lane.submit(each) for each in mixed))
        assert answers[1::2] == [True] * 10
        assert answers[::2].count(True) == 1
        winner = twins[answers[::2].index(True)]
        assert await lane.answer(request_id) == winner.answer.answer
        names = await lane.names()
        assert winner.answer.answer.decode() in names
        assert len(names) == 11


async def test_one_bad_request_does_not_hurt_its_neighbours(rowing_club: Club) -> None:
    """A request that the database refuses fails alone; those in its group are issued."""
    async with open_lane(rowing_club) as lane:
        good = [await lane.prepare([f"good {at}"]) for at in range(20)]
        bad = [
            await lane.prepare(["bad"], slot_values=None),
            await lane.prepare(["bad"], holder=Holder(name="a\x00b")),
        ]
        mixed = [*good[:10], *bad, *good[10:]]
        outcomes = await asyncio.gather(
            *(lane.submit(each) for each in mixed), return_exceptions=True
        )
        assert [type(each) for each in outcomes].count(bool) == 20
        assert all(isinstance(each, Exception) for each in outcomes[10:12])
        assert await lane.names() == sorted(f"good {at}" for at in range(20))
        assert await lane.answer(bad[0].answer.request_id) is None
        assert await lane.submit(await lane.prepare(["after"]))


async def test_who_gives_up_before_its_turn_is_forgotten(rowing_club: Club) -> None:
    """While the database is stuck callers wait; of those that give up nothing is ever written, the
    others are answered."""
    database = rowing_club.tenant.service.services.database
    async with open_lane(rowing_club) as lane:
        async with database.transaction(rowing_club.tenant.caller) as tx:
            await tx.execute("LOCK TABLE passes IN SHARE MODE")
            first = asyncio.ensure_future(lane.submit(await lane.prepare(["first"])))
            issues = [await lane.prepare([f"name {at:02}"]) for at in range(40)]
            calls = [asyncio.ensure_future(lane.submit(each)) for each in issues]
            await asyncio.sleep(0)
            for call in calls[::2]:
                call.cancel()
            await asyncio.wait(calls[::2])
        assert await asyncio.gather(first, *calls[1::2]) == [True] * 21
        assert await lane.names() == ["first", *(f"name {at:02}" for at in range(1, 40, 2))]
        kept = [await lane.answer(issue.answer.request_id) for issue in issues]
        assert kept[::2] == [None] * 20
        assert kept[1::2] == [issue.answer.answer for issue in issues[1::2]]


async def test_who_gives_up_later_does_not_stop_the_group(rowing_club: Club) -> None:
    """Callers that are cancelled when their group is on its way stop nobody: the others are
    answered, and what was committed stays, with its answer kept."""
    async with open_lane(rowing_club) as lane:
        issues = [await lane.prepare([f"name {at:02}"]) for at in range(40)]
        calls = [asyncio.ensure_future(lane.submit(each)) for each in issues]
        await asyncio.wait(calls[:1], timeout=0.002)
        for call in calls[::2]:
            call.cancel()
        assert await asyncio.gather(*calls[1::2]) == [True] * 20
    kept = [await lane.answer(issue.answer.request_id) for issue in issues]
    assert kept[1::2] == [issue.answer.answer for issue in issues[1::2]]
    assert len(await lane.names()) == sum(answer is not None for answer in kept)
    assert await rowing_club.tenant.count("signing_intents") == 0


async def test_without_a_signer_passes_are_left_to_the_sweeper(rowing_club: Club) -> None:
    """When the signer fails, whatever the failure, the passes are issued all the same: committed,
    answered, with intents that the sweeper finds; and the lane goes on."""
    gone = ThreadPoolExecutor(max_workers=1)
    gone.shutdown()
    sealer = Sealer(executor=gone, metrics=Metrics(CollectorRegistry()))
    async with open_lane(rowing_club, sealer=sealer) as lane:
        for burst in range(2):
            issues = [await lane.prepare([f"{burst}/{at}"]) for at in range(5)]
            assert all(await asyncio.gather(*(lane.submit(each) for each in issues)))
        assert await lane.names() == []
        assert await rowing_club.tenant.count("signing_intents") == 10
    await rowing_club.tenant.fetch(
        "WITH taken AS (DELETE FROM signing_intents RETURNING tenant_id, pass_id)"
        " INSERT INTO signing_intents SELECT tenant_id, pass_id, $1 FROM taken",
        datetime.now(UTC) - timedelta(hours=1),
    )
    await rowing_club.tenant.service.services.finish_signing.sweep()
    assert len(await lane.names()) == 10
    assert await rowing_club.tenant.count("signing_intents") == 0


async def test_a_pass_that_cannot_be_signed_is_left_to_the_sweeper(rowing_club: Club) -> None:
    """A signing time outside the certificate's dates is refused by the signer; the request is
    issued, and another one of its own group is not lost."""
    async with open_lane(rowing_club) as lane:
        early = datetime(2001, 1, 1, tzinfo=UTC)
        issues = [
            await lane.prepare(["early"], signing_time=early),
            await lane.prepare(["now"]),
        ]
        assert await asyncio.gather(*(lane.submit(each) for each in issues)) == [True, True]
        rows = await rowing_club.tenant.fetch("SELECT pass_id FROM passes WHERE signature IS NULL")
        assert len(rows) == await rowing_club.tenant.count("signing_intents") > 0
        assert await rowing_club.tenant.count("passes") == 2


async def test_lost_connections_lose_nothing(database: Database) -> None:
    """While issues go on, every connection to the database is cut again and again: callers hear
    that they should retry or get their answer, retries with the same request id succeed, and in the
    end there is exactly one signed pass a request."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        requests = [club.issue_request(draft(f"name {at:03}")) for at in range(150)]
        done = asyncio.Event()

        async def issue(request: pb.IssuePassRequest) -> pb.IssuePassResponse:
            while True:
                try:
                    return await club.passes.IssuePass(request, timeout=5)
                except grpc.aio.AioRpcError as error:
                    assert error.code() in GONE, error  # noqa: PT017

        async def cut() -> int:
            connection = await asyncpg.connect(database.url)
            cuts = 0
            while not done.is_set():
                cuts += await connection.fetchval(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                    " AND backend_type = 'client backend'"
                )
                await asyncio.sleep(0.05)
            await connection.close()
            return cuts

        cutting = asyncio.ensure_future(cut())
        limit = asyncio.Semaphore(20)

        async def one(request: pb.IssuePassRequest) -> pb.IssuePassResponse:
            async with limit:
                return await issue(request)

        try:
            answers = await asyncio.gather(*(one(request) for request in requests))
        finally:
            done.set()
            cuts = await cutting
        assert cuts > 5
        passes = [answer.wallet_pass for answer in answers]
        assert await club.tenant.count("passes") == 150
        assert len({each.pass_id for each in passes}) == 150
        for at, each in enumerate(passes):
            assert (await club.get(each)).holder.name == f"name {at:03}"
            verify(await club.bundle(each), authority())
        assert await club.tenant.count("signing_intents") == 0
