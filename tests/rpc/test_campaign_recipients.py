"""Recipients: what is refused when they are loaded, and what became of each."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp

from passmill.domain.ids import new_uuid
from passmill.domain.money import Money
from passmill.domain.recipients import RecipientColumns, columns_from_json
from passmill.domain.templates import Field, FieldPosition
from passmill.v1 import campaign_service_pb2 as pb
from passmill.v1.campaign_pb2 import (
    Campaign,
    CampaignAction,
    Recipient,
    RecipientResult,
)
from passmill.v1.campaign_pb2 import UpdateAction as UpdateMessage
from passmill.v1.campaign_pb2 import VoidAction as VoidMessage
from passmill.v1.wallet_pass_pb2 import Holder, Pass, PassDraft, PassRef
from tests.support.campaign_worker import CampaignWorker, open_campaign_worker
from tests.support.campaigns import (
    ClubCampaigns,
    bad_recipient,
    chunk,
    named_recipient,
    recipient,
)
from tests.support.refusals import refused
from tests.support.service import Club, Service
from tests.support.small_card import NOTE_LENGTH, draft, small_card, value

pytestmark = pytest.mark.asyncio(loop_scope="session")

State = RecipientResult


@pytest_asyncio.fixture(loop_scope="session")
async def campaigns(rowing_club: Club) -> ClubCampaigns:
    """The campaigns of a club of its own."""
    return ClubCampaigns(club=rowing_club)


@pytest_asyncio.fixture(loop_scope="session")
async def worker(service: Service, rowing_club: Club) -> AsyncIterator[CampaignWorker]:
    """The club's campaigns, with a worker."""
    async with open_campaign_worker(service, rowing_club) as opened:
        yield opened


async def errors_of(
    campaigns: ClubCampaigns, campaign: Campaign, recipients: Sequence[Recipient]
) -> dict[str, tuple[str, list[str]]]:
    """Loads recipients; gives reason and fields of those refused, by external id."""
    stream = await campaigns.open_stream(campaign)
    ack = await campaigns.append(chunk(stream, recipients))
    assert ack.next_offset == len(recipients)
    return {
        recipients[each.offset].external_id: (each.reason, list(each.fields))
        for each in ack.row_errors
    }


def holder(**parts: Any) -> Recipient:
    """A recipient with a holder."""
    filled = draft()
    filled.holder.CopyFrom(Holder(**parts))
    return Recipient(draft=filled)


def named(external_id: str, wanted: Recipient) -> Recipient:
    """The recipient, with another id."""
    wanted.external_id = external_id
    return wanted


