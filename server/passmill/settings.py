"""The one settings tree: read once at start from PASSMILL_* variables, then handed out by section.

A section's field is `PASSMILL_<SECTION>__<FIELD>` (`PASSMILL_API__PORT`). Every secret may be given
by file instead, with `_FILE` behind its name (`PASSMILL_MASTER_KEY_FILE=/run/secrets/master_key`).
An unknown variable, a value out of range or a secret given twice stops the start.
"""

import base64
import binascii
import ipaddress
import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    IPvAnyNetwork,
    SecretStr,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from passmill.failpoints import check_failpoints

PREFIX = "PASSMILL_"
# Not settings of the service: read by the launcher of the embedded servers, and by the client.
OTHERS_VARIABLES = frozenset(
    {
        "PASSMILL_PG_BIN",
        "PASSMILL_VALKEY_BIN",
        "PASSMILL_ADDRESS",
        "PASSMILL_API_KEY",
        "PASSMILL_ADMIN_ADDRESS",
    }
)
MASTER_KEY_BYTES = 32
_ORIGIN = r"^https?://[a-z0-9.\-\[\]:]+$"

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=3600)]


class UnknownSetting(ValueError):
    """A PASSMILL_ variable that means nothing here, most often a misspelt one."""


class MissingSetting(ValueError):
    """What this role cannot do without; the message says what to set."""


