"""DeviceService: who holds passes, what they were pushed, how far a revision has come."""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import grpc
import pytest
import pytest_asyncio
from google.type.date_pb2 import Date

from passmill.domain.registrations import Wallet
from passmill.store.devices import DeadToken, PushRecord, forget_tokens, record_pushes
from passmill.v1 import device_pb2
from passmill.v1 import device_service_pb2 as pb
from passmill.v1.device_pb2 import Registration
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.campaign_worker import open_campaign_worker
from tests.support.refusals import Refusal, refusal_of
from tests.support.registry import Device, Registry, add_registry_club, open_registry
from tests.support.service import Club, Service, SetClock, by_id, meta
from tests.support.small_card import small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEMPLATE: Final = pb.INSTALL_DIMENSION_TEMPLATE
CAMPAIGN: Final = pb.INSTALL_DIMENSION_CAMPAIGN
DAY: Final = pb.INSTALL_DIMENSION_DAY
WALLET: Final = pb.INSTALL_DIMENSION_WALLET
SYSTEM_VERSION: Final = pb.INSTALL_DIMENSION_SYSTEM_VERSION
ACCEPTED: Final = 1

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def registry(service: Service) -> AsyncIterator[Registry]:
    """The edge's use cases on the service that is shared."""
    async with open_registry(service) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def club(service: Service) -> Club:
    """A tenant that can issue, whose pass type no other has."""
    return await add_registry_club(service, f"pass.com.example.counted{next(_numbers)}")


async def registrations(club: Club, wallet_pass: Pass, **request: Any) -> list[Registration]:
    """A pass's registrations, page after page."""
    found: list[Registration] = []
    token: str | None = ""
    while token is not None:
        answer = await club.tenant.member.devices.ListRegistrations(
            pb.ListRegistrationsRequest(ref=by_id(wallet_pass), page_token=token, **request)
        )
        found += answer.registrations
        token = answer.next_page_token or None
    return found


async def installs(
    club: Club, *group_by: pb.InstallDimension.ValueType, **wanted: Any
) -> list[pb.InstallCount]:
    """Counts of installs."""
    request = pb.GetInstallStatisticsRequest(
        filter=pb.GetInstallStatisticsRequest.Filter(**wanted), group_by=group_by
    )
    return list((await club.tenant.member.devices.GetInstallStatistics(request)).counts)


async def converged(club: Club, revision: int = 0) -> pb.GetConvergenceResponse:
    """How far a revision of the club's template has come."""
    return await club.tenant.member.devices.GetConvergence(
        pb.GetConvergenceRequest(template_id=club.template_id, revision=revision)
    )


async def move(club: Club, wallet_pass: Pass, revision: int) -> Pass:
    """Moves a pass to a revision."""
    return await club.update(wallet_pass, "revision", wanted=Pass(revision=revision))


async def fetch(registry: Registry, club: Club, wallet_pass: Pass) -> None:
    """A device fetches a pass."""
    authentic = await registry.authentic(club, wallet_pass)
    registry.note_fetches.note(authentic, await registry.serve.version(authentic))
    await registry.note_fetches.flush()


async def record_push(club: Club, device: Device, *, state: int, reason: str = "") -> datetime:
    """A push to a device ends now."""
    now = datetime.now(UTC) + timedelta(seconds=2)
    [row] = await club.tenant.fetch(
        "SELECT device_number FROM devices WHERE device_library_identifier = $1", device.name
    )
    record = PushRecord(device_number=row["device_number"], state=state, reason=reason)
    async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
        await record_pushes(tx, [record], now=now)
    return now


@asynccontextmanager
async def registry_of_day(service: Service, day: date) -> AsyncIterator[Registry]:
    """The edge's use cases at noon of a day."""
    clock = SetClock()
    clock.moment = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    async with open_registry(service, clock=clock) as opened:
        yield opened