async def test_each_rule_of_a_recipient_is_kept(campaigns: ClubCampaigns) -> None:
    """What the protocol says of a holder, an id, a value and a time is kept for recipients too,
    field by field, and what is sound beside it is taken."""
    long_ago = draft()
    long_ago.expire_time.CopyFrom(Timestamp(seconds=-1))
    shattered = draft()
    shattered.expire_time.CopyFrom(Timestamp(seconds=5, nanos=-1))
    decimal = draft()
    decimal.values["discount"].decimal = "zwölf"
    cases: dict[str, tuple[Recipient, str, list[str]]] = {
        "": (recipient(""), "INVALID_FIELD", ["external_id"]),
        "a\x00b": (recipient("a\x00b"), "INVALID_FIELD", ["external_id"]),
        "x" * 129: (recipient("x" * 129), "INVALID_FIELD", ["external_id"]),
        "ref": (
            Recipient(external_id="ref", ref=PassRef(pass_id="x"), draft=draft()),
            "INVALID_FIELD",
            ["ref"],
        ),
        "name": (named("name", holder(name="x" * 201)), "INVALID_FIELD", ["holder.name"]),
        "bell": (named("bell", holder(name="\x07")), "INVALID_VALUES", ["holder.name"]),
        "phone": (named("phone", holder(phone="12")), "INVALID_VALUES", ["holder.phone"]),
        "phone33": (
            named("phone33", holder(phone=" " * 33)),
            "INVALID_FIELD",
            ["holder.phone"],
        ),
        "systems": (
            named("systems", holder(external_ids={f"s{at}": "x" for at in range(9)})),
            "INVALID_FIELD",
            ["holder.external_ids"],
        ),
        "system": (
            named("system", holder(external_ids={"CRM": "1"})),
            "INVALID_FIELD",
            ['holder.external_ids["CRM"]'],
        ),
        "id": (
            named("id", holder(external_ids={"crm": "a\x00b"})),
            "INVALID_FIELD",
            ['holder.external_ids["crm"]'],
        ),
        "empty": (
            named("empty", holder(external_ids={"crm": ""})),
            "INVALID_FIELD",
            ['holder.external_ids["crm"]'],
        ),
        "past": (Recipient(external_id="past", draft=long_ago), "INVALID_VALUES", ["expire_time"]),
        "nanos": (
            Recipient(external_id="nanos", draft=shattered),
            "INVALID_VALUES",
            ["expire_time"],
        ),
        "decimal": (
            Recipient(external_id="decimal", draft=decimal),
            "INVALID_VALUES",
            ['values["discount"]'],
        ),
        "unknown": (
            Recipient(external_id="unknown", draft=draft(seat="1")),
            "INVALID_VALUES",
            ['values["seat"]'],
        ),
        "nothing": (bad_recipient("nothing"), "INVALID_VALUES", ['values["points"]']),
        "several": (
            Recipient(external_id="several", draft=draft("x" * 201, tier=5)),
            "INVALID_FIELD",
            ["holder.name", 'values["tier"]'],
        ),
    }
    sound = [
        recipient("s1", phone="+1 (206) 555-0123", crm="1", tier="Gold"),
        recipient("x" * 128),
        recipient("ünïcødé 張 \U0001f622"),
    ]
    campaign = await campaigns.create()
    sent = [*sound, *(each for each, _, _ in cases.values())]
    found = await errors_of(campaigns, campaign, sent)
    assert found == {key: (reason, fields) for key, (_, reason, fields) in cases.items()}
    listed = await campaigns.results(campaign)
    assert [each.state for each in listed] == [State.STATE_PENDING] * 3 + [
        State.STATE_INVALID
    ] * len(cases)
    assert listed[4].external_id == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_pass_too_large_is_refused_when_it_is_loaded(service: Service) -> None:
    """Values that would make a pass of more than two mebibytes are refused by the longest one's
    name."""
    card = small_card()
    texts = [
        Field(key=f"note{at}", position=FieldPosition.BACK, value="{note}" * 10) for at in range(40)
    ]
    club = await service.add_club(replace(card, fields=(*card.fields, *texts)))
    campaigns = ClubCampaigns(club=club)
    rows = [recipient("long", note="☕" * NOTE_LENGTH), recipient("short", note="☕")]
    found = await errors_of(campaigns, await campaigns.create(), rows)
    assert found == {"long": ("INVALID_VALUES", ['values["note"]'])}


async def test_recipients_name_their_passes(campaigns: ClubCampaigns) -> None:
    """With update, void and notify a recipient names a pass in any of its names; an unknown one, a
    foreign one, a malformed one and none at all are refused, and so is what the action has no use
    for."""
    club = campaigns.club
    passes = [await club.issue() for _ in range(3)]
    foreign = await (await club.tenant.service.add_club()).issue()
    template: dict[str, Any] = {"template_id": club.template_id}
    actions = {
        "update": CampaignAction(update=UpdateMessage(**template)),
        "void": CampaignAction(void=VoidMessage(reason="Season over")),
    }
    for kind, action in actions.items():
        found = await errors_of(
            campaigns, await campaigns.create(action), _references(passes, foreign)
        )
        wanted = {
            "foreign": ("NOT_FOUND", ["ref"]),
            "unknown": ("NOT_FOUND", ["ref"]),
            "malformed": ("NOT_FOUND", ["ref"]),
            "mistyped": ("NOT_FOUND", ["ref"]),
            "no serial": ("NOT_FOUND", ["ref"]),
            "none": ("INVALID_FIELD", ["ref"]),
            "no way": ("INVALID_FIELD", ["ref"]),
        }
        if kind == "update":
            wanted["wrong value"] = ("INVALID_VALUES", ['values["tier"]'])
        else:
            wanted |= {
                "with values": ("INVALID_FIELD", ["draft"]),
                "wrong value": ("INVALID_FIELD", ["draft"]),
            }
        assert found == wanted, kind


