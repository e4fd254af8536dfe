"""Edge processes as the supervisor and `passmill serve` start them: what they know, how they
end."""

from __future__ import annotations

import base64
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from passmill.dev.local_service import LocalService
from passmill.domain.keyring import Keyring
from passmill.supervisor import edge_environment
from tests.edge.rig import tls_files
from tests.support.serving import passmill

pytestmark = pytest.mark.timeout(180)


def client_of(local: LocalService) -> httpx.Client:
    """A client that believes in the local root alone."""
    context = ssl.create_default_context(cafile=str(local.edge_root_file))
    return httpx.Client(base_url=local.edge_url, verify=context, http2=True, timeout=30)


def memory_of(process_id: int) -> Iterator[bytes]:
    """All that a process has written into its memory, mapping by mapping (proc(5))."""
    folder = Path(f"/proc/{process_id}")
    with (folder / "mem").open("rb", buffering=0) as memory:
        for line in (folder / "maps").read_text().splitlines():
            span, rights, *_, name = [*line.split(maxsplit=5), ""][:6]
            if not rights.startswith("rw") or name.startswith("[vv"):
                continue
            begin, end = (int(each, 16) for each in span.split("-"))
            memory.seek(begin)
            yield memory.read(end - begin)


@pytest.mark.skipif(sys.platform != "linux", reason="another process's memory is read by /proc")
def test_edges_know_no_master_key(local: LocalService, master_key: bytes) -> None:
    """The master key, what wraps signing identities and the operator's key are nowhere in an edge
    process, neither in its environment nor in its memory, in whatever form; its own key is, and the
    API process has them all, so the search finds what is there."""
    keyring = Keyring(master_key)
    key_text = base64.b64encode(master_key)
    secret = [master_key, key_text, keyring.wrapping_key, master_key.hex().encode()]
    secret.append(local.operator_key.encode())
    own = base64.b64encode(keyring.edge_key)
    with client_of(local) as client:
        assert client.get("/v1/passes/a/b").status_code == 401
    for process_id in local.edge_process_ids:
        environment = Path(f"/proc/{process_id}/environ").read_bytes()
        assert b"PASSMILL_EDGE_KEY=" + own in environment
        for name in (b"MASTER_KEY", b"OPERATOR_KEY", b"OWNER_URL"):
            assert name not in environment
        found = set()
        for content in memory_of(process_id):
            found |= {text for text in [*secret, own] if text in content}
        assert found == {own}
    [api] = local.api_process_ids
    found = set()
    for content in memory_of(api):
        found |= {text for text in secret if text in content}
    assert {key_text, keyring.wrapping_key, local.operator_key.encode()} <= found


def test_edges_are_given_no_other_secret() -> None:
    """Of the environment an edge is given all but the secrets, however they are written."""
    given = {
        "PASSMILL_MASTER_KEY": "a",
        "passmill_master_key_file": "b",
        "PASSMILL_OPERATOR_KEY_FILE": "c",
        "PASSMILL_DATABASE_OWNER_URL": "d",
        "PASSMILL_EDGE_KEY_FILE": "e",
        "PASSMILL_DATABASE_URL": "f",
        "PATH": "g",
    }
    assert edge_environment(given, key="k") == {
        "PASSMILL_DATABASE_URL": "f",
        "PATH": "g",
        "PASSMILL_EDGE_KEY": "k",
    }


def test_edges_share_a_port(local: LocalService) -> None:
    """Requests on new connections are answered by both processes, and /metrics sums what they
    counted."""

    def counted() -> float:
        text = httpx.get(local.metrics_url).text
        return sum(
            sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == "passmill_edge_requests_total" and sample.labels["route"] == "log"
        )

    before = counted()
    for _ in range(40):
        with client_of(local) as client:
            assert client.post("/v1/log", json={"logs": []}).status_code == 200
    assert counted() == before + 40


def test_sigterm_drains(local: LocalService) -> None:
    """A request that has come before SIGTERM is answered; a connection that is silent does not hold
    up the end, and a new process takes the old one's place."""
    stop = threading.Event()
    watching = threading.Thread(target=local.supervisor.run, args=(stop,))
    watching.start()
    try:
        old = local.edge_process_ids
        port = local.supervisor.edge_port
        context = ssl.create_default_context(cafile=str(local.edge_root_file))
        body = b'{"logs":["' + b"x" * 1000 + b'"]}'
        head = b"POST /v1/log HTTP/1.1\r\nhost: localhost\r\ncontent-length: %d\r\n\r\n" % len(body)
        connections = []
        for _ in range(12):
            raw = socket.create_connection(("127.0.0.1", port), timeout=30)
            connections.append(context.wrap_socket(raw, server_hostname="localhost"))
        silent, asking = connections[:4], connections[4:]
        for connection in asking:
            connection.sendall(head + body[:5])
        # So that each head has been read.
        with client_of(local) as client:
            assert client.get("/healthz").status_code == 200
        for process_id in old:
            os.kill(process_id, signal.SIGTERM)
        for connection in asking:
            connection.sendall(body[5:])
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")
        for connection in connections:
            connection.close()
        del silent
        while set(local.edge_process_ids) & set(old) or len(local.edge_process_ids) < len(old):
            stop.wait(0.05)
    finally:
        stop.set()
        watching.join()


