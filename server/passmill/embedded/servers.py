"""Both servers as one asynchronous context manager."""

import asyncio
import fcntl
import hashlib
import os
import pwd
import shutil
import signal
import stat
import tempfile
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from passmill.embedded.errors import DataDirectoryInUse, EmbeddedServerError
from passmill.embedded.postgres import APPLICATION, OWNER, SUPERUSER, postgres_url, start_postgres
from passmill.embedded.process import ServerProcess, User, choose_user, make_directory
from passmill.embedded.valkey import start_valkey, valkey_url

# A unix socket's path has at most 107 bytes (macOS: 103), so sockets live in a short folder.
SHORT_DIRECTORY = Path("/tmp")  # noqa: S108 - each folder made there is checked: ours, mode 0700
THROW_AWAY = "passmill-tmp-"


class EmbeddedServers:
    """PostgreSQL and Valkey for as long as the `async with` block runs.

    With `data_dir` the data is kept there, and a machine crash loses no commit. Without it the
    servers work in a throw-away folder and `durable` is off: no fsync, no append-only file.
    Start it from the main thread: on Linux the servers stop when the thread that started them
    ends, which also covers kill -9 of this process. Raises EmbeddedServerError.
    """

    def __init__(self, data_dir: Path | None = None, *, durable: bool | None = None) -> None:
        self._data_dir = data_dir.absolute() if data_dir is not None else None
        self._durable = durable if durable is not None else data_dir is not None
        self._stack = AsyncExitStack()
        self._sockets: Path | None = None
        self._postgres: ServerProcess | None = None
        self._valkey: ServerProcess | None = None

    @property
    def database_url(self) -> str:
        """PostgreSQL as `passmill_app`, which owns nothing."""
        return postgres_url(_started(self._sockets), user=APPLICATION)

    @property
    def owner_url(self) -> str:
        """PostgreSQL as `passmill_owner`: migrations, and CREATE DATABASE for tests."""
        return postgres_url(_started(self._sockets), user=OWNER)

    @property
    def superuser_url(self) -> str:
        """PostgreSQL as its superuser, on the database `postgres`."""
        return postgres_url(_started(self._sockets), user=SUPERUSER, database="postgres")

    @property
    def redis_url(self) -> str:
        """Valkey, database 0."""
        return valkey_url(_started(self._sockets))

    @property
    def postgres(self) -> ServerProcess:
        """PostgreSQL's main process."""
        return _started(self._postgres)

    @property
    def valkey(self) -> ServerProcess:
        """Valkey's process."""
        return _started(self._valkey)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    async def crash_postgres(self, *, down_seconds: float = 0.0) -> None:
        """Stops PostgreSQL as `pg_ctl stop -m immediate` does, which is a crash to everybody
        connected, and starts it again after `down_seconds`: it recovers from its log."""
        await self.postgres.stop(signal.SIGQUIT)
        await asyncio.sleep(down_seconds)
        self._postgres = await self._start_postgres()

    async def _stop_postgres(self) -> None:
        await self.postgres.stop()

    async def _start(self) -> None:
        user = choose_user()
        if self._data_dir is None:
            await _sweep()
            data = Path(tempfile.mkdtemp(prefix=THROW_AWAY, dir=_short_directory()))
            self._stack.callback(shutil.rmtree, data, ignore_errors=True)
            _try_lock(self._stack, data)
            sockets = data / "run"
        else:
            data = self._data_dir
            data.mkdir(parents=True, exist_ok=True)
            data = data.resolve()
            name = hashlib.blake2b(os.fsencode(data), digest_size=8).hexdigest()
            sockets = _short_directory() / f"passmill-{os.geteuid()}-{name}"
            if not _try_lock(self._stack, data):
                raise DataDirectoryInUse(f"another process runs its servers on {data}")
            self._stack.callback(shutil.rmtree, sockets, ignore_errors=True)
        make_directory(data, user)
        for folder in (sockets, data / "valkey"):
            make_directory(folder, user)
        _check_private(sockets, user)
        self._start_postgres = partial(
            start_postgres,
            home=data / "postgres",
            sockets=sockets,
            user=user,
            durable=self._durable,
            log=data / "postgres.log",
        )
        self._postgres = await self._start_postgres()
        self._stack.push_async_callback(self._stop_postgres)
        self._valkey = await start_valkey(
            home=data / "valkey",
            sockets=sockets,
            user=user,
            durable=self._durable,
            log=data / "valkey.log",
        )
        self._stack.push_async_callback(self._valkey.stop)
        self._sockets = sockets


_Part = TypeVar("_Part")


def _started(part: _Part | None) -> _Part:
    if part is None:
        raise EmbeddedServerError("the servers are not running: use `async with EmbeddedServers()`")
    return part


def _try_lock(stack: AsyncExitStack, folder: Path) -> bool:
    """Locks `folder` until the stack closes; the lock goes with the process, however it ends."""
    lock = stack.enter_context((folder / "lock").open("a"))
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _short_directory() -> Path:
    return SHORT_DIRECTORY if os.access(SHORT_DIRECTORY, os.W_OK) else Path(tempfile.gettempdir())


def _check_private(folder: Path, user: User) -> None:
    """Refuses a socket folder that somebody else made under the name we use."""
    found = folder.lstat()
    owner = pwd.getpwnam("nobody").pw_uid if user == "nobody" else os.geteuid()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise EmbeddedServerError(f"{folder} is not a folder that only we can read: remove it")


async def _sweep() -> None:
    """Removes throw-away folders whose process was killed: those are not locked any more."""
    for lock in _short_directory().glob(f"{THROW_AWAY}*/lock"):
        if lock.lstat().st_uid == os.geteuid():
            async with AsyncExitStack() as stack:
                if _try_lock(stack, lock.parent):
                    shutil.rmtree(lock.parent, ignore_errors=True)