def _references(passes: Sequence[Pass], foreign: Pass) -> list[Recipient]:
    first, second, third = passes
    return [
        named_recipient("by id", first.pass_id),
        Recipient(external_id="by serial", ref=PassRef(serial_number=second.serial_number)),
        Recipient(external_id="by reference", ref=PassRef(reference_id=third.reference_id.lower())),
        named_recipient("foreign", foreign.pass_id),
        named_recipient("unknown", str(new_uuid())),
        named_recipient("malformed", "x"),
        Recipient(external_id="mistyped", ref=PassRef(reference_id="K7M3-Q8TZ")),
        Recipient(external_id="no serial", ref=PassRef(serial_number="\x00")),
        Recipient(external_id="none"),
        Recipient(external_id="no way", ref=PassRef()),
        Recipient(
            external_id="with values",
            ref=PassRef(pass_id=first.pass_id),
            draft=PassDraft(values={"tier": value("Gold")}),
        ),
        Recipient(
            external_id="wrong value",
            ref=PassRef(pass_id=first.pass_id),
            draft=PassDraft(values={"tier": value(5)}),
        ),
    ]


async def stored_columns(campaigns: ClubCampaigns) -> RecipientColumns:
    """The one chunk that a tenant has."""
    [row] = await campaigns.club.tenant.fetch("SELECT content FROM recipient_chunks")
    return columns_from_json(row["content"])


async def test_an_update_is_stored_as_what_it_changes(campaigns: ClubCampaigns) -> None:
    """Of an update's recipient is kept what it says, normalised, and None for what it leaves
    alone."""
    issued = await campaigns.club.issue()
    action = CampaignAction(
        update=UpdateMessage(template_id=campaigns.club.template_id, values={"tier": value("Gold")})
    )
    campaign = await campaigns.create(action)
    assert campaign.action.update.revision == 1
    ref = PassRef(pass_id=issued.pass_id)
    full = PassDraft(
        holder=Holder(name="Ada", phone="+1 206 555 0123", external_ids={"crm": "1"}),
        values={"note": value("Hello"), "balance": value(Money(minor_units=5, currency="EUR"))},
        expire_time=Timestamp(seconds=1_900_000_000, nanos=5),
        tags=["vip", "berlin"],
    )
    assert not await errors_of(
        campaigns,
        campaign,
        [
            Recipient(external_id="0", ref=ref),
            Recipient(external_id="1", ref=ref, draft=full),
        ],
    )
    stored = await stored_columns(campaigns)
    assert stored.external_ids == ["0", "1"]
    assert stored.names == [None, "Ada"]
    assert stored.phones == [None, "+12065550123"]
    assert stored.holder_ids == [None, '{"crm":"1"}']
    assert stored.tags == [None, '["berlin", "vip"]']
    assert stored.expire_times == [None, "2030-03-17T17:46:40+00:00"]
    assert stored.values == ["{}", '{"balance":[5,"EUR"],"note":"Hello"}']
    assert stored.pass_ids == [issued.pass_id.replace("-", "")] * 2


async def test_what_became_of_each(worker: CampaignWorker) -> None:
    """Served, refused, duplicate: each recipient is listed with its state, and with its pass where
    it has one, as that pass is read alone."""
    campaigns = worker.campaigns
    campaign = await campaigns.create()
    streams = [
        await campaigns.load(
            campaign,
            [
                recipient(f"{stream}-{at}") if at % 5 else bad_recipient(f"{stream}-{at}")
                for at in range(12)
            ]
            + [recipient("again")],
        )
        for stream in range(2)
    ]
    pending = await campaigns.results(campaign)
    assert {each.state for each in pending} == {State.STATE_PENDING, State.STATE_INVALID}
    await worker.start(campaign)
    await worker.serve_due()
    for page_size in (1, 5, 500):
        listed = await campaigns.results(campaign, page_size=page_size)
        assert [(each.stream_id, each.offset) for each in listed] == [
            (stream.stream_id, at) for stream in streams for at in range(13)
        ]
    invalid = [each for each in listed if each.state == State.STATE_INVALID]
    assert [each.offset for each in invalid] == [0, 5, 10] * 2
    assert await campaigns.results(campaign, failed_only=True, page_size=4) == invalid
    [duplicate] = [each for each in listed if each.state == State.STATE_DUPLICATE]
    assert (duplicate.external_id, duplicate.reason) == ("again", "DUPLICATE_RECIPIENT")
    served = [each for each in listed if each.state == State.STATE_SUCCEEDED]
    assert len(served) == 26 - 6 - 1
    for each in served:
        found = await campaigns.club.get(Pass(pass_id=each.pass_id))
        assert (found.reference_id, found.serial_number) == (each.reference_id, each.serial_number)
    assert not any(each.pass_id for each in (*invalid, duplicate))
    assert len({each.pass_id for each in served}) == len(served)


