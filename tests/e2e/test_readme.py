"""Every command and example of README.md, run: a command that no test here knows fails."""

from __future__ import annotations

import base64
import os
import re
import secrets
import shlex
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from passmill_client import Client, messages
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
    "make test-pages": "-m pytest tests/browser",
    "make faults": "tests/faults/scenario.py",
    "make fanout": "-m tests.faults.fanout",
    "make neighbours": "-m tests.faults.neighbours",
    "make push-faults": "-m tests.push.scenario",
    "make probe": "tests/edge/test_probing.py",
    "make counter": "-m tests.faults.counter",
    "make ledger": "-m tests.faults.ledger",
    "make mutants": "cargo-mutants mutants",
    "make mutants-python": "-m tests.mutation.run",
    "make lint": "ruff check",
    "make types": "mypy --strict",
    "make bench": "bench/*.py",
    "make wheels": "maturin build",
}


CAMPAIGN = (
    ".venv/bin/passmill campaign import members.csv --template TEMPLATE_ID --watch",
    ".venv/bin/passmill campaign export CAMPAIGN_ID --bundles passes",
)


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Every command line in a block, and every command named in the text."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    text = re.sub(r"^```.*?^```", "", README, flags=re.DOTALL | re.MULTILINE)
    named = re.findall(
        r"`((?:make|(?:\.venv/bin/)?passmill|python3?|pip|curl|openssl)(?: [^`]+)?)`", text
    )
    programs = {"passmill", "openssl", ".venv/bin/passmill"}  # named as such
    found = [line.strip() for line in lines] + [each for each in named if each not in programs]
    return sorted({line for line in found if line and not line.startswith("#")})


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """This process' environment without a surrounding make's, and with no settings but `extra`."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PASSMILL_", "MAKE", "GIT_", "PROMETHEUS_"))
        or name.endswith("_BIN")
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A command that runs, and the lines it has said as far as they were read."""

    output: IO[str]
    said: list[str]

    def read_until(self, awaited: str) -> None:
        """Reads on to a line with this in it. Fails when the command ends before."""
        for line in self.output:
            self.said.append(line)
            if awaited in line:
                return
        pytest.fail(f"it ended before it said {awaited!r}: {''.join(self.said)}")


