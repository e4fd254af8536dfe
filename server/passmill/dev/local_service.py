"""A whole Passmill on this machine: embedded servers, throw-away keys, processes of every role. For
`passmill dev` and `passmill demo`, for the end-to-end tests and the benches."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from passmill.dev.ports import ANY_PORT, HOST, choose_port
from passmill.dev.private_file import write_private
from passmill.dev.tls_files import local_tls_files
from passmill.domain.keyring import Keyring
from passmill.embedded import EmbeddedServers
from passmill.settings import AdminDoor, ApiDoor, EdgeDoor, Exposition, Limits
from passmill.store.migrate import migrate
from passmill.supervisor import Edges, Supervisor, reserve_port

_SECRETS_FILE = "secrets.env"


class LocalService:
    """Context manager. With `data_dir` everything is kept there, and found again the next time.

    `processes`: API processes, None for one a core. `workers`: worker processes. `edges`: edge
    processes, with TLS by an authority of their own (`edge_root_file`); passes name `edge_url` as
    their web service unless `settings` say otherwise.
    `durable`: whether a commit survives a crash of the machine; by default if it is kept.
    `usual_ports`: those of a service in production where they are free, and others, told to
    `on_step`, where they are not; without it any ports.
    `on_step`: told in words what is being done. `settings`: more PASSMILL_* variables.
    """

    def __init__(
        self,
        *,
        data_dir: Path | None = None,
        processes: int | None = None,
        workers: int = 0,
        edges: int = 0,
        durable: bool | None = None,
        usual_ports: bool = False,
        on_step: Callable[[str], None] = lambda step: None,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._processes = processes
        self._workers = workers
        self._edges = edges
        self._durable = durable
        self._usual_ports = usual_ports
        self._on_step = on_step
        self._more_settings = dict(settings or {})
        self._stack = ExitStack()
        self._crash: Callable[[float], None] = lambda seconds: None
        self.api_address = ""
        self.admin_address = ""
        self.edge_url = ""
        self.edge_root_file = Path()
        self.metrics_url = ""
        self.operator_key = ""
        self.database_url = ""
        self.database_owner_url = ""

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            # The servers' keeper lives in one loop from start to end.
            runner = stack.enter_context(asyncio.Runner())
            servers = EmbeddedServers(self._data_dir, durable=self._durable)
            self._on_step("starting PostgreSQL and Valkey")
            runner.run(servers.__aenter__())
            self._crash = lambda seconds: runner.run(servers.crash_postgres(down_seconds=seconds))
            stack.callback(lambda: runner.run(servers.__aexit__(None, None, None)))
            self._on_step("preparing the database")
            runner.run(migrate(servers.owner_url))
            environment = self._environment(servers, audit_file=self._audit_file(stack))
            edges = self._open_edges(stack, environment) if self._edges else None
            self._on_step("starting the processes")
            self.supervisor = stack.enter_context(
                Supervisor(
                    api=ApiDoor(port=self._port(ApiDoor().port)),
                    admin=AdminDoor(port=self._port(AdminDoor().port)),
                    exposition=Exposition(port=self._port(Exposition().port)),
                    processes=self._processes,
                    workers=self._workers,
                    edges=edges,
                    drain_seconds=Limits().drain_seconds,
                    environment=environment,
                )
            )
            self._stack = stack.pop_all()
        self.api_address = f"{HOST}:{self.supervisor.api_port}"
        self.admin_address = f"{HOST}:{self.supervisor.admin_port}"
        self.metrics_url = f"http://{HOST}:{self.supervisor.metrics_port}/metrics"
        self.operator_key = environment["PASSMILL_OPERATOR_KEY"]
        self.database_url = servers.database_url
        self.database_owner_url = servers.owner_url
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def api_process_ids(self) -> list[int]:
        """Of the API processes alive now."""
        return self.supervisor.process_ids

    @property
    def worker_process_ids(self) -> list[int]:
        """Of the workers alive now."""
        return self.supervisor.worker_ids

    @property
    def edge_process_ids(self) -> list[int]:
        """Of the edge processes alive now."""
        return self.supervisor.edge_ids

    def crash_database(self, *, down_seconds: float) -> None:
        """For tests of what that does: stops PostgreSQL at once, and starts it again later. Call it
        from the thread that entered: the servers live as long as that."""
        self._crash(down_seconds)

    def _open_edges(self, stack: ExitStack, environment: dict[str, str]) -> Edges:
        """Decides the edges' port and certificate, and tells all processes of them."""
        port = reserve_port(stack, EdgeDoor(port=self._port(EdgeDoor().port)))
        files = local_tls_files(self._folder(stack, "tls"))
        self.edge_url = f"https://localhost:{port}"
        self.edge_root_file = files.root
        given = {
            "PASSMILL_PUBLIC_URL": self.edge_url,
            "PASSMILL_EDGE__TLS_CERTIFICATE_FILE": str(files.certificate),
            "PASSMILL_EDGE__TLS_KEY_FILE": str(files.key),
        }
        environment.update(given | self._more_settings)
        master_key = base64.b64decode(environment["PASSMILL_MASTER_KEY"])
        return Edges(
            door=EdgeDoor(port=port),
            processes=self._edges,
            key=base64.b64encode(Keyring(master_key).edge_key).decode("ascii"),
        )

    def _port(self, usual: int) -> int:
        if not self._usual_ports:
            return ANY_PORT
        port = choose_port(usual)
        if port == ANY_PORT:
            self._on_step(f"port {usual} is taken: using another one")
        return port

    def _audit_file(self, stack: ExitStack) -> Path:
        # Beside the data, not between the lines of whoever shows what is being done.
        return self._folder(stack, "audit") / "audit.log"

    def _folder(self, stack: ExitStack, purpose: str) -> Path:
        return self._data_dir or Path(
            stack.enter_context(TemporaryDirectory(prefix=f"passmill-{purpose}-"))
        )

    def _environment(self, servers: EmbeddedServers, *, audit_file: Path) -> dict[str, str]:
        is_durable = self._durable if self._durable is not None else self._data_dir is not None
        environment = {
            "PASSMILL_DATABASE_URL": servers.database_url,
            "PASSMILL_REDIS_URL": servers.redis_url,
            "PASSMILL_DATABASE__REQUIRE_DURABLE": str(is_durable).lower(),
            "PASSMILL_LOG__LEVEL": "warning",
            "PASSMILL_LOG__FORMAT": "console",
            "PASSMILL_LOG__AUDIT_FILE": str(audit_file),
            **self._secrets(),
        }
        if self._processes is not None:
            environment["PASSMILL_PROCESSES"] = str(self._processes)
        return environment | self._more_settings

    def _secrets(self) -> dict[str, str]:
        # What is kept must be opened again by the same master key.
        kept = None if self._data_dir is None else self._data_dir / _SECRETS_FILE
        if kept is not None and kept.exists():
            lines = kept.read_text(encoding="utf-8").splitlines()
            return dict(line.split("=", 1) for line in lines)
        made = {
            "PASSMILL_MASTER_KEY": base64.b64encode(secrets.token_bytes(32)).decode(),
            "PASSMILL_OPERATOR_KEY": secrets.token_urlsafe(32),
        }
        if kept is not None:
            write_private(kept, "".join(f"{name}={text}\n" for name, text in made.items()))
        return made