async def test_a_voiding_is_listed_with_its_passes(worker: CampaignWorker) -> None:
    """Where recipients name passes they are listed with them."""
    campaigns = worker.campaigns
    issued = [await campaigns.club.issue() for _ in range(3)]
    campaign = await campaigns.create(CampaignAction(void=VoidMessage(reason="Over")))
    rows = [named_recipient(str(at), each.pass_id) for at, each in enumerate(issued)]
    await campaigns.load(campaign, [*rows, named_recipient("x", "x")])
    await worker.start(campaign)
    await worker.serve_due()
    listed = await campaigns.results(campaign)
    assert [(each.pass_id, each.serial_number, each.reference_id) for each in listed] == [
        *((each.pass_id, each.serial_number, each.reference_id) for each in issued),
        ("", "", ""),
    ]
    assert [each.state for each in listed] == [State.STATE_SUCCEEDED] * 3 + [State.STATE_INVALID]


async def test_what_was_cancelled_is_skipped(worker: CampaignWorker) -> None:
    """Recipients of a campaign that was cancelled before their turn are listed as skipped."""
    campaign = await worker.loaded(7)
    await worker.start(campaign)
    await worker.cancel(campaign)
    await worker.serve_due()
    listed = await worker.campaigns.results(campaign)
    assert [each.state for each in listed] == [State.STATE_SKIPPED] * 7


async def export(
    campaigns: ClubCampaigns, campaign: Campaign, after: pb.ResultPlace | None = None
) -> list[list[RecipientResult]]:
    """All pages of an export."""
    request = pb.ExportResultsRequest(campaign_id=campaign.campaign_id, after=after)
    return [list(page.results) async for page in campaigns.club.campaigns.ExportResults(request)]


async def test_an_export_goes_on_behind_any_place(worker: CampaignWorker) -> None:
    """An export holds what the listing holds, page by page; begun behind any place, also one that
    ends a page or a stream, it gives exactly the rest."""
    campaigns = worker.campaigns
    campaign = await worker.loaded(2600, streams=2)
    await campaigns.open_stream(await campaigns.create())  # of another campaign
    listed = await campaigns.results(campaign)
    pages = await export(campaigns, campaign)
    assert [len(page) for page in pages] == [1000, 1000, 600]
    assert [each for page in pages for each in page] == listed
    for at in (0, 1, 998, 999, 1000, 1298, 1299, 1300, 1999, 2598, 2599):
        place = pb.ResultPlace(stream_id=listed[at].stream_id, offset=listed[at].offset)
        rest = [each for page in await export(campaigns, campaign, place) for each in page]
        assert rest == listed[at + 1 :]
    beyond = pb.ResultPlace(stream_id=listed[0].stream_id, offset=10_000)
    rest = [each for page in await export(campaigns, campaign, beyond) for each in page]
    assert rest == listed[1300:]


async def test_an_export_without_results_is_empty(campaigns: ClubCampaigns) -> None:
    """A campaign without recipients has no page; one with a foreign place is refused."""
    campaign = await campaigns.create()
    assert await export(campaigns, campaign) == []
    other = await campaigns.open_stream(await campaigns.create())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await export(campaigns, campaign, pb.ResultPlace(stream_id=other.stream_id))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_page_token_belongs_to_its_campaign(campaigns: ClubCampaigns) -> None:
    """A token goes on with its own listing alone."""
    ask = campaigns.club.campaigns.ListRecipients
    first, second = await campaigns.create(), await campaigns.create()
    for each in (first, second):
        await campaigns.load(each, [recipient(str(at)) for at in range(3)])
    request = pb.ListRecipientsRequest(campaign_id=first.campaign_id, page_size=1)
    token = (await ask(request)).next_page_token
    for wrong in (
        pb.ListRecipientsRequest(campaign_id=second.campaign_id, page_token=token),
        pb.ListRecipientsRequest(campaign_id=first.campaign_id, page_token=token, failed_only=True),
        pb.ListRecipientsRequest(campaign_id=first.campaign_id, page_token="x"),
    ):
        assert (await refused(ask(wrong))).reason == "INVALID_PAGE_TOKEN"
