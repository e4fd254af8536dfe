"""`passmill serve` and its sister commands, run as operators run them."""

import asyncio
import ipaddress
import os
import re
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from grpc_channelz.v1 import channelz_pb2, channelz_pb2_grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from passmill.settings import Settings
from passmill.v1 import access_service_pb2, admin_service_pb2
from passmill.v1.access_service_pb2_grpc import AccessServiceStub
from passmill.v1.admin_service_pb2_grpc import AdminServiceStub
from passmill.v1.api_scope_pb2 import API_SCOPE_READ
from tests.support.postgres import Database, Databases
from tests.support.service import meta, service_settings
from tests.support.serving import environment_of, passmill, serve
from tests.support.tools import run

pytestmark = pytest.mark.timeout(120)

GET_CALLER = "AccessService/GetCaller"
ANY_PORT = {
    "PASSMILL_API__PORT": "0",
    "PASSMILL_ADMIN__PORT": "0",
    "PASSMILL_METRICS__PORT": "0",
}


@pytest.fixture
def settings(database: Database, redis_url: str) -> Settings:
    """Settings of a service on this test's database."""
    made = service_settings(database.url)
    return made.model_copy(update={"redis_url": type(made.redis_url)(redis_url)})


def bearer(key: str) -> tuple[tuple[str, str], ...]:
    """A credential."""
    return (("authorization", f"Bearer {key}"),)


def operator_key(settings: Settings) -> str:
    """The operator's key."""
    assert settings.operator_key is not None
    return settings.operator_key.get_secret_value()


def make_api_key(channel: grpc.Channel, settings: Settings) -> str:
    """A tenant's key, by way of the admin port."""
    admin = AdminServiceStub(channel)
    metadata = bearer(operator_key(settings))
    tenant = admin.CreateTenant(
        admin_service_pb2.CreateTenantRequest(display_name="x", meta=meta()),
        metadata=metadata,
        timeout=20,
    ).tenant
    request = admin_service_pb2.CreateApiKeyRequest(
        tenant_id=tenant.tenant_id, display_name="x", scopes=[API_SCOPE_READ], meta=meta()
    )
    return str(admin.CreateApiKey(request, metadata=metadata, timeout=20).secret_key)


def health(channel: grpc.Channel, service: str = "") -> int:
    """What a server says of itself."""
    stub = health_pb2_grpc.HealthStub(channel)
    request = health_pb2.HealthCheckRequest(service=service)
    return int(stub.Check(request, timeout=20).status)  # type: ignore[attr-defined]


def reflected(channel: grpc.Channel) -> set[str]:
    """The services that a server tells of by reflection."""
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    [answer] = stub.ServerReflectionInfo(iter([request]), timeout=20)  # type: ignore[operator]
    return {each.name for each in answer.list_services_response.service}


def test_two_processes_serve_as_one(settings: Settings) -> None:
    """Two processes share the port; they are ready together, their metrics are counted together,
    and operators' tools are found on the operators' port alone; SIGTERM ends all with status 0."""
    with serve(settings, processes=2) as serving:
        assert serving.get("/healthz") == (200, "ok\n")
        assert serving.get("/readyz") == (200, "2 of 2 processes ready\n")
        assert serving.get("/nothing")[0] == 404
        with grpc.insecure_channel(serving.admin_address) as admin:
            api_key = make_api_key(admin, settings)
            assert health(admin) == health_pb2.HealthCheckResponse.SERVING
            assert "passmill.v1.AdminService" in reflected(admin)
            channelz = channelz_pb2_grpc.ChannelzStub(admin)
            servers = channelz.GetServers(channelz_pb2.GetServersRequest(), timeout=20)
            assert len(servers.server) >= 1
        calls = 0
        for _ in range(12):
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(serving.api_address, options=options) as channel:
                stub = AccessServiceStub(channel)
                for _ in range(3):
                    stub.GetCaller(
                        access_service_pb2.GetCallerRequest(), metadata=bearer(api_key), timeout=20
                    )
                    calls += 1
                serving_health = health(channel, "passmill.v1.PassService")
                assert serving_health == health_pb2.HealthCheckResponse.SERVING
        labels = f'code="OK",method="{GET_CALLER}"'
        assert serving.sample(f"passmill_rpc_handled_total{{{labels}}}") == calls
        assert serving.sample("passmill_process_ready") == 2
        with grpc.insecure_channel(serving.api_address) as channel:
            for ask in (
                lambda: reflected(channel),
                lambda: channelz_pb2_grpc.ChannelzStub(channel).GetServers(
                    channelz_pb2.GetServersRequest(), timeout=20
                ),
                lambda: make_api_key(channel, settings),
            ):
                with pytest.raises(grpc.RpcError) as caught:
                    ask()
                assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        status, errors = serving.terminate()
        assert status == 0
        assert not re.search('"level": ?"(warning|error)"', errors)
        assert not serving.is_listening()


def test_a_process_that_dies_is_replaced(settings: Settings) -> None:
    """When an API process is killed another takes its place and calls go on; when the parent is
    killed nothing is left behind."""
    with serve(settings) as serving:
        with grpc.insecure_channel(serving.admin_address) as admin:
            make_api_key(admin, settings)
        [child] = children(serving.process.pid)
        os.kill(child, signal.SIGKILL)
        wait_until(lambda: children(serving.process.pid) not in ([], [child]))
        wait_until(lambda: serving.get("/readyz")[0] == 200)
        with grpc.insecure_channel(serving.admin_address) as admin:
            make_api_key(admin, settings)
        [child] = children(serving.process.pid)
        serving.process.kill()
        wait_until(lambda: not serving.is_listening())
        wait_until(lambda: not is_alive(child))


