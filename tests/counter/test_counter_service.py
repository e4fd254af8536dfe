"""CounterService: venues, offers, policies, and what of them is refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from passmill.v1 import counter_pb2
from passmill.v1 import counter_service_pb2 as pb
from passmill.v1 import scan_service_pb2 as scan_pb
from passmill.v1.counter_pb2 import Offer, OfferMark, UnitAmount
from tests.counter.test_redeem_pass import at
from tests.support.counters import Counter
from tests.support.refusals import refused
from tests.support.service import meta
from tests.support.small_card import value

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def update(counter: Counter, offer: Offer, *paths: str, etag: str = "", **fields: Any) -> Any:
    """Changes an offer."""
    request = pb.UpdateOfferRequest(
        offer_id=offer.offer_id, offer=Offer(**fields), etag=etag, meta=meta()
    )
    request.update_mask.paths.extend(paths)
    return (await counter.manage.UpdateOffer(request)).offer


async def listed(counter: Counter, **fields: Any) -> list[Offer]:
    """The offers, page after page of two."""
    found: list[Offer] = []
    token: str | None = ""
    while token is not None:
        request = pb.ListOffersRequest(page_size=2, page_token=token, **fields)
        answer = await counter.manage.ListOffers(request)
        found += answer.offers
        token = answer.next_page_token or None
    return found


async def test_an_offer_is_as_it_was_made(counter: Counter) -> None:
    """All of an offer is kept, values of every kind in its mark among it, and listed again."""
    now = datetime.now(UTC).replace(microsecond=0)
    made = await counter.add_offer(
        display_name="Café ☕",
        max_uses=5,
        cost=UnitAmount(unit="points", amount=20),
        worth=UnitAmount(unit="EUR", amount=250),
        valid_from=at(now),
        valid_until=at(now + timedelta(days=1)),
        venue_ids=[counter.venue.venue_id],
        tiers=["Gold", "Silver"],
        attention="One each",
        mark=OfferMark(
            uses_slot="points",
            used_up_values={
                "note": value("used"),
                "since": value(now),
                "is_founder": value(True),
                "offers": value("https://example.com/"),
            },
            void_when_used_up=True,
        ),
    )
    assert made.state == Offer.STATE_ACTIVE
    assert made.mark.used_up_values["since"] == value(now)
    assert made.mark.used_up_values["offers"] == value("https://example.com/")
    more = [await counter.add_offer(is_of_template=False) for _ in range(4)]
    assert await listed(counter) == [made, *more]
    assert await listed(counter, program_id=counter.club.program_id) == [made, *more]
    assert more[0].max_uses == 1


async def test_changes(counter: Counter) -> None:
    """An update sets what its mask names and clears what it leaves out; an archived offer changes
    no more; an etag that is not the current one is refused."""
    made = await counter.add_offer(attention="x", valid_until=at(datetime.now(UTC)))
    changed = await update(
        counter, made, "max_uses", "valid_until", "attention", max_uses=3, etag=made.etag
    )
    assert (changed.max_uses, changed.attention, changed.display_name) == (3, "", "Free coffee")
    assert not changed.HasField("valid_until")
    stale = update(counter, made, "max_uses", max_uses=4, etag=made.etag)
    assert (await refused(stale)).reason == "ETAG_MISMATCH"
    request = pb.ArchiveOfferRequest(offer_id=made.offer_id, meta=meta())
    archived = (await counter.manage.ArchiveOffer(request)).offer
    assert archived.state == Offer.STATE_ARCHIVED
    late = update(counter, made, "max_uses", max_uses=4)
    assert set((await refused(late)).fields) == {"offer_id"}
    assert await listed(counter) == []
    assert await listed(counter, include_archived=True) == [archived]
    issued = await counter.club.issue()
    answer = await counter.till.redeem(issued, made)
    assert answer.reason == 11  # OFFER_ENDED


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        ({"cost": UnitAmount(unit="points", amount=0)}, "INVALID_FIELD", "offer.cost.amount"),
        ({"cost": UnitAmount(unit="Points", amount=1)}, "INVALID_FIELD", "offer.cost.unit"),
        ({"worth": UnitAmount(unit="EUR", amount=-1)}, "INVALID_FIELD", "offer.worth.amount"),
        ({"display_name": " "}, "INVALID_FIELD", "offer.display_name"),
        ({"max_uses": 10_001}, "INVALID_FIELD", "offer.max_uses"),
        (
            {
                "valid_from": at(datetime(2026, 2, 1, tzinfo=UTC)),
                "valid_until": at(datetime(2026, 1, 1, tzinfo=UTC)),
            },
            "INVALID_FIELD",
            "offer.valid_until",
        ),
        ({"mark": OfferMark(uses_slot="note")}, "INVALID_FIELD", "offer.mark.uses_slot"),
        (
            {"mark": OfferMark(used_up_values={"points": value("x")})},
            "INVALID_VALUES",
            'offer.mark.used_up_values["points"]',
        ),
        (
            {"mark": OfferMark(used_up_values={"nothing": value("x")})},
            "INVALID_VALUES",
            'offer.mark.used_up_values["nothing"]',
        ),
    ],
)
async def test_what_is_no_offer(
    counter: Counter, fields: dict[str, Any], reason: str, path: str
) -> None:
    """An offer that could never be had, or whose mark its template cannot show, is refused by the
    field."""
    refusal = await refused(counter.add_offer(**fields))
    assert (refusal.reason, set(refusal.fields)) == (reason, {path})


async def test_a_mark_of_many_templates_is_shown_where_it_fits(counter: Counter) -> None:
    """An offer to all passes of a program may name slots that a pass does not have: it is used all
    the same, and what fits is shown."""
    offer = await counter.add_offer(
        is_of_template=False,
        mark=OfferMark(
            uses_slot="note",
            used_up_values={"stamps": value(3), "tier": value(7), "note": value("used")},
        ),
    )
    issued = await counter.club.issue()
    assert (await counter.till.redeem(issued, offer)).uses == 1
    now = await counter.club.get(issued)
    assert (now.values["note"].text, "tier" in now.values) == ("used", False)


async def test_policies(counter: Counter) -> None:
    """A policy replaces the one before; a program without one demands nothing."""
    request = pb.GetCounterPolicyRequest(program_id=counter.club.program_id)
    empty = (await counter.manage.GetCounterPolicy(request)).policy
    assert empty == counter_pb2.CounterPolicy(program_id=counter.club.program_id)
    await counter.set_policy(photo_slot="offers")
    demand = counter_pb2.CounterPolicy.DemandRule(demand=counter_pb2.STAFF_DEMAND_ASK_FOR_ID)
    await counter.set_policy(tier_slot="tier", demands=[demand])
    policy = (await counter.manage.GetCounterPolicy(request)).policy
    assert policy == counter_pb2.CounterPolicy(
        program_id=counter.club.program_id, tier_slot="tier", demands=[demand]
    )
    config = await counter.till.scans.GetScannerConfig(
        scan_pb.GetScannerConfigRequest(venue_id=counter.venue.venue_id)
    )
    assert list(config.policies) == [policy]
    assert not config.HasField("scanner")


async def test_venues_by_partner(counter: Counter) -> None:
    """Venues are listed oldest first, all or those of a partner."""
    taxi = await counter.add_venue("Rank", partner="taxi")
    everywhere = (await counter.manage.ListVenues(pb.ListVenuesRequest())).venues
    assert list(everywhere) == [counter.venue, taxi]
    of_partner = (await counter.manage.ListVenues(pb.ListVenuesRequest(partner="taxi"))).venues
    assert list(of_partner) == [taxi]


async def test_redemptions_are_listed(counter: Counter) -> None:
    """The newest first, page after page, narrowed by pass, venue, scanner and standing; a scanner
    is told of its venue alone."""
    offer = await counter.add_offer(max_uses=0)
    issued = [await counter.club.issue() for _ in range(2)]
    scanner = await counter.scanner()
    away = await counter.scanner(venue=await counter.add_venue())
    made = [
        (await till.redeem(wallet_pass, offer)).redemption
        for till in (counter.till, scanner, away)
        for wallet_pass in issued
    ]
    taken_back = (await counter.till.reverse(made[0].redemption_id)).redemption
    everything = [taken_back, *made[1:]][::-1]

    async def found(till: Any, **wanted: Any) -> list[Any]:
        pages: list[Any] = []
        token: str | None = ""
        while token is not None:
            narrowed = scan_pb.ListRedemptionsRequest.Filter(**wanted)
            request = scan_pb.ListRedemptionsRequest(filter=narrowed, page_size=2, page_token=token)
            answer = await till.scans.ListRedemptions(request)
            pages += answer.redemptions
            token = answer.next_page_token or None
        return pages

    assert await found(counter.till) == everything
    assert await found(counter.till, only_standing=True) == everything[:-1]
    assert await found(counter.till, pass_id=issued[0].pass_id) == everything[1::2]
    assert await found(scanner) == everything[2:]
    mine = {"scanner_id": made[2].scanner_id}
    assert await found(counter.till, **mine) == everything[2:4]
    elsewhere = scan_pb.ListRedemptionsRequest.Filter(venue_id=made[-1].venue_id)
    listing = scanner.scans.ListRedemptions(scan_pb.ListRedemptionsRequest(filter=elsewhere))
    assert (await refused(listing)).reason == "NOT_FOUND"
