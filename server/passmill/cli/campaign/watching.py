"""`passmill campaign watch`, and what is told of a campaign."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from passmill.cli.campaign.progress import Progress, duration
from passmill_client import Campaign, Client, messages

STATUSES: Final = {
    Campaign.STATE_SUCCEEDED: 0,
    Campaign.STATE_PARTIALLY_FAILED: 3,
    Campaign.STATE_FAILED: 1,
    Campaign.STATE_CANCELLED: 1,
}
"""The exit status of each way to end."""


def run(client: Client, campaign_id: str) -> int:
    """Shows a campaign until it has ended; gives the exit status."""
    campaign = client.get_campaign(campaign_id)
    with Progress("serving", unit="recipients") as bar:
        for campaign in client.watch_campaign(campaign_id):
            progress = campaign.progress
            bar.show(
                done(progress),
                done(progress) / progress.total if progress.total else None,
                rate=progress.rate,
                note=_note(campaign),
            )
        bar.finish(done(campaign.progress), note=_note(campaign))
    for line in report(campaign):
        print(line, flush=True)
    return STATUSES.get(campaign.state, 1)


def done(progress: messages.CampaignProgress) -> int:
    """How many recipients need nothing more."""
    return (
        progress.succeeded
        + progress.invalid
        + progress.failed
        + progress.duplicate
        + progress.skipped
    )


def state_name(campaign: Campaign) -> str:
    """`running`, `paused (error_threshold)`."""
    name = Campaign.State.Name(campaign.state).removeprefix("STATE_").lower().replace("_", " ")
    return f"{name} ({campaign.state_reason})" if campaign.state_reason else name


def report(campaign: Campaign) -> Iterator[str]:
    """What became of a campaign, line by line."""
    progress = campaign.progress
    yield f"campaign   {campaign.campaign_id}  {campaign.display_name}"
    yield f"state      {state_name(campaign)}"
    yield f"recipients {progress.total:,}"
    for name in ("succeeded", "invalid", "failed", "duplicate", "skipped", "voided"):
        count: int = getattr(progress, name)
        if count or name == "succeeded":
            yield f"{name:<10} {count:,}"
    for failure in progress.failures:
        yield f"           {failure.count:,} {failure.reason}"
    if campaign.HasField("end_time") and campaign.HasField("start_time"):
        seconds = (
            campaign.end_time.ToNanoseconds() - campaign.start_time.ToNanoseconds()
        ) / 1_000_000_000
        rate = progress.succeeded / seconds if seconds > 0 else 0.0
        yield f"took       {duration(seconds)}, {rate:,.0f} a second"


def as_json(campaign: Campaign) -> str:
    """A campaign as one line for programs."""
    progress = campaign.progress
    return json.dumps(
        {
            "campaign_id": campaign.campaign_id,
            "display_name": campaign.display_name,
            "state": Campaign.State.Name(campaign.state).removeprefix("STATE_"),
            "state_reason": campaign.state_reason,
            "total": progress.total,
            "succeeded": progress.succeeded,
            "invalid": progress.invalid,
            "failed": progress.failed,
            "duplicate": progress.duplicate,
            "skipped": progress.skipped,
            "voided": progress.voided,
            "failures": {each.reason: each.count for each in progress.failures},
        },
        ensure_ascii=False,
    )


def _note(campaign: Campaign) -> str:
    unserved = campaign.progress.failed + campaign.progress.invalid
    words = [] if campaign.state == Campaign.STATE_RUNNING else [state_name(campaign)]
    if unserved:
        words.append(f"{unserved:,} not served")
    return ", ".join(words)
