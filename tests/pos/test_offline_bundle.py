"""The bundle's file: of its owner alone, of one key, whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from passmill_pos.offline_bundle import BundleFile, OfflineBundle
from tests.pos.test_offline_checks import BUNDLE

times = st.datetimes(
    datetime(2026, 1, 1),  # noqa: DTZ001 - a bound
    datetime(2126, 1, 1),  # noqa: DTZ001 - a bound
    timezones=st.just(UTC),
)
bundles = st.builds(
    OfflineBundle,
    tenant_id=st.integers(-(2**63), 2**63 - 1),
    keys=st.dictionaries(st.integers(0, 32_767), st.binary(min_size=32, max_size=32), max_size=4),
    voided=st.lists(st.binary(min_size=8, max_size=8), max_size=9).map(sorted).map(b"".join),
    digest=st.binary(max_size=16),
    create_time=times,
    valid_until=times,
    max_uses=st.dictionaries(st.uuids().map(str), st.integers(0, 10_000), max_size=4),
)


@given(bundles, bundles)
def test_what_is_kept_is_read(first: OfflineBundle, second: OfflineBundle) -> None:
    """Any bundle is read as it was kept, instead of the one before, from a file of its owner
    alone."""
    with tempfile.TemporaryDirectory() as folder:
        file = BundleFile(Path(folder) / "new" / "bundle.json", api_key="pmk_1")
        for bundle in (first, second):
            file.write(bundle)
            assert file.read() == bundle
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert os.listdir(file.path.parent) == ["bundle.json"]  # noqa: PTH208 - names are enough


def test_it_is_of_one_key(tmp_path: Path) -> None:
    """A bundle that another key fetched, which may be another tenant's, is none; the file does not
    hold the key."""
    path = tmp_path / "bundle.json"
    BundleFile(path, api_key="pmk_canary").write(BUNDLE)
    assert BundleFile(path, api_key="pmk_other").read() is None
    assert "canary" not in path.read_text()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602])
def test_others_may_not_touch_it(tmp_path: Path, mode: int) -> None:
    """A file that others may read or write is not trusted: who could add a key could sign."""
    file = BundleFile(tmp_path / "bundle.json", api_key="k")
    file.write(BUNDLE)
    file.path.chmod(mode)
    assert file.read() is None


def test_what_is_damaged_is_none(tmp_path: Path) -> None:
    """A file cut off anywhere, one with a field missing or of another kind, and a folder are
    none."""
    file = BundleFile(tmp_path / "bundle.json", api_key="k")
    file.write(replace(BUNDLE, voided=bytes(8)))
    whole = file.path.read_bytes()
    for end in range(len(whole)):
        file.path.write_bytes(whole[:end])
        assert file.read() is None, end
    for before, after in (
        (b'"keys"', b'"kexs"'),
        (b'"format": 1', b'"format": 2'),
        (b'"keys": {', b'"keys": {"8": "00", '),
        (b'"keys": {', b'"keys": {"x": "00", '),
        (b'"voided": "', b'"voided": "AAAA'),
        (b"+00:00", b""),
        (b'"max_uses": {}', b'"max_uses": []'),
        (b"{", b"[{"),
    ):
        assert before in whole
        file.path.write_bytes(whole.replace(before, after, 1))
        assert file.read() is None, before
    file.path.unlink()
    assert file.read() is None
    file.path.mkdir()
    assert file.read() is None


def test_what_cannot_be_kept_leaves_the_one_before(tmp_path: Path) -> None:
    """When the new file cannot be written whole the one before stays."""
    file = BundleFile(tmp_path / "bundle.json", api_key="k")
    file.write(BUNDLE)
    newer = replace(BUNDLE, create_time=BUNDLE.create_time + timedelta(hours=1))
    scratch = tmp_path / f".bundle.json.{os.getpid()}"
    scratch.mkdir()
    with pytest.raises(OSError, match="bundle"):
        file.write(newer)
    assert file.read() == BUNDLE
