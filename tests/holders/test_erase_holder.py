"""EraseHolder: nothing of a person is left, the passes are stopped, and others are as they were."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
import pytest_asyncio

from passmill.domain.claims import KnownHolder, known_from_json, known_to_json
from passmill.domain.passes import Holder as DomainHolder
from passmill.rpc.convert_template import values_to_proto
from passmill.store.erasure import ERASED
from passmill.store.push_jobs import PushPayload
from passmill.usecases.complete_erasures import SETTLED_AFTER
from passmill.v1 import holder_service_pb2 as pb
from passmill.v1.campaign_pb2 import Campaign, CampaignAction, Recipient, UpdateAction
from passmill.v1.campaign_service_pb2 import RollBackCampaignRequest
from passmill.v1.holder_pb2 import HOLDER_REFUSAL_HOLDER_ERASED
from passmill.v1.template_pb2 import Value
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassRef
from tests.support.bundles import read_bundle, verify
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import recipient
from tests.support.holders import Desk, card, customer, email, ids_of, phone, ref, uuid_of
from tests.support.service import Club, Service, SetClock, authority, meta
from tests.support.small_card import draft
from tests.support.voiding import void

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(180)]

WORD = "Zanzibar"
CANARIES = ("zanzibar", "9307741")
NUMBER = "+49309307741"


def personal(name: str) -> PassDraft:
    """A draft whose every part tells of somebody."""
    made = draft(
        name,
        phone=NUMBER,
        crm=f"{WORD}-crm",
        points=9307741,
        tier=f"{WORD} Gold",
        note=f"{WORD} loves rowing",
        offers=f"https://shop.example/{WORD}",
    )
    made.tags.append("zanzibar")
    return made


def person(external_id: str, *, name: str = f"{WORD} Ada") -> Recipient:
    """A recipient whose every part tells of somebody."""
    return Recipient(external_id=external_id, draft=personal(name))


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """A worker whose clock is ahead, so that erasures are due."""
    clock = SetClock()
    clock.advance(2 * SETTLED_AFTER)
    async with open_campaign_worker(service, rowing_club, clock=clock) as opened:
        yield opened


async def where(club: Club) -> dict[str, int]:
    """In which tables something of the person is found, and in how many rows: in any column, also
    inside of bytes."""
    tables = await club.tenant.fetch(
        "SELECT n.nspname || '.' || c.relname AS name FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname IN ('public', 'pgqueuer') AND c.relkind IN ('r', 'p')"
    )
    patterns = [f"%{form}%" for word in CANARIES for form in _forms(word)]
    found = {}
    for table in tables:
        [row] = await club.tenant.fetch(
            f"SELECT count(*) FROM {table['name']} t WHERE lower(t::text) LIKE ANY($1)",  # noqa: S608 - from the catalogue
            patterns,
        )
        if row["count"]:
            found[table["name"].removeprefix("public.")] = row["count"]
    return found


def _forms(word: str) -> set[str]:
    return {word, *(spelled.encode().hex() for spelled in (word, word.capitalize(), word.upper()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """Somebody with two passes, and what is known of them. `other_id`: a pass of somebody else in
    the same campaigns."""

    holder_id: str
    passes: list[Pass]
    other_id: str
    issuing: Campaign
    changing: Campaign


async def fill(club: Club, worker: CampaignWorker) -> Filled:
    """Somebody's data in every place there is: a pass issued singly and one by a campaign, both
    changed by another one, a sign-up. Gives the holder's id, the passes and the campaigns."""
    passes = [await club.issue(personal(f"{WORD} Ada"))]
    others = [recipient(f"m{at}", name=f"Grace {at}") for at in range(3)]
    twice = [person(f"{WORD}-4711"), person(f"{WORD}-4711")]
    issuing = await worker.start(await worker.loaded([*others, *twice]))
    await worker.serve_due()
    results = await worker.campaigns.results(issuing)
    passes.append(await worker.pass_of(results[3]))
    update = UpdateAction(template_id=club.template_id)
    changing = await worker.campaigns.create(CampaignAction(update=update))
    rows = [
        Recipient(
            external_id=f"{WORD}-{at}",
            ref=PassRef(pass_id=each.pass_id),
            draft=personal(f"{WORD} Augusta"),
        )
        for at, each in enumerate([*passes, passes[0]])
    ]
    rows.append(
        Recipient(
            external_id="grace",
            ref=PassRef(pass_id=results[0].pass_id),
            draft=PassDraft(values=values_to_proto({"note": "also rows"})),
        )
    )
    await worker.campaigns.load(changing, rows)
    await worker.start(changing)
    await worker.serve_due()
    await club.tenant.fetch(
        "INSERT INTO personalizations (tenant_id, request_id, pass_id, token, info, create_time,"
        " signature) VALUES ($1, gen_random_uuid(), $2, $3, $3, now(), $4)",
        int(club.tenant.tenant_id),
        uuid_of(passes[0]),
        WORD,
        WORD.encode(),
    )
    await plant_at_counter(club, passes[0])
    await void(club, passes[0])
    await club.tenant.fetch(
        "UPDATE passes SET void_reason = $2 WHERE pass_id = $1", uuid_of(passes[0]), WORD
    )
    desk = Desk(club=club)
    holder_id = (await desk.link(passes[0], card(f"{WORD}-token"))).holder_id
    for identity in (customer(WORD), email(f"{WORD}@club.example"), phone(NUMBER)):
        await desk.link(holder_id, identity)
    await desk.link_pass(holder_id, passes[1])
    return Filled(
        holder_id=holder_id,
        passes=passes,
        other_id=results[0].pass_id,
        issuing=issuing,
        changing=changing,
    )


