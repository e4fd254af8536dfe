"""A campaign changes every pass, and every phone is to hear of it, whatever happens meanwhile.

Run by `make fanout`, or smaller by the test beside it:

    python -m tests.faults.fanout --passes 200000 --registrations 300000 --drop 0.5 --flushall 3

A whole service on this machine: an API process, workers, edges, PostgreSQL, Valkey, and a stand-in
for Apple's push service. Some thousand simulated devices install, register, list, fetch and verify
as Wallet does; the other phones are rows. In the end `fanout_checker.py`, which knows nothing of
the service's code, counts. Prints one JSON object and exits with 1 when anything is not as it must
be.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import hashlib
import json
import os
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from uuid import UUID

import uvloop

from passmill.dev.wallet_device.fleet import WalletFleet
from passmill_client import AsyncClient, to_value
from passmill_client.messages import Campaign, IssueAction, Recipient, Segment, UpdateAction
from passmill_client.values import pass_draft
from tests.faults import fanout_trouble as trouble
from tests.faults.fanout_phones import (
    Phone,
    RememberingVerifier,
    Sample,
    fetch_bundles,
    plan_phones,
    write_phones,
)
from tests.faults.fanout_rig import PASS_TYPE, Rig, Sizes, open_rig, publish_again

CHECKER = Path(__file__).with_name("fanout_checker.py")
STREAMS = 8
CONVERGENCE = ("installed", "moved", "changed", "pushed", "told", "fetched", "converged")
_LEFT = "SELECT count(*) FROM pgqueuer.pgqueuer WHERE entrypoint LIKE 'push%'"
_QUIET_SECONDS = 1.5  # pushes on their way to phones, and fetches on theirs to the table


@dataclass(slots=True)
class Clock:
    """Seconds that parts of a run took."""

    seconds: dict[str, float] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def lap(self, name: str) -> None:
        """What was done since the last lap has this name."""
        now = time.monotonic()
        self.seconds[f"{name}_seconds"] = round(now - self._began, 1)
        print(f"{name}: {now - self._began:.1f} s", file=sys.stderr, flush=True)  # noqa: T201
        self._began = now


def main() -> int:
    """Plays the scenario and has it checked."""
    options = read_options()
    sizes = Sizes(
        edges=options.edges,
        window_seconds=options.window,
        per_second=options.per_second,
        drop=options.drop,
        writers=options.writers,
        seed=options.seed,
    )
    with (
        tempfile.TemporaryDirectory(prefix="passmill-fanout-") as folder,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        open_rig(runner, sizes) as rig,
        rig.watched(),
    ):
        told = runner.run(Play(rig, options, Path(folder)).run())
        verdict = check(rig, Path(folder))
        if options.control:
            damage(Path(folder))
            told["noticed"] = check(rig, Path(folder))
    found = {**verdict, **told, "seed": options.seed, "load_average": round(os.getloadavg()[0], 1)}
    print(json.dumps(found))  # noqa: T201 - the result
    return 0 if found["is_right"] else 1


def read_options() -> argparse.Namespace:
    """Of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--passes", type=int, default=200_000)
    parser.add_argument("--registrations", type=int, default=300_000)
    parser.add_argument("--devices", type=int, default=2_000, help="simulated ones")
    parser.add_argument("--gone", type=int, default=1_000, help="tokens that have ended")
    parser.add_argument("--drop", type=float, default=0.0, help="share of pushes lost on the way")
    parser.add_argument("--writers", type=int, default=0, help="transactions held open meanwhile")
    parser.add_argument("--flushall", type=int, default=0, help="times that Redis is emptied")
    parser.add_argument("--kill-valkey", type=int, default=0, help="times that Redis dies")
    parser.add_argument("--kill-workers", type=int, default=0, help="times that a worker dies")
    parser.add_argument("--within", type=float, help="seconds in which all that happens")
    parser.add_argument("--window", type=float, default=10.0, help="seconds, of a phone's pushes")
    parser.add_argument("--per-second", type=float, default=1_000, help="pushes at most")
    parser.add_argument("--edges", type=int, default=1)
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds to converge")
    parser.add_argument(
        "--control", action="store_true", help="check damaged files too: `noticed` says what of it"
    )
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    if options.within is None:
        options.within = max(3.0, options.registrations / 6_000)
    return options


