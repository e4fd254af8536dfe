"""The connection pool and the transaction, with tenant and deadline set in one round trip."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from passmill.domain.callers import Caller
from passmill.domain.ids import TenantId
from passmill.errors import AppError, Reason

if TYPE_CHECKING:
    from asyncpg.pool import Pool, PoolConnectionProxy

_RETRY_AFTER = timedelta(milliseconds=500)
# Kept back from a call's deadline, to say in time that it passed.
_MARGIN_SECONDS = 0.02
_CONNECT_SECONDS = 10.0
_INT32_MAX = (1 << 31) - 1
# Every statement of ours goes by an index. A plan made while a table was small must not stay when
# it has grown, as it would: prepared statements keep their plans until the table is analysed.
_SESSION_SETTINGS = {
    "application_name": "passmill",
    "enable_seqscan": "off",
    "jit": "off",
    # For single statements; transactions set what their caller's deadline leaves.
    "statement_timeout": "30000",
    # Whoever hangs inside a transaction, frozen or cut off from the network, must not keep others
    # from the rows it has locked: nothing slow is done in one.
    "idle_in_transaction_session_timeout": "20000",
}
# Errors after which the same request may well succeed.
_CONNECTION_ERRORS = (
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.InsufficientResourcesError,
    asyncpg.ReadOnlySQLTransactionError,  # a server that is no longer, or not yet, the primary
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
    asyncpg.DeadlockDetectedError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # so the driver tells of a connection that is just being cut
    OSError,
)


class Transaction:
    """One open transaction inside one tenant. Every statement ends by the caller's deadline."""

    __slots__ = ("_connection", "_deadline", "tenant_id")

    def __init__(
        self, connection: PoolConnectionProxy, *, tenant_id: TenantId, deadline: float
    ) -> None:
        self._connection = connection
        self._deadline = deadline
        self.tenant_id = tenant_id

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        """All rows."""
        rows: list[asyncpg.Record] = await self._connection.fetch(
            sql, *arguments, timeout=_seconds_left(self._deadline)
        )
        return rows

    async def fetch_one(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        """The first row, or None."""
        row: asyncpg.Record | None = await self._connection.fetchrow(
            sql, *arguments, timeout=_seconds_left(self._deadline)
        )
        return row

    async def fetch_value(self, sql: str, *arguments: object) -> Any:
        """The first column of the first row, or None."""
        return await self._connection.fetchval(
            sql, *arguments, timeout=_seconds_left(self._deadline)
        )

    async def execute(self, sql: str, *arguments: object) -> int:
        """Runs a statement; gives the number of rows it touched."""
        status: str = await self._connection.execute(
            sql, *arguments, timeout=_seconds_left(self._deadline)
        )
        count = status.rsplit(" ", 1)[-1]
        return int(count) if count.isdigit() else 0


class _Session(asyncpg.Connection):
    """A connection that knows which tenant its session is set to."""

    __slots__ = ("_session_tenant",)

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._session_tenant: TenantId | None = None

    async def enter_tenant(self, tenant_id: TenantId, *, seconds: float) -> None:
        """Sets the session to a tenant, unless it already is. Transactions set their own."""
        if self._session_tenant == tenant_id:
            return
        self._session_tenant = None
        await self.execute(f"SET passmill.tenant_id = '{int(tenant_id)}'", timeout=seconds)
        self._session_tenant = tenant_id


class _SingleStatement(Transaction):
    """Lets one statement through, which is a transaction by itself."""

    __slots__ = ("_is_used",)

    def __init__(
        self, connection: PoolConnectionProxy, *, tenant_id: TenantId, deadline: float
    ) -> None:
        super().__init__(connection, tenant_id=tenant_id, deadline=deadline)
        self._is_used = False

    def _use(self) -> None:
        if self._is_used:
            raise RuntimeError("A second statement needs a transaction.")
        self._is_used = True

    async def fetch(self, sql: str, *arguments: object) -> list[asyncpg.Record]:
        self._use()
        return await super().fetch(sql, *arguments)

    async def fetch_one(self, sql: str, *arguments: object) -> asyncpg.Record | None:
        self._use()
        return await super().fetch_one(sql, *arguments)

    async def fetch_value(self, sql: str, *arguments: object) -> Any:
        self._use()
        return await super().fetch_value(sql, *arguments)

    async def execute(self, sql: str, *arguments: object) -> int:
        self._use()
        return await super().execute(sql, *arguments)


class Database:
    """The pool of one process.

    Errors of the driver leave as `AppError`: UNAVAILABLE when the server is gone or busy,
    DEADLINE_EXCEEDED when time ran out; its texts never do. Anything else it raises is a fault of
    ours and passes through.
    """

    __slots__ = ("_pool",)

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def transaction(
        self,
        caller: Caller,
        *,
        read_only: bool = False,
        presented_key: str = "",
        presented_secret: bytes = b"",
    ) -> AsyncIterator[Transaction]:
        """A transaction inside the caller's tenant; commits when the block ends, rolls back when it
        raises.

        `presented_key`: the id of an API key that shall be visible whatever its tenant (for
        authentication). `presented_secret`: the SHA-256 of a secret whose row shall be visible, in
        the tables with a policy for `passmill.secret_hash` (in hex), whatever its tenant.
        """
        seconds = _seconds_left(caller.deadline)
        with _translated_errors(read_only=read_only):
            connection = await self._pool.acquire(timeout=seconds)
            try:
                begin = "BEGIN READ ONLY" if read_only else "BEGIN"
                # One simple query: all parts are ours (an int, a flag, checked text), nothing is
                # quoted from outside.
                await connection.execute(
                    f"{begin}; SET LOCAL passmill.tenant_id = '{int(caller.tenant_id)}';"
                    f" SET LOCAL passmill.operator = '{'on' if caller.is_operator else 'off'}';"
                    f" SET LOCAL passmill.key_id = '{_plain(presented_key)}';"
                    f" SET LOCAL passmill.secret_hash = '{presented_secret.hex()}';"
                    f" SET LOCAL statement_timeout = {_milliseconds(seconds)}",
                    timeout=seconds,
                )
                yield Transaction(connection, tenant_id=caller.tenant_id, deadline=caller.deadline)
                await connection.execute("COMMIT", timeout=_seconds_left(caller.deadline))
            except BaseException:
                if not connection.is_closed():
                    # Shielded, so that a cancelled call does not leave a transaction open in the
                    # pool. A rollback that fails is no news: the server forgets the work, the pool
                    # the connection.
                    with contextlib.suppress(*_CONNECTION_ERRORS, TimeoutError):
                        await asyncio.shield(connection.execute("ROLLBACK", timeout=5))
                raise
            finally:
                await self._pool.release(connection, timeout=5)

    @asynccontextmanager
    async def statement(self, caller: Caller) -> AsyncIterator[Transaction]:
        """As `transaction`, for a store function that runs exactly one statement: that is a
        transaction by itself, and takes one round trip instead of three.

        Not for operators: the session is set to the caller's tenant, and stays so.
        """
        if caller.is_operator:
            raise ValueError("An operator's work needs a transaction.")
        seconds = _seconds_left(caller.deadline)
        with _translated_errors():
            connection = await self._pool.acquire(timeout=seconds)
            try:
                session = cast("_Session", connection)  # the proxy passes the call on
                await session.enter_tenant(caller.tenant_id, seconds=seconds)
                yield _SingleStatement(
                    connection, tenant_id=caller.tenant_id, deadline=caller.deadline
                )
            finally:
                await self._pool.release(connection, timeout=5)

    async def ping(self) -> None:
        """AppError UNAVAILABLE when the server does not answer within a second."""
        with _translated_errors():
            async with self._pool.acquire(timeout=1) as connection:
                await connection.fetchval("SELECT 1", timeout=1)


@asynccontextmanager
async def open_database(
    url: str, *, min_connections: int, max_connections: int
) -> AsyncIterator[Database]:
    """Connects a pool to `url` as the application's role, and closes it in the end."""
    pool = await asyncpg.create_pool(
        url,
        min_size=min_connections,
        max_size=max_connections,
        command_timeout=30,
        reset=_reset_connection,
        server_settings=_SESSION_SETTINGS,
        connection_class=_Session,
    )
    try:
        yield Database(pool)
    finally:
        # Calls in flight were drained before; what still hangs is cut.
        try:
            await asyncio.wait_for(pool.close(), timeout=5)
        except TimeoutError:
            pool.terminate()


async def find_fault(url: str) -> str | None:
    """Why the database at `url` takes no connection now but may later, as the name of an error;
    None when it takes one. Errors that waiting does not help (a wrong password) are raised."""
    try:
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS, command_timeout=5)
    except (*_CONNECTION_ERRORS, TimeoutError) as error:
        return type(error).__name__
    connection.terminate()
    return None


