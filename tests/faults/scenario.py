"""A campaign whose workers are killed and whose database crashes, and what is left of it.

Run by `make faults`, or smaller by the test beside it:

    python tests/faults/scenario.py --recipients 100000 --kills 20 --crashes 3

A whole service on this machine: API processes, workers, a supervisor that starts again what dies,
a PostgreSQL that waits for the disk. The campaign runs twice, undisturbed and under fire; then
`checker.py`, which knows nothing of the service's code, counts. Prints one JSON object and exits
with 1 when anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from passmill.demo.club import Club, set_up
from passmill.dev import coffee_club
from passmill.dev.local_service import LocalService
from passmill_client import Client, PassmillError, pass_draft
from passmill_client.messages import (
    IMAGE_ROLE_ICON,
    Campaign,
    CampaignLinks,
    IssueAction,
    Recipient,
    TemplateContent,
)

CHECKER = Path(__file__).with_name("checker.py")
STREAMS = 20
# Each worker dies at each of the named points with a chance that makes so many deaths; the rest of
# the kills come from outside, at any moment.
FAILPOINTS = ("shard.read", "shard.signed", "shard.written", "shard.committed")
DEATHS_AT_POINTS = 5
RECOVERY_SECONDS = 30.0
# From a worker's taking a shard to the next one's taking it over, by PgQueuer's own record: what
# the first did of it before it died is in there too.
_LONGEST_RECOVERY = """
SELECT coalesce(max(extract(epoch FROM again - created)), 0)::float8 FROM (
    SELECT created, lead(created) OVER (PARTITION BY job_id ORDER BY created) AS again
    FROM pgqueuer.pgqueuer_log WHERE entrypoint = 'campaign_shard' AND status = 'picked'
) AS picks
"""
SHARD_RECIPIENTS = 5_000
WORKERS = 2
HEARTBEAT_SECONDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Fire:
    """What happens to a campaign. `kill_every`, `crash_every`: the least and most seconds between
    two kills, and two crashes of PostgreSQL."""

    kills: int
    kill_every: tuple[float, float]
    crashes: int
    crash_every: tuple[float, float]
    seed: int


@dataclass(slots=True)
class Deaths:
    """Workers that died, by whoever's hand, and crashes of PostgreSQL."""

    process_ids: set[int] = field(default_factory=set)
    killed: int = 0
    crashed: int = 0


def main() -> int:
    """Runs both campaigns and the checker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=20, help="of workers, at least")
    parser.add_argument("--crashes", type=int, default=3, help="of PostgreSQL")
    for name, seconds in (("--kill-every", (0.5, 3.0)), ("--crash-every", (5.0, 40.0))):
        parser.add_argument(name, type=float, nargs=2, default=seconds, metavar="SECONDS")
    parser.add_argument("--openssl", type=int, help="bundles verified by openssl; all by default")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    fire = Fire(
        kills=options.kills,
        kill_every=(options.kill_every[0], options.kill_every[1]),
        crashes=options.crashes,
        crash_every=(options.crash_every[0], options.crash_every[1]),
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="passmill-faults-") as folder:
        found = run(Path(folder), options.recipients, fire, options.openssl)
        # Before the folder goes: a million bundles take their time.
        print(json.dumps(found), flush=True)  # noqa: T201 - the result
    return 0 if found["is_right"] else 1


def run(folder: Path, count: int, fire: Fire, openssl: int | None) -> dict[str, object]:
    """The whole scenario; what the checker found, with how long the campaigns took."""
    write_recipients(folder / "recipients.csv", count)
    with serve(folder / "calm", fail_at="") as service:
        club = set_up_club(service)
        calm_seconds = finish(service, load(service, club, folder / "recipients.csv"), club)
        calm_load = os.getloadavg()[0]
    with serve(folder / "fire", fail_at=fail_at(count) if fire.kills else "") as service:
        club = set_up_club(service)
        campaign_id = load(service, club, folder / "recipients.csv")
        deaths = Deaths()
        with attack(service, fire, deaths):
            seconds = finish(service, campaign_id, club, crash=crasher(service, fire, deaths))
        fire_load = os.getloadavg()[0]
        longest = asyncio.run(longest_recovery_seconds(service.database_owner_url))
        export(service, club, campaign_id, folder)
        found = check(service, club, folder, openssl)
    return {
        **found,
        "is_right": found["is_right"] and longest <= RECOVERY_SECONDS,
        "longest_recovery_seconds": round(longest, 2),
        "load_averages": [round(each, 1) for each in (calm_load, fire_load)],
        "seed": fire.seed,
        "worker_deaths": len(deaths.process_ids),
        "kills_from_outside": deaths.killed,
        "postgres_crashes": deaths.crashed,
        "calm_seconds": round(calm_seconds, 2),
        "seconds": round(seconds, 2),
        "times_as_long": round(seconds / calm_seconds, 2),
    }


@contextmanager
def serve(folder: Path, *, fail_at: str) -> Iterator[LocalService]:
    """A service whose dead processes are started again."""
    settings = {
        "PASSMILL_WORKER__HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
        "PASSMILL_FAIL_AT": fail_at,
        "PASSMILL_LOG__LEVEL": "error",
        "PASSMILL_PUBLIC_URL": "https://passes.example",
    }
    stop = threading.Event()
    with LocalService(
        data_dir=folder, processes=1, workers=WORKERS, durable=True, settings=settings
    ) as service:
        watching = threading.Thread(target=service.supervisor.run, args=(stop,))
        watching.start()
        try:
            yield service
        finally:
            stop.set()
            watching.join()


def fail_at(count: int) -> str:
    """PASSMILL_FAIL_AT for a campaign of so many recipients."""
    steps = max(STREAMS, count // SHARD_RECIPIENTS) * len(FAILPOINTS)
    chance = min(0.02, DEATHS_AT_POINTS / steps)
    return ",".join(f"{name}:{chance:.5f}" for name in FAILPOINTS)


def plain_card(images: coffee_club.Images) -> TemplateContent:
    """The club's card without its pictures, but the icon that there must be: a bundle is some
    kilobytes, so that each of a million can be kept and opened."""
    icons = {place: asset for place, asset in images.items() if place[0] == IMAGE_ROLE_ICON}
    return coffee_club.card_content(icons)


def set_up_club(service: LocalService) -> Club:
    """A tenant with a template to issue from."""
    return set_up(
        api_address=service.api_address,
        admin_address=service.admin_address,
        operator_key=service.operator_key,
        card=plain_card,
    )


def write_recipients(path: Path, count: int) -> None:
    """The list that everything is compared with."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["external_id", "name"])
        writer.writerows([f"M{number:07}", f"Zoë Ōtani {number}"] for number in range(count))


