"""Every command and snippet of deploy/RUNBOOK.md, run: one that no test here knows fails."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import stat
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from passmill.embedded import EmbeddedServers
from passmill.embedded.binaries import find_postgres
from passmill.store.migrate import migrate
from passmill.v1.admin_service_pb2 import GetTenantRequest
from tests.support.postgres import Databases
from tests.support.service import PASS_TYPE, TEAM, Service, authority

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
SECONDS = 60


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, without the indentation of the list they stand in."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", RUNBOOK, flags=re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", block, flags=re.MULTILINE) for indent, block in found]


def shell_block(beginning: str) -> str:
    """The one block of shell commands that begins so."""
    [block] = [each for each in blocks("sh") if each.startswith(beginning)]
    return block


def snippet(name: str) -> str:
    """The one Python snippet whose first line names it so."""
    [block] = [each for each in blocks("python") if each.startswith(f"# {name}")]
    return block


async def run(
    *command: str | Path, folder: Path, variables: Mapping[str, str] | None = None
) -> str:
    """Runs a command in `folder` with no settings but `variables`, expects exit status 0, gives
    what it printed. The loop goes on meanwhile: a service of ours may live in it."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PASSMILL_", "PG"))}
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env={**kept, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    async with asyncio.timeout(SECONDS):
        printed, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    return printed.decode()


async def run_snippet(service: Service, name: str, *arguments: str, folder: Path) -> str:
    """Runs a snippet as the runbook says, against a service's admin port."""
    path = folder / name
    path.write_text(snippet(name), encoding="utf-8")
    assert service.settings.operator_key is not None
    variables = {
        "PASSMILL_ADMIN_ADDRESS": service.admin_address,
        "PASSMILL_OPERATOR_KEY": service.settings.operator_key.get_secret_value(),
    }
    return await run(sys.executable, path, *arguments, folder=folder, variables=variables)


def test_every_block_is_known() -> None:
    """Each block of commands, and each snippet, is run by a test of this file."""
    assert sorted(each.split(maxsplit=2)[1] for each in blocks("python")) == [
        "identities.py",
        "new_tenant.py",
        "renew.py",
    ]
    assert sorted(" ".join(each.split()[:2]) for each in blocks("sh")) == [
        "openssl rand",
        "openssl req",
        "openssl x509",
        "passmill check-config",
        "passmill edge-key",
        "pg_basebackup --pgdata",
    ]
    text = re.sub(r"^ *```.*?^ *```", "", RUNBOOK, flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`(passmill [^`]+)`", text)) == {
        "passmill migrate",
        "passmill migrate --before-rollout",
        "passmill serve",
        "passmill serve --role edge",  # tests/edge/test_edge_process.py
        "passmill registrations rebuild",  # tests/e2e/test_readme.py
    }
    assert shell_block("passmill check-config").splitlines() == [
        "passmill check-config",
        "passmill migrate",
        "passmill serve",  # tests/deploy/test_container.py
    ]


def test_secrets_settings_and_migrations(databases: Databases, tmp_path: Path) -> None:
    """The secrets that the runbook makes are good settings when given by file, for nobody else to
    read; migrations run before a rollout and after."""
    asyncio.run(run("bash", "-ec", shell_block("openssl rand"), folder=tmp_path))
    keys = [tmp_path / name for name in ("master_key", "operator_key")]
    assert all(stat.S_IMODE(key.stat().st_mode) == 0o600 for key in keys)
    assert len(base64.b64decode(keys[0].read_text())) == 32
    empty = asyncio.run(databases.create(migrated=False))
    variables = {
        "PASSMILL_DATABASE_URL": empty.url,
        "PASSMILL_DATABASE_OWNER_URL": empty.owner_url,
        "PASSMILL_REDIS_URL": "redis://127.0.0.1:6379/0",
        "PASSMILL_MASTER_KEY_FILE": str(keys[0]),
        "PASSMILL_OPERATOR_KEY_FILE": str(keys[1]),
    }
    passmill = (sys.executable, "-m", "passmill")
    try:
        for arguments, printed in (
            (("check-config",), "The settings are good.\n"),
            (("migrate", "--before-rollout"), r"\d+ migrations applied.\n"),
            (("migrate",), r"\d+ migrations applied.\n|The schema is up to date.\n"),
        ):
            said = asyncio.run(run(*passmill, *arguments, folder=tmp_path, variables=variables))
            assert re.fullmatch(printed, said), said
        commands = shell_block("passmill edge-key").replace("passmill ", " ".join(passmill) + " ")
        asyncio.run(run("bash", "-ec", commands, folder=tmp_path, variables=variables))
        edge_key = tmp_path / "edge_key"
        assert stat.S_IMODE(edge_key.stat().st_mode) == 0o600
        alone = {**variables, "PASSMILL_EDGE_KEY_FILE": str(edge_key)}
        del alone["PASSMILL_MASTER_KEY_FILE"]
        said = asyncio.run(run(*passmill, "check-config", folder=tmp_path, variables=alone))
        assert said == "The settings are good.\n"
    finally:
        asyncio.run(databases.drop(empty))


@pytest.mark.asyncio(loop_scope="session")
async def test_a_tenant_begins(service: Service, tmp_path: Path) -> None:
    """The snippet makes a tenant and a key that opens the admin port for it."""
    printed = await run_snippet(service, "new_tenant.py", "Ruderverein", folder=tmp_path)
    said = re.fullmatch(r"tenant (\d+)\nkey, shown this once: (pm_\S+)\n", printed)
    assert said is not None, printed
    answer = await service.member(said[2]).admin.GetTenant(GetTenantRequest())
    assert (answer.tenant.tenant_id, answer.tenant.display_name) == (said[1], "Ruderverein")


@pytest.mark.asyncio(loop_scope="session")
async def test_a_signing_identity_is_renewed(service: Service, tmp_path: Path) -> None:
    """The renewal's steps make a sound request and bring the certificate sent back for it into use;
    the list shows the old and the new one."""
    tenant = await service.add_tenant()
    old = await tenant.add_identity()
    await run("bash", "-ec", shell_block("openssl req"), folder=tmp_path)
    request = tmp_path / "pass.csr"
    assert "BEGIN PRIVATE KEY" in (tmp_path / "pass.key").read_text()
    await run("openssl", "req", "-in", request, "-verify", "-noout", folder=tmp_path)

    # The authority for tests makes keys itself: its key takes the place of the one just made.
    issued = authority().issue_pass_certificate(
        now=datetime.now(UTC), pass_type_identifier=PASS_TYPE, team_identifier=TEAM
    )
    (tmp_path / "pass.key").write_bytes(issued.private_key_pem)
    (tmp_path / "pass.cer").write_bytes(issued.certificate_der)
    (tmp_path / "wwdr.cer").write_bytes(issued.wwdr_der)
    await run("bash", "-ec", shell_block("openssl x509"), folder=tmp_path)
    printed = await run_snippet(service, "renew.py", tenant.tenant_id, folder=tmp_path)
    usable, signs = printed.splitlines()
    assert re.fullmatch(r"usable: True, 39\d days left ", usable)
    new = signs.split()[-1]
    assert signs == f"{PASS_TYPE} is signed with {new}"
    assert new != old.signing_identity_id

    listed = await run_snippet(service, "identities.py", folder=tmp_path)
    ours = [line.split() for line in listed.splitlines() if line.split()[2] == tenant.tenant_id]
    assert sorted((state, identity) for _, state, _, identity, _ in ours) == [
        ("STATE_ACTIVE", new),
        ("STATE_INACTIVE", old.signing_identity_id),
    ]


async def test_a_backup_is_whole(tmp_path: Path) -> None:
    """A backup made by the runbook's commands while PostgreSQL runs passes PostgreSQL's check."""
    async with EmbeddedServers() as servers:
        await migrate(servers.owner_url)
        place = urlsplit(servers.superuser_url)
        [socket] = parse_qs(place.query)["host"]
        variables = {
            "PATH": f"{find_postgres()}:{os.environ['PATH']}",
            "PGHOST": socket,
            "PGUSER": place.username or "",
        }
        commands = shell_block("pg_basebackup")
        await run("bash", "-ec", commands, folder=tmp_path, variables=variables)
    assert (tmp_path / "backup" / "PG_VERSION").is_file()
