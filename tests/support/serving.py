"""`passmill serve` as operators run it: a process of its own, with PASSMILL_* variables."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from passmill.settings import Settings
from tests.support.channels import reserve_port
from tests.support.service import WEB_SERVICE_URL

START_SECONDS = 40.0


def environment_of(settings: Settings, **more: str) -> dict[str, str]:
    """The variables that give a process these settings; `more` by names without the prefix."""
    assert settings.operator_key is not None
    variables = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "REDIS_URL": settings.redis_url.get_secret_value(),
        "MASTER_KEY": settings.require_master_key().get_secret_value(),
        "OPERATOR_KEY": settings.operator_key.get_secret_value(),
        "PUBLIC_URL": WEB_SERVICE_URL,
        "DATABASE__MIN_CONNECTIONS": "1",
        "DATABASE__MAX_CONNECTIONS": "6",
        "DATABASE__REQUIRE_DURABLE": "false",
        "LIMITS__DRAIN_SECONDS": "10",
        "LOG__LEVEL": "warning",
        **more,
    }
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith("PASSMILL_")
    }
    return inherited | {f"PASSMILL_{name}": text for name, text in variables.items()}


def passmill(*arguments: str, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs a command of the program to its end."""
    return subprocess.run(
        [sys.executable, "-m", "passmill", *arguments],
        env=dict(environment),
        capture_output=True,
        text=True,
        timeout=START_SECONDS,
        check=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """A running `passmill serve`."""

    process: subprocess.Popen[str]
    api_port: int
    admin_port: int
    metrics_port: int
    metrics_host: str = "127.0.0.1"

    @property
    def api_address(self) -> str:
        """Where callers call."""
        return f"127.0.0.1:{self.api_port}"

    @property
    def admin_address(self) -> str:
        """Where operators call."""
        return f"127.0.0.1:{self.admin_port}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a path of the metrics port."""
        url = f"http://{self.metrics_host}:{self.metrics_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def sample(self, series: str) -> float:
        """The value of a series as it is written in /metrics, 0 when it is not there."""
        _, text = self.get("/metrics")
        found = [line for line in text.splitlines() if line.startswith(f"{series} ")]
        return float(found[0].rsplit(" ", 1)[1]) if found else 0.0

    def terminate(self) -> tuple[int, str]:
        """SIGTERM; gives the exit status and what was written to standard error."""
        self.process.send_signal(signal.SIGTERM)
        _, errors = self.process.communicate(timeout=START_SECONDS)
        return self.process.returncode, errors

    def is_listening(self) -> bool:
        """Whether anybody takes connections on the API port."""
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.api_port)) == 0


@contextmanager
def serve(
    settings: Settings,
    *,
    processes: int = 1,
    role: str = "api",
    metrics_host: str = "127.0.0.1",
    variables: Mapping[str, str] | None = None,
) -> Iterator[Serving]:
    """Starts `passmill serve` and waits until it says it is ready; kills it if it is still there in
    the end. `processes`: of each kind that the role has. `variables`: more of them, by names
    without the prefix. The processes are a session of their own."""
    with ExitStack() as stack:
        api_port, admin_port = reserve_port(stack), reserve_port(stack)
        metrics_port = _free_port()
        environment = environment_of(
            settings,
            PROCESSES=str(processes),
            WORKER__PROCESSES=str(processes),
            API__PORT=str(api_port),
            ADMIN__PORT=str(admin_port),
            METRICS__PORT=str(metrics_port),
            METRICS__HOST=metrics_host,
            **(variables or {}),
        )
        process = subprocess.Popen(
            [sys.executable, "-m", "passmill", "serve", "--role", role],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        serving = Serving(
            process=process,
            api_port=api_port,
            admin_port=admin_port,
            metrics_port=metrics_port,
            metrics_host=metrics_host,
        )
        try:
            _wait_until_ready(serving)
            yield serving
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate()


def _wait_until_ready(serving: Serving) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        if serving.process.poll() is not None:
            _, errors = serving.process.communicate()
            raise AssertionError(f"passmill serve ended: {errors}")
        try:
            if serving.get("/readyz")[0] == 200:
                return
        except OSError:
            pass  # nobody there yet
        assert time.monotonic() < end, "passmill serve did not become ready"
        time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
