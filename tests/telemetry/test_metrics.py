"""Metrics are counted once, over all processes, and served with health and readiness."""

import subprocess
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from passmill.telemetry.exposition import MetricsServer, MetricsView
from passmill.telemetry.health import Readiness
from passmill.telemetry.metrics import Metrics
from passmill.telemetry.metrics_directory import prepare_metrics_directory

# A process that counts, says so, and waits for its input to end.
PROCESS = """
import sys
from prometheus_client import CollectorRegistry
from passmill.telemetry.metrics import Metrics
metrics = Metrics(CollectorRegistry())
rpc = metrics.rpc("PassService/IssuePass")
rpc.started(); rpc.started(); rpc.handled("OK", 0.003)
metrics.issued(51)
metrics.identities_expiring(30, 2)
metrics.process_ready(is_ready=True)
print("counted", flush=True)
sys.stdin.read()
"""
METHOD = {"method": "PassService/IssuePass"}


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    """Every sample of a text exposition by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def get(port: int, path: str) -> tuple[int, bytes]:
    """Status and body of one request."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_processes_are_summed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processes' counters add up at one port, an ended one keeps its counts but not its calls
    in flight, and readiness follows the number of ready processes."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    (tmp_path / "counter_1.db").write_bytes(b"left by an earlier run")
    prepare_metrics_directory(tmp_path)
    assert list(tmp_path.iterdir()) == []
    children = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        assert child.stdout.readline() == b"counted\n"
    view = MetricsView(directory=tmp_path)
    with MetricsServer(view=view, host="127.0.0.1", port=0, processes=2) as server:
        found = samples(get(server.port, "/metrics")[1])
        labels = tuple(METHOD.items())
        assert found["passmill_rpc_started_total", labels] == 4
        assert found["passmill_rpc_in_flight", labels] == 2
        assert found["passmill_rpc_seconds_count", labels] == 2
        assert found["passmill_passes_issued_total", ()] == 102
        # Every process says how many there are of all: the last word counts, not the sum.
        assert found["passmill_signing_identities_expiring", (("within_days", "30"),)] == 2
        assert get(server.port, "/readyz") == (HTTPStatus.OK, b"2 of 2 processes ready\n")
        for child in children:
            child.communicate()
        view.forget_process(children[0].pid)
        found = samples(get(server.port, "/metrics")[1])
        assert found["passmill_rpc_started_total", labels] == 4
        assert found["passmill_rpc_in_flight", labels] == 1
        status, text = get(server.port, "/readyz")
        assert (status, text) == (HTTPStatus.SERVICE_UNAVAILABLE, b"1 of 2 processes ready\n")
        assert get(server.port, "/healthz") == (HTTPStatus.OK, b"ok\n")
        assert get(server.port, "/other")[0] == HTTPStatus.NOT_FOUND


def test_one_process_serves_its_registry() -> None:
    """Without a shared directory the same paths answer from memory."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    rpc = metrics.rpc("TemplateService/GetTemplate")
    rpc.started()
    rpc.handled("NOT_FOUND", 0.2)
    view = MetricsView(registry=registry)
    with MetricsServer(view=view, host="127.0.0.1", port=0, processes=1) as server:
        found = samples(get(server.port, "/metrics")[1])
        assert get(server.port, "/readyz")[0] == HTTPStatus.SERVICE_UNAVAILABLE
        metrics.process_ready(is_ready=True)
        assert get(server.port, "/readyz")[0] == HTTPStatus.OK
    code = ("code", "NOT_FOUND")
    method = ("method", "TemplateService/GetTemplate")
    assert found["passmill_rpc_handled_total", (code, method)] == 1
    assert found["passmill_rpc_in_flight", (method,)] == 0


def test_failed_signing_is_counted_apart() -> None:
    """A signing job that raises counts its passes as failed and still takes its time."""
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    with metrics.signing(3):
        pass
    with pytest.raises(RuntimeError), metrics.signing(2):
        raise RuntimeError
    counted = registry.get_sample_value
    assert counted("passmill_signatures_total", {"outcome": "signed"}) == 3
    assert counted("passmill_signatures_total", {"outcome": "failed"}) == 2
    assert counted("passmill_sign_seconds_count") == 2


def test_every_series_is_ours_and_explained() -> None:
    """Each series begins with the product's name and has a help text."""
    registry = CollectorRegistry()
    Metrics(registry)
    families = list(registry.collect())
    assert families
    assert all(family.name.startswith("passmill_") for family in families)
    assert all(family.documentation.endswith(".") for family in families)


async def test_readiness_follows_its_parts() -> None:
    """Ready when every part answers; a part that raises or hangs makes the process not ready, and
    each change is told once."""
    registry = CollectorRegistry()
    told: list[bool] = []
    failures: list[Exception] = []

    async def ping() -> None:
        if failures:
            raise failures[0]

    async def tell(is_ready: bool) -> None:
        told.append(is_ready)

    readiness = Readiness(
        checks={"database": ping, "valkey": ping}, metrics=Metrics(registry), on_change=tell
    )
    assert await readiness.check()
    assert await readiness.check()
    failures.append(ConnectionError("gone"))
    assert not await readiness.check()
    assert registry.get_sample_value("passmill_check_ready", {"check": "database"}) == 0
    assert registry.get_sample_value("passmill_process_ready") == 0
    failures[0] = TimeoutError()
    assert not await readiness.check()
    failures.clear()
    assert await readiness.check()
    assert told == [True, False, True]