async def plant_at_counter(club: Club, wallet_pass: Pass) -> None:
    """What the claim of a pass and its use leave behind: a link for one person, one for many, and
    one that gives the pass; a claim under way; a redemption that was taken back; a step of a
    chain."""
    tenant_id, pass_id = int(club.tenant.tenant_id), uuid_of(wallet_pass)
    known = known_to_json(KnownHolder(holder=DomainHolder(name=WORD), tags=("zanzibar",)))
    common = known_to_json(KnownHolder(tags=("everybody",)))
    for number, (draft_of, most, gives) in enumerate(
        [(known, 1, None), (common, 5, None), (known, None, pass_id)]
    ):
        link_id = uuid.uuid4()
        await club.tenant.fetch(
            "INSERT INTO claim_links (tenant_id, link_id, token_hash, template_id,"
            " revision_number, pass_id, draft, fields, default_region, max_uses, once_per_person,"
            " source, utm, create_time) VALUES ($1, $2, $3, $4, 0, $5, $6, '[]', '', $7, true, '',"
            " '{}', now())",
            tenant_id,
            link_id,
            link_id.bytes,
            uuid.UUID(club.template_id),
            gives,
            draft_of,
            most,
        )
        await club.tenant.fetch(
            "INSERT INTO claims (tenant_id, claim_id, link_id, key_hash, person_hash, answers,"
            " pass_id, create_time) VALUES ($1, $2, $3, $4, convert_to($5, 'UTF8'), $5, $6, now())",
            tenant_id,
            uuid.uuid4(),
            link_id,
            bytes([number]),
            WORD,
            pass_id,
        )
    await club.tenant.fetch(
        "INSERT INTO redemptions (tenant_id, redemption_id, pass_id, offer_id, use_number, key_id,"
        " staff, scan_time, create_time, is_offline, undo, reverse_reason) VALUES"
        " ($1, gen_random_uuid(), $2, gen_random_uuid(), 1, '', 'Till 3', now(), now(), false, $3,"
        " $3)",
        tenant_id,
        pass_id,
        WORD,
    )
    await club.tenant.fetch(
        "INSERT INTO chain_steps (tenant_id, redemption_id, pass_id, chain_id, step, undo)"
        " VALUES ($1, gen_random_uuid(), $2, gen_random_uuid(), 1, $3)",
        tenant_id,
        pass_id,
        WORD,
    )


