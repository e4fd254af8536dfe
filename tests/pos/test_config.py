"""The configuration: a file of its owner alone, under variables."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill_pos.config import Config, ConfigWrong, config_path, read_config, write_config

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x7f"), max_size=40)


@given(
    config=st.builds(
        Config,
        address=texts,
        api_key=texts,
        ca_file=texts,
        plaintext=st.booleans(),
        venue_id=texts,
        scanner_id=texts,
        staff=texts,
        queue_file=texts,
        bundle_file=texts,
        timeout_seconds=st.floats(0.1, 30),
    )
)
def test_what_is_written_is_read(config: Config) -> None:
    """Any configuration is read as it was written, from a file of its owner alone, nothing else
    being left in the folder; and its repr does not show the key."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "config.toml"
        write_config(path, config)
        assert read_config(path, {}) == config
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert os.listdir(path.parent) == ["config.toml"]  # noqa: PTH208 - names are enough
    assert "pmk_canary" not in repr(replace(config, api_key="pmk_canary"))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    """A configuration that others than its owner may read or write is not used."""
    path = tmp_path / "config.toml"
    write_config(path, Config(api_key="pmk_canary"))
    path.chmod(mode)
    with pytest.raises(ConfigWrong, match="chmod 600") as caught:
        read_config(path, {})
    assert "pmk_canary" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ('colour = "red"', "colour"),
        ("address = 5", "address"),
        ('plaintext = "yes"', "plaintext"),
        ("timeout_seconds = 0", "timeout_seconds"),
        ('timeout_seconds = "soon"', "timeout_seconds"),
        ("address =", "config.toml"),
        ("\xff\xfe", "config.toml"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, named: str) -> None:
    """A setting that does not exist or is not of its kind, and a file that is no TOML, are
    named."""
    path = tmp_path / "config.toml"
    path.touch(0o600)
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ConfigWrong, match=named):
        read_config(path, {})


def test_variables_go_before_the_file(tmp_path: Path) -> None:
    """A variable replaces what the file says; without a file variables are all there is."""
    path = tmp_path / "config.toml"
    environ = {"PASSMILL_ADDRESS": "other:1", "PASSMILL_POS_TIMEOUT_SECONDS": "2.5"}
    assert read_config(path, environ) == Config(address="other:1", timeout_seconds=2.5)
    write_config(path, Config(address="one:1", staff="Mo"))
    config = read_config(path, environ)
    assert (config.address, config.staff, config.timeout_seconds) == ("other:1", "Mo", 2.5)


def test_usual_places(tmp_path: Path) -> None:
    """Files are where XDG says, unless variables or the configuration say otherwise."""
    environ = {"XDG_CONFIG_HOME": str(tmp_path / "c"), "XDG_STATE_HOME": str(tmp_path / "s")}
    assert config_path(environ) == tmp_path / "c" / "passmill-pos" / "config.toml"
    assert Config().queue_path(environ) == tmp_path / "s" / "passmill-pos" / "queue.sqlite3"
    assert Config(queue_file="/q").queue_path(environ) == Path("/q")
    assert config_path({"PASSMILL_POS_CONFIG": "/c"}) == Path("/c")
    assert config_path({}).is_relative_to(Path.home())
