"""Checks passes as a stranger would: with a zip reader and a CMS verifier that are not ours."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from passmill.demo.console import DemoFailed

_TOOL_SECONDS = 30
_UNLISTED = {"manifest.json", "signature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipReader:
    """A program that unpacks zip files. `unpack`: from a file into a folder."""

    name: str
    unpack: Callable[[Path, Path], None]


def find_reader() -> ZipReader:
    """Info-ZIP's unzip or libarchive's bsdtar, where there is one; else Python's zipfile."""
    if unzip := shutil.which("unzip"):
        return ZipReader(
            name="Info-ZIP unzip",
            unpack=lambda file, folder: _run([unzip, "-qq", str(file), "-d", str(folder)]),
        )
    if bsdtar := shutil.which("bsdtar"):
        return ZipReader(
            name="bsdtar",
            unpack=lambda file, folder: _run([bsdtar, "-xf", str(file), "-C", str(folder)]),
        )
    return ZipReader(name="Python's zipfile", unpack=_unpack_with_zipfile)


class Verifier:
    """Verifies bundles against one root certificate."""

    def __init__(self, *, openssl: str, reader: ZipReader, root: Path) -> None:
        """`openssl`: the program; `root`: the root certificate's file, PEM."""
        self._openssl = openssl
        self._reader = reader
        self._root = root

    def verify(self, bundle: bytes, *, serial_number: str, holder_name: str) -> dict[str, bytes]:
        """The files in a bundle by name. DemoFailed when its signature, a digest, its serial number
        or its holder's name is not what it must be."""
        with tempfile.TemporaryDirectory(prefix="passmill-demo-") as name:
            packed, folder = Path(name, "bundle.pkpass"), Path(name, "files")
            packed.write_bytes(bundle)
            folder.mkdir()
            self._reader.unpack(packed, folder)
            self._check_signature(folder)
            files = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in folder.rglob("*")
                if path.is_file()
            }
        _check_digests(files)
        _check_content(files, serial_number=serial_number, holder_name=holder_name)
        return files

    def _check_signature(self, folder: Path) -> None:
        # Apple's certificates are marked for no purpose that openssl knows.
        _run(
            [
                *(self._openssl, "cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
                *("-CAfile", str(self._root), "-in", str(folder / "signature")),
                *("-content", str(folder / "manifest.json"), "-out", str(folder.parent / "signed")),
            ]
        )
        if (folder.parent / "signed").read_bytes() != (folder / "manifest.json").read_bytes():
            raise DemoFailed("openssl verified something else than manifest.json")


def _check_digests(files: Mapping[str, bytes]) -> None:
    manifest = json.loads(files["manifest.json"])
    found = {
        name: hashlib.sha1(content, usedforsecurity=False).hexdigest()
        for name, content in files.items()
        if name not in _UNLISTED
    }
    if manifest != found:
        differing = sorted(name for name, _ in manifest.items() ^ found.items())
        raise DemoFailed(f"the manifest is not right about {differing}")


def _check_content(files: Mapping[str, bytes], *, serial_number: str, holder_name: str) -> None:
    document = json.loads(files["pass.json"])
    if document["serialNumber"] != serial_number:
        raise DemoFailed(f"the pass of {serial_number} bears {document['serialNumber']}")
    [shown] = [
        field["value"]
        for field in document["storeCard"]["secondaryFields"]
        if field["key"] == "member"
    ]
    expected = unicodedata.normalize("NFC", holder_name)
    if shown != expected:
        raise DemoFailed(f"the pass of {serial_number} shows {shown!r}, not {expected!r}")


def _unpack_with_zipfile(file: Path, folder: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        if (damaged := archive.testzip()) is not None:
            raise DemoFailed(f"zipfile finds {damaged} damaged")
        archive.extractall(folder)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, timeout=_TOOL_SECONDS, check=False)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip() or done.stdout.decode(errors="replace")
        raise DemoFailed(f"{Path(command[0]).name} refuses a pass: {said}")