@contextmanager
def started(
    *arguments: str, ready: str, settings: Mapping[str, str] | None = None
) -> Iterator[Started]:
    """A passmill command that runs until it is told to stop, when it has said `ready`. Fails unless
    it then ends well."""
    process = subprocess.Popen(
        [sys.executable, "-m", "passmill", *arguments],
        env=environment(settings or {}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    assert process.stdout is not None
    running = Started(output=process.stdout, said=[])
    try:
        running.read_until(ready)
        yield running
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, "".join(running.said) + rest
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


@contextmanager
def development(data: Path) -> Iterator[list[str]]:
    """A running `passmill dev`, and the lines to paste that it printed."""
    with started("dev", "--data", str(data), ready="Ctrl-C") as dev:
        yield [line.strip() for line in dev.said if line.startswith("export ")]


def run_example(pasted: str, path: Path, python_path: Path) -> list[str]:
    """What README.md's example and the lines after it print, in a shell that a line was pasted
    into."""
    command = f"{pasted}\nexec {shlex.quote(sys.executable)} {shlex.quote(str(path))}\n"
    done = subprocess.run(
        ["sh"],
        input=command,
        env=environment({"PYTHONPATH": str(python_path)}),
        capture_output=True,
        encoding="utf-8",
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


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
        ".venv/bin/passmill --help",
        *CAMPAIGN,
        "passmill campaign --help",
        "passmill events --help",
        "passmill dev",
        "passmill check-config",
        "passmill edge-key",
        "passmill migrate",
        "passmill registrations rebuild",
        "passmill serve",
    }
    assert commands()
    assert set(commands()) <= tested
    assert len(blocks("python")) == 2


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
def test_client_example(tmp_path: Path) -> None:
    """The client, installed as README.md says, runs README.md's example as it stands once the line
    that `passmill dev` printed is pasted, and issues a pass. The next `passmill dev` prints the
    same keys, and the example runs again."""
    # Offline: what it stands on is installed already.
    done = run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
        *("--no-deps", "--no-build-isolation", "--target", tmp_path, "./clients/python"),
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "passmill_client" / "py.typed").is_file()
    assert not (tmp_path / "passmill" / "rpc").exists()

    [example, _] = blocks("python")
    path = tmp_path / "example.py"
    path.write_text(f"{example}\nimport passmill_client\nprint(passmill_client.__file__)\n")
    data = tmp_path / "data"
    issued, keys = set(), []
    for _ in range(2):
        with development(data) as [for_client, for_operator]:
            keys.append(re.findall(r"\S+_KEY=\S+", f"{for_client} {for_operator}"))
            reference_id, size, where = run_example(for_client, path, tmp_path)
        assert re.fullmatch(r"[0-9A-Z]{4}-[0-9A-Z]{4}", reference_id)
        assert int(size.split()[0]) > 10_000
        assert where.startswith(str(tmp_path))
        issued.add(reference_id)
    assert len(issued) == 2
    assert keys[0] == keys[1]
    for name in ("secrets.env", "coffee_club.json"):
        assert stat.S_IMODE((data / name).stat().st_mode) == 0o600


@pytest.mark.timeout(180)
def test_phone_example(tmp_path: Path) -> None:
    """The simulated phone of `passmill dev` shows what README.md's example changes on the pass that
    the example gave it; a file that is no pass is refused; a pass taken out is removed, and the
    service hears so."""
    [_, example] = blocks("python")
    path = tmp_path / "example.py"
    path.write_text(example)
    phone = tmp_path / ".passmill" / "phone"
    with started("dev", "--data", str(tmp_path / ".passmill"), ready="Ctrl-C") as dev:
        [line] = [each.strip() for each in dev.said if "PASSMILL_API_KEY" in each]
        settings = dict(each.split("=", 1) for each in shlex.split(line)[1:])
        done = subprocess.run(
            [sys.executable, str(path)],
            cwd=tmp_path,
            env=environment(settings),
            capture_output=True,
            encoding="utf-8",
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        dev.read_until("phone: Passmill Coffee Club: You now have 10 beans")
        assert "phone: zoe.pkpass is added\n" in dev.said
        (phone / "text.pkpass").write_text("no pass")
        dev.read_until("phone: text.pkpass is refused: no readable archive")
        (phone / "zoe.pkpass").unlink()
        dev.read_until("phone: zoe.pkpass is removed")
        with Client(settings["PASSMILL_ADDRESS"], settings["PASSMILL_API_KEY"]) as client:
            event = next(client.watch_events(kinds=[messages.EVENT_KIND_PASS_REMOVED]))
    assert len(event.pass_ids) == 1


@pytest.mark.timeout(180)
def test_campaign_example(tmp_path: Path) -> None:
    """README.md's import issues the passes of a file in the service of `passmill dev`, whose output
    names the template, and its export writes them into a folder."""
    (tmp_path / "members.csv").write_text("external_id,name,points\nM1,Zoë,5\nM2,Ben,6\n")
    known: dict[str, str] = {}
    with started("dev", "--data", str(tmp_path / "data"), ready="Ctrl-C") as dev:
        [template_id] = re.findall(r"^template +(\S+)", "".join(dev.said), flags=re.MULTILINE)
        known["TEMPLATE_ID"] = template_id
        [line] = [each.strip() for each in dev.said if "PASSMILL_API_KEY" in each]
        settings = dict(each.split("=", 1) for each in shlex.split(line)[1:])
        for command in CAMPAIGN:
            words = [known.get(word, word) for word in command.split()[1:]]
            done = subprocess.run(
                [sys.executable, "-m", "passmill", *words],
                cwd=tmp_path,
                env=environment(settings),
                capture_output=True,
                encoding="utf-8",
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            known.setdefault("CAMPAIGN_ID", done.stdout.partition("\n")[0])
    bundles = [each for each in (tmp_path / "passes").rglob("*.pkpass") if each.stat().st_size]
    assert len(bundles) == 2


def test_what_dev_keeps_stays_out_of_git(tmp_path: Path) -> None:
    """The folder that `passmill dev` keeps its data and its keys in is ignored by git, stays at
    `make clean`, which says so, and goes at `make distclean`."""
    help_text = run(sys.executable, "-m", "passmill", "dev", "--help").stdout
    assert "[default: .passmill]" in " ".join(help_text.split())
    (tmp_path / ".gitignore").write_bytes((ROOT / ".gitignore").read_bytes())
    for command in (
        ["init", "--quiet"],
        ["check-ignore", "--quiet", ".passmill/secrets.env"],
        ["check-ignore", "--quiet", ".passmill/coffee_club.json"],
    ):
        subprocess.run(["git", *command], cwd=tmp_path, env=environment({}), check=True)
    (tmp_path / "Makefile").write_bytes((ROOT / "Makefile").read_bytes())
    secrets_file = tmp_path / ".passmill" / "secrets.env"
    secrets_file.parent.mkdir()
    secrets_file.touch()
    cleaned = run("make", "--directory", tmp_path, "clean")
    assert cleaned.returncode == 0, cleaned.stderr
    assert "kept: .passmill" in cleaned.stdout
    assert secrets_file.exists()
    assert run("make", "--directory", tmp_path, "distclean").returncode == 0
    assert not secrets_file.parent.exists()


def test_help() -> None:
    """The command line lists its commands."""
    done = run(sys.executable, "-m", "passmill", "--help")
    assert done.returncode == 0
    for command in ("serve", "migrate", "check-config", "campaign", "events", "dev", "demo"):
        assert command in done.stdout
    assert "watch" in run(sys.executable, "-m", "passmill", "events", "--help").stdout


def test_single_commands(settings: dict[str, str]) -> None:
    """The settings that README.md lists are good, the edge's key is printed, migrations run, and
    the index in Redis is filled."""
    for command in ("check-config", "edge-key", "migrate", "registrations rebuild"):
        done = run(sys.executable, "-m", "passmill", *command.split(), settings=settings)
        assert done.returncode == 0, done.stderr


@pytest.mark.timeout(180)
def test_serve(settings: dict[str, str]) -> None:
    """`passmill serve` starts with the settings that README.md lists, and drains on SIGTERM."""
    with started("serve", ready="supervisor.ready", settings=settings) as serve:
        assert "supervisor.ready" in serve.said[-1]
