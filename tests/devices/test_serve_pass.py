"""Passes as phones are served them: what fits, and never what does not."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from passmill.domain.ids import PassId
from passmill.errors import AppError, Reason
from passmill.usecases.authenticate_pass import AuthenticPass
from passmill.v1.wallet_pass_pb2 import Holder, Pass
from tests.support.bundles import pass_json, verify
from tests.support.postgres import Database
from tests.support.registry import Registry, open_registry
from tests.support.service import Club, authority, open_service
from tests.support.small_card import small_card

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def refused(registry: Registry, mine: AuthenticPass) -> None:
    """A bundle that is not served, and when to come again."""
    with pytest.raises(AppError) as refusal:
        await registry.serve.bundle(mine)
    assert refusal.value.reason is Reason.UNAVAILABLE
    assert refusal.value.retry_after is not None


async def intents(club: Club, issued: Pass) -> list[datetime]:
    """Since when the pass waits for its signature."""
    rows = await club.tenant.fetch(
        "SELECT create_time FROM signing_intents WHERE pass_id = $1", uuid.UUID(issued.pass_id)
    )
    return [row["create_time"] for row in rows]


async def set_intent(club: Club, issued: Pass, since: datetime) -> None:
    """Lets the pass wait since then."""
    await club.tenant.fetch("DELETE FROM signing_intents")
    await club.tenant.fetch(
        "INSERT INTO signing_intents (tenant_id, pass_id, create_time)"
        " SELECT tenant_id, pass_id, $2 FROM passes WHERE pass_id = $1",
        uuid.UUID(issued.pass_id),
        since,
    )


async def sweep_until_signed(club: Club, issued: Pass) -> None:
    """Sweeps; the service's own sweeper may be faster."""
    async with asyncio.timeout(30):
        while await intents(club, issued):
            await club.tenant.service.services.finish_signing.sweep()


async def test_the_bundle_is_the_api_s(registry: Registry, club: Club) -> None:
    """What a phone is served are the bytes that GetPassBundle gives, the same each time, and it
    verifies; its version is when the content was signed."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    version = await registry.serve.version(mine)
    served = await registry.serve.bundle(mine)
    assert served.content == await club.bundle(issued)
    assert served == await registry.serve.bundle(mine)
    assert served.version == version
    assert version.last_modified.microsecond == 0
    assert verify(served.content, authority())["serialNumber"] == issued.serial_number


async def test_a_change_is_seen_at_once(registry: Registry, club: Club) -> None:
    """The version moves by at least a second with each change that can be seen, is never older than
    what is committed, and stays where it is with a change that cannot be seen."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    last = (await registry.serve.version(mine)).last_modified
    for number in range(5):
        changed = Pass(holder=Holder(name=f"Grace {number}"))
        await club.update(issued, "holder.name", wanted=changed)
        version = await registry.serve.version(mine)
        assert version.last_modified >= last + timedelta(seconds=1)
        served = await registry.serve.bundle(mine)
        assert served.version == version
        fields = pass_json(served.content)["generic"]["primaryFields"]
        assert [each["value"] for each in fields] == [f"Grace {number}"]
        last = version.last_modified
    unseen = Pass(holder=Holder(phone="+12065550123"))
    await club.update(issued, "holder.phone", wanted=unseen)
    assert (await registry.serve.version(mine)).last_modified == last


