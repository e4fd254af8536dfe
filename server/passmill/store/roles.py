"""What the application's database role must be, checked at start: row-level security binds neither
a table's owner who may switch it off, nor a superuser, nor a role with BYPASSRLS."""

from __future__ import annotations

from passmill.store.database import Transaction

_HINT = "Connect as passmill_app, which `passmill migrate` sets up."


class RoleRefused(Exception):
    """The application's role could see or change what it must not; the message says what to do."""


async def check_application_role(tx: Transaction, *, require_durable: bool = True) -> None:
    """RoleRefused when the role this process connects as could get round row-level security, or
    when a commit may be lost in a crash.

    `require_durable` is off for throw-away servers, which run without synchronous commits on
    purpose.
    """
    role = await tx.fetch_one(
        "SELECT rolname AS name, rolsuper AS is_superuser, rolbypassrls AS is_bypassing,"
        "  rolcreaterole AS is_creating_roles, current_setting('synchronous_commit') AS commits"
        " FROM pg_roles WHERE rolname = session_user"
    )
    if role is None:
        raise RoleRefused(f"The database role of this connection does not exist any more. {_HINT}")
    name = role["name"]
    if role["is_superuser"]:
        raise RoleRefused(f"The database role {name} is a superuser. {_HINT}")
    if role["is_bypassing"]:
        raise RoleRefused(f"The database role {name} has BYPASSRLS. {_HINT}")
    if role["is_creating_roles"]:
        raise RoleRefused(f"The database role {name} has CREATEROLE. {_HINT}")
    stronger = await tx.fetch_value(
        "SELECT rolname FROM pg_roles WHERE (rolsuper OR rolbypassrls)"
        " AND pg_has_role(session_user, oid, 'MEMBER') ORDER BY rolname LIMIT 1"
    )
    if stronger is not None:
        raise RoleRefused(
            f"The database role {name} may become {stronger}, which row-level security does not"
            f" bind. REVOKE {stronger} FROM {name}."
        )
    owned = await tx.fetch_value(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
        " WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'"
        "  AND pg_has_role(session_user, c.relowner, 'MEMBER') ORDER BY 1 LIMIT 1"
    )
    if owned is not None:
        raise RoleRefused(
            f"The database role {name} owns {owned}, or is a member of its owner. {_HINT}"
        )
    if require_durable and role["commits"] == "off":
        raise RoleRefused(
            "synchronous_commit is off: an answer could be given and its change lost."
            f" ALTER ROLE {name} SET synchronous_commit = on."
        )