async def test_registrations_are_listed(registry: Registry, club: Club) -> None:
    """A pass's devices with what they say of themselves, what they were pushed and told, and when
    and why they ended; in pages, and never with a token."""
    wallet_pass, other = await club.issue(), await club.issue()
    phone = Device()
    android = Device(wallet=Wallet.ANDROID_PASS, system_version="Android/14")
    gone = Device(system_version="")
    for device in (phone, android, gone):
        assert await registry.register(device, club, wallet_pass)
    await registry.register(phone, club, other)
    await registry.unregister(android, club, wallet_pass)
    async with club.tenant.service.services.database.transaction(club.tenant.caller) as tx:
        dead = DeadToken(
            push_token=gone.token, invalidated_at=datetime.now(UTC) + timedelta(hours=1)
        )
        authentic = await registry.authentic(club, wallet_pass)
        await forget_tokens(
            tx,
            [dead],
            pass_type_identifier=authentic.pass_type_identifier,
            now=datetime.now(UTC),
        )
    pushed_at = await record_push(club, phone, state=2, reason="TooManyRequests")
    [live] = await registrations(club, wallet_pass)
    assert (live.pass_id, live.wallet, live.system_version) == (
        wallet_pass.pass_id,
        device_pb2.WALLET_APPLE,
        "Darwin/24.1.0",
    )
    assert (live.last_push.state, live.last_push.reason) == (
        device_pb2.PUSH_STATE_REJECTED,
        "TooManyRequests",
    )
    assert live.last_push.time.ToDatetime(tzinfo=UTC) == pushed_at
    assert (live.is_told, live.HasField("remove_time")) == (False, False)
    await registry.listed(phone, club)
    [live] = await registrations(club, wallet_pass)
    assert live.is_told
    everything = await registrations(club, wallet_pass, include_removed=True)
    ended = {
        each.system_version: (each.wallet, each.remove_reason)
        for each in everything
        if each.HasField("remove_time")
    }
    assert ended == {
        "Android/14": (device_pb2.WALLET_ANDROID_PASS, Registration.REMOVE_REASON_DEVICE_ASKED),
        "": (device_pb2.WALLET_APPLE, Registration.REMOVE_REASON_TOKEN_GONE),
    }
    assert await registrations(club, wallet_pass, include_removed=True, page_size=1) == everything
    [elsewhere] = await registrations(club, other)
    assert elsewhere.device_number == live.device_number
    for device in (phone, android, gone):
        assert device.token not in str(everything)
        assert device.name not in str(everything)


async def test_installs_are_counted(service: Service, club: Club) -> None:
    """Installs and removals by their days, wallets, systems, templates, each and all together; of a
    span of days; of one template or program; and those still there."""
    tenant = club.tenant
    second = await tenant.add_template(club.program_id, small_card())
    await tenant.publish(second)
    other = Club(tenant=tenant, program_id=club.program_id, template_id=second)
    mine, theirs = await club.issue(), await other.issue()
    phone, tablet = Device(), Device(system_version="Darwin/23.0.0")
    android = Device(wallet=Wallet.ANDROID_PASS, system_version="Android/14")
    async with registry_of_day(service, date(2026, 3, 1)) as registry:
        await registry.register(phone, club, mine)
        await registry.register(tablet, club, mine)
    async with registry_of_day(service, date(2026, 3, 3)) as registry:
        await registry.unregister(tablet, club, mine)
        await registry.register(android, club, mine)
        await registry.register(phone, other, theirs)

    def count(installs: int, removals: int, live: int, **names: Any) -> pb.InstallCount:
        return pb.InstallCount(installs=installs, removals=removals, live=live, **names)

    first_day, third_day = Date(year=2026, month=3, day=1), Date(year=2026, month=3, day=3)
    assert await installs(club) == [count(4, 1, 3)]
    assert await installs(club, DAY) == [
        count(2, 0, 1, day=first_day),
        count(2, 1, 2, day=third_day),
    ]
    assert await installs(club, day_before=third_day) == [count(2, 0, 1)]
    assert await installs(club, day_from=third_day) == [count(2, 1, 2)]
    assert await installs(club, WALLET) == [
        count(3, 1, 2, wallet=device_pb2.WALLET_APPLE),
        count(1, 0, 1, wallet=device_pb2.WALLET_ANDROID_PASS),
    ]
    assert await installs(club, SYSTEM_VERSION, template_id=club.template_id) == [
        count(1, 0, 1, system_version="Android/14"),
        count(1, 1, 0, system_version="Darwin/23.0.0"),
        count(1, 0, 1, system_version="Darwin/24.1.0"),
    ]
    by_template = {each.template_id: each for each in await installs(club, TEMPLATE)}
    assert by_template == {
        club.template_id: count(3, 1, 2, template_id=club.template_id),
        second: count(1, 0, 1, template_id=second),
    }
    assert await installs(club, program_id=club.program_id) == [count(4, 1, 3)]
    assert await installs(club, program_id=club.program_id, template_id=second) == [count(1, 0, 1)]
    empty = await tenant.add_program()
    assert await installs(club, program_id=empty) == []
    assert await installs(club, program_id=empty, template_id=second) == []
    assert len(await installs(club, TEMPLATE, CAMPAIGN, DAY, WALLET, SYSTEM_VERSION)) == 5
    assert await installs(await service.add_club()) == []