def _decode_key(text: SecretStr, name: str) -> bytes:
    try:
        key = base64.b64decode(text.get_secret_value(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != MASTER_KEY_BYTES:
        raise ValueError(f"{name} must be {MASTER_KEY_BYTES} bytes in Base64")
    return key


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Section(BaseModel):
    """Unknown names are refused, nothing changes after the start, and errors show no input."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Door(Section):
    """One address calls come in by. TLS with both files; client certificates are demanded when
    `client_ca_file` is given."""

    host: str = "127.0.0.1"
    port: Port = 0
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    client_ca_file: Path | None = None
    # Beyond this machine keys travel only encrypted, unless a proxy beside us does that.
    allow_plaintext: bool = False

    @property
    def has_tls(self) -> bool:
        """Whether calls are encrypted."""
        return self.tls_certificate_file is not None

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        if (self.tls_certificate_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_certificate_file and tls_key_file go together")
        if self.client_ca_file is not None and not self.has_tls:
            raise ValueError("client_ca_file needs tls_certificate_file and tls_key_file")
        if not self.has_tls and not self.allow_plaintext and not _is_loopback(self.host):
            raise ValueError(
                f"{self.host} is reached from other machines: give tls_certificate_file and "
                "tls_key_file, or allow_plaintext=true behind a proxy that encrypts"
            )
        return self


class ApiDoor(Door):
    """Where services and jobs call."""

    port: Port = 50051


class AdminDoor(Door):
    """Where operators call: tenants, keys, identities, reflection, channelz."""

    port: Port = 50052


class EdgeDoor(Door):
    """Where phones and people come in, by HTTPS. `tls_key_file`: PKCS#8. What stands below
    `processes` holds for each of them."""

    port: Port = 8443
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None  # one a core when None
    # Networks of proxies of ours, whose X-Forwarded-For names the client; in JSON, ["10.0.0.0/8"].
    trusted_proxies: tuple[IPvAnyNetwork, ...] = ()
    # Requests of one client address: so many a second (0: no limit), after a burst. Many phones
    # share the address of their provider.
    client_rate: Annotated[float, Field(ge=0)] = 100.0
    client_burst: Annotated[int, Field(ge=1)] = 2000
    # Of one claim link, from one client address: new claims, and apart from these requests to send
    # a pass again; so many at once, then so many an hour (0: no limit).
    claims_burst: Annotated[int, Field(ge=1)] = 5
    claims_per_hour: Annotated[float, Field(ge=0)] = 6.0
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = 3072
    max_requests: Annotated[int, Field(ge=1)] = 512
    max_streams_per_connection: Annotated[int, Field(ge=1)] = 64
    request_seconds: Seconds = 5.0
    header_seconds: Annotated[int, Field(ge=1, le=300)] = 10
    idle_seconds: Seconds = 60.0
    database_connections: Annotated[int, Field(ge=1, le=1000)] = 8
    # Of pages whose scripts may claim passes, in JSON: ["https://shop.example"].
    allowed_origins: tuple[Annotated[str, Field(pattern=_ORIGIN)], ...] = ()

    @model_validator(mode="after")
    def _check_key_form(self) -> Self:
        if self.tls_key_file is None:
            return self
        try:
            content = self.tls_key_file.read_bytes()
        except OSError as error:
            raise ValueError(f"tls_key_file cannot be read: {type(error).__name__}") from None
        if b"-----BEGIN PRIVATE KEY-----" not in content:
            raise ValueError(
                "tls_key_file must be an unencrypted PKCS#8 key in PEM; this makes one of another:"
                " openssl pkcs8 -topk8 -nocrypt -in KEY -out PKCS8_KEY"
            )
        return self


class Exposition(Section):
    """Where /metrics, /healthz and /readyz are served, in plain HTTP. `directory`: files that the
    processes share; one of its own is made when None."""

    host: str = "127.0.0.1"
    port: Port = 9464
    directory: Path | None = None


class DatabasePool(Section):
    """PostgreSQL connections of one process."""

    min_connections: Annotated[int, Field(ge=0, le=1000)] = 2
    max_connections: Annotated[int, Field(ge=1, le=1000)] = 16
    # Off for throw-away servers alone: an answer could be given and its change lost.
    require_durable: bool = True

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.min_connections > self.max_connections:
            raise ValueError("min_connections is more than max_connections")
        return self


class WorkerPool(Section):
    """What serves campaigns, in processes of its own."""

    processes: Annotated[int, Field(ge=1, le=1024)] | None = None  # one a core when None
    # Two at least, so that one shard is written while another is signed.
    concurrent_shards: Annotated[int, Field(ge=2, le=64)] = 2
    # A worker that is silent for so long is taken for dead, and its shards are served by others.
    heartbeat_seconds: Annotated[float, Field(ge=1, le=300)] = 10.0
    # So long after its end a campaign's recipients can be exported and tried again.
    keep_recipients_days: Annotated[int, Field(ge=1, le=3650)] = 30
    # So often points that have ended are taken from balances that nobody posts to, and tiers whose
    # window has passed fall. Nobody can spend what has ended, taken or not.
    settle_balances_seconds: Annotated[float, Field(ge=1, le=86_400)] = 600.0


class RedisServer(Section):
    """How Redis is asked, at `redis_url`. `is_cluster`: that is one node of a cluster."""

    is_cluster: bool = False
    # For connecting and for each read. What takes longer goes on without Redis.
    timeout_seconds: Annotated[float, Field(ge=0.01, le=10)] = 0.25


class Push(Section):
    """How phones are told that passes changed. `host`, `port`: Apple's, unless tests say otherwise.
    `roots_file`: certificates to trust there, PEM; the public ones when None."""

    host: str = "api.push.apple.com"
    port: Annotated[int, Field(ge=1, le=65535)] = 443
    roots_file: Path | None = None
    deadline_seconds: Annotated[float, Field(ge=1, le=120)] = 15.0
    # A phone is pushed once in so long: at once, and once more at the end when more has changed.
    window_seconds: Annotated[float, Field(ge=0, le=3600)] = 10.0
    # Of all workers together: each push makes a phone come and fetch.
    per_second: Annotated[float, Field(ge=1, le=1_000_000)] = 1000.0
    # A pass type that APNs refuses is tried again so often.
    probe_seconds: Annotated[float, Field(ge=1, le=3600)] = 60.0
    connections: Annotated[int, Field(ge=1, le=64)] = 1  # of a pass type, in each process
    concurrent_jobs: Annotated[int, Field(ge=8, le=256)] = 16


class Counter(Section):
    """What the counter may ask, in each process."""

    # Reference ids that are none: so many at once of each API key, then so many a second.
    look_up_burst: Annotated[int, Field(ge=1)] = 60
    look_ups_per_second: Annotated[float, Field(gt=0)] = 1.0
    # Look-ups by telephone number, whatever they find.
    phone_burst: Annotated[int, Field(ge=1)] = 300
    phones_per_second: Annotated[float, Field(gt=0)] = 5.0
    # Codes for scanners that are none, tried by everybody together.
    # More would let nobody in while somebody guesses; a code is 40 bits and good for ten minutes.
    code_burst: Annotated[int, Field(ge=1)] = 2000
    codes_per_second: Annotated[float, Field(gt=0)] = 1000.0
    # So long a scanner's key is good, used or not; then the device is enrolled anew.
    scanner_key_days: Annotated[int, Field(ge=1, le=3650)] = 400


class Limits(Section):
    """What one process takes on."""

    max_calls: Annotated[int, Field(ge=1)] = 1000
    # Of them for one key, and for all callers without a key together; a quarter when None.
    max_calls_per_key: Annotated[int, Field(ge=1)] | None = None
    max_streams: Annotated[int, Field(ge=1)] = 500  # besides the calls
    max_streams_per_key: Annotated[int, Field(ge=1)] = 50
    # A stream whose caller sends nothing for so long is ended; one that only listens goes on.
    stream_idle_seconds: Seconds = 60.0
    # Of all calls under way; a quarter of it for one key.
    max_request_bytes: Annotated[int, Field(ge=8 << 20)] = 256 << 20
    max_message_bytes: Annotated[int, Field(ge=1 << 20, le=64 << 20)] = 8 << 20
    max_streams_per_connection: Annotated[int, Field(ge=1)] = 256
    signing_threads: Annotated[int, Field(ge=1, le=256)] = 2
    revision_cache_bytes: Annotated[int, Field(ge=1 << 20)] = 256 << 20  # of their images
    # Half a minute less than what orchestrators usually grant before they kill.
    drain_seconds: Seconds = 25.0


class Log(Section):
    """`format`: JSON for machines, console for people."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "json"
    audit_file: Path | None = None  # appended to; the log itself when None


class Settings(BaseSettings):
    """All settings. `database_url` connects as the role that owns nothing; `database_owner_url` is
    for migrations alone and may be absent where none are run. `master_key`: 32 bytes in Base64
    (`openssl rand -base64 32`), from which the keys that wrap and derive others come; only the edge
    does without. `edge_key`: the one of them that the edge needs, as `passmill edge-key` prints it.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_ignore_empty=True,
    )

    database_url: SecretStr
    database_url_file: Path | None = None
    database_owner_url: SecretStr | None = None
    database_owner_url_file: Path | None = None
    redis_url: SecretStr
    redis_url_file: Path | None = None
    master_key: SecretStr | None = None
    master_key_file: Path | None = None
    edge_key: SecretStr | None = None
    edge_key_file: Path | None = None
    operator_key: SecretStr | None = None  # opens the admin door before any tenant has a key
    operator_key_file: Path | None = None

    # Where phones reach this service, https. Published revisions pin it; without it passes never
    # update by themselves.
    public_url: AnyHttpUrl | None = None
    processes: Annotated[int, Field(ge=1, le=1024)] | None = None  # one a core when None
    # How long events can be watched afterwards.
    events_kept_days: Annotated[int, Field(ge=1, le=3650)] = 30
    api: ApiDoor = ApiDoor()
    admin: AdminDoor = AdminDoor()
    edge: EdgeDoor = EdgeDoor()
    metrics: Exposition = Exposition()
    database: DatabasePool = DatabasePool()
    worker: WorkerPool = WorkerPool()
    redis: RedisServer = RedisServer()
    push: Push = Push()
    counter: Counter = Counter()
    limits: Limits = Limits()
    # For tests alone: where a process shall die (passmill/failpoints.py).
    fail_at: Annotated[str, AfterValidator(check_failpoints)] = ""
    log: Log = Log()

    @property
    def web_service_url(self) -> str | None:
        """Apple's webServiceURL for passes; Wallet appends /v1/… to it and takes https alone."""
        if self.public_url is None or self.public_url.scheme != "https":
            return None
        return str(self.public_url).rstrip("/")

    @property
    def master_key_bytes(self) -> bytes:
        """The master key, 32 bytes. MissingSetting where only the edge may run."""
        if self.master_key is None:
            raise MissingSetting(
                "Set PASSMILL_MASTER_KEY: with PASSMILL_EDGE_KEY only the edge runs."
            )
        return _decode_key(self.master_key, "master_key")

    @property
    def edge_key_bytes(self) -> bytes | None:
        """The edge's key, 32 bytes; None where it is to be derived from the master key."""
        return None if self.edge_key is None else _decode_key(self.edge_key, "edge_key")

    def require_master_key(self) -> SecretStr:
        """The master key as it was given. MissingSetting where only the edge may run."""
        if self.master_key is None:
            raise MissingSetting(
                "Set PASSMILL_MASTER_KEY: with PASSMILL_EDGE_KEY alone only the edge runs."
            )
        return self.master_key

    @model_validator(mode="before")
    @classmethod
    def _read_secret_files(cls, given: dict[str, object]) -> dict[str, object]:
        read = dict(given)
        for name in cls.model_fields:
            path = given.get(f"{name}_file")
            if path is None or f"{name}_file" not in cls.model_fields:
                continue
            if given.get(name) is not None:
                raise ValueError(f"{name} and {name}_file are both given")
            try:
                read[name] = Path(str(path)).read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}_file cannot be read: {type(error).__name__}") from None
        return read

    @model_validator(mode="after")
    def _check_keys(self) -> Self:
        if self.master_key is None and self.edge_key is None:
            raise ValueError("master_key is missing (or edge_key, for the edge)")
        if self.master_key is not None:
            _decode_key(self.master_key, "master_key")
        if self.edge_key is not None:
            _decode_key(self.edge_key, "edge_key")
        return self


def load_settings() -> Settings:
    """The settings of this process' environment.

    Raises UnknownSetting, or pydantic's ValidationError, which names fields and shows no value.
    """
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | OTHERS_VARIABLES
    for name in sorted(os.environ):
        section = name.upper().split("__", 1)[0]
        if name.upper().startswith(PREFIX) and section not in known:
            raise UnknownSetting(f"{name} is no setting of Passmill")
    return Settings()
