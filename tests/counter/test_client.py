"""The counter through the client that programs use."""

import asyncio

import pytest

from passmill_client import AsyncClient, Client, messages
from tests.support.counters import Counter

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_from_the_offer_to_the_list(counter: Counter) -> None:
    """Make an offer, enrol a scanner, redeem, see it refused, take it back, list it: with the
    client's own methods, for tasks and for threads."""
    address = counter.club.tenant.service.api_address
    issued = await counter.club.issue()
    ref = messages.ScanRef(reference_id=issued.reference_id)
    async with AsyncClient(address, counter.club.tenant.member.api_key, plaintext=True) as manager:
        venue = await manager.create_venue("Rank", partner="taxi")
        assert [each async for each in manager.list_venues(partner="taxi")] == [venue]
        offer = await manager.create_offer(
            messages.Offer(display_name="Ride"),
            program_id=counter.club.program_id,
            template_id=counter.club.template_id,
        )
        offer = await manager.update_offer(
            offer.offer_id, messages.Offer(attention="x"), ["attention"]
        )
        assert [each async for each in manager.list_offers()] == [offer]
        policy = messages.CounterPolicy(tier_slot="tier")
        await manager.set_counter_policy(policy, program_id=counter.club.program_id)
        assert (await manager.get_counter_policy(counter.club.program_id)).tier_slot == "tier"
        rights = [messages.SCANNER_RIGHT_REDEEM, messages.SCANNER_RIGHT_LOOK_UP]
        code = (await manager.create_scanner_code(venue.venue_id, rights)).code
        enrolled = await manager.enrol_scanner(code, "Cab 7")
        assert [each async for each in manager.list_scanners()] == [enrolled.scanner]

        def scan() -> None:
            with Client(address, enrolled.api_key, plaintext=True) as scanner:
                assert scanner.get_scanner_config().venue == venue
                assert scanner.verify_pass(ref).state == messages.SCAN_STATE_VALID
                first = scanner.redeem_pass(ref, offer.offer_id)
                assert first.outcome == messages.SCAN_OUTCOME_ACCEPTED
                second = scanner.redeem_pass(ref, offer.offer_id)
                assert second.first_use == first.redemption
                undone = scanner.reverse_redemption(first.redemption.redemption_id)
                assert list(scanner.list_redemptions()) == [undone.redemption]
                told = messages.OfflineScan(
                    local_sequence=1, ref=ref, scan_time=undone.redemption.scan_time
                )
                told.redeem.offer_id = offer.offer_id
                [result] = scanner.sync_offline_scans([told])
                [kept] = scanner.list_offline_scans(venue_id=venue.venue_id)
                assert kept.redemption == result.redemption
                assert list(scanner.list_offline_scans(only_conflicts=True)) == []

        await asyncio.to_thread(scan)
        await manager.revoke_scanner(enrolled.scanner.scanner_id)
        await manager.archive_offer(offer.offer_id)


async def test_chains(counter: Counter) -> None:
    """Make, read, list, change and archive a chain with the client's own methods."""
    address = counter.club.tenant.service.api_address
    steps = [await counter.step(each) for each in ("taxi", "hotel")]
    async with AsyncClient(address, counter.club.tenant.member.api_key, plaintext=True) as manager:
        made = await manager.set_chain(
            messages.Chain(display_name="Tour", steps=steps), template_id=counter.club.template_id
        )
        assert await manager.get_chain(made.chain_id) == made
        assert [each async for each in manager.list_chains()] == [made]
        changed = await manager.set_chain(
            messages.Chain(display_name="Tour", steps=steps[:1]),
            chain_id=made.chain_id,
            etag=made.etag,
        )
        assert (changed.version, len(changed.steps)) == (2, 1)
        over = await manager.archive_chain(made.chain_id)
        assert over.state == messages.Chain.STATE_ARCHIVED
        listed = [each async for each in manager.list_chains(include_archived=True)]
        assert listed == [over]
