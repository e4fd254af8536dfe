"""`passmill demo` as a newcomer runs it, and what it leaves."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
import unicodedata
import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image

from passmill.demo.card_picture import can_draw_name
from passmill.demo.console import DemoFailed
from passmill.demo.verifying import Verifier, find_reader
from passmill.dev.authority import ThrowawayAuthority

COUNT = 200
REFERENCE_ID = re.compile(r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}")
SCRIPTS = {
    *("LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW", "DEVANAGARI", "THAI", "HIRAGANA"),
    *("KATAKANA", "HANGUL", "CJK", "GEORGIAN", "ARMENIAN", "ETHIOPIC", "TAMIL"),
}


def passmill(*arguments: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    """Runs the command line without a terminal."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("PASSMILL_") or name.endswith("_BIN")
    }
    if path is not None:
        environment["PATH"] = path
    return subprocess.run(
        [sys.executable, "-m", "passmill", *arguments],
        env=environment,
        capture_output=True,
        encoding="utf-8",
        timeout=200,
        check=False,
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    """The lines of a CSV by column."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def read_pass(path: Path) -> dict[str, object]:
    """The pass.json in a bundle, opened by Python's zipfile."""
    with zipfile.ZipFile(path) as bundle:
        assert bundle.testzip() is None
        document: dict[str, object] = json.loads(bundle.read("pass.json"))
    return document


@pytest.mark.timeout(240)
def test_demo(tmp_path: Path) -> None:
    """The demo ends well, says so in plain lines, and leaves what it promises; what it verifies
    with can refuse. One test, because one demo is enough."""
    kept = tmp_path / "kept"
    done = passmill("demo", "--count", str(COUNT), "--keep", str(kept))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"issued {COUNT} of {COUNT}" in done.stdout
    assert "verified 100 of 100" in done.stdout
    assert "| Passmill Coffee Club: You now have 1251 beans |" in done.stdout
    assert re.search(r"^  updated +a phone's lock screen, \d+\.\d\d s", done.stdout, re.MULTILINE)
    assert not re.search(r"[\r\x1b]", done.stdout)
    assert "audit" not in done.stdout + done.stderr
    assert done.stderr == ""
    check_recipients_and_issued(kept)
    check_bundles(kept, tmp_path)
    check_picture(kept, done.stdout)
    check_no_private_key_is_left(kept)
    check_verifier_accepts(kept)
    for harm in ("content", "extra", "signature", "serial", "name", "root"):
        check_verifier_refuses(kept, tmp_path, harm)


def check_recipients_and_issued(kept: Path) -> None:
    """Recipients have names in many scripts, and each got a pass of his own, in order."""
    recipients = read_csv(kept / "recipients.csv")
    assert len(recipients) == COUNT
    names = [line["name"] for line in recipients]
    scripts = {
        unicodedata.name(letter).split(" ")[0] for letter in "".join(names) if letter.isalpha()
    }
    assert scripts >= SCRIPTS

    issued = read_csv(kept / "issued.csv")
    assert [line["name"] for line in issued] == names
    assert len({line["reference_id"] for line in issued}) == COUNT
    assert len({line["serial_number"] for line in issued}) == COUNT
    assert all(REFERENCE_ID.fullmatch(line["reference_id"]) for line in issued)


def check_bundles(kept: Path, tmp_path: Path) -> None:
    """Five bundles are kept that openssl verifies, each under its reference id."""
    serial_numbers = {
        line["reference_id"]: line["serial_number"] for line in read_csv(kept / "issued.csv")
    }
    bundles = sorted((kept / "passes").glob("*"))
    assert len(bundles) == 5
    for bundle in bundles:
        assert bundle.suffix == ".pkpass"
        assert read_pass(bundle)["serialNumber"] == serial_numbers[bundle.stem]
        verify(bundle, kept / "root.pem", tmp_path / bundle.stem)


def check_picture(kept: Path, said: str) -> None:
    """The picture of a card holds a barcode that says the serial number of a pass whose name can be
    drawn here, and which the demo says it drew."""
    with Image.open(kept / "card.png") as picture:
        barcode = zxingcpp.read_barcode(picture)
    assert barcode is not None
    names = {line["serial_number"]: line["name"] for line in read_csv(kept / "issued.csv")}
    assert f"drew the card of {names[barcode.text]};" in said
    assert can_draw_name(names[barcode.text])


def check_no_private_key_is_left(kept: Path) -> None:
    """Nothing that the demo leaves can sign."""
    for path in kept.rglob("*"):
        assert path.is_dir() or b"PRIVATE KEY" not in path.read_bytes()


def check_verifier_refuses(kept: Path, tmp_path: Path, harm: str) -> None:
    """Another content, file, signature, serial number, name or root is refused."""
    [bundle, other, *_] = sorted((kept / "passes").glob("*"))
    issued = {line["reference_id"]: line for line in read_csv(kept / "issued.csv")}[bundle.stem]
    root = kept / "root.pem"
    with zipfile.ZipFile(bundle) as archive, zipfile.ZipFile(other) as second:
        files = {name: archive.read(name) for name in archive.namelist()}
        if harm == "content":
            files["icon.png"] += b"0"
        if harm == "extra":
            files["extra.png"] = b"0"
        if harm == "signature":
            files["signature"] = second.read("signature")
    if harm == "serial":
        issued["serial_number"] += "0"
    if harm == "name":
        issued["name"] += "!"
    if harm == "root":
        root = tmp_path / "root.pem"
        root.write_bytes(ThrowawayAuthority(now=datetime.now(UTC)).root_pem)
    verifier = Verifier(openssl="openssl", reader=find_reader(), root=root)

    def verify_again() -> dict[str, bytes]:
        return verifier.verify(
            zipped(files), serial_number=issued["serial_number"], holder_name=issued["name"]
        )

    with pytest.raises(DemoFailed):
        verify_again()


def check_verifier_accepts(kept: Path) -> None:
    """The same check lets every kept bundle pass, packed anew by another zip writer."""
    issued = {line["reference_id"]: line for line in read_csv(kept / "issued.csv")}
    verifier = Verifier(openssl="openssl", reader=find_reader(), root=kept / "root.pem")
    for bundle in (kept / "passes").glob("*"):
        with zipfile.ZipFile(bundle) as archive:
            files = {name: archive.read(name) for name in archive.namelist()}
        line = issued[bundle.stem]
        found = verifier.verify(
            zipped(files), serial_number=line["serial_number"], holder_name=line["name"]
        )
        assert found == files


def zipped(files: dict[str, bytes]) -> bytes:
    """The files as a zip file of Python's making."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def verify(bundle: Path, root: Path, folder: Path) -> None:
    """Fails unless openssl verifies a bundle's signature over its manifest."""
    with zipfile.ZipFile(bundle) as archive:
        archive.extract("manifest.json", folder)
        archive.extract("signature", folder)
    subprocess.run(
        [
            *("openssl", "cms", "-verify", "-binary", "-inform", "der", "-purpose", "any"),
            *("-CAfile", str(root), "-in", str(folder / "signature")),
            *("-content", str(folder / "manifest.json"), "-out", os.devnull),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )


def test_demo_without_openssl(tmp_path: Path) -> None:
    """On a machine without openssl the demo says what to install, before it starts anything."""
    done = passmill("demo", "--count", "1", "--keep", str(tmp_path / "kept"), path=str(tmp_path))
    assert done.returncode == 1
    assert "apt install openssl" in done.stdout
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_demo_with_a_wrong_count(count: str) -> None:
    """A count that is none is refused as a wrong call."""
    done = passmill("demo", "--count", count)
    assert done.returncode == 2
    assert "--count" in done.stderr