def children(process_id: int) -> list[int]:
    """The processes that a process started."""
    table = run("ps", "-A", "-o", "pid=,ppid=").decode()
    pairs = [line.split() for line in table.splitlines()]
    return [int(child) for child, parent in pairs if int(parent) == process_id]


def is_alive(process_id: int) -> bool:
    """Whether a process runs."""
    return any(
        line.split()[0] == str(process_id) and not line.split()[1].startswith("Z")
        for line in run("ps", "-A", "-o", "pid=,stat=").decode().splitlines()
    )


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when the condition holds."""
    end = time.monotonic() + 40
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_role_that_sees_too_much_is_refused(settings: Settings, database: Database) -> None:
    """With a database role that owns the tables the service does not start, and says why."""
    environment = environment_of(settings, DATABASE_URL=database.owner_url, PROCESSES="1")
    environment |= ANY_PORT
    done = passmill("serve", environment=environment)
    assert done.returncode == 1
    assert "process.refused" in done.stderr
    assert re.search(r'"problem": ?"[^"]*role[^"]*"', done.stderr), done.stderr
    assert "sub-exception" not in done.stderr
    assert "Traceback" not in done.stderr


def test_a_stale_schema_is_refused(settings: Settings, databases: Databases) -> None:
    """On a database that was not migrated the service does not start, and says what to do;
    `passmill migrate` does it, once."""
    bare = asyncio.run(databases.create(migrated=False))
    try:
        environment = environment_of(
            settings,
            DATABASE_URL=bare.url,
            DATABASE_OWNER_URL=bare.owner_url,
            PROCESSES="1",
        )
        environment |= ANY_PORT
        refused = passmill("serve", environment=environment)
        assert refused.returncode == 1
        assert re.search(r'"problem": ?"[^"]*migrate[^"]*"', refused.stderr), refused.stderr
        first = passmill("migrate", environment=environment)
        assert (first.returncode, first.stderr) == (0, "")
        assert "applied" in first.stdout
        again = passmill("migrate", environment=environment)
        assert (again.returncode, again.stdout) == (0, "The schema is up to date.\n")
    finally:
        asyncio.run(databases.drop(bare))


def test_check_config(settings: Settings) -> None:
    """Good settings are called good; a misspelt one and a bad one are named, with exit status 2,
    and no secret is shown."""
    good = environment_of(settings)
    done = passmill("check-config", environment=good)
    assert (done.returncode, done.stdout) == (0, "The settings are good.\n")
    secrets = [good["PASSMILL_MASTER_KEY"], good["PASSMILL_OPERATOR_KEY"]]
    for wrong, named in (
        ({"PASSMILL_MASTERKEY": secrets[0]}, "PASSMILL_MASTERKEY"),
        ({"PASSMILL_MASTER_KEY": secrets[1]}, "master_key"),
    ):
        done = passmill("check-config", environment={**good, **wrong})
        assert done.returncode == 2
        assert named in done.stderr
        assert not any(secret in done.stderr + done.stdout for secret in secrets)


def test_no_operator_key_no_operator(settings: Settings, tmp_path: Path) -> None:
    """Secrets may come from files; without an operator's key the admin port opens to nobody but
    tenants' keys."""
    master = tmp_path / "master"
    assert settings.master_key is not None
    master.write_text(settings.master_key.get_secret_value() + "\n", encoding="utf-8")
    more = {"MASTER_KEY": "", "MASTER_KEY_FILE": str(master), "OPERATOR_KEY": ""}
    with serve(settings, variables=more) as serving:
        with (
            grpc.insecure_channel(serving.admin_address) as admin,
            pytest.raises(grpc.RpcError) as caught,
        ):
            make_api_key(admin, settings)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


class Tls:
    """An authority, and certificates of it for this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        self.root = self._sign(self._name, self._key, is_authority=True)

    def issue(self, name: str) -> tuple[Path, Path]:
        """Files with a certificate for the loopback and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        paths = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        paths[0].write_bytes(self._sign(subject, key, is_authority=False))
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return paths

    def _sign(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, is_authority: bool
    ) -> bytes:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
            names = x509.SubjectAlternativeName([address])
            builder = builder.add_extension(names, critical=False)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)


def test_tls_files_work(settings: Settings, tmp_path: Path) -> None:
    """With certificate files calls are encrypted on each port that has them, plain ones are not
    taken, and with a client authority only those who show its certificate come in."""
    tls = Tls(tmp_path)
    certificate, key = tls.issue("server")
    client_certificate, client_key = tls.issue("client")
    root = tmp_path / "root.pem"
    root.write_bytes(tls.root)
    more = {
        f"{door}__TLS_{name}_FILE": str(path)
        for door in ("API", "ADMIN")
        for name, path in (("CERTIFICATE", certificate), ("KEY", key))
    }
    more["ADMIN__CLIENT_CA_FILE"] = str(root)
    with serve(settings, variables=more) as serving:
        known = grpc.ssl_channel_credentials(
            tls.root, client_key.read_bytes(), client_certificate.read_bytes()
        )
        unknown = grpc.ssl_channel_credentials(tls.root)
        with grpc.secure_channel(serving.admin_address, known) as admin:
            api_key = make_api_key(admin, settings)
        with grpc.secure_channel(serving.api_address, unknown) as channel:
            answer = AccessServiceStub(channel).GetCaller(
                access_service_pb2.GetCallerRequest(), metadata=bearer(api_key), timeout=20
            )
            assert api_key.startswith(f"pm_{answer.key_id}")
        for channel in (
            grpc.secure_channel(serving.admin_address, unknown),
            grpc.insecure_channel(serving.api_address),
            grpc.insecure_channel(serving.admin_address),
        ):
            with channel, pytest.raises(grpc.RpcError) as caught:
                health(channel)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
