"""What clients do at the counter: manage it, verify and redeem, book points, know holders. What
each method does is said at its operation."""

from __future__ import annotations

from passmill_client.awaiting import AsyncConnection, async_paging, awaiting
from passmill_client.blocking import Connection, blocking, paging
from passmill_client.operations import balances, counter, holders, scans


class Counter(Connection):
    """The counter, for threads."""

    create_venue = blocking(counter.create_venue)
    list_venues = paging(counter.list_venues)
    create_offer = blocking(counter.create_offer)
    update_offer = blocking(counter.update_offer)
    archive_offer = blocking(counter.archive_offer)
    list_offers = paging(counter.list_offers)
    create_scanner_code = blocking(counter.create_scanner_code)
    list_scanners = paging(counter.list_scanners)
    revoke_scanner = blocking(counter.revoke_scanner)
    set_counter_policy = blocking(counter.set_counter_policy)
    get_counter_policy = blocking(counter.get_counter_policy)
    set_chain = blocking(counter.set_chain)
    get_chain = blocking(counter.get_chain)
    list_chains = paging(counter.list_chains)
    archive_chain = blocking(counter.archive_chain)

    verify_pass = blocking(scans.verify_pass)
    redeem_pass = blocking(scans.redeem_pass)
    check_in = blocking(scans.check_in)
    check_out = blocking(scans.check_out)
    reverse_redemption = blocking(scans.reverse_redemption)
    sync_offline_scans = blocking(scans.sync_offline_scans)
    get_scanner_config = blocking(scans.get_scanner_config)
    get_offline_bundle = blocking(scans.get_offline_bundle)
    list_redemptions = paging(scans.list_redemptions)
    list_offline_scans = paging(scans.list_offline_scans)
    enrol_scanner = blocking(scans.enrol_scanner)

    set_balance_unit = blocking(balances.set_balance_unit)
    list_balance_units = blocking(balances.list_balance_units)
    set_tiers = blocking(balances.set_tiers)
    list_tiers = blocking(balances.list_tiers)
    post_entry = blocking(balances.post_entry)
    batch_post_entries = blocking(balances.batch_post_entries)
    reverse_entry = blocking(balances.reverse_entry)
    hold_balance = blocking(balances.hold_balance)
    capture_hold = blocking(balances.capture_hold)
    release_hold = blocking(balances.release_hold)
    pay_sale = blocking(balances.pay_sale)
    get_balance = blocking(balances.get_balance)
    list_entries = paging(balances.list_entries)
    join_account = blocking(balances.join_account)

    find_holder = blocking(holders.find_holder)
    identify_holder = blocking(holders.identify_holder)
    link_identity = blocking(holders.link_identity)
    unlink_identity = blocking(holders.unlink_identity)
    link_pass = blocking(holders.link_pass)
    erase_holder = blocking(holders.erase_holder)


class AsyncCounter(AsyncConnection):
    """The counter, for tasks."""

    create_venue = awaiting(counter.create_venue)
    list_venues = async_paging(counter.list_venues)
    create_offer = awaiting(counter.create_offer)
    update_offer = awaiting(counter.update_offer)
    archive_offer = awaiting(counter.archive_offer)
    list_offers = async_paging(counter.list_offers)
    create_scanner_code = awaiting(counter.create_scanner_code)
    list_scanners = async_paging(counter.list_scanners)
    revoke_scanner = awaiting(counter.revoke_scanner)
    set_counter_policy = awaiting(counter.set_counter_policy)
    get_counter_policy = awaiting(counter.get_counter_policy)
    set_chain = awaiting(counter.set_chain)
    get_chain = awaiting(counter.get_chain)
    list_chains = async_paging(counter.list_chains)
    archive_chain = awaiting(counter.archive_chain)

    verify_pass = awaiting(scans.verify_pass)
    redeem_pass = awaiting(scans.redeem_pass)
    check_in = awaiting(scans.check_in)
    check_out = awaiting(scans.check_out)
    reverse_redemption = awaiting(scans.reverse_redemption)
    sync_offline_scans = awaiting(scans.sync_offline_scans)
    get_scanner_config = awaiting(scans.get_scanner_config)
    get_offline_bundle = awaiting(scans.get_offline_bundle)
    list_redemptions = async_paging(scans.list_redemptions)
    list_offline_scans = async_paging(scans.list_offline_scans)
    enrol_scanner = awaiting(scans.enrol_scanner)

    set_balance_unit = awaiting(balances.set_balance_unit)
    list_balance_units = awaiting(balances.list_balance_units)
    set_tiers = awaiting(balances.set_tiers)
    list_tiers = awaiting(balances.list_tiers)
    post_entry = awaiting(balances.post_entry)
    batch_post_entries = awaiting(balances.batch_post_entries)
    reverse_entry = awaiting(balances.reverse_entry)
    hold_balance = awaiting(balances.hold_balance)
    capture_hold = awaiting(balances.capture_hold)
    release_hold = awaiting(balances.release_hold)
    pay_sale = awaiting(balances.pay_sale)
    get_balance = awaiting(balances.get_balance)
    list_entries = async_paging(balances.list_entries)
    join_account = awaiting(balances.join_account)

    find_holder = awaiting(holders.find_holder)
    identify_holder = awaiting(holders.identify_holder)
    link_identity = awaiting(holders.link_identity)
    unlink_identity = awaiting(holders.unlink_identity)
    link_pass = awaiting(holders.link_pass)
    erase_holder = awaiting(holders.erase_holder)