async def test_no_word_of_a_person_is_left(rowing_club: Club, worker: CampaignWorker) -> None:
    """Somebody's name, number, ids, tags and values are in every table that the list says holds
    them, and in no other; after the erasure they are in none, in no column and no byte."""
    desk, filled = Desk(club=rowing_club), await fill(rowing_club, worker)
    # Identities are hashes: what was linked cannot be found in their rows.
    assert (await where(rowing_club)).keys() == ERASED.keys() - {"holder_keys"}
    assert await rowing_club.tenant.count("holder_keys") == 4
    erased = await desk.erase(filled.passes[1])
    assert (erased.holder_id, ids_of(erased)) == (
        filled.holder_id,
        {each.pass_id for each in filled.passes},
    )
    assert erased.HasField("erase_time")
    assert not erased.HasField("erase_end_time")
    assert await rowing_club.tenant.count("holder_keys") == 0
    assert not (await where(rowing_club)).keys() & {"passes", "pass_external_ids", "pass_tags"}
    assert await desk.events("holder.erased") == []
    await worker.services.complete_erasures()
    assert await where(rowing_club) == {}
    links = await rowing_club.tenant.fetch(
        "SELECT draft, revoke_time IS NULL AS is_good FROM claim_links ORDER BY max_uses"
    )
    assert [(known_from_json(each["draft"]), each["is_good"]) for each in links] == [
        (KnownHolder(), False),
        (KnownHolder(tags=("everybody",)), True),
        (KnownHolder(), False),
    ]
    assert await rowing_club.tenant.count("redemptions") == 1
    assert (await desk.get(filled.holder_id)).HasField("erase_end_time")
    await worker.services.complete_erasures()
    [told] = await desk.events("holder.erased")
    assert told["holder_id"] == filled.holder_id
    assert told["pass_ids"] == sorted(uuid_of(each) for each in filled.passes)


async def test_what_is_young_waits(service: Service, rowing_club: Club) -> None:
    """What was under way when somebody was erased has a minute to end before recipients are gone
    through; until then nothing says that the erasure is complete."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue()
    erased = await desk.erase(held)
    async with open_campaign_worker(service, rowing_club) as punctual:
        await punctual.services.complete_erasures()
    assert not (await desk.get(erased.holder_id)).HasField("erase_end_time")


async def test_passes_are_stopped_and_devices_hear_of_it(
    rowing_club: Club, worker: CampaignWorker
) -> None:
    """Every pass is voided, signed anew without a word of the person, and pushed; another one of
    the same campaigns is as it was."""
    desk, filled = Desk(club=rowing_club), await fill(rowing_club, worker)
    other = await rowing_club.get(Pass(pass_id=filled.other_id))
    versions = [(await rowing_club.get(each)).version for each in filled.passes]
    await desk.erase(filled.holder_id)
    for each, version in zip(filled.passes, versions, strict=True):
        now = await rowing_club.get(each)
        assert (now.state, now.void_reason) == (Pass.STATE_VOIDED, "erased")
        assert now.version == version + 1
        assert (now.holder, list(now.tags)) == (Holder(), [])
        # The one that the card cannot be without.
        assert dict(now.values) == {"points": Value(integer=0)}
        bundle = await rowing_club.bundle(each)
        assert verify(bundle, authority())["voided"] is True
        assert not any(WORD.encode() in content for content in read_bundle(bundle).values())
        [event] = await rowing_club.tenant.fetch(
            "SELECT event_id FROM outbox WHERE pass_ids = ARRAY[$1::uuid]"
            " ORDER BY event_id DESC LIMIT 1",
            uuid_of(each),
        )
        jobs = await rowing_club.tenant.fetch(
            "SELECT payload FROM pgqueuer.pgqueuer WHERE entrypoint = 'push'"
        )
        pushed = {PushPayload.decode(job["payload"]).event_id for job in jobs}
        assert event["event_id"] in pushed
    await worker.services.complete_erasures()
    assert await rowing_club.get(other) == other


async def test_campaigns_go_on_without_the_person(
    rowing_club: Club, worker: CampaignWorker
) -> None:
    """After an erasure a campaign tells of others as before and of the person only that there was
    one; it makes no pass for the person again, and taking a roll-out back brings nothing back."""
    desk, filled = Desk(club=rowing_club), await fill(rowing_club, worker)
    before = await worker.campaigns.results(filled.issuing)
    count = await worker.count_passes()
    await desk.erase(filled.holder_id)
    await worker.services.complete_erasures()
    after = await worker.campaigns.results(filled.issuing)
    assert after[:3] == before[:3]
    assert [(each.external_id, each.pass_id) for each in after[3:]] == [("", ""), ("", "")]
    await worker.serve_shard(filled.issuing, 0)
    assert await worker.count_passes() == count
    assert len(await worker.campaigns.results(filled.changing)) == 4
    back = await rowing_club.campaigns.RollBackCampaign(
        RollBackCampaignRequest(campaign_id=filled.changing.campaign_id, meta=meta())
    )
    while await worker.serve_due():
        pass
    ended = await worker.get(back.campaign)
    assert (ended.progress.succeeded, ended.progress.failed) == (1, 2)
    taken_back = await worker.campaigns.results(back.campaign)
    assert [each.reason for each in taken_back].count("PASS_ERASED") == 2
    for each in filled.passes:
        assert (await rowing_club.get(each)).holder == Holder()
    assert await where(rowing_club) == {}


async def test_erased_once_for_good(rowing_club: Club) -> None:
    """A repeated call has the same answer and a second one the same erasure; nothing is linked to
    the holder any more, and its identities are free."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue(draft("Ada", crm="4711"))
    holder_id = (await desk.link(held, card("one"))).holder_id
    request = pb.EraseHolderRequest(ref=ref(held), meta=meta())
    first = await desk.stub.EraseHolder(request)
    assert await desk.stub.EraseHolder(request) == first
    version = (await rowing_club.get(held)).version
    assert (await desk.erase(holder_id)).erase_time == first.holder.erase_time
    assert (await rowing_club.get(held)).version == version
    other = await rowing_club.issue()
    for refusal in (
        (await desk.link(holder_id, card("two"))).refusal,
        (await desk.link(held, card("two"))).refusal,
        (await desk.link_pass(holder_id, other)).refusal,
        (await desk.link_pass(other, held, move=True)).refusal,
    ):
        assert refusal == HOLDER_REFUSAL_HOLDER_ERASED
    assert await desk.identify(card("one")) is None
    assert not (await desk.link(other, card("one"))).refusal


