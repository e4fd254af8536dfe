"""Where the service is and who calls: a file that `passmill-pos enrol` writes, and variables.

The file is TOML and holds the key, so it must be its owner's alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

TIMEOUT_SECONDS: Final = 5.0

_VARIABLES: Final = {
    "address": "PASSMILL_ADDRESS",
    "api_key": "PASSMILL_API_KEY",
    "ca_file": "PASSMILL_POS_CA_FILE",
    "venue_id": "PASSMILL_POS_VENUE_ID",
    "staff": "PASSMILL_POS_STAFF",
    "queue_file": "PASSMILL_POS_QUEUE_FILE",
    "bundle_file": "PASSMILL_POS_BUNDLE_FILE",
    "timeout_seconds": "PASSMILL_POS_TIMEOUT_SECONDS",
}
_NUMBERS: Final = frozenset({"timeout_seconds"})
_TRUTHS: Final = frozenset({"plaintext"})


class ConfigWrong(ValueError):
    """The configuration is not as it must be; the text says what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """Everything this counter is told.

    `address`: host:port. `api_key`: the scanner's. `ca_file`: PEM, instead of the well-known roots;
    `plaintext`: beyond this machine something else encrypts. `venue_id`: where it is.
    `scanner_id`: empty when the key is no scanner's. `staff`: said with each scan unless a command
    says otherwise. `queue_file`, `bundle_file`: empty for the usual ones. `timeout_seconds`: of a
    call.
    """

    address: str = ""
    api_key: str = field(default="", repr=False)
    ca_file: str = ""
    plaintext: bool = False
    venue_id: str = ""
    scanner_id: str = ""
    staff: str = ""
    queue_file: str = ""
    bundle_file: str = ""
    timeout_seconds: float = TIMEOUT_SECONDS

    @property
    def root_certificates(self) -> bytes | None:
        """The content of `ca_file`. ConfigWrong when it cannot be read."""
        if not self.ca_file:
            return None
        try:
            return Path(self.ca_file).read_bytes()
        except OSError as error:
            raise ConfigWrong(f"ca_file: {error}") from None

    def queue_path(self, environ: Mapping[str, str]) -> Path:
        """Where the queue is."""
        if self.queue_file:
            return Path(self.queue_file)
        return _folder(environ, "XDG_STATE_HOME", ".local/state") / "passmill-pos" / "queue.sqlite3"

    @property
    def origin(self) -> str:
        """By which the queue tells keys apart; empty without a key."""
        if not self.api_key:
            return ""
        return hashlib.sha256(b"queue " + self.api_key.encode()).hexdigest()[:16]

    def bundle_path(self, environ: Mapping[str, str]) -> Path:
        """Where what offline checks need is: beside the queue, unless the setting says."""
        if self.bundle_file:
            return Path(self.bundle_file)
        return self.queue_path(environ).with_name("offline-bundle.json")


def config_path(environ: Mapping[str, str]) -> Path:
    """Where the configuration is: PASSMILL_POS_CONFIG, or the usual place."""
    if named := environ.get("PASSMILL_POS_CONFIG"):
        return Path(named)
    return _folder(environ, "XDG_CONFIG_HOME", ".config") / "passmill-pos" / "config.toml"


def read_config(path: Path, environ: Mapping[str, str]) -> Config:
    """The configuration in a file, if there is one, under that of the variables. ConfigWrong when
    either is not good, or others may read the file."""
    values: dict[str, object] = {}
    try:
        with path.open("rb") as file:
            if os.name == "posix" and os.fstat(file.fileno()).st_mode & (
                stat.S_IRWXG | stat.S_IRWXO
            ):
                raise ConfigWrong(f"{path} holds a key and others may read it: chmod 600 {path}")
            values |= tomllib.load(file)
    except FileNotFoundError:
        pass
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigWrong(f"{path}: {error}") from None
    if unknown := values.keys() - {each.name for each in fields(Config)}:
        raise ConfigWrong(f"{path}: unknown settings {', '.join(sorted(unknown))}")
    for name, variable in _VARIABLES.items():
        if variable in environ:
            values[name] = environ[variable]
    return Config(**{name: _checked(name, value) for name, value in values.items()})


def write_config(path: Path, config: Config) -> None:
    """Writes a configuration for its owner alone, whole or not at all."""
    lines = [
        f"{each.name} = {json.dumps(value, ensure_ascii=False)}\n"
        for each in fields(config)
        if (value := getattr(config, each.name)) != each.default
    ]
    write_private(path, "".join(lines))


def write_private(path: Path, text: str) -> None:
    """Writes a file for its owner alone (0600), whole or not at all, and on the disk when this
    returns."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.unlink(missing_ok=True)
    with os.fdopen(
        os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
    ) as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(path)
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def is_text(text: str) -> bool:
    """Whether it can be written as UTF-8. Other bytes of command lines and variables come as lone
    surrogates (PEP 383)."""
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _checked(name: str, value: object) -> Any:
    if name in _NUMBERS:
        try:
            seconds = float(str(value))
        except ValueError:
            raise ConfigWrong(f"{name} must be a number") from None
        if not 0 < seconds <= 30:
            raise ConfigWrong(f"{name} must be more than 0 and at most 30")
        return seconds
    if not isinstance(value, bool if name in _TRUTHS else str):
        raise ConfigWrong(f"{name} must be {'true or false' if name in _TRUTHS else 'a text'}")
    if isinstance(value, str) and not is_text(value):
        raise ConfigWrong(f"{name} is not UTF-8")
    return value


def _folder(environ: Mapping[str, str], variable: str, usual: str) -> Path:
    named = environ.get(variable)
    return Path(named) if named else Path.home() / usual