def load(service: LocalService, club: Club, path: Path) -> str:
    """A campaign with these recipients, not started."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    with Client(service.api_address, club.issue_key) as client:
        campaign = client.create_campaign(
            "under fire",
            action=IssueAction(template_id=club.template_id, claim_links=CampaignLinks()),
        )
        for number in range(STREAMS):
            stream = client.create_recipient_stream(campaign.campaign_id)
            mine = rows[number::STREAMS]
            for _ in client.append_recipients(stream, map(recipient, mine)):
                pass
            client.finalize_recipient_stream(stream, expected_rows=len(mine))
    return campaign.campaign_id


def recipient(row: Mapping[str, str]) -> Recipient:
    """A row of the list as it is sent."""
    return Recipient(
        external_id=row["external_id"],
        draft=pass_draft(name=row["name"], values={"points": int(row["external_id"][1:]) % 100}),
    )


def finish(
    service: LocalService,
    campaign_id: str,
    club: Club,
    *,
    crash: Iterator[None] = iter(()),  # noqa: B008 - an empty one stays empty
) -> float:
    """Starts a campaign and waits for its end: its seconds. `crash`: looked at in between."""
    with Client(service.api_address, club.issue_key) as client:
        client.start_campaign(campaign_id)
        while True:
            next(crash, None)
            try:
                campaign = client.get_campaign(campaign_id, timeout=5)
            except PassmillError:
                continue  # the database is away
            if campaign.state >= Campaign.STATE_CANCELLED:
                break
            time.sleep(0.1)
    if campaign.state != Campaign.STATE_SUCCEEDED:
        raise SystemExit(f"the campaign did not succeed:\n{campaign}")
    return (campaign.end_time.ToDatetime() - campaign.start_time.ToDatetime()).total_seconds()


@contextmanager
def attack(service: LocalService, fire: Fire, deaths: Deaths) -> Iterator[None]:
    """Kills workers from outside while the block runs, and counts all that die."""
    stop = threading.Event()

    def kill() -> None:
        chance = random.Random(fire.seed)  # noqa: S311 - to be repeated
        seen: set[int] = set()
        while not stop.wait(chance.uniform(*fire.kill_every)):
            alive = set(service.worker_process_ids)
            deaths.process_ids |= seen - alive
            seen |= alive
            if alive and deaths.killed < fire.kills:
                os.kill(chance.choice(sorted(alive)), signal.SIGKILL)
                deaths.killed += 1

    killing = threading.Thread(target=kill)
    killing.start()
    try:
        yield
    finally:
        stop.set()
        killing.join()


def crasher(service: LocalService, fire: Fire, deaths: Deaths) -> Iterator[None]:
    """Crashes PostgreSQL from time to time; each step looks whether it is time."""
    chance = random.Random(fire.seed + 1)  # noqa: S311 - to be repeated
    for _ in range(fire.crashes):
        due = time.monotonic() + chance.uniform(*fire.crash_every)
        while time.monotonic() < due:
            yield
        service.crash_database(down_seconds=chance.uniform(0, 2))
        deaths.crashed += 1


async def longest_recovery_seconds(url: str) -> float:
    """The longest until another worker had taken what one had begun."""
    connection = await asyncpg.connect(url, timeout=30)
    try:
        longest: float = await connection.fetchval(_LONGEST_RECOVERY)
    finally:
        await connection.close(timeout=5)
    return longest


def export(service: LocalService, club: Club, campaign_id: str, folder: Path) -> None:
    """Results and bundles, as an operator gets them."""
    command = [sys.executable, "-m", "passmill", "campaign", "export", campaign_id]
    command += ["--output", str(folder / "results.csv"), "--bundles", str(folder / "bundles")]
    subprocess.run(
        command,
        env=os.environ
        | {"PASSMILL_ADDRESS": service.api_address, "PASSMILL_API_KEY": club.issue_key},
        stdout=sys.stderr,
        check=True,
    )


def check(
    service: LocalService, club: Club, folder: Path, openssl: int | None
) -> dict[str, object]:
    """The checker's verdict."""
    (folder / "root.pem").write_bytes(club.root_pem)
    command = [sys.executable, str(CHECKER), "--recipients", str(folder / "recipients.csv")]
    command += ["--results", str(folder / "results.csv"), "--bundles", str(folder / "bundles")]
    command += ["--root", str(folder / "root.pem"), "--database", service.database_owner_url]
    command += ["--tenant", club.tenant_id]
    if openssl is not None:
        command += ["--openssl", str(openssl)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    verdict: dict[str, object] = json.loads(done.stdout)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