async def test_a_pass_that_was_never_linked(rowing_club: Club) -> None:
    """Whoever has a pass that was never linked is erased by it; a dry run erases nothing."""
    desk, held = Desk(club=rowing_club), await rowing_club.issue(draft("Ada"))
    trial = pb.EraseHolderRequest(ref=ref(held), meta=meta(validate_only=True))
    assert (await desk.stub.EraseHolder(trial)).holder.HasField("erase_time")
    assert (await rowing_club.get(held)).holder.name == "Ada"
    assert await rowing_club.tenant.count("holders") == 0
    erased = await desk.erase(held)
    assert ids_of(erased) == {held.pass_id}
    assert (await rowing_club.get(held)).holder == Holder()


async def test_nobody_slips_through(rowing_club: Club) -> None:
    """While passes and identities are linked to a holder from all sides it is erased: afterwards
    every pass that is the holder's is empty and voided, and no identity finds it."""
    desk = Desk(club=rowing_club)
    first = await rowing_club.issue(draft("Ada"))
    holder_id = (await desk.link(first, card("one"))).holder_id
    others = [await rowing_club.issue(draft(f"Ada {at}")) for at in range(8)]
    links = {}
    async with asyncio.TaskGroup() as tasks:
        for at, each in enumerate(others):
            if at == len(others) // 2:
                tasks.create_task(desk.erase(holder_id))
                tasks.create_task(desk.erase(first))
            links[each.pass_id] = tasks.create_task(desk.link_pass(holder_id, each))
            tasks.create_task(desk.link(holder_id, card(f"c{at}")))
    linked = {pass_id for pass_id, link in links.items() if not link.result().refusal}
    known = await desk.get(holder_id)
    assert ids_of(known) == {first.pass_id, *linked}
    for each in [first, *others]:
        now = await rowing_club.get(each)
        is_erased = each.pass_id in ids_of(known)
        assert (now.state == Pass.STATE_VOIDED, now.holder.name == "") == (is_erased, is_erased)
    assert list(known.identities) == []
    assert await rowing_club.tenant.count("holder_keys") == 0