async def test_forgotten_registrations_stay_counted(service: Service, club: Club) -> None:
    """When the rows of registrations that ended are deleted, each count is what it was."""
    mine = await club.issue()
    phones = [Device() for _ in range(3)]
    async with registry_of_day(service, date(2026, 3, 1)) as registry:
        for phone in phones:
            await registry.register(phone, club, mine)
    async with registry_of_day(service, date(2026, 3, 2)) as registry:
        for phone in phones[:2]:
            await registry.unregister(phone, club, mine)
    groups = (TEMPLATE, CAMPAIGN, DAY, WALLET, SYSTEM_VERSION)
    before = [await installs(club, *groups[:count]) for count in range(6)]
    async with registry_of_day(service, date(2026, 6, 1)) as registry:
        assert await registry.forget_devices() >= 2
    assert await club.tenant.count("registrations") == 1
    assert [await installs(club, *groups[:count]) for count in range(6)] == before
    assert before[0][0].installs == 3


async def test_a_campaigns_installs_are_counted(registry: Registry, club: Club) -> None:
    """Installs of passes that a campaign issued count for it, others for none."""
    async with open_campaign_worker(club.tenant.service, club) as worker:
        campaign = await worker.loaded(2)
        await worker.start(campaign)
        await worker.serve_due()
        results = await worker.campaigns.results(campaign)
        issued = [await worker.pass_of(each) for each in results]
    for wallet_pass in [*issued, await club.issue()]:
        await registry.register(Device(), club, wallet_pass)
    counts = {each.campaign_id: each.installs for each in await installs(club, CAMPAIGN)}
    assert counts == {campaign.campaign_id: 2, "": 1}
    assert [each.live for each in await installs(club, campaign_id=campaign.campaign_id)] == [2]
    request = pb.RequestPushRequest(campaign_id=campaign.campaign_id, meta=meta())
    assert (await club.tenant.member.devices.RequestPush(request)).pass_count == 2


async def test_pushes_are_counted(club: Club) -> None:
    """Counts of pushes by pass type, day and outcome, narrowed by each; and what is stopped."""
    caller = club.tenant.caller
    rows = [
        ("pass.a", date(2026, 3, 1), 1, "", 70),
        ("pass.a", date(2026, 3, 2), 3, "Unregistered", 2),
        ("pass.b", date(2026, 3, 2), 4, "TIMEOUT", 5),
    ]
    async with club.tenant.service.services.database.transaction(caller) as tx:
        for row in rows:
            await tx.execute(
                "INSERT INTO push_counts VALUES ($1, $2, $3, $4, $5, $6)", tx.tenant_id, *row
            )
        await tx.execute(
            "INSERT INTO stopped_topics VALUES ($1, 'pass.b', 'TopicDisallowed', $2, $2)",
            tx.tenant_id,
            datetime(2026, 3, 2, tzinfo=UTC),
        )

    async def counted(**request: Any) -> pb.GetPushStatisticsResponse:
        return await club.tenant.member.devices.GetPushStatistics(
            pb.GetPushStatisticsRequest(**request)
        )

    everything = await counted()
    assert [
        (each.pass_type_identifier, each.day.day, each.state, each.reason, each.count)
        for each in everything.counts
    ] == [
        ("pass.a", 1, device_pb2.PUSH_STATE_ACCEPTED, "", 70),
        ("pass.a", 2, device_pb2.PUSH_STATE_INVALIDATED, "Unregistered", 2),
        ("pass.b", 2, device_pb2.PUSH_STATE_UNREACHABLE, "TIMEOUT", 5),
    ]
    [stopped] = everything.stopped
    assert (stopped.pass_type_identifier, stopped.reason) == ("pass.b", "TopicDisallowed")
    one_type = await counted(pass_type_identifier="pass.a")
    assert (len(one_type.counts), len(one_type.stopped)) == (2, 0)
    second_day = Date(year=2026, month=3, day=2)
    assert len((await counted(day_from=second_day)).counts) == 2
    assert len((await counted(day_before=second_day)).counts) == 1
    assert (await counted(pass_type_identifier="x" * 200)).counts == []