class Play:
    """One run of the scenario, up to the files that the checker reads."""

    def __init__(self, rig: Rig, options: argparse.Namespace, folder: Path) -> None:
        self._rig = rig
        self._options = options
        self._folder = folder
        self._chance = random.Random(options.seed)  # noqa: S311 - to be repeated
        self._happened = trouble.Happened()
        self._clock = Clock()
        self._told: dict[str, object] = {}

    async def run(self) -> dict[str, object]:
        """Plays it; what there is to say beside the checker's counts."""
        campaign_id = await self._issue()
        self._clock.lap("issue")
        pass_ids = await self._pass_ids()
        chosen = self._chance.sample(pass_ids, min(len(pass_ids), self._options.devices * 6 // 5))
        verifier = RememberingVerifier(self._rig.club.root_pem, openssl_every=200)
        async with (
            self._rig.apns.collecting(),
            WalletFleet(post=self._rig.apns.post, tls=self._rig.tls, verifier=verifier) as fleet,
        ):
            sample = Sample(
                fleet=fleet,
                verifier=verifier,
                bundles=await fetch_bundles(self._rig, chosen),
            )
            sample.plan(self._options.devices, self._chance)
            self._clock.lap("bundles")
            late = set(sample.late)
            await sample.install([each for each in fleet.devices if each not in late])
            self._clock.lap("register_by_edge")
            of_sample = sum(map(len, sample.passes.values()))
            phones = plan_phones(pass_ids, self._options.registrations - of_sample, self._chance)
            await write_phones(self._rig, phones, campaign_id, self._chance)
            gone = self._retire(phones)
            self._clock.lap("register_by_rows")
            await self._change(sample)
            stale = await self._converge(sample)
            await self._write_files(sample, phones, gone)
            return {
                **self._clock.seconds,
                **self._told,
                "passes_behind_before_the_last_poll": stale,
                "requests_of_phones": sum(fleet.traffic.answers.values()),
                "changes_by_writers": self._happened.changes,
                "refused_changes": self._happened.refused_changes,
                "flushes": self._happened.flushes,
                "redis_kills": self._happened.redis_kills,
                "worker_kills": self._happened.worker_kills,
            }

    async def _issue(self) -> str:
        async with self._client() as client:
            campaign = await client.create_campaign(
                "for everybody", action=IssueAction(template_id=self._rig.club.template_id)
            )
            for number in range(STREAMS):
                stream = await client.create_recipient_stream(campaign.campaign_id)
                mine = range(number, self._options.passes, STREAMS)
                async for _ in client.append_recipients(stream, map(_recipient, mine)):
                    pass
                await client.finalize_recipient_stream(stream, expected_rows=len(mine))
            await client.start_campaign(campaign.campaign_id)
            await _succeeded(client, campaign.campaign_id)
        return campaign.campaign_id

    async def _pass_ids(self) -> list[UUID]:
        connection = await self._rig.connect()
        try:
            rows = await connection.fetch("SELECT pass_id FROM passes ORDER BY pass_id")
        finally:
            await connection.close(timeout=5)
        return [UUID(bytes=row["pass_id"].bytes) for row in rows]

    def _retire(self, phones: Sequence[Phone]) -> list[str]:
        """Some phones are gone, as Apple's side knows since this moment."""
        gone = [phone.token for phone in self._chance.sample(phones, self._options.gone)]
        for token in gone:
            self._rig.apns.retire_token(token, datetime.now(UTC))
        return gone

    async def _change(self, sample: Sample) -> None:
        """The campaign, with everything that goes wrong meanwhile, until it is pushed."""
        revision = await asyncio.to_thread(publish_again, self._rig)
        options = self._options
        is_over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks, self._client() as client:
            tasks.create_task(sample.install_late(options.within, self._chance))
            if options.writers:
                pass_ids = list(sample.bundles)
                tasks.create_task(
                    trouble.write_late(
                        self._rig,
                        pass_ids,
                        writers=options.writers,
                        happened=self._happened,
                        is_over=is_over,
                        chance=self._chance,
                    )
                )
                polling = sample.fleet.devices[: trouble.POLLERS]
                tasks.create_task(trouble.poll(sample.fleet, polling, is_over))
            began = time.monotonic()
            blows = tasks.create_task(
                trouble.strike(self._blows(), within=options.within, chance=self._chance)
            )
            campaign = await client.create_campaign(
                "the second year",
                action=UpdateAction(
                    template_id=self._rig.club.template_id,
                    revision=revision,
                    values={"points": to_value(777)},
                ),
                segment=Segment(template_id=self._rig.club.template_id),
            )
            await client.start_campaign(campaign.campaign_id)
            await blows
            await asyncio.sleep(max(began + options.within - time.monotonic(), 0))
            is_over.set()
            # What was changed by others again and again is the operator's to try again.
            ended = await _ended(client, campaign.campaign_id)
            if ended.state == Campaign.STATE_PARTIALLY_FAILED:
                self._told["tried_again"] = ended.progress.failed
                await client.retry_recipients(campaign.campaign_id)
            await _succeeded(client, campaign.campaign_id)
            self._clock.lap("change")
        await self._pushed()
        records = self._rig.apns.log.records
        self._told["fan_out_seconds"] = round(records[-1].at - began, 1)
        self._told["pushes_per_second"] = round(len(records) / (records[-1].at - records[0].at))

    def _blows(self) -> list[Callable[[], Awaitable[None]]]:
        rig, happened, chance = self._rig, self._happened, self._chance
        blows: list[Callable[[], Awaitable[None]]] = []
        blows += [partial(trouble.flush, rig, happened)] * self._options.flushall
        blows += [partial(trouble.kill_redis, rig, happened, chance)] * self._options.kill_valkey
        blows += [partial(trouble.kill_worker, rig, happened, chance)] * self._options.kill_workers
        return blows

    async def _pushed(self) -> None:
        """No push is to be done any more, now or later."""
        connection = await self._rig.connect()
        try:
            async with asyncio.timeout(self._options.timeout):
                while await connection.fetchval(_LEFT):  # noqa: ASYNC110 - a table
                    await asyncio.sleep(0.2)
        finally:
            await connection.close(timeout=5)
        self._clock.lap("pushes_after_the_change")

    async def _converge(self, sample: Sample) -> int:
        """Phones come to rest; then those that heard nothing look by themselves, as they do when
        somebody opens Wallet. Gives how many passes the phones had to be told of by that."""
        await asyncio.sleep(_QUIET_SECONDS)
        await sample.fleet.settle(seconds=self._options.timeout)
        before = sum(device.seen.updates for device in sample.fleet.devices)
        sample.fleet.ask_all(PASS_TYPE)
        await sample.fleet.settle(seconds=self._options.timeout)
        self._clock.lap("settle")
        await asyncio.sleep(_QUIET_SECONDS)
        return sum(device.seen.updates for device in sample.fleet.devices) - before

    async def _write_files(
        self, sample: Sample, phones: Sequence[Phone], gone: Sequence[str]
    ) -> None:
        async with self._client() as client:
            found = await client.get_convergence(self._rig.club.template_id)
        convergence = {name: getattr(found, name) for name in CONVERGENCE}
        self._told["convergence"] = convergence
        shown = sample.shown()
        (self._folder / "phones.json").write_text(json.dumps([asdict(each) for each in shown]))
        (self._folder / "gone.txt").write_text("\n".join(gone))
        (self._folder / "facts.json").write_text(
            json.dumps(
                {
                    "convergence": convergence,
                    "writers": self._options.writers,
                    "worker_kills": self._happened.worker_kills,
                    "failures": [str(error) for _, error in sample.fleet.failures],
                    "protocol_errors": self._rig.apns.log.protocol_errors,
                }
            )
        )
        with (self._folder / "registrations.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["library", "token", "pass_id"])
            writer.writerows((p.library, p.token, each) for p in phones for each in p.pass_ids)
            writer.writerows((p.device, p.token, each) for p in shown for each in p.wanted)
        # The log's clock counts from the start of the machine.
        offset = time.time() - time.monotonic()
        with (self._folder / "pushes.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["at", "token", "is_accepted", "is_lost"])
            writer.writerows(
                (each.at + offset, each.token, int(each.is_accepted), int(each.is_lost))
                for each in self._rig.apns.log.records
            )

    def _client(self) -> AsyncClient:
        return AsyncClient(self._rig.service.api_address, self._rig.club.issue_key)


async def _ended(client: AsyncClient, campaign_id: str) -> Campaign:
    campaign = await client.get_campaign(campaign_id)
    while campaign.state < Campaign.STATE_CANCELLED:
        await asyncio.sleep(0.1)
        campaign = await client.get_campaign(campaign_id)
    return campaign


async def _succeeded(client: AsyncClient, campaign_id: str) -> None:
    campaign = await _ended(client, campaign_id)
    if campaign.state != Campaign.STATE_SUCCEEDED:
        raise SystemExit(f"the campaign did not succeed:\n{campaign}")


def _recipient(number: int) -> Recipient:
    draft = pass_draft(name=f"Zoë Ōtani {number}", values={"points": number % 100})
    return Recipient(external_id=f"M{number:07}", draft=draft)


def check(rig: Rig, folder: Path) -> dict[str, object]:
    """The checker's verdict."""
    command = [sys.executable, str(CHECKER), "--folder", str(folder)]
    command += ["--database", rig.service.database_owner_url, "--tenant", rig.club.tenant_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    verdict: dict[str, object] = json.loads(done.stdout)
    return verdict


def damage(folder: Path) -> None:
    """As if a phone had never been pushed, one showed another content, and one had been forgotten:
    what the checker must notice, or it would notice nothing."""
    registered = (folder / "registrations.csv").read_text().splitlines()
    gone = (folder / "gone.txt").read_text()
    rows = [row.split(",") for row in registered[1:]]
    _, token, pass_id = next(row for row in rows if row[1] not in gone)
    pushes = (folder / "pushes.csv").read_text().splitlines()
    (folder / "pushes.csv").write_text("\n".join(row for row in pushes if token not in row))
    forgotten = ",".join([secrets.token_hex(16), rows[-1][1], pass_id])
    (folder / "registrations.csv").write_text("\n".join([*registered, forgotten]))
    phones = json.loads((folder / "phones.json").read_text())
    shown = phones[0]["passes"]
    shown[next(iter(shown))] = hashlib.sha1(b"", usedforsecurity=False).hexdigest()
    (folder / "phones.json").write_text(json.dumps(phones))


if __name__ == "__main__":
    sys.exit(main())
