"""Strangers at the door: guesses yield nothing, and no request whatever is a fault of ours. Short
by itself; `make probe` looks as long as the issue asks for."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import ssl
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

import passmill.edge
from passmill.demo.club import set_up
from passmill.dev.local_service import LocalService
from passmill_client import Client
from tests.edge.rig import DEVICE, PUSH_TOKEN, Edge, hold, register
from tests.support.bundles import pass_json
from tests.support.service import Club

JOINED: Final = datetime(2026, 1, 1, tzinfo=UTC)
GUESSES: Final = int(os.environ.get("EDGE_GUESSES", "2000"))
CASES: Final = int(os.environ.get("EDGE_CASES", "25"))  # of each operation and phase
OPENAPI: Final = Path(passmill.edge.__file__).parent / "openapi.json"
CHECKS: Final = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.timeout(3600)
async def test_guesses_yield_nothing(edge: Edge, club: Club) -> None:
    """Random device identifiers and serial numbers, with and without tokens of the right form, get
    204 and 401 each time, with the same few bytes; nothing is written by them."""
    held = await hold(club)
    assert (await register(edge.client, held)).status_code == 201
    writers = ("devices", "registrations", "pass_fetches")
    before = [await club.tenant.count(table) for table in writers]

    async def guess() -> tuple[object, ...]:
        serial = secrets.token_urlsafe(len(held.serial_number) * 3 // 4)[: len(held.serial_number)]
        header = {"authorization": f"ApplePass {secrets.token_urlsafe(24)}"}
        device = secrets.token_hex(16)
        listed = await edge.client.get(held.list_path(device))
        own = await edge.client.get(held.path, headers=header)
        other = await edge.client.get(
            f"/v1/passes/{held.pass_type}/{serial}", headers=held.authorization
        )
        posted = await edge.client.post(
            f"{held.list_path(DEVICE)}/{serial}", headers=header, json={"pushToken": PUSH_TOKEN}
        )
        answers = (listed, own, other, posted)
        return tuple((answer.status_code, answer.content) for answer in answers)

    refused = (401, b'{"error":"unauthorized"}')
    for _ in range(max(1, GUESSES // 100)):
        found = await asyncio.gather(*(guess() for _ in range(25)))
        assert set(found) == {((204, b""), refused, refused, refused)}
    assert [await club.tenant.count(table) for table in writers] == before


@pytest.fixture(scope="module")
def in_a_pocket(local: LocalService) -> dict[str, Any]:
    """A registered pass of the coffee club: its pass.json."""
    club = set_up(
        api_address=local.api_address,
        admin_address=local.admin_address,
        operator_key=local.operator_key,
    )
    with Client(local.api_address, club.issue_key) as client:
        issued = client.issue_pass(
            club.template_id, name="Ada", values={"points": 1, "member_since": JOINED}
        )
        document = pass_json(client.get_pass_bundle(pass_id=issued.pass_id))
    context = ssl.create_default_context(cafile=str(local.edge_root_file))
    with closing(httpx.Client(base_url=local.edge_url, verify=context)) as phone:
        path = "/".join(("/v1/devices", DEVICE, "registrations", document["passTypeIdentifier"]))
        registered = phone.post(
            f"{path}/{document['serialNumber']}",
            headers={"authorization": f"ApplePass {document['authenticationToken']}"},
            json={"pushToken": PUSH_TOKEN},
        )
        assert registered.status_code == 201
    return document


def describe(in_a_pocket: dict[str, Any], folder: Path) -> Path:
    """The web service's description, where the names in a path are those of a pass and a device
    that exist, whenever they are to be right."""
    described = json.loads(OPENAPI.read_text(encoding="utf-8"))
    known = {
        "Device": DEVICE,
        "PassType": in_a_pocket["passTypeIdentifier"],
        "SerialNumber": in_a_pocket["serialNumber"],
    }
    for name, text in known.items():
        parameter = described["components"]["parameters"][name]
        parameter["schema"] = {"type": "string", "enum": [text]}
    path = folder / "openapi.json"
    path.write_text(json.dumps(described), encoding="utf-8")
    return path


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "stranger"])
def test_no_request_is_a_fault(
    local: LocalService, in_a_pocket: dict[str, Any], tmp_path: Path, is_known: bool
) -> None:
    """schemathesis finds no request, well-formed or not, with a pass's token or without, that is
    answered 5xx or otherwise than described."""
    description = describe(in_a_pocket, tmp_path) if is_known else OPENAPI
    token = in_a_pocket["authenticationToken"] if is_known else secrets.token_urlsafe(24)
    report = tmp_path / "report.json"
    run = subprocess.run(
        [
            sys.executable,
            "-m",
            "schemathesis.cli",
            "run",
            str(description),
            f"--url={local.edge_url}",
            f"--tls-verify={local.edge_root_file}",
            f"--checks={','.join(CHECKS)}",
            f"--max-examples={CASES}",
            f"--header=Authorization:ApplePass {token}",
            "--phases=examples,coverage,fuzzing",
            "--continue-on-failure",
            "--report=json",
            f"--report-json-path={report}",
            "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    said = json.loads(report.read_text(encoding="utf-8"))
    assert said["test_cases"]["generated"] >= 5 * CASES
    served = said["valid_rates"].get("GET /v1/passes/{passType}/{serialNumber}", {})
    assert is_known == any(phase["accepted"] for phase in served.values())