async def test_a_revision_converges(registry: Registry, club: Club) -> None:
    """Five holders on the way to a new revision: nothing moved, moved, pushed, told, fetched; a
    pass issued with it needs nothing; one on no device does not count. Each step is counted once
    its time has come, and only then."""
    holders = [Device() for _ in range(5)]
    passes = [await club.issue() for _ in holders]
    for device, wallet_pass in zip(holders, passes, strict=True):
        await registry.register(device, club, wallet_pass)
    await club.issue()
    first = await converged(club)
    assert (first.revision, first.installed, first.moved, first.changed) == (1, 5, 5, 0)
    assert (first.converged, first.share) == (5, 1.0)
    await club.tenant.publish(club.template_id)
    before = await converged(club)
    assert (before.revision, before.moved, before.converged, before.share) == (2, 0, 0, 0.0)
    for wallet_pass in passes[1:]:
        await move(club, wallet_pass, 2)
    for device in holders[2:]:
        await record_push(club, device, state=ACCEPTED)
    await record_push(club, holders[1], state=4, reason="TIMEOUT")
    for device in holders[3:]:
        await registry.listed(device, club)
    await fetch(registry, club, passes[4])
    counted = await converged(club, 2)
    assert counted == pb.GetConvergenceResponse(
        revision=2,
        installed=5,
        moved=4,
        changed=4,
        pushed=3,
        told=2,
        fetched=1,
        converged=1,
        share=0.2,
    )
    newcomer = await club.issue()
    await registry.register(Device(), club, newcomer)
    after = await converged(club)
    assert (after.installed, after.moved, after.changed, after.converged) == (6, 5, 4, 2)
    await club.update(passes[4], "holder.name", wanted=Pass(holder=Holder(name="Grace")))
    changed_again = await converged(club)
    assert (changed_again.fetched, changed_again.converged) == (0, 2)


async def refusal(call: Any) -> Refusal:
    """How a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return refusal_of(caught.value)


async def test_what_cannot_be_asked_is_refused(club: Club) -> None:
    """Days that are none, dimensions twice or unknown, a revision that is not published and a push
    to nobody are refused by name."""
    devices = club.tenant.member.devices
    day = Date(year=2026, month=2, day=30)
    refused = await refusal(
        devices.GetInstallStatistics(
            pb.GetInstallStatisticsRequest(
                filter=pb.GetInstallStatisticsRequest.Filter(day_from=day)
            )
        )
    )
    assert set(refused.fields) == {"filter.day_from"}
    for each in (day, Date(year=2026), Date(year=2_000_000_000, month=1, day=1)):
        pushes = pb.GetPushStatisticsRequest(day_before=each)
        assert set((await refusal(devices.GetPushStatistics(pushes))).fields) == {"day_before"}
    for group_by in ([DAY, DAY], [0], [99]):
        request = pb.GetInstallStatisticsRequest(group_by=group_by)  # type: ignore[arg-type]
        assert (await refusal(devices.GetInstallStatistics(request))).reason == "INVALID_FIELD"
    convergence = pb.GetConvergenceRequest(template_id=club.template_id, revision=7)
    refused = await refusal(devices.GetConvergence(convergence))
    assert refused.reason == "REVISION_NOT_PUBLISHED"
    refused = await refusal(devices.RequestPush(pb.RequestPushRequest(meta=meta())))
    assert refused.reason == "INVALID_FIELD"
