"""`passmill campaign watch`, and what is told of a campaign."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from passmill.cli.campaign.errors import Interrupted
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
    """Shows a campaign until it has ended; gives the exit status. Interrupted at Ctrl-C, which it
    does not feel."""
    try:
        campaign = client.get_campaign(campaign_id)
        if campaign.state not in STATUSES:
            campaign = _follow(client, campaign)
    except KeyboardInterrupt:
        raise Interrupted(
            f"The campaign goes on. passmill campaign watch {campaign_id} shows it,"
            f" passmill campaign pause {campaign_id} stops it."
        ) from None
    for line in report(campaign):
        print(line, flush=True)
    return STATUSES.get(campaign.state, 1)


def _follow(client: Client, campaign: Campaign) -> Campaign:
    is_told = False
    with Progress("serving", unit="recipients") as bar:
        for now in client.watch_campaign(campaign.campaign_id):
            campaign = now
            progress = campaign.progress
            bar.show(
                done(progress),
                done(progress) / progress.total if progress.total else None,
                rate=progress.rate,
                note=_note(campaign),
            )
            is_paused = campaign.state == Campaign.STATE_PAUSED
            if is_paused and not is_told:
                print(f"\n{state_name(campaign)}: {_ways_on(campaign)}", file=sys.stderr)
            is_told = is_paused
        served = done(campaign.progress)
        bar.finish(served, rate=_rate(campaign), note=_note(campaign))
    return campaign


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
    if campaign.state == Campaign.STATE_SCHEDULED:
        name += f" for {shown_time(campaign.start_time.ToDatetime(UTC))}"
    return f"{name} ({campaign.state_reason})" if campaign.state_reason else name


def shown_time(moment: datetime) -> str:
    """`2026-05-03 07:00 UTC`, of a time in UTC."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


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
    if (seconds := _seconds(campaign)) is not None:
        yield f"took       {duration(seconds)}, {_rate(campaign):,.0f} a second"
    if campaign.state == Campaign.STATE_PAUSED:
        yield f"next       {_ways_on(campaign)}"


def _seconds(campaign: Campaign) -> float | None:
    """How long it took; None when it has not ended, or was cancelled before its time came."""
    if not (campaign.HasField("end_time") and campaign.HasField("start_time")):
        return None
    taken = campaign.end_time.ToNanoseconds() - campaign.start_time.ToNanoseconds()
    return taken / 1_000_000_000 if taken >= 0 else None


def _rate(campaign: Campaign) -> float:
    seconds = _seconds(campaign)
    return campaign.progress.succeeded / seconds if seconds else 0.0


def _ways_on(campaign: Campaign) -> str:
    campaign_id = campaign.campaign_id
    ways = f"`resume {campaign_id}` lets it go on, `cancel {campaign_id}` ends it"
    if campaign.action.WhichOneof("action") in {"update", "notify"}:
        ways += f", `rollback {campaign_id}` takes back what it did"
    return ways


def as_json(campaign: Campaign) -> str:
    """A campaign as one line for programs."""
    progress, start, end = campaign.progress, campaign.start_time, campaign.end_time
    return json.dumps(
        {
            "campaign_id": campaign.campaign_id,
            "display_name": campaign.display_name,
            "state": Campaign.State.Name(campaign.state).removeprefix("STATE_"),
            "state_reason": campaign.state_reason,
            "action": campaign.action.WhichOneof("action"),
            "template_id": template_of(campaign),
            "priority": Campaign.Priority.Name(campaign.priority).removeprefix("PRIORITY_"),
            "create_time": campaign.create_time.ToJsonString(),
            "start_time": start.ToJsonString() if campaign.HasField("start_time") else None,
            "end_time": end.ToJsonString() if campaign.HasField("end_time") else None,
            "shards": progress.shards,
            "shards_done": progress.shards_done,
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


def template_of(campaign: Campaign) -> str:
    """The template of its action; empty when it voids."""
    action = campaign.action
    return action.issue.template_id or action.update.template_id or action.notify.template_id


def _note(campaign: Campaign) -> str:
    unserved = campaign.progress.failed + campaign.progress.invalid
    words = [] if campaign.state == Campaign.STATE_RUNNING else [state_name(campaign)]
    if unserved:
        words.append(f"{unserved:,} not served")
    return ", ".join(words)