async def test_an_unsigned_pass_waits(registry: Registry, club: Club) -> None:
    """A pass without signature is not served, but told of by its version, and queued if it is not;
    an intent that is there keeps its turn. Once a sweeper has signed it, it is served."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    bundle = await registry.serve.bundle(mine)
    await club.tenant.fetch("UPDATE passes SET signature = NULL")
    await refused(registry, mine)
    [since] = await intents(club, issued)
    assert since < datetime.now(UTC) - timedelta(seconds=59)
    now = datetime.now(UTC)
    await set_intent(club, issued, now)
    await refused(registry, mine)
    assert await intents(club, issued) == [now]
    assert await registry.serve.version(mine) == bundle.version
    await set_intent(club, issued, since)
    await sweep_until_signed(club, issued)
    after = await registry.serve.bundle(mine)
    assert after.version == bundle.version
    assert pass_json(after.content) == pass_json(bundle.content)


@pytest.mark.parametrize("column", ["digest", "signature", "slot_values", "holder_name"])
async def test_what_does_not_fit_is_never_served(
    registry: Registry, club: Club, column: str
) -> None:
    """A pass whose digest, signature or recipe was altered behind the service's back is not served
    but queued; a sweeper signs what the recipe says now, and that is served and verifies."""
    issued = await club.issue()
    mine = await registry.authentic(club, issued)
    before = await registry.serve.bundle(mine)
    altered = {
        "digest": "digest = set_byte(digest, 7, get_byte(digest, 7) # 1)",
        "signature": "signature = set_byte(signature, 40, get_byte(signature, 40) # 1)",
        "slot_values": "slot_values = replace(slot_values, '7', '8')",
        "holder_name": "holder_name = 'Mallory'",
    }
    await club.tenant.fetch(f"UPDATE passes SET {altered[column]}")  # noqa: S608 - of the table above
    await refused(registry, mine)
    await refused(registry, mine)
    [row] = await club.tenant.fetch("SELECT signature FROM passes")
    assert row["signature"] is None
    await sweep_until_signed(club, issued)
    after = await registry.serve.bundle(mine)
    assert verify(after.content, authority())["serialNumber"] == issued.serial_number
    assert after.content == await club.bundle(issued)
    if column == "signature":
        assert after.version == before.version  # nothing else was wrong with it
        assert pass_json(after.content) == pass_json(before.content)
    else:
        assert after.version.last_modified > before.version.last_modified


async def test_another_revision_s_content_is_never_served(database: Database) -> None:
    """When a revision's content is no longer what its passes were signed with, none of them is
    served until it is signed anew. A renderer that changed does the same."""
    async with open_service(database.url) as service:
        club = await service.add_club()
        issued = await club.issue()
        await club.tenant.publish(club.template_id, small_card())
        owner = await asyncpg.connect(database.owner_url)
        try:
            await owner.execute("ALTER TABLE template_revisions NO FORCE ROW LEVEL SECURITY")
            changed = await owner.execute(
                "UPDATE template_revisions SET content = decode(replace(encode(content, 'hex'),"
                " encode('Member', 'hex'), encode('Holder', 'hex')), 'hex') WHERE number = 1"
            )
            assert changed == "UPDATE 1"
        finally:
            await owner.close()
        async with open_registry(service) as registry:
            mine = await registry.authentic(club, issued)
            await refused(registry, mine)
            assert len(await intents(club, issued)) == 1


async def test_reads_ride_together(registry: Registry, club: Club) -> None:
    """Many ask at once: each is told of its own pass, an unknown pass is nobody else's fault."""
    passes = [await club.issue() for _ in range(20)]
    proofs = [await registry.authentic(club, each) for each in passes]
    nobody = AuthenticPass(
        caller=proofs[0].caller,
        pass_id=PassId(uuid.uuid4()),
        pass_type_identifier=proofs[0].pass_type_identifier,
        token_generation=0,
    )
    wanted = [await registry.serve.version(mine) for mine in proofs]
    answers = await asyncio.gather(
        *(registry.serve.version(mine) for mine in [*proofs, nobody] * 20), return_exceptions=True
    )
    for at, answer in enumerate(answers):
        if at % 21 < 20:
            assert answer == wanted[at % 21]
        else:
            assert isinstance(answer, AppError)
            assert answer.reason is Reason.NOT_FOUND
    bundles = await asyncio.gather(*(registry.serve.bundle(mine) for mine in proofs * 3))
    for mine, bundle in zip(proofs * 3, bundles, strict=True):
        assert pass_json(bundle.content)["serialNumber"] == passes[proofs.index(mine)].serial_number
