"""A million operations on a ledger by 64 tills, while PostgreSQL crashes.

Run by `make ledger`, or smaller by the test beside it:

    python -m tests.faults.ledger --operations 1000000 --clients 64 --crashes 12

A whole service on this machine. The tills (`ledger_tills.py`) note down what they are told; then
`ledger_checker.py`, which knows nothing of the service's code, counts. Prints one JSON object and
exits with 1 when anything is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from passmill.demo.club import Club
from passmill.dev.local_service import LocalService
from passmill_client import AdminClient, AsyncClient, Client, pass_draft
from passmill_client.messages import (
    API_SCOPE_ADMIN,
    API_SCOPE_ISSUE,
    API_SCOPE_READ,
    API_SCOPE_REDEEM,
    BalanceUnit,
    Money,
)
from tests.faults.ledger_tills import UNITS, Counts, Tills
from tests.faults.scenario import Deaths, Fire, crasher, serve, set_up_club

CHECKER = Path(__file__).with_name("ledger_checker.py")


def main() -> int:
    """Runs the tills and the checker."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--passes", type=int, default=500)
    parser.add_argument("--crashes", type=int, default=12, help="of PostgreSQL, at most")
    parser.add_argument("--crash-every", type=float, nargs=2, default=(5.0, 40.0))
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    fire = Fire(
        kills=0,
        kill_every=(1, 1),
        crashes=options.crashes,
        crash_every=(options.crash_every[0], options.crash_every[1]),
        seed=options.seed,
    )
    with tempfile.TemporaryDirectory(prefix="passmill-ledger-") as folder:
        found = run(
            Path(folder),
            fire,
            operations=options.operations,
            clients=options.clients,
            passes=options.passes,
        )
    print(json.dumps(found), flush=True)  # noqa: T201 - the result
    return 0 if found["is_right"] else 1


def run(
    folder: Path, fire: Fire, *, operations: int, clients: int, passes: int
) -> dict[str, object]:
    """The whole scenario; what the checker found, with how it went."""
    deaths, counts = Deaths(), Counts()
    answers = folder / "answers.tsv"
    with serve(folder / "service", fail_at="") as service:
        club = set_up_club(service)
        key = add_key(service, club)
        pass_ids = set_up_units(service, club, key, passes)

        async def work() -> None:
            async with AsyncClient(service.api_address, key) as client:
                with answers.open("w", encoding="utf-8") as file:
                    tills = Tills(
                        client=client,
                        pass_ids=pass_ids,
                        answers=file,
                        wanted=operations,
                        seed=fire.seed,
                        counts=counts,
                    )
                    await tills.run(clients)

        began = time.monotonic()
        under_fire(work, crasher(service, fire, deaths))
        seconds = time.monotonic() - began
        found = check(service, club, answers)
    return {
        **found,
        "is_right": found["is_right"] and not counts.faults,
        "operations": counts.operations,
        "calls": dict(counts.calls),
        "sent_again": dict(counts.errors),
        "faults": dict(counts.faults),
        "clients": clients,
        "postgres_crashes": deaths.crashed,
        "seconds": round(seconds, 1),
        "operations_a_second": round(counts.operations / seconds),
        "load_average": round(os.getloadavg()[0], 1),
        "seed": fire.seed,
    }


def add_key(service: LocalService, club: Club) -> str:
    """An API key for everything here."""
    scopes = [API_SCOPE_ADMIN, API_SCOPE_ISSUE, API_SCOPE_READ, API_SCOPE_REDEEM]
    with AdminClient(service.admin_address, service.operator_key) as admin:
        return admin.create_api_key("till", tenant_id=club.tenant_id, scopes=scopes).secret_key


def set_up_units(service: LocalService, club: Club, key: str, passes: int) -> list[str]:
    """Units, of which sales are paid and one is shown, and so many passes: their ids."""
    payment = BalanceUnit.SalePayment(
        max_share_percent=30, amount=1, value=Money(minor_units=1, currency_code="EUR")
    )
    with Client(service.api_address, key) as client:
        [program] = list(client.list_programs())
        for unit in UNITS:
            client.set_balance_unit(
                BalanceUnit(
                    program_id=program.program_id,
                    unit=unit,
                    kind=BalanceUnit.KIND_POINTS,
                    slot="points" if unit == "points" else "",
                    sale_payment=payment,
                )
            )
        drafts = [pass_draft(name=f"Zoë {at}", values={"points": 0}) for at in range(passes)]
        issued = client.batch_issue_passes(club.template_id, drafts)
        return [each.wallet_pass.pass_id for each in issued.results]


def under_fire(work: Callable[[], Coroutine[None, None, None]], crash: Iterator[None]) -> None:
    """Does the work in a thread of its own, while this one crashes PostgreSQL."""
    with ThreadPoolExecutor(1) as executor:
        working = executor.submit(lambda: asyncio.run(work()))
        while not working.done():
            next(crash, None)
            time.sleep(0.05)
        working.result()


def check(service: LocalService, club: Club, answers: Path) -> dict[str, object]:
    """The checker's verdict."""
    command = [sys.executable, str(CHECKER), "--answers", str(answers)]
    command += ["--database", service.database_owner_url, "--tenant", club.tenant_id]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    verdict: dict[str, object] = json.loads(done.stdout)
    return verdict


if __name__ == "__main__":
    sys.exit(main())