def edge_variables(local: LocalService, master_key: bytes, **more: str) -> dict[str, str]:
    """The variables of an edge on a machine of its own."""
    files = tls_files()
    variables = {
        "DATABASE_URL": local.database_url,
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "EDGE_KEY": base64.b64encode(Keyring(master_key).edge_key).decode(),
        "EDGE__TLS_CERTIFICATE_FILE": str(files.certificate),
        "EDGE__TLS_KEY_FILE": str(files.key),
        "EDGE__PORT": "0",
        "EDGE__PROCESSES": "1",
        "METRICS__PORT": "0",
        "DATABASE__REQUIRE_DURABLE": "false",
        **more,
    }
    inherited = {
        name: text for name, text in os.environ.items() if not name.startswith("PASSMILL_")
    }
    return inherited | {f"PASSMILL_{name}": text for name, text in variables.items() if text}


def test_serve_role_edge(local: LocalService, master_key: bytes) -> None:
    """`passmill serve --role edge` runs with the edge's key alone, becomes ready and ends with 0 on
    SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "passmill", "serve", "--role", "edge"],
        env=edge_variables(local, master_key, LOG__FORMAT="json"),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if "supervisor.ready" in line:
            break
    assert any("supervisor.ready" in line for line in lines), lines
    process.send_signal(signal.SIGTERM)
    _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"EDGE_KEY": base64.b64encode(b"x" * 32).decode()}, "does not belong to this database"),
        ({"EDGE_KEY": ""}, "master_key is missing"),
        ({"EDGE_KEY": "short"}, "32 bytes"),
        (
            {"EDGE__HOST": "192.0.2.1", "EDGE__TLS_CERTIFICATE_FILE": "", "EDGE__TLS_KEY_FILE": ""},
            "reached from other machines",
        ),
        ({"EDGE__TLS_KEY_FILE": "/nowhere"}, "cannot be read: FileNotFoundError"),
        ({"EDGE__TRUSTED_PROXIES": '["10.0.0.0/99"]'}, "trusted_proxies"),
    ],
)
def test_refusals_to_start(
    local: LocalService, master_key: bytes, more: dict[str, str], said: str
) -> None:
    """A wrong key, none, an open door or files that are not there stop the start, and the log says
    which."""
    ended = passmill(
        "serve", "--role", "edge", environment=edge_variables(local, master_key, **more)
    )
    assert ended.returncode in {1, 2}
    assert said in ended.stderr


def test_old_key_forms_are_refused(local: LocalService, master_key: bytes, tmp_path: Path) -> None:
    """A key that the server could not read is refused with the command that makes one it can; what
    that makes is taken."""
    made = tmp_path / "sec1.pem"
    subprocess.run(
        ["openssl", "ec", "-in", str(tls_files().key), "-out", str(made)],
        check=True,
        capture_output=True,
    )
    refused = passmill(
        "check-config", environment=edge_variables(local, master_key, EDGE__TLS_KEY_FILE=str(made))
    )
    assert refused.returncode == 2
    assert "openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8_KEY" in refused.stderr
    converted = str(tmp_path / "key.pem")
    command = ["openssl", "pkcs8", "-topk8", "-nocrypt", "-in", str(made), "-out", converted]
    subprocess.run(command, check=True, capture_output=True)
    taken = passmill(
        "check-config",
        environment=edge_variables(local, master_key, EDGE__TLS_KEY_FILE=converted),
    )
    assert taken.returncode == 0, taken.stderr


def test_the_edge_key_is_printed(local: LocalService, master_key: bytes) -> None:
    """`passmill edge-key` prints what an edge is to be given; a process with that alone refuses
    every other role, and an edge process the master key."""
    variables = edge_variables(
        local, master_key, MASTER_KEY=base64.b64encode(master_key).decode(), EDGE_KEY=""
    )
    printed = passmill("edge-key", environment=variables)
    assert printed.stdout == base64.b64encode(Keyring(master_key).edge_key).decode() + "\n"
    for role in ("api", "worker", "all"):
        refused = passmill("serve", "--role", role, environment=edge_variables(local, master_key))
        assert refused.returncode == 2
        assert "Set PASSMILL_MASTER_KEY" in refused.stderr
    both = edge_variables(local, master_key, MASTER_KEY=base64.b64encode(master_key).decode())
    refused_too = subprocess.run(
        [sys.executable, "-m", "passmill.edge_process", "--port", "1"],
        env=both,
        stdin=subprocess.PIPE,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused_too.returncode == 78
    assert "never the master key" in refused_too.stderr
