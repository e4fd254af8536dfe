"""Every command and example of README.md, run: a command that no test here knows fails."""

from __future__ import annotations

import base64
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from passmill.demo.club import Club, set_up
from tests.support.postgres import Database

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECONDS = 120

# What a make target must come down to, as `make -n` shows it. The rest of its recipe prepares the
# virtual environment that these tests run in.
MAKE_TARGETS = {
    "make": "awk",
    "make demo": "/passmill demo",  # run by tests/e2e/test_demo.py
    "make dev": "/passmill dev",  # run below
    "make test": "-m pytest",
    "make lint": "ruff check",
    "make types": "mypy --strict",
    "make bench": "bench/*.py",
}


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every command line in a block, and every command named in the text."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    named = re.findall(r"`((?:make|passmill|python3?|pip|curl|openssl)(?: [^`]+)?)`", text)
    programs = {"passmill", "openssl"}  # named as such
    found = [line.strip() for line in lines] + [each for each in named if each not in programs]
    return sorted({line for line in found if line and not line.startswith("#")})


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process' environment without a surrounding make's, and with no settings but `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PASSMILL_", "MAKE")) or name.endswith("_BIN")
    }
    return kept | dict(extra)


def run(
    *command: str | Path, settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end in the project's folder."""
    return subprocess.run(
        [str(each) for each in command],
        cwd=ROOT,
        env=environment(settings or {}),
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )


@contextmanager
def started(
    *arguments: str, ready: str, settings: Mapping[str, str] | None = None
) -> Iterator[list[str]]:
    """A passmill command that runs until it is told to stop, and what it has said up to `ready`.
    Fails unless it then ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "passmill", *arguments],
        env=environment(settings or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    said: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line)
            if ready in line:
                break
        else:
            pytest.fail(f"passmill {arguments} ended before it was ready: {''.join(said)}")
        yield said
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, "".join(said) + rest
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Development:
    """A running `passmill dev` with a coffee club in it."""

    api_address: str
    club: Club


@pytest.fixture(scope="module")
def development(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Development]:
    """`passmill dev`, used by what it prints."""
    data = tmp_path_factory.mktemp("dev")
    with started("dev", "--data", str(data), ready="Ctrl-C") as said:
        printed = dict(line.split(maxsplit=1) for line in said if len(line.split()) > 1)
        api_address = printed["gRPC"].split()[0]
        club = set_up(
            api_address=api_address,
            admin_address=printed["admin"].split()[0],
            operator_key=printed["operator"].split()[-1],
        )
        yield Development(api_address=api_address, club=club)


@pytest.fixture
def settings(database: Database, redis_url: str) -> dict[str, str]:
    """What README.md says a production start needs, with free ports."""
    return {
        "PASSMILL_DATABASE_URL": database.url,
        "PASSMILL_DATABASE_OWNER_URL": database.owner_url,
        "PASSMILL_REDIS_URL": redis_url,
        "PASSMILL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
        "PASSMILL_OPERATOR_KEY": secrets.token_urlsafe(32),
        "PASSMILL_PUBLIC_URL": "https://passes.example.com",
        "PASSMILL_API__PORT": "0",
        "PASSMILL_ADMIN__PORT": "0",
        "PASSMILL_METRICS__PORT": "0",
        # The tests' server commits to memory.
        "PASSMILL_DATABASE__REQUIRE_DURABLE": "false",
    }


def test_every_command_is_known() -> None:
    """Each command of README.md is run by a test of this file."""
    tested = {
        *MAKE_TARGETS,
        "pip install ./clients/python",
        "python -m passmill --help",
        "passmill check-config",
        "passmill migrate",
        "passmill serve",
    }
    assert commands()
    assert set(commands()) <= tested
    assert len(blocks("python")) == 1


@pytest.mark.parametrize("command", [each for each in commands() if each.startswith("make")])
def test_make_targets(command: str) -> None:
    """Each target that README.md names exists, is in the list that `make` prints, and does what it
    says."""
    done = run(*command.split(), "-n")
    assert done.returncode == 0, done.stderr
    assert MAKE_TARGETS[command] in done.stdout
    if command != "make":
        assert command in run("make").stdout


@pytest.mark.timeout(180)
def test_client_example(development: Development, tmp_path: Path) -> None:
    """The client, installed as README.md says, runs README.md's example against `passmill dev` and
    issues a pass."""
    # Offline: what it stands on is installed already.
    done = run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-build-isolation", "--target", tmp_path, "./clients/python"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "passmill_client" / "py.typed").is_file()
    assert not (tmp_path / "passmill" / "rpc").exists()

    [example] = blocks("python")
    path = tmp_path / "example.py"
    path.write_text(f"{example}\nimport passmill_client\nprint(passmill_client.__file__)\n")
    done = run(
        sys.executable,
        path,
        settings={
            "PASSMILL_ADDRESS": development.api_address,
            "PASSMILL_API_KEY": development.club.issue_key,
            "PYTHONPATH": str(tmp_path),
        },
    )
    assert done.returncode == 0, done.stderr
    reference_id, size, where = done.stdout.splitlines()
    assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}", reference_id)
    assert int(size.split()[0]) > 10_000
    assert where.startswith(str(tmp_path))


def test_help() -> None:
    """The command line lists its commands."""
    done = run(sys.executable, "-m", "passmill", "--help")
    assert done.returncode == 0
    for command in ("serve", "migrate", "check-config", "dev", "demo"):
        assert command in done.stdout


def test_check_config_and_migrate(settings: dict[str, str]) -> None:
    """The settings that README.md lists are good, and migrations run with them."""
    for command in ("check-config", "migrate"):
        done = run(sys.executable, "-m", "passmill", command, settings=settings)
        assert done.returncode == 0, done.stderr


@pytest.mark.timeout(180)
def test_serve(settings: dict[str, str]) -> None:
    """`passmill serve` starts with the settings that README.md lists, and drains on SIGTERM."""
    with started("serve", ready="supervisor.ready", settings=settings) as said:
        assert "supervisor.ready" in said[-1]
