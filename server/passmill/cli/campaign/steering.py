"""`passmill campaign list`, `show`, `start`, `pause`, `resume`, `cancel`, `retry`, `rollback` and
`preview`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import islice

from passmill.cli.campaign import watching
from passmill_client import Campaign, Client


def list_campaigns(client: Client, *, count: int, as_json: bool) -> int:
    """Prints the newest campaigns, one a line."""
    for campaign in islice(client.list_campaigns(page_size=min(count, 500)), count):
        if as_json:
            print(watching.as_json(campaign))
            continue
        progress = campaign.progress
        print(
            f"{campaign.campaign_id}  {campaign.create_time.ToDatetime():%Y-%m-%d %H:%M}"
            f"  {watching.state_name(campaign):<18} {watching.done(progress):>11,}"
            f" of {progress.total:>11,}  {campaign.display_name}"
        )
    return 0


def show(client: Client, campaign_id: str, *, as_json: bool) -> int:
    """Prints one campaign."""
    return _told(client.get_campaign(campaign_id), as_json=as_json)


def start(client: Client, campaign_id: str, *, start_time: datetime | None, watch: bool) -> int:
    """Starts a campaign, now or at a time."""
    campaign = client.start_campaign(campaign_id, start_time=start_time)
    return watching.run(client, campaign_id) if watch else _told(campaign)


def pause(client: Client, campaign_id: str) -> int:
    """Stops a campaign before its next shard."""
    return _told(client.pause_campaign(campaign_id))


def resume(client: Client, campaign_id: str) -> int:
    """Lets a paused campaign go on."""
    return _told(client.resume_campaign(campaign_id))


def cancel(client: Client, campaign_id: str, *, void_issued: bool) -> int:
    """Ends a campaign."""
    return _told(client.cancel_campaign(campaign_id, void_issued=void_issued))


def retry(client: Client, campaign_id: str, *, reasons: Sequence[str], watch: bool) -> int:
    """Tries failed recipients again."""
    answer = client.retry_recipients(campaign_id, reasons=reasons)
    print(f"{answer.count:,} recipients are tried again.")
    return watching.run(client, campaign_id) if watch else 0


def roll_back(client: Client, campaign_id: str, *, watch: bool) -> int:
    """Takes an update back, by a campaign of its own."""
    campaign = client.roll_back_campaign(campaign_id)
    print(campaign.campaign_id)
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


def _told(campaign: Campaign, *, as_json: bool = False) -> int:
    if as_json:
        print(watching.as_json(campaign))
    else:
        print("\n".join(watching.report(campaign)))
    return 0
