"""Settings come from the environment, are checked before anything starts, and show no secret."""

import base64
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from passmill.settings import UnknownSetting, load_settings

MASTER_KEY = base64.b64encode(bytes(range(32))).decode()
REQUIRED = {
    "PASSMILL_DATABASE_URL": "postgresql://app:hunter2@db/passmill",
    "PASSMILL_REDIS_URL": "redis://:hunter2@cache/0",
    "PASSMILL_MASTER_KEY": MASTER_KEY,
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that holds the required settings and no other."""
    for name in list(os.environ):
        if name.startswith("PASSMILL_"):
            monkeypatch.delenv(name)
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_required_settings_suffice(environment: pytest.MonkeyPatch) -> None:
    """With the two URLs and the master key everything else has a safe default."""
    settings = load_settings()
    assert settings.database_url.get_secret_value() == REQUIRED["PASSMILL_DATABASE_URL"]
    assert settings.master_key_bytes == bytes(range(32))
    assert (settings.api.host, settings.api.port) == ("127.0.0.1", 50051)
    assert settings.admin.port == 50052


def test_sections_are_read(environment: pytest.MonkeyPatch) -> None:
    """A section's field is named with two underscores."""
    environment.setenv("PASSMILL_API__PORT", "6000")
    environment.setenv("PASSMILL_DATABASE__MAX_CONNECTIONS", "5")
    environment.setenv("PASSMILL_LOG__FORMAT", "console")
    settings = load_settings()
    assert (settings.api.port, settings.database.max_connections) == (6000, 5)
    assert settings.log.format == "console"


def test_secrets_come_from_files(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret named with _FILE is read from there, without the line end."""
    path = tmp_path / "key"
    path.write_text(f"{MASTER_KEY}\n")
    environment.delenv("PASSMILL_MASTER_KEY")
    environment.setenv("PASSMILL_MASTER_KEY_FILE", str(path))
    assert load_settings().master_key_bytes == bytes(range(32))


def test_a_secret_given_twice_is_refused(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By value and by file at once could mean either; neither is chosen."""
    environment.setenv("PASSMILL_REDIS_URL_FILE", str(tmp_path / "url"))
    with pytest.raises(ValidationError, match="redis_url and redis_url_file are both given"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PASSMILL_MASTER_KEY", "c2hvcnQ=", "32 bytes"),
        ("PASSMILL_MASTER_KEY", "not base64", "32 bytes"),
        ("PASSMILL_API__PORT", "70000", "65535"),
        ("PASSMILL_API__HOST", "192.0.2.1", "reached from other machines"),
        ("PASSMILL_API__TLS_KEY_FILE", "/x", "go together"),
        ("PASSMILL_API__CLIENT_CA_FILE", "/x", "needs tls_certificate_file"),
        ("PASSMILL_DATABASE__MIN_CONNECTIONS", "99", "more than max_connections"),
        ("PASSMILL_API__PROT", "1", "Extra inputs"),
        ("PASSMILL_OPERATOR_KEY_FILE", "/nowhere/key", "FileNotFoundError"),
    ],
)
def test_bad_values_stop_the_start(
    environment: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    """Each wrong value is refused with its reason, and the message shows no secret."""
    environment.setenv(name, value)
    with pytest.raises(ValidationError, match=said) as refused:
        load_settings()
    assert "hunter2" not in str(refused.value)
    assert MASTER_KEY not in str(refused.value)


def test_misspelt_names_are_refused(environment: pytest.MonkeyPatch) -> None:
    """A PASSMILL_ variable nobody reads is an error, not a default silently kept."""
    environment.setenv("PASSMILL_DATABSE_URL", "x")
    with pytest.raises(UnknownSetting, match="PASSMILL_DATABSE_URL"):
        load_settings()


def test_settings_show_no_secret(environment: pytest.MonkeyPatch) -> None:
    """`repr` and `str` of the settings hold neither passwords nor the key."""
    settings = load_settings()
    assert "hunter2" not in f"{settings!r} {settings}"
    assert MASTER_KEY not in f"{settings!r} {settings}"


def test_settings_do_not_change(environment: pytest.MonkeyPatch) -> None:
    """Neither the tree nor a section can be assigned to."""
    settings = load_settings()
    with pytest.raises(ValidationError, match="frozen"):
        settings.processes = 3  # type: ignore[misc]
    with pytest.raises(ValidationError, match="frozen"):
        settings.api.port = 1  # type: ignore[misc]
