"""`passmill campaign list`, `show`, `start`, `pause`, `resume`, `cancel`, `retry`, `rollback` and
`preview`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import Final
from uuid import UUID, uuid5

from passmill.cli.campaign import watching
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.words import counted
from passmill_client import Campaign, Client, PassmillError, Reply

_STARTED: Final = frozenset(
    {
        Campaign.STATE_RUNNING,
        Campaign.STATE_SUCCEEDED,
        Campaign.STATE_PARTIALLY_FAILED,
        Campaign.STATE_FAILED,
    }
)
_ROLL_BACKS: Final = UUID("0f2b9a52-5f0c-5d7e-8a8e-5f3f1f1f6c21")


def list_campaigns(client: Client, *, count: int, as_json: bool) -> int:
    """Prints the newest campaigns, one a line."""
    for campaign in islice(client.list_campaigns(page_size=min(count, 500)), count):
        if as_json:
            print(watching.as_json(campaign))
            continue
        progress = campaign.progress
        print(
            f"{campaign.campaign_id}  {watching.shown_time(campaign.create_time.ToDatetime(UTC))}"
            f"  {watching.state_name(campaign):<18} {watching.done(progress):>11,}"
            f" of {progress.total:>11,}  {campaign.display_name}"
        )
    return 0


def show(client: Client, campaign_id: str, *, as_json: bool) -> int:
    """Prints one campaign."""
    return _told(client.get_campaign(campaign_id), as_json=as_json)


def start(client: Client, campaign_id: str, *, start_time: datetime | None, watch: bool) -> int:
    """Starts a campaign, now or at a time; one that runs already is told as such."""
    try:
        campaign = client.start_campaign(campaign_id, start_time=start_time)
    except PassmillError as error:
        campaign = client.get_campaign(campaign_id)
        if error.reason != "CAMPAIGN_STATE" or campaign.state not in _STARTED or start_time:
            raise
        print("It was started before.", file=sys.stderr)
    return watching.run(client, campaign_id) if watch else _told(campaign)


def pause(client: Client, campaign_id: str) -> int:
    """Stops a campaign before its next shard."""
    return _told(client.pause_campaign(campaign_id))


def resume(client: Client, campaign_id: str) -> int:
    """Lets a paused campaign go on."""
    return _told(client.resume_campaign(campaign_id))


def cancel(client: Client, campaign_id: str, *, void_issued: bool) -> int:
    """Ends a campaign. CommandFailed with the way to void what an ended one has issued."""
    try:
        campaign = client.cancel_campaign(campaign_id, void_issued=void_issued)
    except PassmillError as error:
        if error.reason != "CAMPAIGN_STATE" or not _issued(client, campaign_id):
            raise
        raise CommandFailed(
            f"{error.message} What it issued can be voided all the same: passmill campaign create"
            f" void --of-campaign {campaign_id} shows which passes these are."
        ) from None
    return _told(campaign)


def retry(client: Client, campaign_id: str, *, reasons: Sequence[str], watch: bool) -> int:
    """Tries failed recipients again."""
    answer = client.retry_recipients(campaign_id, reasons=reasons)
    if not answer.count:
        print(_why_nobody(answer.campaign, reasons))
        return 0
    print(f"{counted(answer.count, 'recipient')} tried again.")
    return watching.run(client, campaign_id) if watch else 0


def roll_back(client: Client, campaign_id: str, *, watch: bool) -> int:
    """Takes an update back, by a campaign of its own: the same one when it is asked for again,
    unless that was cancelled."""
    request_id = uuid5(_ROLL_BACKS, campaign_id)
    while True:
        reply = Reply()
        campaign = client.roll_back_campaign(campaign_id, request_id=request_id, reply=reply)
        if not reply.replayed:
            break
        campaign = client.get_campaign(campaign.campaign_id)
        if campaign.state != Campaign.STATE_CANCELLED:
            print("It is taken back already, by this campaign:", file=sys.stderr)
            break
        request_id = uuid5(request_id, campaign.campaign_id)
    print(campaign.campaign_id, flush=True)
    return watching.run(client, campaign.campaign_id) if watch else 0


def preview(client: Client, campaign_id: str) -> int:
    """Prints what a campaign would do."""
    found = client.preview_campaign(campaign_id)
    print(f"recipients {found.recipients:,}")
    if found.invalid:
        print(f"invalid    {found.invalid:,}")
    for change in found.changes:
        told = f": “{change.lock_screen_message}”" if change.lock_screen_message else ""
        print(f"changes    {change.key} on {change.count} of {len(found.previews)}{told}")
    for each in found.previews:
        print(f"{each.external_id or each.pass_id}: {each.reason or each.pass_json}")
    return 0


def _issued(client: Client, campaign_id: str) -> bool:
    campaign = client.get_campaign(campaign_id)
    return campaign.action.HasField("issue") and campaign.progress.succeeded > 0


def _why_nobody(campaign: Campaign, reasons: Sequence[str]) -> str:
    progress = campaign.progress
    if progress.failed:
        found = ", ".join(each.reason for each in progress.failures)
        return f"Nobody is tried again: none failed for {', '.join(reasons)}, but for {found}."
    if progress.invalid:
        return (
            f"Nobody is tried again: {counted(progress.invalid, 'recipient')} refused when loaded,"
            " and none failed. Mend their rows and import them."
        )
    return "Nobody is tried again: none failed."


def _told(campaign: Campaign, *, as_json: bool = False) -> int:
    if as_json:
        print(watching.as_json(campaign))
    else:
        print("\n".join(watching.report(campaign)))
    return 0