async def _reset_connection(connection: asyncpg.Connection) -> None:
    # Settings are LOCAL, and the session's own tenant is known to it: the default's four statements
    # a release would be wasted.
    if connection.is_in_transaction():
        await connection.execute("ROLLBACK", timeout=5)


def _plain(key_id: str) -> str:
    if not (key_id.isascii() and (key_id.isalnum() or not key_id)):
        raise ValueError("An API key's id is letters and digits.")
    return key_id


def _milliseconds(seconds: float) -> int:
    # PostgreSQL's largest is 24 days, and its 0 means forever.
    return min(max(1, int(seconds * 1000)), _INT32_MAX)


def _seconds_left(deadline: float) -> float:
    left = deadline - asyncio.get_running_loop().time() - _MARGIN_SECONDS
    if left <= 0:
        raise _deadline_passed()
    return left


def _deadline_passed() -> AppError:
    return AppError(
        reason=Reason.DEADLINE_EXCEEDED,
        message="The deadline passed. Retry with the same request_id.",
    )


class _translated_errors:  # noqa: N801 - used as a function
    """Gives the driver's errors our names; their texts stay inside. `read_only`: a write inside is
    a fault of ours, not a server that takes none just now."""

    __slots__ = ("_read_only",)

    def __init__(self, *, read_only: bool = False) -> None:
        self._read_only = read_only

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, asyncpg.QueryCanceledError | TimeoutError):
            raise _deadline_passed() from error
        if self._read_only and isinstance(error, asyncpg.ReadOnlySQLTransactionError):
            return
        if isinstance(error, _CONNECTION_ERRORS):
            raise AppError(
                reason=Reason.UNAVAILABLE,
                message="The database does not answer just now. Retry with the same request_id.",
                retry_after=_RETRY_AFTER,
            ) from error


def columns(rows: Sequence[Sequence[object]], width: int) -> list[list[object]]:
    """Rows turned into columns, for `unnest`; `width` columns even when there is no row."""
    return (
        [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(width)]
    )
